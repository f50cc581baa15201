"""The gates of a trained network over the test pictures of its run."""

from __future__ import annotations

import os
from typing import Any

from .. import plot as figure
from ..data import DataLoader, Dataset
from ..gates import activations as gates
from ..gates.figure import Division, by_stage
from ..train import run_folder

PLANES = ("red", "green", "blue")


def divisions_of(dataset: Dataset) -> list[Division]:
    """What gates may depend on: the class and, for CueDigits, the plane that holds the label."""
    by_class = Division("class", dataset.labels, dataset.classes)
    if not hasattr(dataset, "cues"):
        return [by_class]
    colours = (figure.RED, figure.GREEN, figure.BLUE)
    return [Division("plane that counts", dataset.cues, PLANES, colours), by_class]


def draw(
    folder: str | os.PathLike[str], path: str | os.PathLike[str], weights: str = "best",
    **changes: Any,
) -> None:  # fmt: skip
    """Write a picture of the gates of the run in `folder` to `path`, as png, svg or pdf.

    Raises ValueError for another ending or a network without SE, OSError where the picture cannot
    be written, and as `run_folder.load`, whose arguments the others are.
    """
    figure.ending_of(path)
    run = run_folder.load(folder, weights, **changes)
    loader = DataLoader(run.data.test, 256, transform=run.data.test_transform)
    found = gates.collect(run.model, loader)
    figure.save(by_stage(found, divisions_of(run.data.test)), path)
