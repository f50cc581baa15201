"""The two ops of cross-entropy, and the check of its labels: see loss.cu."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy

from ...registry import Kernel
from .launch import ROWS, THREADS, are_supported, blocks_for, launch

Array = Any


def log_softmax_suits(op: Any, x: Array) -> bool:
    """Along the last axis."""
    return x.ndim > 0 and op.axis in (-1, x.ndim - 1) and are_supported(x)


def log_softmax(op: Any, x: Array) -> Array:
    """See minise.ops.activation.LogSoftmax: along the last axis."""
    op.y = op.xp.empty(x.shape, dtype=x.dtype)
    C = x.shape[-1]
    rows = x.size // C
    x = op.xp.ascontiguousarray(x)
    launch("log_softmax_forward", x.dtype, (blocks_for(rows, ROWS),), x, op.y, rows, C)
    return op.y


def log_softmax_backward(op: Any, grad: Array) -> Array:
    dx = op.xp.empty(grad.shape, dtype=grad.dtype)
    dy, C = op.xp.ascontiguousarray(grad), grad.shape[-1]
    rows = dx.size // C
    launch("log_softmax_backward", dx.dtype, (blocks_for(rows, ROWS),), dy, op.y, dx, rows, C)
    return dx


def nll_loss_suits(op: Any, x: Array, labels: Array, weight: Array) -> bool:
    """For (N, C)."""
    return x.ndim == 2 and are_supported(x, weight)


def nll_loss(op: Any, x: Array, labels: Array, weight: Array) -> Array:
    """See minise.ops.loss.NLLLoss: for x (N, C)."""
    N, C = op.shape = x.shape
    op.labels, op.weight = as_int64(op.xp, labels), op.xp.ascontiguousarray(weight)
    y = op.xp.empty(N, dtype=x.dtype)
    x, ignored = op.xp.ascontiguousarray(x), numpy.int64(op.ignore_index)
    launch(
        "nll_forward", x.dtype, (blocks_for(N, THREADS),), x, op.labels, op.weight, y, N, C, ignored
    )
    return y


def nll_loss_backward(op: Any, grad: Array) -> tuple[Array, None, None]:
    N, C = op.shape
    dx = op.xp.empty(op.shape, dtype=grad.dtype)
    dy, ignored = op.xp.ascontiguousarray(grad), numpy.int64(op.ignore_index)
    launch(
        "nll_backward", dx.dtype, (blocks_for(N * C, THREADS),),
        dy, op.labels, op.weight, dx, N, C, ignored,
    )  # fmt: skip
    return dx, None, None


def as_int64(xp: Any, labels: Array) -> Array:
    """Labels as the kernels read them."""
    return xp.ascontiguousarray(labels.astype(numpy.int64, copy=False))


KERNELS = {
    "log_softmax": Kernel(log_softmax_suits, log_softmax, log_softmax_backward),
    "nll_loss": Kernel(nll_loss_suits, nll_loss, nll_loss_backward),
}


class LabelCheck:
    """Looks for wrong labels on the GPU, and says so when somebody reads a value from there.

    To raise at once, the host would have to wait for the GPU in every step. A wrong label makes its
    loss NaN, so that nothing goes wrong silently in between.
    """

    NOTHING = 2**62  # more than any other value

    def __init__(self, xp: Any, to_numpy: Callable[[Array], numpy.ndarray]) -> None:
        self.xp, self.to_numpy = xp, to_numpy
        self.found: Array = None  # one number: see `check_labels` in loss.cu
        self.names: dict[int, str] = {}  # who asked, by the number of classes

    def check(self, name: str, labels: Array, classes: int, ignored: int) -> None:
        """`name` is the function whose labels they are."""
        if self.found is None:
            self.found = self.xp.full(1, self.NOTHING, dtype=numpy.uint64)
        self.names[classes] = name
        labels = as_int64(self.xp, labels)
        if labels.size:
            launch(
                "check_labels", numpy.dtype(numpy.float32), (blocks_for(labels.size, THREADS),),
                labels, self.found, labels.size, classes, numpy.int64(ignored),
            )  # fmt: skip

    def raise_if_wrong(self) -> None:
        """IndexError if a label was wrong since the last look."""
        if self.found is None:
            return
        found = int(self.to_numpy(self.found)[0])
        if found == self.NOTHING:
            return
        self.found.fill(self.NOTHING)
        classes, label = found >> 32, int(numpy.uint32(found & 0xFFFFFFFF).view(numpy.int32))
        beyond = {2**31 - 1: " or more", -(2**31): " or less"}.get(label, "")
        raise IndexError(
            f"{self.names[classes]}: labels must lie in [0, {classes - 1}], got {label}{beyond}"
        )
