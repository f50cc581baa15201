"""ReLU, alone or behind an addition, and the sigmoid of SE's gates: see elementwise.cu."""

from __future__ import annotations

from typing import Any

from .launch import THREADS, blocks_for, launch, suits
from .layout import channels_first, is_channels_last

Array = Any

EACH = 4  # numbers that a thread works on


def relu(op: Any, x: Array) -> Array:
    if not suits(x):
        op.fast_backward = None
        return op.forward(x)
    op.y = over("relu_forward", op.xp, x)
    return op.y


def relu_backward(op: Any, grad: Array) -> Array:
    return over("relu_backward", op.xp, grad, op.y)


def add_relu(op: Any, a: Array, b: Array) -> Array:
    """max(a + b, 0); see minise.ops.math.AddReLU."""
    if a.shape != b.shape or not suits(a, b):
        op.fast_backward = None
        return op.forward(a, b)
    op.y = over("add_relu_forward", op.xp, a, b)
    return op.y


def add_relu_backward(op: Any, grad: Array) -> tuple[Array, Array]:
    dv = relu_backward(op, grad)
    return dv, dv


def sigmoid(op: Any, x: Array) -> Array:
    if not suits(x):
        op.fast_backward = None
        return op.forward(x)
    op.y = over("sigmoid_forward", op.xp, x)
    return op.y


def sigmoid_backward(op: Any, grad: Array) -> Array:
    return over("sigmoid_backward", op.xp, grad, op.y)


def over(kernel: str, xp: Any, *arrays: Array) -> Array:
    """A new array, number by number from those of the same shape, in channels-last memory if the
    last of them is, else in C order."""
    last = is_channels_last(arrays[-1])
    if last:
        arrays = tuple(array.transpose(0, 2, 3, 1) for array in arrays)
    result = xp.empty(arrays[0].shape, dtype=arrays[0].dtype)
    blocks = blocks_for(result.size, EACH * THREADS)
    launch(kernel, result.dtype, (blocks,), *map(xp.ascontiguousarray, arrays), result, result.size)
    return channels_first(result) if last else result
