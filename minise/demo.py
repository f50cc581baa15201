"""What SE is for, seen in a few minutes: two small networks on pictures with a far-away cue."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .launch import start

SETTINGS: dict[str, Any] = {
    "model": "se_resnet8", "reduction": 4, "data": "cue-digits", "limit": 6000, "epochs": 10,
    "batch_size": 64, "lr": 0.2, "compare": True,
}  # fmt: skip


def demo(out: str | None = None) -> Path:
    """Train `SETTINGS` into `out` or a new folder; returns the folder."""
    print(
        "Each picture shows three digits, one in each colour; the colour of its frame tells which\n"
        "of them to name. Two networks are trained to, the same but for squeeze-and-excitation.\n"
        "With it, test accuracy mostly ends near 100 %, in some runs near two thirds; without it,\n"
        "near 30 %.\n"
    )
    return start(SETTINGS, out)
