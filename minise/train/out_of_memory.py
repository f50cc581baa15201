"""What to say when a batch does not fit into the memory of a device."""

from __future__ import annotations

from collections.abc import Callable

import numpy

from ..backend.gpu.memory import sentence
from .captured import CapturedStep
from .step import Result, TrainingStep


def guarded(step: TrainingStep, captured: TrainingStep | CapturedStep) -> Callable[..., Result]:
    """`captured`, whose MemoryError says how much was asked, used and free, and what would fit."""
    memory = step.home.memory
    if memory is None:  # the system's memory: it swaps, and knows no limit of its own
        return captured

    def run(images: numpy.ndarray, labels: numpy.ndarray) -> Result:
        try:
            return captured(images, labels)
        except MemoryError as error:
            figures = sentence(error, memory(), f"a batch of {len(images)}")
        # Out here the error is gone, and with it the frames that held on to the arrays.
        raise MemoryError(f"{figures}; {advice(step, captured, images, labels)}")

    return run


def advice(
    step: TrainingStep, captured: TrainingStep | CapturedStep,
    images: numpy.ndarray, labels: numpy.ndarray,
) -> str:  # fmt: skip
    """The largest half, quarter, ... of the batch with which a step works, by trying."""
    size = len(images) // 2
    while size >= 2:
        step.optimizer.zero_grad()
        try:
            # It spoils the weights of a run that is over anyway.
            captured(images[:size], labels[:size])
        except MemoryError:
            size //= 2
        else:
            return f"a batch of {size} fits"
    return "not even a batch of 2 fits"
