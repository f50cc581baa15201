"""Convolution and linear layers: see conv.cu for what the kernels compute."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy

from ..registry import using_tf32
from .launch import MOST, THREADS, blocks_for, launch, suits
from .layout import CHANNELS, MOST_BLOCKS, PIXELS, channels_first, channels_last

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
        return numpy.array(tuple(self), dtype=STRUCT)


STRUCT = numpy.dtype([(name, numpy.int32) for name in Convolution._fields])


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


def too_wide(columns: int) -> bool:
    """Whether a matrix has more columns than a grid has room for."""
    return blocks_for(columns, max(TILES)) > MOST_BLOCKS


# --- the ops --------------------------------------------------------------------------------------


def forward(op: Any, x: Array, weight: Array, bias: Array | None = None) -> Array:
    """See minise.ops.conv.Conv2d."""
    given = (x, weight) if bias is None else (x, weight, bias)
    (N, C, H, W), (O, _, R, S) = x.shape, weight.shape
    (stride_h, stride_w), (dilation_h, dilation_w) = op.stride, op.dilation
    (top, bottom), (left, right) = op.padding
    P = (H + top + bottom - dilation_h * (R - 1) - 1) // stride_h + 1
    Q = (W + left + right - dilation_w * (S - 1) - 1) // stride_w + 1
    op.convolution = Convolution(
        N, C, H, W, O, P, Q, R, S, op.groups,
        stride_h, stride_w, top, left, dilation_h, dilation_w,
    )  # fmt: skip
    # The gradient's classes of pixels are worked out for a stride or a dilation, not for both.
    both = max(op.stride) > 1 and max(op.dilation) > 1
    too_many = op.groups * stride_h * stride_w > MOST_BLOCKS or too_wide(max(O, C) // op.groups)
    if not suits(*given) or both or too_many or N * O * P * Q >= MOST:
        op.fast_backward = None
        return op.forward(*given)
    op.x, op.weight = channels_last(op.xp, x), channels_last(op.xp, weight)
    bias = None if bias is None else op.xp.ascontiguousarray(bias)
    return channels_first(output(op.xp, op.convolution, op.x, op.weight, bias))


def backward(op: Any, grad: Array) -> tuple[Array | None, ...]:
    dx, *others = gradients(op, channels_last(op.xp, grad))
    return None if dx is None else channels_first(dx), *others


def linear(op: Any, x: Array, weight: Array, bias: Array | None = None) -> Array:
    """See minise.ops.math.Linear: a 1×1 convolution over pictures of one pixel."""
    given = (x, weight) if bias is None else (x, weight, bias)
    J, K = weight.shape
    if not suits(*given) or too_wide(max(J, K)) or x.size // K * J >= MOST:
        op.fast_backward = None
        return op.forward(*given)
    op.x, op.weight = map(op.xp.ascontiguousarray, (x, weight))
    bias = None if bias is None else op.xp.ascontiguousarray(bias)
    op.convolution = Convolution(x.size // K, K, 1, 1, J, 1, 1, 1, 1)
    y = output(op.xp, op.convolution, op.x, op.weight, bias)
    return y.reshape(*x.shape[:-1], J)


def linear_backward(op: Any, grad: Array) -> tuple[Array | None, ...]:
    dx, dweight, *dbias = gradients(op, op.xp.ascontiguousarray(grad))
    return (
        None if dx is None else dx.reshape(op.x.shape),
        None if dweight is None else dweight.reshape(op.weight.shape),
        *dbias,
    )


def gradients(op: Any, dy: Array) -> tuple[Array | None, ...]:
    c = op.convolution
    dx = input_gradient(op.xp, c, dy, op.weight) if op.needs[0] else None
    dweight = weight_gradient(op.xp, c, op.x, dy) if op.needs[1] else None
    if len(op.needs) == 2:
        return dx, dweight
    return dx, dweight, bias_gradient(op.xp, c, dy) if op.needs[2] else None
