"""ReLU, alone or behind an addition, and the sigmoid of SE's gates: see elementwise.cu."""

from __future__ import annotations

from typing import Any

from ...registry import Kernel
from .launch import THREADS, are_supported, blocks_for, launch
from .layout import channels_first, is_channels_last

Array = Any

EACH = 4  # numbers that a thread works on


def suits(op: Any, *arrays: Array) -> bool:
    """Arrays that the kernels support, all of one shape."""
    return are_supported(*arrays) and all(x.shape == arrays[0].shape for x in arrays)


def relu(op: Any, x: Array) -> Array:
    """See minise.ops.activation.ReLU."""
    op.y = over("relu_forward", op.xp, x)
    return op.y


def relu_backward(op: Any, grad: Array) -> Array:
    return over("relu_backward", op.xp, grad, op.y)


def add_relu(op: Any, a: Array, b: Array) -> Array:
    """See minise.ops.fused.AddReLU."""
    op.y = over("add_relu_forward", op.xp, a, b)
    return op.y


def add_relu_backward(op: Any, grad: Array) -> tuple[Array, Array]:
    dv = relu_backward(op, grad)
    return dv, dv


def sigmoid(op: Any, x: Array) -> Array:
    """See minise.ops.activation.Sigmoid."""
    op.y = over("sigmoid_forward", op.xp, x)
    return op.y


def sigmoid_backward(op: Any, grad: Array) -> Array:
    return over("sigmoid_backward", op.xp, grad, op.y)


def elu(op: Any, x: Array) -> Array:
    """See minise.ops.activation.ELU."""
    op.x = x
    return over("elu_forward", op.xp, x, options=(float(op.alpha),))


def elu_backward(op: Any, grad: Array) -> Array:
    return over("elu_backward", op.xp, grad, op.x, options=(float(op.alpha),))


def over(kernel: str, xp: Any, *arrays: Array, options: tuple[float, ...] = ()) -> Array:
    """A new array, number by number from those of the same shape, in channels-last memory if the
    last of them is, else in C order."""
    last = is_channels_last(arrays[-1])
    if last:
        arrays = tuple(array.transpose(0, 2, 3, 1) for array in arrays)
    result = xp.empty(arrays[0].shape, dtype=arrays[0].dtype)
    blocks = blocks_for(result.size, EACH * THREADS)
    arrays = tuple(map(xp.ascontiguousarray, arrays))
    launch(kernel, result.dtype, (blocks,), *arrays, result, result.size, *options)
    return channels_first(result) if last else result


KERNELS = {
    "relu": Kernel(suits, relu, relu_backward),
    "elu": Kernel(suits, elu, elu_backward),
    "add_relu": Kernel(suits, add_relu, add_relu_backward),
    "sigmoid": Kernel(suits, sigmoid, sigmoid_backward),
}
