"""Channels-last memory, and how much of it to work on at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy

Array = Any

CACHE = 1 << 20  # bytes that one worker fills before it moves on: they should stay in its L2 cache
STRETCH = 1 << 16  # numbers of each array that an elementwise kernel takes at a time
SMALL = 1 << 15  # with fewer numbers than this, waking another thread takes longer than the work


def channels_last(x: Array) -> Array:
    """x (N, C, H, W) as a contiguous (N, H, W, C): a view where the memory is so, else a copy."""
    return numpy.ascontiguousarray(x.transpose(0, 2, 3, 1))


def channels_first(x: Array) -> Array:
    """The view (N, C, H, W) of an (N, H, W, C)."""
    return x.transpose(0, 3, 1, 2)


def is_channels_last(x: Array) -> bool:
    return x.ndim == 4 and x.transpose(0, 2, 3, 1).flags.c_contiguous


def rows_of(x: Array) -> Array:
    """Channels-last x (N, C, H, W) as long rows (·, k·C), each made of k neighbouring pixels.

    A row of C numbers is too short for NumPy's inner loop. k divides H·W, so that rows do not
    cross from one image into the next.
    """
    N, C, H, W = x.shape
    k = next(k for k in range(max(min(4096 // C, H * W), 1), 0, -1) if H * W % k == 0)
    return x.transpose(0, 2, 3, 1).reshape(-1, k * C)


def per_pixel(values: Array, rows: Array) -> Array:
    """One value per channel (C,), repeated along a row of `rows_of`: (k·C,)."""
    return numpy.tile(values, rows.shape[1] // len(values))


def per_channel(row: Array, C: int) -> Array:
    """A row (k·C,) of sums, added up over its pixels in float64: (C,)."""
    return row.reshape(-1, C).sum(axis=0, dtype=numpy.float64)


def stretches(first: int, last: int, length: int) -> Iterator[slice]:
    """Rows `first` to `last`, each `length` long, in slices of about STRETCH numbers."""
    step = max(STRETCH // length, 1)
    for start in range(first, last, step):
        yield slice(start, min(start + step, last))


def like(x: Array) -> Array:
    """An empty array of x's shape in channels-last memory."""
    N, C, H, W = x.shape
    return numpy.empty((N, H, W, C), dtype=x.dtype).transpose(0, 3, 1, 2)


def suits(*arrays: Array) -> bool:
    """Whether these are float32 or float64 images in channels-last memory, and not empty."""
    return all(x.dtype in (numpy.float32, numpy.float64) and x.size and is_channels_last(x) for x in arrays)
