"""One update of the weights: forward, backward, step of the optimizer."""

from __future__ import annotations

import numpy

from .. import backend
from .. import functional as F
from ..autograd import Array
from ..nn import Module
from ..optim import Optimizer
from ..tensor import Tensor

Result = tuple[Array, Array]  # mean loss and number of hits, as arrays of the device


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
