"""The products of a convolution, whose matrices are never written out: see conv.cu."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy

from ...registry import using_tf32
from .launch import MOST, THREADS, blocks_for, launch
from .layout import CHANNELS, MOST_BLOCKS, PIXELS

Array = Any

# The tiles of conv.cu: columns (channels) -> rows (pixels).
TILES = {64: 128, 32: 128, 16: 256}
TAPS = 64  # rows of a weight gradient's tile
STEP = 32  # pixels that it adds up at a time
# A GPU wants more blocks than it has multiprocessors (an H200 has 132). A number of its own for
# every GPU would split sums differently, and give other bits.
ENOUGH = 256


class Convolution(NamedTuple):
    """The struct of that name in conv.cu."""

    N: int
    C: int
    H: int
    W: int
    O: int
    P: int
    Q: int
    R: int
    S: int
    G: int = 1
    stride_h: int = 1
    stride_w: int = 1
    top: int = 0
    left: int = 0
    dilation_h: int = 1
    dilation_w: int = 1

    def struct(self) -> numpy.ndarray:
        """As the kernels take it."""
        return numpy.array(tuple(self), dtype=STRUCT)


STRUCT = numpy.dtype([(name, numpy.int32) for name in Convolution._fields])


def covers(c: Convolution) -> bool:
    """Whether the kernels compute it; the arrays have to suit them too, see `suits`.

    The gradient's classes of pixels are worked out for a stride or a dilation, not for both: that
    goes by columns.py.
    """
    both = max(c.stride_h, c.stride_w) > 1 and max(c.dilation_h, c.dilation_w) > 1
    too_wide = blocks_for(max(c.O, c.C) // c.G, max(TILES)) > MOST_BLOCKS
    too_many = c.G * c.stride_h * c.stride_w > MOST_BLOCKS
    return not (both or too_wide or too_many) and c.N * c.P * c.Q * c.O < MOST


# --- the four products ----------------------------------------------------------------------------
# x (N, H, W, C), weight (O, R, S, C/G), dy (N, P, Q, O): contiguous.


def output(xp: Any, c: Convolution, x: Array, weight: Array, bias: Array | None) -> Array:
    """y (N, P, Q, O)."""
    y = xp.empty((c.N, c.P, c.Q, c.O), dtype=x.dtype)
    width, *blocks = tiles(c.O // c.G, c.N * c.P * c.Q, c.G)
    product(f"conv_forward_{width}", x.dtype, (*blocks,), c.struct(), x, weight, bias, y)
    return y


def input_gradient(xp: Any, c: Convolution, dy: Array, weight: Array) -> Array:
    """dx (N, H, W, C)."""
    dx = xp.empty((c.N, c.H, c.W, c.C), dtype=dy.dtype)
    pixels = c.N * blocks_for(c.H, c.stride_h) * blocks_for(c.W, c.stride_w)  # of the largest class
    width, *blocks = tiles(c.C // c.G, pixels, c.G * c.stride_h * c.stride_w)
    product(f"conv_input_gradient_{width}", dy.dtype, (*blocks,), c.struct(), dy, weight, dx)
    return dx


def weight_gradient(xp: Any, c: Convolution, x: Array, dy: Array) -> Array:
    """dw (O, C/G, R, S), in C order like the weights of the model."""
    O, pixels = c.O // c.G, c.N * c.P * c.Q
    taps = c.R * c.S * blocks_for(c.C // c.G, 4) * 4  # see `Tap` in conv.cu
    width = next(width for width in (16, 32, 64) if width >= O or width == 64)
    down, across = blocks_for(taps, TAPS), blocks_for(O, width)
    wanted = min(2 * ENOUGH // (down * across * c.G), blocks_for(pixels, 8 * STEP))
    stretch = blocks_for(blocks_for(pixels, max(wanted, 1)), STEP) * STEP
    splits = blocks_for(pixels, stretch)
    parts = xp.empty((splits, c.O, c.C // c.G, c.R, c.S), dtype=x.dtype)
    product(
        f"conv_weight_gradient_{width}", x.dtype, (down, across, c.G * splits),
        c.struct(), x, dy, parts, splits, stretch,
    )  # fmt: skip
    return added_up(xp, parts)


def bias_gradient(xp: Any, c: Convolution, dy: Array) -> Array:
    """db (O,)."""
    pixels, across = c.N * c.P * c.Q, blocks_for(c.O, CHANNELS)
    splits = max(min(ENOUGH // across, blocks_for(pixels, 8 * PIXELS)), 1)
    parts = xp.empty((splits, c.O), dtype=dy.dtype)
    launch("bias_gradient", dy.dtype, (across, 1, splits), dy, parts, pixels, c.O)
    return added_up(xp, parts)


def added_up(xp: Any, parts: Array) -> Array:
    """Σ of parts (splits, ...) over the splits, in order."""
    if len(parts) == 1:
        return parts[0]
    total = xp.empty(parts.shape[1:], dtype=parts.dtype)
    blocks = (blocks_for(total.size, THREADS),)
    launch("sum_of_splits", total.dtype, blocks, parts, total, total.size, len(parts))
    return total


def product(name: str, dtype: Any, blocks: tuple[int, ...], *arguments: Any) -> None:
    """Launch a kernel, that for tensor cores where `backend.tf32` allows it."""
    launch(name, dtype, blocks, *arguments, tf32=using_tf32() and dtype == numpy.float32)


def tiles(columns: int, rows: int, products: int) -> tuple[int, int, int, int]:
    """(width of the tiles, and how many: down, across, one above the other).

    The widest that is less than twice as wide as the matrix and leaves enough blocks.
    """
    for width, height in TILES.items():
        down, across = blocks_for(rows, height), blocks_for(columns, width)
        enough = down * across * products >= ENOUGH or width == 32
        if width == 16 or (width < 2 * columns and enough):
            break
    return width, down, across, products
