"""Maximum and average of windows: see pool.cu."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy

from ...registry import Kernel
from .launch import MOST, THREADS, are_supported, blocks_for, launch
from .layout import channels_first, channels_last

Array = Any

FIELDS = (
    "N", "C", "H", "W", "P", "Q", "R", "S", "stride_h", "stride_w", "top", "left", "dilation_h",
    "dilation_w",
)  # fmt: skip
STRUCT = numpy.dtype([(name, numpy.int32) for name in FIELDS])


def struct(op: Any) -> numpy.ndarray:
    """The struct Pooling of pool.cu."""
    values = (
        *op.shape, *op.output_size(op.shape), *op.kernel_size, *op.stride, *op.padding, *op.dilation
    )  # fmt: skip
    return numpy.array(values, dtype=STRUCT)


def images(op: Any, dtype: Any, height: int, width: int) -> Array:
    """An empty (N, height, width, C)."""
    N, C = op.shape[:2]
    return op.xp.empty((N, height, width, C), dtype=dtype)


def suits(op: Any, x: Array) -> bool:
    """With padding the result may be larger than x; it has to fit the indices too."""
    return are_supported(x) and prod((*x.shape[:2], *op.output_size(x.shape))) < MOST


def max_pool(op: Any, x: Array) -> Array:
    """See minise.ops.pool.MaxPool2d."""
    op.shape = x.shape
    y = images(op, x.dtype, *op.output_size(x.shape))
    op.winner = op.xp.empty(y.shape, dtype=numpy.int32)
    x = channels_last(op.xp, x)
    blocks = blocks_for(y.size, THREADS)
    launch("max_pool_forward", x.dtype, (blocks,), struct(op), x, y, op.winner)
    return channels_first(y)


def max_pool_backward(op: Any, grad: Array) -> Array:
    dx = images(op, grad.dtype, *op.shape[2:])
    dy = channels_last(op.xp, grad)
    blocks = blocks_for(dx.size, THREADS)
    launch("max_pool_backward", dx.dtype, (blocks,), struct(op), dy, op.winner, dx)
    return channels_first(dx)


def avg_pool(op: Any, x: Array) -> Array:
    """See minise.ops.pool.AvgPool2d."""
    op.shape = x.shape
    y = images(op, x.dtype, *op.output_size(x.shape))
    average("avg_pool_forward", op, channels_last(op.xp, x), y)
    return channels_first(y)


def avg_pool_backward(op: Any, grad: Array) -> Array:
    dx = images(op, grad.dtype, *op.shape[2:])
    average("avg_pool_backward", op, channels_last(op.xp, grad), dx)
    return channels_first(dx)


def average(kernel: str, op: Any, source: Array, target: Array) -> None:
    """Launch one of the two kernels of average pooling."""
    blocks = blocks_for(target.size, THREADS)
    launch(
        kernel, target.dtype, (blocks,),
        struct(op), source, target, bool(op.count_padding), op.divisor or 0,
    )  # fmt: skip


KERNELS = {
    "max_pool2d": Kernel(suits, max_pool, max_pool_backward),
    "avg_pool2d": Kernel(suits, avg_pool, avg_pool_backward),
}
