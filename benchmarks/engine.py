"""What the engine itself costs: many operations on one number, so that there is no work in them."""

from __future__ import annotations

from typing import Any

import torch
from interleave import Timing, contest

import minise

LENGTH = 1000  # multiplications, each with a backward


def chain(x: Any) -> None:
    y = x
    for _ in range(LENGTH):
        y = y * x
    y.backward()


def measure(rounds: int) -> dict[str, Timing]:
    """Seconds for a chain of LENGTH multiplications and its backward."""
    return contest(
        {
            "minise": lambda: chain(minise.tensor(1.0, requires_grad=True)),
            "PyTorch": lambda: chain(torch.tensor(1.0, requires_grad=True)),
        },
        rounds,
    )
