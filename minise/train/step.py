"""One update of the weights: asked of the device op by op, or recorded once and replayed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy

from .. import backend
from .. import functional as F
from ..autograd import Array, Tensor
from ..backend import CaptureError
from ..nn import Module
from ..optim import Optimizer

Result = tuple[Array, Array]  # mean loss and number of hits, as arrays of the device

WARM_UP = 3  # steps before the recording: kernels are compiled, momentum and memory are there


class TrainingStep:
    """Forward, backward, update. Does not wait for the device.

    model, optimizer   of the same parameters, all on one backend
    classes            how many there are
    label_smoothing    of the cross-entropy
    """

    def __init__(
        self, model: Module, optimizer: Optimizer, classes: int, label_smoothing: float = 0.0
    ) -> None:
        self.model, self.optimizer = model, optimizer
        self.classes, self.label_smoothing = classes, label_smoothing
        self.home = backend.get(next(model.parameters()).backend)

    def __call__(self, images: numpy.ndarray, labels: numpy.ndarray) -> Result:
        """images (N, C, H, W) and labels (N,) of the host; IndexError if a label is no class."""
        self.check(labels)
        return self.update(*(Tensor(self.home.as_array(array)) for array in (images, labels)))

    def check(self, labels: numpy.ndarray) -> None:
        """Here, on the host; to look at labels on a device would mean to wait for it."""
        if labels.min() < 0 or labels.max() >= self.classes:
            raise IndexError(
                f"training: labels must lie in [0, {self.classes - 1}], "
                f"got {labels.min()} to {labels.max()}"
            )

    def update(self, x: Tensor, target: Tensor) -> Result:
        """The same with checked labels and arrays of the device."""
        logits = self.model(x)  # (N, classes)
        loss = F.cross_entropy(logits, target, label_smoothing=self.label_smoothing, check=False)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.data, (logits.data.argmax(axis=1) == target.data).sum()


class CapturedStep:
    """The same step, recorded for batches of one shape and then replayed; see backend/capture.py.

    Batches of another shape, such as the last one of an epoch, and the first few steps run like
    `TrainingStep`. Where the step cannot be recorded, all of them do.

    step   what to record; its backend has a recorder
    say    is called with one line that says why the step could not be recorded
    """

    def __init__(self, step: TrainingStep, say: Callable[[str], Any] = print) -> None:
        assert step.home.recorder is not None
        self.step, self.say = step, say
        self.recorder = step.home.recorder()
        self.seen: Counter[tuple[int, ...]] = Counter()  # batches so far, by their shape
        self.refused = False
        self.batch: tuple[Tensor, ...] | None = None  # what the recorded step reads; None: no step
        self.result: tuple[Array, ...] = ()  # what it writes
        self.known: tuple[Any, ...] = ()  # what it was recorded with

    def __call__(self, images: numpy.ndarray, labels: numpy.ndarray) -> Result:
        """As `TrainingStep`."""
        self.step.check(labels)
        with self.recorder.stream():
            self.step.optimizer.send_rates()
            if self.batch and not self.is_up_to_date():
                self.batch = None
                self.seen.clear()  # warm up again: there may be arrays to make
            if self.batch and self.batch[0].shape != images.shape:
                return self.step(images, labels)
            if not self.refused:
                self.seen[images.shape] += 1
                if self.seen[images.shape] == WARM_UP:  # its kernels are compiled in this step
                    self.step.optimizer.make_capturable()
                if self.seen[images.shape] > WARM_UP and self.batch is None:
                    self.record(images, labels)
                if self.batch:
                    return self.replay(images, labels)
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
        """Record the step on arrays of its own; where that fails, say so and never try again."""
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
        """Send a batch to the arrays of the recorded step and run it."""
        for source, tensor in zip((images, labels), self.batch or ()):
            self.recorder.send(source, tensor.data)
        self.recorder.replay()
        loss, correct = (array.copy() for array in self.result)
        return loss, correct


def captured_if_possible(
    step: TrainingStep, say: Callable[[str], Any] = print
) -> TrainingStep | CapturedStep:
    """`step`, captured where its backend can do that."""
    return step if step.home.recorder is None else CapturedStep(step, say)
