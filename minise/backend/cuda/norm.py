"""BatchNorm, alone or with the ReLU that follows it: see norm.cu."""

from __future__ import annotations

import weakref
from functools import partial
from typing import Any

import numpy

from .launch import ROWS, THREADS, blocks_for, launch, suits

Array = Any

ENOUGH = 512  # blocks for the sums


def forward(op: Any, x: Array, weight: Array, bias: Array) -> Array:
    """See minise.ops.norm.BatchNorm and BatchNormReLU."""
    constants = () if op.from_batch else (op.mean, op.var)
    if not suits(x, weight, bias, *constants):
        op.fast_backward = None
        return op.forward(x, weight, bias)
    contiguous, dtype = op.xp.ascontiguousarray, x.dtype
    op.x, op.weight, bias = contiguous(x), contiguous(weight), contiguous(bias)
    N, C = x.shape[:2]
    L = x.size // (N * C)
    if op.from_batch:
        parts, splits = sums(op.xp, "bn_sums", dtype, N, C, L, op.x)
        op.mean, op.var = (op.xp.empty(C, dtype=dtype) for _ in range(2))
        # An op that held itself would keep the graph behind it until the garbage collector runs.
        op.count, op.update_running = N * L, partial(update_running, weakref.proxy(op))
        launch(
            "bn_moments", dtype, (blocks_for(C, THREADS),),
            op.x, parts, op.mean, op.var, splits, N, C, L,
        )  # fmt: skip
    else:
        op.mean, op.var = contiguous(op.mean), contiguous(op.var)
    y = op.xp.empty(x.shape, dtype=dtype)
    rectified = op.name == "batch_norm_relu"
    launch(
        "bn_normalise", dtype, (blocks_for(N * C, ROWS),),
        op.x, op.mean, op.var, op.weight, bias, y, N * C, C, L, float(op.eps), rectified,
    )  # fmt: skip
    op.y = y if rectified else None
    return y


def update_running(op: Any, mean: Array, var: Array, momentum: float) -> None:
    """See minise.ops.norm.BatchNorm.update_running."""
    if not (mean.flags.c_contiguous and var.flags.c_contiguous):
        op.__class__.update_running(op, mean, var, momentum)  # type() would be the proxy's
        return
    C = op.mean.size
    launch(
        "bn_update_running", op.mean.dtype, (blocks_for(C, THREADS),),
        op.mean, op.var, mean, var, C, float(op.count), float(momentum),
    )  # fmt: skip


def backward(op: Any, grad: Array) -> tuple[Array, Array, Array]:
    dy, dtype = op.xp.ascontiguousarray(grad), grad.dtype
    N, C = dy.shape[:2]
    L, eps = dy.size // (N * C), float(op.eps)
    parts, splits = sums(op.xp, "bn_gradient_sums", dtype, N, C, L, dy, op.x, op.y, op.mean)
    dweight, dbias = (op.xp.empty(C, dtype=dtype) for _ in range(2))
    launch(
        "bn_parameter_gradients", dtype, (blocks_for(C, THREADS),),
        parts, op.var, dweight, dbias, splits, C, eps,
    )  # fmt: skip
    dx = op.xp.empty(dy.shape, dtype=dtype)
    launch(
        "bn_input_gradient", dtype, (blocks_for(N * C, ROWS),), dy, op.x, op.y, op.mean, op.var,
        op.weight, dweight, dbias, dx, N * C, C, L, eps, float(N * L if op.from_batch else 0),
    )  # fmt: skip
    return dx, dweight, dbias


def sums(
    xp: Any, kernel: str, dtype: Any, N: int, C: int, L: int, *arrays: Array | None
) -> tuple[Array, int]:
    """Two sums per channel, of some of the images each: (2, splits, C), and how many splits."""
    splits = max(min(blocks_for(N, ROWS), ENOUGH // C), 1)
    parts = xp.empty((2, splits, C), dtype=numpy.float64)
    launch(kernel, dtype, (C, splits), *arrays, parts, N, C, L)
    return parts, splits
