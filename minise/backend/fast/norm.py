"""BatchNorm, alone or with the ReLU that follows it.

Three sweeps over memory forward and five backward would be nine and eleven with whole arrays. The
normalised x̂ is not kept: backward makes it again from x, which the convolution before it gave.
"""

from __future__ import annotations

from typing import Any

import numpy

from .. import threads
from .elementwise import as_channels_last, pass_where_positive
from .layout import SMALL, like, per_channel, per_pixel, rows_of, stretches, suits

Array = Any


def forward(op: Any, x: Array, weight: Array, bias: Array) -> Array:
    """See minise.ops.norm.BatchNorm and BatchNormReLU."""
    if not suits(x):
        op.fast_backward = None
        return op.forward(x, weight, bias)
    op.x, op.weight, op.count = x, weight, x.size // x.shape[1]
    if op.from_batch:
        op.mean, op.var = moments(x)
    op.inverse_std = 1 / numpy.sqrt(op.var + op.eps)  # (C,)
    rectified = op.name == "batch_norm_relu"
    y = like(x)
    source, target = rows_of(x), rows_of(y)
    # y = γ · (x - mean) / std + β, as one product and one sum
    slope = weight * op.inverse_std
    scale, shift = per_pixel(slope, source), per_pixel(bias - op.mean * slope, source)

    def compute(first: int, last: int) -> None:
        for part in stretches(first, last, source.shape[1]):
            out = target[part]
            numpy.multiply(source[part], scale, out=out)
            numpy.add(out, shift, out=out)
            if rectified:
                numpy.maximum(out, 0, out=out)

    threads.share(compute, len(source), parallel=x.size > SMALL)
    op.y = y if rectified else None
    return y


def moments(x: Array) -> tuple[Array, Array]:
    """Mean and variance (C,) of each channel of x, read once.

    Each stretch gives its own mean and the sum of squares around it, which loses no digits; the
    stretches are combined as in Chan, Golub, LeVeque (1983), equation 1.5.
    """
    rows, C = rows_of(x), x.shape[1]

    def compute(first: int, last: int) -> list[tuple[int, Array, Array]]:
        found = []
        for part in stretches(first, last, rows.shape[1]):
            values = rows[part]
            count = values.size // C
            mean = per_channel(values.sum(axis=0), C) / count
            centred = threads.scratch("centred", values.shape, x.dtype)
            numpy.subtract(values, per_pixel(mean.astype(x.dtype), rows), out=centred)
            numpy.multiply(centred, centred, out=centred)
            found.append((count, mean, per_channel(centred.sum(axis=0), C)))
        return found

    found = [piece for share in threads.share(compute, len(rows), x.size > SMALL) for piece in share]
    total = sum(count for count, _, _ in found)
    mean = sum(count * mean for count, mean, _ in found) / total
    squares = sum(own + count * (its - mean) ** 2 for count, its, own in found)
    return mean.astype(x.dtype), (squares / total).astype(x.dtype)


def backward(op: Any, grad: Array) -> tuple[Array, Array, Array]:
    grad = as_channels_last(grad)
    C = grad.shape[1]
    dx = like(grad)
    dy, x, out = rows_of(grad), rows_of(op.x), rows_of(dx)
    y = None if op.y is None else rows_of(op.y)
    length, parallel = dy.shape[1], grad.size > SMALL
    mean = per_pixel(op.mean, x)

    def sums(first: int, last: int) -> tuple[Array, Array]:
        """Σ dy and Σ dy · (x - mean); leaves in `out` what ReLU lets through of dy."""
        dbias = numpy.zeros(C)
        dscale = numpy.zeros(C)
        for part in stretches(first, last, length):
            incoming = dy[part]
            if y is not None:
                pass_where_positive(incoming, y[part], out[part])
                incoming = out[part]
            dbias += per_channel(incoming.sum(axis=0), C)
            centred = threads.scratch("centred", incoming.shape, incoming.dtype)
            numpy.subtract(x[part], mean, out=centred)
            numpy.multiply(centred, incoming, out=centred)
            dscale += per_channel(centred.sum(axis=0), C)
        return dbias, dscale

    found = threads.share(sums, len(dy), parallel)
    dbias = sum(dbias for dbias, _ in found)
    dweight = sum(dscale for _, dscale in found) * op.inverse_std
    slope = op.weight * op.inverse_std  # (C,)
    scale = per_pixel(slope, dy)
    if op.from_batch:  # dx = slope · (dy - mean(dy) - x̂ · mean(dy · x̂)), as dy·a - x·b + c
        b = slope * op.inverse_std * dweight / op.count
        x_scale = per_pixel(b.astype(grad.dtype), dy)
        shift = per_pixel((op.mean * b - slope * dbias / op.count).astype(grad.dtype), dy)

    def compute(first: int, last: int) -> None:
        for part in stretches(first, last, length):
            numpy.multiply(dy[part] if y is None else out[part], scale, out=out[part])
            if op.from_batch:
                from_x = threads.scratch("centred", out[part].shape, grad.dtype)
                numpy.multiply(x[part], x_scale, out=from_x)
                numpy.subtract(from_x, shift, out=from_x)
                numpy.subtract(out[part], from_x, out=out[part])

    threads.share(compute, len(dy), parallel)
    return dx, dweight.astype(grad.dtype), dbias.astype(grad.dtype)
