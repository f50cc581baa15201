"""The two ops of cross-entropy for one label per row: log-softmax, and the pick of the label.

A row holds the C numbers of one image.
"""

from __future__ import annotations

from typing import Any

import numpy

from ...registry import Kernel
from .. import memory, threads
from .layout import SMALL, stretch

Array = Any


def log_softmax_suits(op: Any, x: Array) -> bool:
    """Along C of an (N, C) that is worth the trouble."""
    return op.axis in (-1, 1) and is_matrix(x) and x.size > SMALL


def log_softmax(op: Any, x: Array) -> Array:
    """See minise.ops.activation.LogSoftmax: for x (N, C) along C.

    It goes over a row five times, here while the row is in the cache. Few numbers are there anyway.
    """
    op.y = memory.empty(x.shape, x.dtype)

    def compute(first: int, last: int) -> None:
        values, y = x[first:last], op.y[first:last]
        numpy.subtract(values, values.max(axis=1, keepdims=True), out=y)  # no e^x overflows
        e = numpy.exp(y, out=threads.scratch("exponentials", y.shape, y.dtype))
        numpy.subtract(y, numpy.log(e.sum(axis=1, keepdims=True)), out=y)

    threads.share(compute, len(x), step=stretch(x))
    return op.y


def log_softmax_backward(op: Any, grad: Array) -> Array:
    dx = memory.empty(grad.shape, grad.dtype)

    def compute(first: int, last: int) -> None:
        dy, out = grad[first:last], dx[first:last]
        numpy.exp(op.y[first:last], out=out)
        numpy.multiply(out, dy.sum(axis=1, keepdims=True), out=out)
        numpy.subtract(dy, out, out=out)

    threads.share(compute, len(dx), step=stretch(dx))
    return dx


def nll_loss_suits(op: Any, x: Array, labels: Array, weight: Array) -> bool:
    """For (N, C)."""
    return is_matrix(x)


def nll_loss(op: Any, x: Array, labels: Array, weight: Array) -> Array:
    """See minise.ops.loss.NLLLoss: for x (N, C), of which it reads one number per label."""
    N, C = op.shape = x.shape
    op.rows = numpy.flatnonzero(labels != op.ignore_index)
    picked = labels[op.rows].astype(numpy.intp, copy=False)
    op.places = op.rows * C + picked  # in the N · C numbers
    op.coefficients = -weight[picked]
    y = numpy.zeros(N, x.dtype)
    y[op.rows] = op.coefficients * x.reshape(-1)[op.places]
    return y


def nll_loss_backward(op: Any, grad: Array) -> tuple[Array, None, None]:
    dx = memory.empty(op.shape, grad.dtype)
    dx.fill(0)
    dx.reshape(-1)[op.places] = op.coefficients * grad[op.rows]
    return dx, None, None


def is_matrix(x: Array) -> bool:
    """Whether x is a contiguous (N, C) of float32 or float64, and not empty."""
    real = x.dtype in (numpy.float32, numpy.float64)
    return real and x.ndim == 2 and x.size > 0 and x.flags.c_contiguous


KERNELS = {
    "log_softmax": Kernel(log_softmax_suits, log_softmax, log_softmax_backward),
    "nll_loss": Kernel(nll_loss_suits, nll_loss, nll_loss_backward),
}
