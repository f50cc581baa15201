"""ReLU and sums, a cache-full at a time and on all cores."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy

from ...registry import Kernel
from .. import threads
from .layout import (
    SMALL,
    along_rows,
    are_channels_last,
    as_channels_last,
    by_image,
    like,
    rows_of,
    stretch,
    stretch_of_images,
)

Array = Any


def suits(op: Any, *arrays: Array) -> bool:
    """Channels-last images, all of one shape."""
    return are_channels_last(*arrays) and all(x.shape == arrays[0].shape for x in arrays)


def relu(op: Any, x: Array) -> Array:
    """See minise.ops.activation.ReLU."""
    op.y = like(x)
    source, target = rows_of(x), rows_of(op.y)

    def compute(first: int, last: int) -> None:
        rectify(source[first:last], target[first:last])

    threads.share(compute, len(source), step=stretch(source), parallel=x.size > SMALL)
    return op.y


def relu_backward(op: Any, grad: Array) -> Array:
    grad = as_channels_last(grad)
    dx = like(grad)
    dy, y, out = rows_of(grad), rows_of(op.y), rows_of(dx)

    def compute(first: int, last: int) -> None:
        pass_where_positive(dy[first:last], y[first:last], out[first:last])

    threads.share(compute, len(dy), step=stretch(dy), parallel=grad.size > SMALL)
    return dx


def elu(op: Any, x: Array) -> Array:
    """See minise.ops.activation.ELU: max(x, 0) + α · (e^min(x, 0) - 1)."""
    op.x, y = x, like(x)
    source, target = rows_of(x), rows_of(y)

    def compute(first: int, last: int) -> None:
        values, out = source[first:last], target[first:last]
        below = numpy.minimum(values, 0, out=threads.scratch("below", values.shape, x.dtype))
        numpy.multiply(numpy.expm1(below, out=below), op.alpha, out=below)
        rectify(values, out)
        numpy.add(out, below, out=out)

    threads.share(compute, len(source), step=stretch(source), parallel=x.size > SMALL)
    return y


def elu_backward(op: Any, grad: Array) -> Array:
    grad = as_channels_last(grad)
    dx = like(grad)
    dy, x, out = rows_of(grad), rows_of(op.x), rows_of(dx)

    def compute(first: int, last: int) -> None:
        values, slope = x[first:last], out[first:last]
        numpy.exp(numpy.minimum(values, 0, out=slope), out=slope)
        numpy.multiply(slope, op.alpha, out=slope)
        above = numpy.less_equal(values, 0, out=threads.scratch("passes", values.shape, bool))
        numpy.copyto(slope, 1, where=numpy.logical_not(above, out=above))  # or not a number
        numpy.multiply(dy[first:last], slope, out=slope)

    threads.share(compute, len(dy), step=stretch(dy), parallel=grad.size > SMALL)
    return dx


def add_relu(op: Any, a: Array, b: Array) -> Array:
    """See minise.ops.fused.AddReLU."""
    op.y = like(a)
    A, B, target = rows_of(a), rows_of(b), rows_of(op.y)

    def compute(first: int, last: int) -> None:
        sums = target[first:last]
        numpy.add(A[first:last], B[first:last], out=sums)
        rectify(sums, sums)

    threads.share(compute, len(A), step=stretch(A), parallel=a.size > SMALL)
    return op.y


def add_relu_backward(op: Any, grad: Array) -> tuple[Array, Array]:
    dy = relu_backward(op, grad)
    return dy, dy


def rectify(x: Array, out: Array) -> None:
    """out = max(x, 0). With the number 0 for a row of zeros, NumPy takes three times as long."""
    numpy.maximum(x, zeros(x.shape[-1], x.dtype), out=out)


@cache
def zeros(length: int, dtype: numpy.dtype) -> Array:
    """A row of zeros to compare with."""
    return numpy.zeros(length, dtype)


def pass_where_positive(dy: Array, y: Array, out: Array) -> None:
    """out = dy where y, the output of a ReLU, is not 0, else 0."""
    pass_where(numpy.not_equal(y, 0, out=threads.scratch("passes", y.shape, bool)), dy, out)


def pass_where(passes: Array, dy: Array, out: Array) -> None:
    """out = dy where `passes` is true, else 0.

    `numpy.where` takes twenty times as long. Multiplying the bit pattern of dy, read as an integer,
    by 0 or 1 is exact for every number, NaN and infinity included.
    """
    integer = numpy.int32 if dy.dtype == numpy.float32 else numpy.int64
    numpy.multiply(dy.view(integer), passes.view(numpy.int8), out=out.view(integer))


def add(a: Array, b: Array) -> Array:
    """a + b, for the gradients of a tensor that has several uses.

    b may be constant over the pixels of each channel, (N, C, H, W) broadcast from (N, C, 1, 1), as
    the gradient of SE's squeeze is.
    """
    if a.ndim != 4 or not are_channels_last(a) or a.dtype != b.dtype or a.shape != b.shape:
        return a + b
    if b.strides[2:] == (0, 0) and b.shape[2] * b.shape[3] > 1:
        return add_per_channel(a, b[:, :, :1, :1])
    if not are_channels_last(b):
        return a + b
    total = like(a)
    A, B, out = rows_of(a), rows_of(b), rows_of(total)

    def compute(first: int, last: int) -> None:
        numpy.add(A[first:last], B[first:last], out=out[first:last])

    threads.share(compute, len(A), step=stretch(A), parallel=a.size > SMALL)
    return total


def add_per_channel(a: Array, b: Array) -> Array:
    """a (N, C, H, W) + b (N, C, 1, 1)."""
    total = like(a)
    A, out = by_image(a), by_image(total)
    B = along_rows(b, A.shape[2])

    def compute(first: int, last: int) -> None:
        numpy.add(A[first:last], B[first:last], out=out[first:last])

    threads.share(compute, len(a), step=stretch_of_images(a), parallel=a.size > SMALL)
    return total


KERNELS = {
    "relu": Kernel(suits, relu, relu_backward),
    "elu": Kernel(suits, elu, elu_backward),
    "add_relu": Kernel(suits, add_relu, add_relu_backward),
}
