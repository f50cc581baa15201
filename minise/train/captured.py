"""A training step recorded once and then replayed, without Python: see backend/capture.py."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy

from .. import backend
from ..autograd import Array
from ..backend import CaptureError
from ..optim.capturable import Capturable
from ..tensor import Tensor
from .step import Result, TrainingStep

WARM_UP = 3  # steps before the recording: kernels are compiled, momentum and memory are there


class CapturedStep:
    """A `Step`, recorded for batches of one shape and then replayed.

    Batches of another shape, such as the last one of an epoch, and the first few steps run like
    `Step`. Where the step cannot be recorded, all of them do.

    step   what to record; its backend has a recorder
    say    is called with one line that says why the step could not be recorded
    """

    def __init__(self, step: TrainingStep, say: Callable[[str], Any] = print) -> None:
        assert step.home.recorder is not None
        self.step, self.say = step, say
        self.recorder = step.home.recorder()
        self.optimizer = Capturable(step.optimizer)
        self.seen: Counter[tuple[int, ...]] = Counter()  # batches so far, by their shape
        self.refused = False
        self.batch: tuple[Tensor, ...] | None = None  # what the recorded step reads; None: no step
        self.result: tuple[Array, ...] = ()  # what it writes
        self.known: tuple[Any, ...] = ()  # what it was recorded with

    def __call__(self, images: numpy.ndarray, labels: numpy.ndarray) -> Result:
        """As `Step`."""
        self.step.check(labels)
        with self.recorder.stream():
            if self.batch and not self.is_up_to_date():
                self.batch = None
                self.seen.clear()  # warm up again: there may be arrays to make
            if not self.batch and not self.refused:
                self.seen[images.shape] += 1
                if self.seen[images.shape] >= WARM_UP:  # from the last step before the recording on
                    self.optimizer.prepare()
            with self.optimizer.rates_on_device():
                return self.run(images, labels)

    def run(self, images: numpy.ndarray, labels: numpy.ndarray) -> Result:
        """Replay the step, or run it op by op; the first one after the warm-up is recorded."""
        if not self.batch and not self.refused and self.seen[images.shape] > WARM_UP:
            self.record(images, labels)
        if self.batch and self.batch[0].shape == images.shape:
            return self.replay(images, labels)
        if self.batch:
            return self.step(images, labels)
        # A refused step goes on in the memory of the warm-up, which nobody else would get.
        return self.recorder.warm_up(lambda: self.step(images, labels))

    def is_up_to_date(self) -> bool:
        """False if TF32 was switched, or the optimizer was given other options (but for the
        learning rate) or state."""
        state, options, tf32 = self.known
        same = options == self.options() and tf32 == backend.using_tf32()
        return same and state is self.step.optimizer.state

    def options(self) -> list[dict[str, Any]]:
        """What is recorded as numbers, by parameter group."""
        groups = self.step.optimizer.param_groups
        return [{k: v for k, v in group.items() if k not in ("params", "lr")} for group in groups]

    def record(self, images: numpy.ndarray, labels: numpy.ndarray) -> None:
        """Record the step for batches like this one, or say why that is refused."""
        step = self.step
        batch = tuple(Tensor(step.home.as_array(array)) for array in (images, labels))
        try:
            self.result = self.recorder.record(lambda: step.update(*batch))
        except CaptureError as error:
            self.batch, self.refused = None, True
            self.say(f"training op by op, the step cannot be captured as a CUDA graph: {error}")
        else:
            self.batch = batch
            self.known = step.optimizer.state, self.options(), backend.using_tf32()

    def replay(self, images: numpy.ndarray, labels: numpy.ndarray) -> Result:
        """The recorded step for this batch."""
        for source, tensor in zip((images, labels), self.batch or ()):
            self.recorder.send(source, tensor.data)
        self.recorder.replay()
        loss, correct = (array.copy() for array in self.result)
        return loss, correct


def capture_if_possible(
    step: TrainingStep, say: Callable[[str], Any] = print
) -> TrainingStep | CapturedStep:
    """`step`, captured where its backend can do that."""
    return step if step.home.recorder is None else CapturedStep(step, say)
