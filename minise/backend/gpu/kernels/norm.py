"""BatchNorm, alone or with the ReLU that follows it: see norm.cu."""

from __future__ import annotations

from typing import Any

import numpy

from ...registry import Kernel
from .launch import are_supported, blocks_for, launch
from .layout import CHANNELS, PIXELS, channels_first, channels_last, grid

Array = Any

ENOUGH = 512  # blocks for the sums


def suits(op: Any, x: Array, weight: Array, bias: Array) -> bool:
    """Arrays that the kernels support; running statistics in C order, for they are written."""
    constants = () if op.from_batch else (op.mean, op.var)
    running = op.running[:2] if op.running else ()
    in_c_order = all(array.flags.c_contiguous for array in running)
    return in_c_order and are_supported(x, weight, bias, *constants)


def forward(op: Any, x: Array, weight: Array, bias: Array) -> Array:
    """See minise.ops.norm.BatchNorm and minise.ops.fused.BatchNormReLU."""
    *running, momentum = op.running or (None, None, 0)
    contiguous, dtype = op.xp.ascontiguousarray, x.dtype
    op.x, op.weight, bias = channels_last(op.xp, x), contiguous(weight), contiguous(bias)
    C = x.shape[1]
    pixels = x.size // C
    if op.from_batch:
        parts, splits = sums(op.xp, "bn_sums", dtype, pixels, C, op.x)
        op.mean, op.var = (op.xp.empty(C, dtype=dtype) for _ in range(2))
        launch(
            "bn_moments", dtype, grid(C),
            op.x, parts, op.mean, op.var, *running, splits, pixels, C, float(momentum),
        )  # fmt: skip
    else:
        op.mean, op.var = contiguous(op.mean), contiguous(op.var)
    y = op.xp.empty(op.x.shape, dtype=dtype)
    launch(
        "bn_normalise", dtype, grid(C, 1, pixels),
        op.x, op.mean, op.var, op.weight, bias, y, pixels, C, float(op.eps), op.rectifies,
    )  # fmt: skip
    op.y = y if op.rectifies else None
    return channels_first(y)


def backward(op: Any, grad: Array) -> tuple[Array, Array, Array]:
    dy, dtype = channels_last(op.xp, grad), grad.dtype
    C, eps = grad.shape[1], float(op.eps)
    pixels = dy.size // C
    parts, splits = sums(op.xp, "bn_gradient_sums", dtype, pixels, C, dy, op.x, op.y, op.mean)
    dweight, dbias = (op.xp.empty(C, dtype=dtype) for _ in range(2))
    launch(
        "bn_parameter_gradients", dtype, grid(C),
        parts, op.var, dweight, dbias, splits, C, eps,
    )  # fmt: skip
    dx = op.xp.empty(dy.shape, dtype=dtype)
    launch(
        "bn_input_gradient", dtype, grid(C, 1, pixels), dy, op.x, op.y, op.mean, op.var,
        op.weight, dweight, dbias, dx, pixels, C, eps, float(pixels if op.from_batch else 0),
    )  # fmt: skip
    return channels_first(dx), dweight, dbias


def sums(
    xp: Any, kernel: str, dtype: Any, pixels: int, C: int, *arrays: Array | None
) -> tuple[Array, int]:
    """Two sums per channel, of some of the pixels each: (2, splits, C), and how many splits."""
    across = blocks_for(C, CHANNELS)
    splits = max(min(blocks_for(pixels, PIXELS), ENOUGH // across), 1)
    parts = xp.empty((2, splits, C), dtype=numpy.float64)
    launch(kernel, dtype, (across, 1, splits), *arrays, parts, pixels, C)
    return parts, splits


KERNELS = {name: Kernel(suits, forward, backward) for name in ("batch_norm", "batch_norm_relu")}
