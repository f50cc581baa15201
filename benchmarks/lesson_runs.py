"""Writes the curves of many seeds that lesson 10 shows, from what two other scripts have measured.

    python benchmarks/cifar_parity.py --data-dir DIR --part accuracy --library minise \\
        --images 2560 --seeds 0 1 2 3 4 5 6
    python benchmarks/cue_digits.py --cue frame --seeds 0 1 2 3 4
    python benchmarks/lesson_runs.py

Each curve is the test accuracy after every epoch of one training. Where they come from goes along:
the command, the dates, the machine and the versions.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import runs

from minise import files

RESULTS = Path(__file__).parent / "results"
TARGET = Path(__file__).parents[1] / "lessons" / "10_cifar" / "runs.json"


def collect() -> dict[str, Any]:
    """By data set: where the runs come from, and network -> seed -> accuracy by epoch."""
    cue = [
        run
        for run in runs.read(RESULTS / "cue-digits.jsonl")
        if run["settings"]["cue"] == "frame" and run["settings"]["schedule"] == "onecycle"
    ]
    cifar = [
        run
        for run in runs.read(RESULTS / "cifar-parity.jsonl")
        if run["settings"].get("library") == "minise" and run["settings"]["images"] == 2560
    ]
    for run in cifar:
        run["history"] = [epoch["test_accuracy"] for epoch in run["history"]]
    return {
        "CueDigits": summary("benchmarks/cue_digits.py --cue frame", cue),
        "CIFAR-10": summary("benchmarks/cifar_parity.py --library minise --images 2560", cifar),
    }


def summary(command: str, records: list[runs.Record]) -> dict[str, Any]:
    curves: dict[str, dict[int, list[float]]] = {}
    for run in records:
        model, seed = (run["settings"][name] for name in ("model", "seed"))
        curves.setdefault(model, {})[seed] = run["history"]
    return {
        "command": f"python {command}",
        "images": records[0]["settings"]["images"],
        "dates": sorted({run["date"] for run in records}),
        "contexts": sorted({run["context"] for run in records}),
        "curves": {model: dict(sorted(seeds.items())) for model, seeds in sorted(curves.items())},
    }


if __name__ == "__main__":
    files.write(TARGET, json.dumps(collect(), indent=1) + "\n")
    print(TARGET)
