"""BatchNorm, alone or with the ReLU that follows it.

Whole arrays would travel through memory once for every operation of the formulas. Here the
operations of a sweep follow each other on a stretch that is still in the cache, and the normalised
x̂ is not kept: backward makes it again from x, which the convolution before it gave.
"""

from __future__ import annotations

from typing import Any

import numpy

from ...registry import Kernel
from .. import threads
from .elementwise import pass_where_positive, rectify
from .layout import (
    SMALL,
    are_channels_last,
    as_channels_last,
    like,
    per_channel,
    per_pixel,
    rows_of,
    stretch,
)

Array = Any

DIGIT = 10  # mean² up to so many times the variance is subtracted from mean(x²) without harm


def suits(op: Any, x: Array, weight: Array, bias: Array) -> bool:
    """Channels-last images."""
    return are_channels_last(x)


def forward(op: Any, x: Array, weight: Array, bias: Array) -> Array:
    """See minise.ops.norm.BatchNorm and BatchNormReLU."""
    op.x, op.weight, op.count = x, weight, x.size // x.shape[1]
    if op.from_batch:
        op.mean, op.var = moments(x)
        op.update_running()
    op.inverse_std = 1 / numpy.sqrt(op.var + op.eps)  # (C,)
    y = like(x)
    source, target = rows_of(x), rows_of(y)
    # y = γ · (x - mean) / std + β, as one product and one sum
    slope = weight * op.inverse_std
    scale, shift = per_pixel(slope, source), per_pixel(bias - op.mean * slope, source)

    def compute(first: int, last: int) -> None:
        out = target[first:last]
        numpy.multiply(source[first:last], scale, out=out)
        numpy.add(out, shift, out=out)
        if op.rectifies:
            rectify(out, out)

    threads.share(compute, len(source), step=stretch(source), parallel=x.size > SMALL)
    op.y = y if op.rectifies else None
    return y


def moments(x: Array) -> tuple[Array, Array]:
    """Mean and variance (C,) of each channel of x, in one reading of it where that is exact enough.

    var = mean(x²) - mean² loses the digits that the two have in common. Where they are more than
    one, the sums are taken again of x less its mean (Chan, Golub, LeVeque 1983, section 3).
    """
    mean, var = moments_around(None, x)
    if (mean * mean > DIGIT * var).any():
        pivot = mean.astype(x.dtype)
        mean, var = moments_around(pivot, x)
        mean += pivot
    return mean.astype(x.dtype), numpy.maximum(var, 0).astype(x.dtype)


def moments_around(pivot: Array | None, x: Array) -> tuple[Array, Array]:
    """Mean and variance in float64 of x - pivot (C,), which is x itself for None."""
    rows, C = rows_of(x), x.shape[1]
    pivots = None if pivot is None else per_pixel(pivot, rows)

    def compute(first: int, last: int) -> tuple[Array, Array]:
        values = rows[first:last]
        if pivots is not None:
            shifted = threads.scratch("shifted", values.shape, x.dtype)
            values = numpy.subtract(values, pivots, out=shifted)
        return numpy.add.reduce(values, axis=0), numpy.einsum("ij,ij->j", values, values)

    found = threads.share(compute, len(rows), step=stretch(rows), parallel=x.size > SMALL)
    sums, squares = (per_channel(parts, C) * C / x.size for parts in zip(*found))
    return sums, squares - sums * sums


def backward(op: Any, grad: Array) -> tuple[Array, Array, Array]:
    grad = as_channels_last(grad)
    C = grad.shape[1]
    dx = like(grad)
    dy, x, out = rows_of(grad), rows_of(op.x), rows_of(dx)
    y = None if op.y is None else rows_of(op.y)
    parallel = grad.size > SMALL
    mean = per_pixel(op.mean, x)
    off_centre = bool((op.mean * op.mean > DIGIT * op.var).any())  # see `moments`

    def sums(first: int, last: int) -> tuple[Array, Array]:
        """Σ dy, and Σ dy · (x - mean) or Σ dy · x; leaves in `out` what ReLU lets through of dy."""
        incoming, values = dy[first:last], x[first:last]
        if y is not None:
            pass_where_positive(incoming, y[first:last], out[first:last])
            incoming = out[first:last]
        if off_centre:
            shifted = threads.scratch("shifted", values.shape, values.dtype)
            values = numpy.subtract(values, mean, out=shifted)
        return numpy.add.reduce(incoming, axis=0), numpy.einsum("ij,ij->j", values, incoming)

    found = threads.share(sums, len(dy), step=stretch(dy), parallel=parallel)
    dbias, dweight = (per_channel(parts, C) for parts in zip(*found))
    if not off_centre:
        dweight = dweight - op.mean * dbias
    dweight = dweight * op.inverse_std
    slope = op.weight * op.inverse_std  # (C,)
    scale = per_pixel(slope, dy)
    if op.from_batch:  # dx = slope · (dy - mean(dy) - x̂ · mean(dy · x̂)), as dy·a - x·b + c
        b = slope * op.inverse_std * dweight / op.count
        x_scale = per_pixel(b.astype(grad.dtype), dy)
        shift = per_pixel((op.mean * b - slope * dbias / op.count).astype(grad.dtype), dy)

    def compute(first: int, last: int) -> None:
        part = slice(first, last)
        numpy.multiply(dy[part] if y is None else out[part], scale, out=out[part])
        if op.from_batch:
            from_x = threads.scratch("shifted", out[part].shape, grad.dtype)
            numpy.multiply(x[part], x_scale, out=from_x)
            numpy.subtract(from_x, shift, out=from_x)
            numpy.subtract(out[part], from_x, out=out[part])

    threads.share(compute, len(dy), step=stretch(dy), parallel=parallel)
    return dx, dweight.astype(grad.dtype), dbias.astype(grad.dtype)


KERNELS = {name: Kernel(suits, forward, backward) for name in ("batch_norm", "batch_norm_relu")}
