"""Maximum and average of windows, a few images at a time and in channels-last memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy

from ...registry import Kernel
from .. import memory, threads
from .elementwise import pass_where
from .layout import (
    SMALL,
    are_channels_last,
    as_channels_last,
    channels_first,
    like,
    stretch_of_images,
)

Array = Any


def max_pool_suits(op: Any, x: Array) -> bool:
    """Channels-last images, windows of at most 255 pixels."""
    R, S = op.kernel_size
    return are_channels_last(x) and R * S <= 255  # the winner of a window is kept in a byte


def max_pool(op: Any, x: Array) -> Array:
    """See minise.ops.pool.MaxPool2d, whose rules for equal values and NaN hold here too."""
    taps = op.taps(x.shape)
    op.shape = x.shape
    N, C, _, _ = x.shape
    P, Q = op.output_size(x.shape)
    y = memory.empty((N, P, Q, C), x.dtype)
    op.winner = memory.empty((N, P, Q, C), numpy.uint8)
    pixels = x.transpose(0, 2, 3, 1)

    def compute(first: int, last: int) -> None:
        seen = bordered(op, pixels[first:last], -numpy.inf)  # it loses against every number
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
    taps = op.taps(op.shape)
    dx = like(numpy.broadcast_to(grad[:1, :1, :1, :1], op.shape))
    pixels, dy = (a.transpose(0, 2, 3, 1) for a in (dx, as_channels_last(grad)))

    def compute(first: int, last: int) -> None:
        images, incoming, winner = (a[first:last] for a in (pixels, dy, op.winner))
        padded = with_border(op, images)
        padded.fill(0)
        part = threads.scratch("part", incoming.shape, grad.dtype)
        passes = threads.scratch("better", incoming.shape, bool)
        for k, (h, w) in enumerate(taps):
            pass_where(numpy.equal(winner, k, out=passes), incoming, part)
            padded[:, h, w] += part
        if padded is not images:
            images[...] = inner(op, padded)

    threads.share(compute, len(dy), step=stretch_of_images(dx), parallel=dx.size > SMALL)
    return dx


def avg_pool_suits(op: Any, x: Array) -> bool:
    """Channels-last images."""
    return are_channels_last(x)


def avg_pool(op: Any, x: Array) -> Array:
    """See minise.ops.pool.AvgPool2d. The sum over a window is taken along H, then along W.

    That is R + S sums in place of R · S, and those along H go through whole rows of pixels.
    """
    op.shape = x.shape
    N, C, _, _ = x.shape
    P, Q = op.output_size(x.shape)
    rows, columns = separate(op)
    counts = divisors(op, x.dtype)
    y = memory.empty((N, P, Q, C), x.dtype)
    pixels = x.transpose(0, 2, 3, 1)

    def compute(first: int, last: int) -> None:
        seen, means = bordered(op, pixels[first:last], 0), y[first:last]
        sums = threads.scratch("sums", (last - first, P, *seen.shape[2:]), x.dtype)
        add_up([seen[:, h] for h in rows], sums)
        add_up([sums[:, :, w] for w in columns], means)
        numpy.divide(means, counts, out=means)

    threads.share(compute, N, step=stretch_of_images(x), parallel=x.size > SMALL)
    return channels_first(y)


def avg_pool_backward(op: Any, grad: Array) -> Array:
    rows, columns = separate(op)
    counts = divisors(op, grad.dtype)
    dx = like(numpy.broadcast_to(grad[:1, :1, :1, :1], op.shape))
    pixels, dy = (a.transpose(0, 2, 3, 1) for a in (dx, as_channels_last(grad)))

    def compute(first: int, last: int) -> None:
        images, incoming = pixels[first:last], dy[first:last]
        padded = with_border(op, images)
        part = threads.scratch("part", incoming.shape, grad.dtype)
        numpy.divide(incoming, counts, out=part)
        sums = threads.scratch("sums", (*part.shape[:2], *padded.shape[2:]), grad.dtype)
        spread(part, [(slice(None), slice(None), w) for w in columns], op.stride[1], sums)
        spread(sums, [(slice(None), h) for h in rows], op.stride[0], padded)
        if padded is not images:
            images[...] = inner(op, padded)

    threads.share(compute, len(dy), step=stretch_of_images(dx), parallel=dx.size > SMALL)
    return dx


# --- sums along one axis of the windows ---------------------------------------------------------


def separate(op: Any) -> tuple[list[slice], list[slice]]:
    """The slices of H, one for each row of the window, and those of W, one for each column."""
    taps, width = op.taps(op.shape), op.kernel_size[1]
    return [h for h, _ in taps[::width]], [w for _, w in taps[:width]]


def divisors(op: Any, dtype: Any) -> Array:
    """What the sums are divided by, written out for every channel: (P, Q, C)."""
    counts = numpy.asarray(op.counts(dtype), dtype)
    return numpy.broadcast_to(counts, op.output_size(op.shape))[:, :, None].repeat(op.shape[1], 2)


def add_up(parts: Sequence[Array], out: Array) -> None:
    """out = the sum of the parts."""
    total = parts[0]
    for part in parts[1:]:
        total = numpy.add(total, part, out=out)
    if total is not out:
        out[...] = total


def spread(part: Array, places: Sequence[Any], stride: int, out: Array) -> None:
    """out = the sum of the part at each of the places, 0 elsewhere."""
    out.fill(0)
    for k, place in enumerate(places):
        if k < stride:  # no window before this one has reached these pixels
            out[place] = part
        else:
            out[place] += part


# --- the border ---------------------------------------------------------------------------------


def bordered(op: Any, x: Array, value: float) -> Array:
    """x (n, H, W, C) with the border that the windows see, filled with `value`."""
    padded = with_border(op, x)
    if padded is not x:
        padded.fill(value)
        inner(op, padded)[...] = x
    return padded


def with_border(op: Any, x: Array) -> Array:
    """x (n, H, W, C) itself where windows see no border, else memory for it and the border."""
    (top, bottom), (left, right) = op.border(op.shape)
    if not (top or bottom or left or right):
        return x
    n, H, W, C = x.shape
    return threads.scratch("padded", (n, H + top + bottom, W + left + right, C), x.dtype)


def inner(op: Any, padded: Array) -> Array:
    """The view (n, H, W, C) without the border."""
    (top, _), (left, _) = op.border(op.shape)
    H, W = op.shape[2:]
    return padded[:, top : top + H, left : left + W]


KERNELS = {
    "max_pool2d": Kernel(max_pool_suits, max_pool, max_pool_backward),
    "avg_pool2d": Kernel(avg_pool_suits, avg_pool, avg_pool_backward),
}
