"""Convolution and linear layers: see conv.cu for what the kernels compute."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy

from ..registry import using_tf32
from .launch import MOST, THREADS, blocks_for, launch, suits

Array = Any

# The tiles of conv.cu: rows (output channels) -> columns (pixels).
TILES = {64: 128, 32: 128, 16: 256}
TAPS = 64  # columns of a weight gradient's tile
STEP = 32  # pixels that it adds up at a time
# A GPU wants more blocks than it has multiprocessors (an H200 has 132). A number of its own for
# every GPU would split sums differently, and give other bits.
ENOUGH = 256
MOST_GROUPS = 65535  # of blocks, along the last axis of a grid


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


def output(xp: Any, c: Convolution, x: Array, weight: Array, bias: Array | None) -> Array:
    """y (N, O, P, Q)."""
    y = xp.empty((c.N, c.O, c.P, c.Q), dtype=x.dtype)
    height, *blocks = tiles(c.O // c.G, c.N * c.P * c.Q, c.G)
    product(f"conv_forward_{height}", x.dtype, (*blocks,), c.struct(), x, weight, bias, y)
    return y


def input_gradient(xp: Any, c: Convolution, dy: Array, weight: Array) -> Array:
    """dx (N, C, H, W)."""
    dx = xp.empty((c.N, c.C, c.H, c.W), dtype=dy.dtype)
    pixels = c.N * blocks_for(c.H, c.stride_h) * blocks_for(c.W, c.stride_w)  # of the largest class
    height, *blocks = tiles(c.C // c.G, pixels, c.G * c.stride_h * c.stride_w)
    product(f"conv_input_gradient_{height}", dy.dtype, (*blocks,), c.struct(), dy, weight, dx)
    return dx


def weight_gradient(xp: Any, c: Convolution, x: Array, dy: Array) -> Array:
    """dw (O, C/G, R, S)."""
    O, taps, pixels = c.O // c.G, c.C // c.G * c.R * c.S, c.N * c.P * c.Q
    height = next(height for height in (16, 32, 64) if height >= O or height == 64)
    across, down = blocks_for(taps, TAPS), blocks_for(O, height)
    wanted = min(2 * ENOUGH // (across * down * c.G), blocks_for(pixels, 8 * STEP))
    stretch = blocks_for(blocks_for(pixels, max(wanted, 1)), STEP) * STEP
    splits = blocks_for(pixels, stretch)
    parts = xp.empty((splits, c.O, c.C // c.G, c.R, c.S), dtype=x.dtype)
    product(
        f"conv_weight_gradient_{height}", x.dtype, (across, down, c.G * splits),
        c.struct(), x, dy, parts, splits, stretch,
    )  # fmt: skip
    if splits == 1:
        return parts[0]
    dw = xp.empty(parts.shape[1:], dtype=x.dtype)
    launch("sum_of_splits", x.dtype, (blocks_for(dw.size, THREADS),), parts, dw, dw.size, splits)
    return dw


def bias_gradient(xp: Any, c: Convolution, dy: Array) -> Array:
    """db (O,)."""
    db = xp.empty(c.O, dtype=dy.dtype)
    launch("bias_gradient", dy.dtype, (c.O,), dy, db, c.N, c.O, c.P * c.Q)
    return db


def product(name: str, dtype: Any, blocks: tuple[int, ...], *arguments: Any) -> None:
    """Launch a kernel, that for tensor cores where `backend.tf32` allows it."""
    launch(name, dtype, blocks, *arguments, tf32=using_tf32() and dtype == numpy.float32)


def tiles(rows: int, columns: int, products: int) -> tuple[int, int, int, int]:
    """(height of the tiles, and how many: across, down, one above the other).

    The highest that is less than twice as high as the matrix and leaves enough blocks.
    """
    for height, width in TILES.items():
        across, down = blocks_for(columns, width), blocks_for(rows, height)
        enough = across * down * products >= ENOUGH or height == 32
        if height == 16 or (height < 2 * rows and enough):
            break
    return height, across, down, products


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
    too_large = N * O * P * Q >= MOST or op.groups * stride_h * stride_w > MOST_GROUPS
    if not suits(*given) or both or too_large:
        op.fast_backward = None
        return op.forward(*given)
    op.x, op.weight = map(op.xp.ascontiguousarray, (x, weight))
    bias = None if bias is None else op.xp.ascontiguousarray(bias)
    return output(op.xp, op.convolution, op.x, op.weight, bias)


def backward(op: Any, grad: Array) -> tuple[Array | None, ...]:
    return gradients(op, op.convolution, grad)


def linear(op: Any, x: Array, weight: Array, bias: Array | None = None) -> Array:
    """See minise.ops.math.Linear: a 1×1 convolution over pictures of one pixel."""
    given = (x, weight) if bias is None else (x, weight, bias)
    J, K = weight.shape
    if not suits(*given) or x.size // K * J >= MOST:
        op.fast_backward = None
        return op.forward(*given)
    op.x, op.weight = map(op.xp.ascontiguousarray, (x, weight))
    bias = None if bias is None else op.xp.ascontiguousarray(bias)
    op.convolution = Convolution(x.size // K, K, 1, 1, J, 1, 1, 1, 1)
    y = output(op.xp, op.convolution, op.x, op.weight, bias)
    return y.reshape(*x.shape[:-1], J)


def linear_backward(op: Any, grad: Array) -> tuple[Array | None, ...]:
    dx, dweight, *dbias = gradients(op, op.convolution, grad)
    return (
        None if dx is None else dx.reshape(op.x.shape),
        None if dweight is None else dweight.reshape(op.weight.shape),
        *dbias,
    )


def gradients(op: Any, c: Convolution, grad: Array) -> tuple[Array | None, ...]:
    dy = op.xp.ascontiguousarray(grad)
    dx = input_gradient(op.xp, c, dy, op.weight) if op.needs[0] else None
    dweight = weight_gradient(op.xp, c, op.x, dy) if op.needs[1] else None
    if len(op.needs) == 2:
        return dx, dweight
    return dx, dweight, bias_gradient(op.xp, c, dy) if op.needs[2] else None
