"""A file of finished training runs, so that a long series can be interrupted and continued.

One JSON object a line. What is in it is not done again: a run is known by its settings.
"""

from __future__ import annotations

import json
import math
import os
import statistics
from pathlib import Path
from typing import Any

Record = dict[str, Any]


def read(path: Path) -> list[Record]:
    """The runs so far; ValueError for a file that is something else."""
    if not path.exists():
        return []
    try:
        return [json.loads(line) for line in path.read_text().splitlines()]
    except ValueError as error:
        raise ValueError(f"{path} is no file of runs: {error}") from None


def find(path: Path, settings: Record) -> Record | None:
    """The run with these settings, if it is finished."""
    return next((run for run in read(path) if run["settings"] == settings), None)


def add(path: Path, record: Record) -> None:
    """Write the file anew with one run more; it changes under its name all at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    with temporary.open("w") as file:
        for run in [*read(path), record]:
            print(json.dumps(run), file=file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def mean_and_deviation(values: list[float]) -> str:
    """In percent: 63.1 ± 0.8, the sample's standard deviation, where there are several."""
    mean = f"{100 * statistics.mean(values):.2f}"
    return f"{mean} ± {100 * statistics.stdev(values):.2f}" if len(values) > 1 else mean


def difference(ours: list[float], theirs: list[float]) -> tuple[float, float]:
    """Of the means, and its standard error (NaN where one side is a single run)."""
    if min(len(ours), len(theirs)) < 2:
        return statistics.mean(ours) - statistics.mean(theirs), math.nan
    error = math.sqrt(
        statistics.variance(ours) / len(ours) + statistics.variance(theirs) / len(theirs)
    )
    return statistics.mean(ours) - statistics.mean(theirs), error
