"""Maximum and average of windows: see pool.cu."""

from __future__ import annotations

from typing import Any

import numpy

from .launch import THREADS, blocks_for, launch, suits

Array = Any

FIELDS = (
    "images", "H", "W", "P", "Q", "R", "S", "stride_h", "stride_w", "top", "left", "dilation_h",
    "dilation_w",
)  # fmt: skip
STRUCT = numpy.dtype([(name, numpy.int32) for name in FIELDS])


def struct(op: Any) -> numpy.ndarray:
    """The struct Pooling of pool.cu."""
    N, C, H, W = op.shape
    values = (
        N * C, H, W, *op.output_size(op.shape), *op.kernel, *op.stride, *op.padding, *op.dilation
    )  # fmt: skip
    return numpy.array(values, dtype=STRUCT)


def max_pool(op: Any, x: Array) -> Array:
    """See minise.ops.pool.MaxPool2d."""
    if not suits(x):
        op.fast_backward = None
        return op.forward(x)
    op.shape = x.shape
    y = op.xp.empty((*x.shape[:2], *op.output_size(x.shape)), dtype=x.dtype)
    op.winner = op.xp.empty(y.shape, dtype=numpy.int32)
    x = op.xp.ascontiguousarray(x)
    blocks = blocks_for(y.size, THREADS)
    launch("max_pool_forward", x.dtype, (blocks,), struct(op), x, y, op.winner)
    return y


def max_pool_backward(op: Any, grad: Array) -> Array:
    dx = op.xp.empty(op.shape, dtype=grad.dtype)
    dy = op.xp.ascontiguousarray(grad)
    blocks = blocks_for(dx.size, THREADS)
    launch("max_pool_backward", dx.dtype, (blocks,), struct(op), dy, op.winner, dx)
    return dx


def avg_pool(op: Any, x: Array) -> Array:
    """See minise.ops.pool.AvgPool2d."""
    if not suits(x):
        op.fast_backward = None
        return op.forward(x)
    op.shape = x.shape
    y = op.xp.empty((*x.shape[:2], *op.output_size(x.shape)), dtype=x.dtype)
    average("avg_pool_forward", op, op.xp.ascontiguousarray(x), y)
    return y


def avg_pool_backward(op: Any, grad: Array) -> Array:
    dx = op.xp.empty(op.shape, dtype=grad.dtype)
    average("avg_pool_backward", op, op.xp.ascontiguousarray(grad), dx)
    return dx


def average(kernel: str, op: Any, source: Array, target: Array) -> None:
    blocks = blocks_for(target.size, THREADS)
    launch(
        kernel, target.dtype, (blocks,),
        struct(op), source, target, bool(op.count_padding), op.divisor or 0,
    )  # fmt: skip
