"""Max pooling, a few images at a time and in channels-last memory."""

from __future__ import annotations

from typing import Any

import numpy

from .. import memory, threads
from .elementwise import pass_where
from .layout import SMALL, as_channels_last, channels_first, like, stretch_of_images, suits

Array = Any


def max_pool(op: Any, x: Array) -> Array:
    """See minise.ops.pool.MaxPool2d, whose rules for equal values and NaN hold here too."""
    taps = op.taps(x.shape)
    if not suits(x) or len(taps) > 255:
        op.fast_backward = None
        return op.forward(x)
    op.shape = x.shape
    N, C, _, _ = x.shape
    P, Q = op.output_size(x.shape)
    y = memory.empty((N, P, Q, C), x.dtype)
    op.winner = memory.empty((N, P, Q, C), numpy.uint8)
    pixels = x.transpose(0, 2, 3, 1)

    def compute(first: int, last: int) -> None:
        seen = bordered(op, pixels[first:last])
        best, winner = y[first:last], op.winner[first:last]
        better, is_nan = threads.scratch("better", (2, *best.shape), bool)
        numpy.copyto(best, seen[:, taps[0][0], taps[0][1]])
        winner.fill(0)
        for k, (h, w) in enumerate(taps[1:], start=1):
            values = seen[:, h, w]
            numpy.greater(values, best, out=better)
            numpy.not_equal(values, values, out=is_nan)
            numpy.logical_or(better, is_nan, out=better)
            numpy.maximum(best, values, out=best)
            # The later tap has the greater number, so a maximum puts it where it is better.
            places = numpy.multiply(better.view(numpy.uint8), numpy.uint8(k), out=is_nan.view("u1"))
            numpy.maximum(winner, places, out=winner)

    threads.share(compute, N, step=stretch_of_images(x), parallel=x.size > SMALL)
    return channels_first(y)


def max_pool_backward(op: Any, grad: Array) -> Array:
    N, C, H, W = op.shape
    taps = op.taps(op.shape)
    (top, bottom), (left, right) = op.border(op.shape)
    dx = like(numpy.broadcast_to(grad[:1, :1, :1, :1], op.shape))
    pixels, dy = (a.transpose(0, 2, 3, 1) for a in (dx, as_channels_last(grad)))

    def compute(first: int, last: int) -> None:
        shape = (last - first, H + top + bottom, W + left + right, C)
        padded = pixels[first:last]
        if padded.shape != shape:
            padded = threads.scratch("padded", shape, grad.dtype)
        padded.fill(0)
        incoming, winner = dy[first:last], op.winner[first:last]
        part = threads.scratch("part", incoming.shape, grad.dtype)
        passes = threads.scratch("better", incoming.shape, bool)
        for k, (h, w) in enumerate(taps):
            pass_where(numpy.equal(winner, k, out=passes), incoming, part)
            padded[:, h, w] += part
        if padded.shape != pixels[first:last].shape:
            pixels[first:last] = padded[:, top : top + H, left : left + W]

    threads.share(compute, N, step=stretch_of_images(dx), parallel=dx.size > SMALL)
    return dx


def bordered(op: Any, x: Array) -> Array:
    """x (n, H, W, C) with the border that the windows see, which loses against every number."""
    (top, bottom), (left, right) = op.border(op.shape)
    if not (top or bottom or left or right):
        return x
    n, H, W, C = x.shape
    padded = threads.scratch("padded", (n, H + top + bottom, W + left + right, C), x.dtype)
    padded.fill(-numpy.inf)
    padded[:, top : top + H, left : left + W] = x
    return padded
