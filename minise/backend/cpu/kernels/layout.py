"""Channels-last memory, and how much of it to work on at a time."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy

from .. import memory

Array = Any

CACHE = 5 << 18  # bytes of columns that a worker fills before it moves on: most of its L2 cache
STRETCH = 1 << 18  # numbers of each array that an elementwise kernel takes at a time
SMALL = 1 << 15  # with fewer numbers than this, waking another thread takes longer than the work


# --- memory order -------------------------------------------------------------------------------


def channels_last(x: Array) -> Array:
    """x (N, C, H, W) as a contiguous (N, H, W, C): a view where the memory is so, else a copy."""
    return numpy.ascontiguousarray(x.transpose(0, 2, 3, 1))


def channels_first(x: Array) -> Array:
    """The view (N, C, H, W) of an (N, H, W, C)."""
    return x.transpose(0, 3, 1, 2)


def as_channels_last(x: Array) -> Array:
    """x (N, C, H, W) in channels-last memory: itself, or a copy."""
    return channels_first(channels_last(x))


def like(x: Array) -> Array:
    """An empty array of x's shape in channels-last memory."""
    N, C, H, W = x.shape
    return channels_first(memory.empty((N, H, W, C), x.dtype))


def are_channels_last(*arrays: Array) -> bool:
    """Whether these are float32 or float64 images in channels-last memory, and not empty."""
    return all(
        x.dtype in (numpy.float32, numpy.float64)
        and x.ndim == 4
        and x.size > 0
        and x.transpose(0, 2, 3, 1).flags.c_contiguous
        for x in arrays
    )


# --- values per channel -------------------------------------------------------------------------


def rows_of(x: Array, longest: int = 4096) -> Array:
    """Channels-last x (N, C, H, W) as long rows (·, k·C), each made of k neighbouring pixels.

    A row of C numbers is too short for NumPy's inner loop. k divides H·W, so that rows do not
    cross from one image into the next.
    """
    N, C, H, W = x.shape
    return x.transpose(0, 2, 3, 1).reshape(-1, pixels_of_row(C, H * W, longest) * C)


@cache
def pixels_of_row(C: int, pixels: int, longest: int) -> int:
    """The largest divisor of `pixels` so that so many have at most `longest` numbers, or 1."""
    most = max(min(longest // C, pixels), 1)
    return next(k for k in range(most, 0, -1) if pixels % k == 0)


def per_pixel(values: Array, rows: Array) -> Array:
    """One value per channel (C,), repeated along a row of `rows_of`: (k·C,)."""
    return values[None].repeat(rows.shape[1] // len(values), axis=0).reshape(-1)


def per_channel(sums: Sequence[Array], C: int) -> Array:
    """Sums along the rows (k·C,) of several stretches, added up in float64: (C,)."""
    total = numpy.add.reduce(numpy.array(sums, numpy.float64), axis=0)
    return numpy.add.reduce(total.reshape(-1, C), axis=0)


def stretch(rows: Array) -> int:
    """How many rows make about STRETCH numbers."""
    return max(STRETCH // rows.shape[1], 1)


# --- values per channel of each image -----------------------------------------------------------


def by_image(x: Array) -> Array:
    """`rows_of` with an axis for the images: (N, ·, k·C).

    Shorter rows than for BatchNorm: the gates, repeated along one row per image, stay small.
    """
    rows = rows_of(x, 1024)
    return rows.reshape(len(x), -1, rows.shape[1])


def along_rows(values: Array, length: int) -> Array:
    """(N, C, 1, 1) repeated along a row of each image: (N, 1, k·C)."""
    N, C = values.shape[:2]
    return values.reshape(N, 1, C).repeat(length // C, axis=1).reshape(N, 1, -1)


def pixels_together(sums: Array, C: int) -> Array:
    """Sums along the rows of each image (n, k·C), added up over the k pixels in float64: (n, C)."""
    return sums.astype(numpy.float64).reshape(len(sums), -1, C).sum(axis=1)


def stretch_of_images(x: Array) -> int:
    """How many images make about STRETCH numbers."""
    return max(STRETCH * len(x) // x.size, 1)
