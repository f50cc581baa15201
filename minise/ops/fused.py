"""Two or three ops as one: every op less is one pass less over memory.

Each is a named op that graphs and traces show, with the function that makes it. Whether ops are
fused is decided in this file alone: inside `unfused()` the same functions are the plain
compositions that they stand for. Blocks of networks call them by way of minise/models/fusion.py.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .. import backend
from ..autograd import Array, Function
from .activation import relu
from .arguments import IntPair, broadcast_shape, same_dtype
from .arithmetic import Add, add
from .broadcast import unbroadcast
from .conv import Conv2d, conv2d, convolve
from .norm import BatchNorm, batch_norm, normalise

if TYPE_CHECKING:
    from ..tensor import Tensor


class _Fusion(threading.local):
    enabled = True


_fusion = _Fusion()


@contextmanager
def unfused() -> Iterator[None]:
    """Inside this block every op is one of its own: more steps to look at, more passes to pay."""
    before = _fusion.enabled
    _fusion.enabled = False
    try:
        yield
    finally:
        _fusion.enabled = before


def is_fusing() -> bool:
    """False inside `unfused()`."""
    return _fusion.enabled


class ThenReLU:
    """Mixed into an op: the same op and the ReLU behind it, as one."""

    xp: Any
    rectifies = True

    def forward(self, *arrays: Array) -> Array:
        """max(y, 0) of what the op computes."""
        self.y = self.xp.maximum(super().forward(*arrays), 0)  # type: ignore[misc]
        return self.y

    def backward(self, grad: Array) -> Any:
        """The op's own backward, for the gradient that ReLU lets through."""
        return super().backward(self.xp.where(self.y <= 0, 0, grad))  # type: ignore[misc]


class Conv2dReLU(ThenReLU, Conv2d, kernel="conv2d_relu"):
    """Conv2d and the ReLU behind it as one op."""

    name = "conv2d_relu"
    formula = "y = max(columns(x) @ Wᵀ + b, 0)"
    derivative = (
        "dv = dy where y > 0, else 0,  "
        "dx = columnsᵀ(dv @ W),  dW = dvᵀ @ columns(x),  db = Σ dv"
    )


def conv2d_relu(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: IntPair = 1,
    padding: IntPair | str = 0,
    dilation: IntPair = 1,
    groups: int = 1,
) -> Tensor:
    """relu(conv2d(...)), arguments and errors as in `conv2d`.

    Where a backend has a fast kernel for the convolution alone, that one and a ReLU are faster than
    the plain fused op.
    """
    kernels = backend.of(input.data).kernels
    if is_fusing() and (Conv2dReLU in kernels or Conv2d not in kernels):
        return convolve(Conv2dReLU, input, weight, bias, stride, padding, dilation, groups)
    return relu(conv2d(input, weight, bias, stride, padding, dilation, groups))


class BatchNormReLU(ThenReLU, BatchNorm, kernel="batch_norm_relu"):
    """BatchNorm and the ReLU behind it as one op."""

    name = "batch_norm_relu"
    formula = "x̂ = (x - mean) / √(var + ε),  y = max(γ · x̂ + β, 0)"
    derivative = (
        "dv = dy where y > 0, else 0,  dβ = Σ dv,  dγ = Σ dv · x̂,  "
        "dx = γ / √(var + ε) · (dv - mean(dv) - x̂ · mean(dv · x̂))"
    )


def batch_norm_relu(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """relu(batch_norm(...)), arguments and errors as in `batch_norm`."""
    arguments = (input, running_mean, running_var, weight, bias, training, momentum, eps)
    if is_fusing():
        return normalise(BatchNormReLU, *arguments)
    return relu(batch_norm(*arguments))


class AddReLU(ThenReLU, Add, kernel="add_relu"):
    """An addition and the ReLU behind it as one op: the end of a ResNet block."""

    name = "add_relu"
    formula = "y = max(a + b, 0)"
    derivative = "dv = dy where y > 0, else 0,  da = dv,  db = dv"


def add_relu(input: Tensor, other: Tensor) -> Tensor:
    """relu(a + b); shapes broadcast.

    Raises RuntimeError for shapes that do not broadcast and for different dtypes.
    """
    same_dtype("add_relu", input=input, other=other)
    broadcast_shape("add_relu", input.shape, other.shape)
    return AddReLU()(input, other) if is_fusing() else relu(add(input, other))


class Axpy(Function, kernel="axpy"):
    """scale s (N, C, 1, 1), branch u (N, C, H, W), shortcut x (N, C, H, W) -> y (N, C, H, W).

    SE's scale and the residual addition, as in the networks that the paper's authors released.
    """

    formula = "y = s · u + x"
    derivative = "ds = Σ_hw dy · u,  du = dy · s,  dx = dy"
    rectifies = False

    def forward(self, scale: Array, u: Array, shortcut: Array) -> Array:
        self.scale, self.u = scale, u
        return scale * u + shortcut

    def backward(self, grad: Array) -> Any:
        dscale = unbroadcast(grad * self.u, self.scale.shape)
        return dscale, grad * self.scale, grad


class AxpyReLU(ThenReLU, Axpy, kernel="axpy_relu"):
    """Scale, addition and the ReLU behind them as one op: the end of an SE-ResNet block."""

    name = "axpy_relu"
    formula = "y = max(s · u + x, 0)"
    derivative = "dv = dy where y > 0, else 0,  ds = Σ_hw dv · u,  du = dv · s,  dx = dv"


def axpy(scale: Tensor, input: Tensor, shortcut: Tensor) -> Tensor:
    """y = s · u + x: scale (N, C, 1, 1), input u and shortcut x (N, C, H, W) -> (N, C, H, W).

    RuntimeError for other shapes.
    """
    return _axpy(Axpy, scale, input, shortcut)


def axpy_relu(scale: Tensor, input: Tensor, shortcut: Tensor) -> Tensor:
    """relu(axpy(...)), arguments and errors as in `axpy`."""
    if not is_fusing():
        return relu(axpy(scale, input, shortcut))
    return _axpy(AxpyReLU, scale, input, shortcut)


def _axpy(kind: type[Axpy], scale: Tensor, input: Tensor, shortcut: Tensor) -> Tensor:
    same_dtype("axpy", scale=scale, input=input, shortcut=shortcut)
    if input.ndim != 4 or scale.shape != (*input.shape[:2], 1, 1) or shortcut.shape != input.shape:
        raise RuntimeError(
            "axpy: expected scale (N, C, 1, 1) and input and shortcut (N, C, H, W), got "
            f"{scale.shape}, {input.shape} and {shortcut.shape}"
        )
    return kind()(scale, input, shortcut)
