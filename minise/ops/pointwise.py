"""Functions of one number, element by element, that are no activations of a network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..autograd import Array, Function
from .arguments import check_number, refuse_booleans
from .promotion import cast, common_dtype, constant, floating

if TYPE_CHECKING:
    from ..tensor import Tensor


class Exp(Function):
    formula = "y = e^x"
    derivative = "dx = dy · y"

    def forward(self, x: Array) -> Array:
        self.y = self.xp.exp(x)
        return self.y

    def backward(self, grad: Array) -> Any:
        return grad * self.y


def exp(x: Tensor) -> Tensor:
    """e^x; integers become float32, as in all functions with fractional values."""
    return Exp()(floating(x))


class Log(Function):
    formula = "y = log x"
    derivative = "dx = dy / x"

    def forward(self, x: Array) -> Array:
        self.x = x
        return self.xp.log(x)

    def backward(self, grad: Array) -> Any:
        return grad / self.x


def log(x: Tensor) -> Tensor:
    """The natural logarithm."""
    return Log()(floating(x))


class Sqrt(Function):
    formula = "y = √x"
    derivative = "dx = dy / (2y)"

    def forward(self, x: Array) -> Array:
        self.y = self.xp.sqrt(x)
        return self.y

    def backward(self, grad: Array) -> Any:
        return grad / (2 * self.y)


def sqrt(x: Tensor) -> Tensor:
    """√x"""
    return Sqrt()(floating(x))


class Abs(Function):
    formula = "y = |x|"
    derivative = "dx = dy · sign(x)"

    def forward(self, x: Array) -> Array:
        self.x = x
        return self.xp.abs(x)

    def backward(self, grad: Array) -> Any:
        sign = self.xp.where(self.x > 0, 1, self.xp.where(self.x < 0, -1, 0))  # 0 for a NaN too
        return grad * sign.astype(grad.dtype)


def absolute(x: Tensor) -> Tensor:
    """|x|; the gradient at 0 is 0. RuntimeError for booleans."""
    refuse_booleans("abs", x)
    return Abs()(x)


class Clamp(Function):
    """`low` or `high` may be None: no bound on that side."""

    formula = "y = min(max(x, low), high)"
    derivative = "dx = dy where low <= x <= high, else 0"

    def __init__(self, low: float | None = None, high: float | None = None) -> None:
        self.low, self.high = low, high

    def forward(self, x: Array) -> Array:
        y = x
        self.inside = self.xp.ones(x.shape, dtype=bool)
        if self.low is not None:
            self.inside = x >= self.low
            y = self.xp.maximum(y, self.low)
        if self.high is not None:
            self.inside = self.inside & (x <= self.high)
            y = self.xp.minimum(y, self.high)
        return y

    def backward(self, grad: Array) -> Any:
        return grad * self.inside


def clamp(x: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """y = min(max(x, min), max); the gradient is 1 at the bounds and 0 outside.

    Raises RuntimeError without any bound, TypeError for one that is no number.
    """
    bounds = {"min": min, "max": max}
    bounds = {side: bound for side, bound in bounds.items() if bound is not None}
    if not bounds:
        raise RuntimeError("clamp: expected min or max, got neither")
    for side, bound in bounds.items():
        check_number("clamp", side, bound)
    limits = (constant("clamp", bound, like=x) for bound in bounds.values())
    return Clamp(min, max)(cast(x, common_dtype([x, *limits])))
