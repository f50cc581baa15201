"""Channels-last memory, (N, H, W, C), behind the images (N, C, H, W) that ops know."""

from __future__ import annotations

from typing import Any

from .launch import THREADS, blocks_for

Array = Any

# Of threads.cu: how many channels of how many pixels a block takes at a time.
CHANNELS = 8
PIXELS = THREADS // CHANNELS
EACH = 8  # pixels that a thread works on
MOST_BLOCKS = 65535  # along the second and the third axis of a grid


def channels_last(xp: Any, x: Array) -> Array:
    """x (N, C, ...) as a contiguous (N, ..., C): a view where the memory is so, else a copy."""
    return xp.ascontiguousarray(x.transpose(0, *range(2, x.ndim), 1))


def channels_first(x: Array) -> Array:
    """The view (N, C, ...) of an (N, ..., C)."""
    return x.transpose(0, x.ndim - 1, *range(1, x.ndim - 1))


def is_channels_last(x: Array) -> bool:
    """Whether x are images (N, C, H, W) in channels-last memory."""
    return x.ndim == 4 and x.transpose(0, 2, 3, 1).flags.c_contiguous


def grid(channels: int, images: int = 1, pixels: int = PIXELS) -> tuple[int, int, int]:
    """Blocks (channels, images, pixels); with fewer pixels than it says, one block for all."""
    parts = blocks_for(pixels, PIXELS * EACH)
    return blocks_for(channels, CHANNELS), min(images, MOST_BLOCKS), min(parts, MOST_BLOCKS)


def add(a: Array, b: Array) -> Array:
    """a + b of one shape, in channels-last memory if one of them is: for sums of gradients.

    CuPy's result is in C order, whatever the order of the operands is.
    """
    if not (is_channels_last(a) or is_channels_last(b)):
        return a + b
    return channels_first(a.transpose(0, 2, 3, 1) + b.transpose(0, 2, 3, 1))
