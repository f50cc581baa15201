"""The ops that are convolutions: Conv2d, and Linear over pictures of one pixel."""

from __future__ import annotations

from math import prod
from typing import Any

from ...registry import Kernel
from . import columns, conv
from .conv import Convolution
from .launch import are_supported
from .layout import channels_first, channels_last

Array = Any

WAYS = conv, columns  # the first that covers a convolution computes it


def conv2d_suits(op: Any, x: Array, weight: Array, *bias: Array) -> bool:
    """Leaves on the op what the kernels are to be told, and the way that covers it."""
    (N, C, H, W), (O, _, R, S) = x.shape, weight.shape
    P, Q = op.output_size(x.shape, weight.shape)
    (stride_h, stride_w), (dilation_h, dilation_w) = op.stride, op.dilation
    (top, _), (left, _) = op.padding
    op.convolution = Convolution(
        N, C, H, W, O, P, Q, R, S, op.groups,
        stride_h, stride_w, top, left, dilation_h, dilation_w,
    )  # fmt: skip
    op.way = next((way for way in WAYS if way.covers(op.convolution)), None)
    return op.way is not None and are_supported(x, weight, *bias)


def conv2d(op: Any, x: Array, weight: Array, bias: Array | None = None) -> Array:
    """See minise.ops.conv.Conv2d."""
    op.x, op.weight = channels_last(op.xp, x), channels_last(op.xp, weight)
    bias = None if bias is None else op.xp.ascontiguousarray(bias)
    return channels_first(op.way.output(op.xp, op.convolution, op.x, op.weight, bias))


def conv2d_backward(op: Any, grad: Array) -> tuple[Array | None, ...]:
    dx, *others = gradients(op, op.way, channels_last(op.xp, grad))
    return None if dx is None else channels_first(dx), *others


def linear_suits(op: Any, x: Array, weight: Array, *bias: Array) -> bool:
    """Leaves on the op what the kernels are to be told."""
    J, K = weight.shape
    op.convolution = Convolution(prod(x.shape[:-1]), K, 1, 1, J, 1, 1, 1, 1)
    return are_supported(x, weight, *bias) and conv.covers(op.convolution)


def linear(op: Any, x: Array, weight: Array, bias: Array | None = None) -> Array:
    """See minise.ops.linear.Linear."""
    op.x, op.weight = map(op.xp.ascontiguousarray, (x, weight))
    bias = None if bias is None else op.xp.ascontiguousarray(bias)
    y = conv.output(op.xp, op.convolution, op.x, op.weight, bias)
    return y.reshape(*x.shape[:-1], len(weight))


def linear_backward(op: Any, grad: Array) -> tuple[Array | None, ...]:
    dx, dweight, *dbias = gradients(op, conv, op.xp.ascontiguousarray(grad))
    return (
        None if dx is None else dx.reshape(op.x.shape),
        None if dweight is None else dweight.reshape(op.weight.shape),
        *dbias,
    )


def gradients(op: Any, way: Any, dy: Array) -> tuple[Array | None, ...]:
    """way  conv or columns"""
    c = op.convolution
    dx = way.input_gradient(op.xp, c, dy, op.weight) if op.needs[0] else None
    dweight = way.weight_gradient(op.xp, c, op.x, dy) if op.needs[1] else None
    if len(op.needs) == 2:
        return dx, dweight
    return dx, dweight, conv.bias_gradient(op.xp, c, dy) if op.needs[2] else None


KERNELS = {
    "conv2d": Kernel(conv2d_suits, conv2d, conv2d_backward),
    "linear": Kernel(linear_suits, linear, linear_backward),
}
