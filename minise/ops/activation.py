"""Nonlinearities, element by element; softmax along an axis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import backend
from ..autograd import Array, Function
from .arguments import (
    check_floats,
    check_number,
    check_tensors,
    extreme_axis,
    refuse_booleans,
    whole,
)
from .promotion import floating

if TYPE_CHECKING:
    from ..tensor import Tensor


class ReLU(Function, kernel="relu"):
    formula = "y = max(x, 0)"
    derivative = "dx = dy where x > 0, else 0"

    def forward(self, x: Array) -> Array:
        self.y = self.xp.maximum(x, 0)
        return self.y

    def backward(self, grad: Array) -> Any:
        return self.xp.where(self.y <= 0, 0, grad)  # written so that a NaN lets the gradient pass


def relu(input: Tensor) -> Tensor:
    """y = max(x, 0); the gradient at 0 is 0. RuntimeError for booleans."""
    check_tensors("relu", input=input)
    refuse_booleans("relu", input)
    return ReLU()(input)


class LeakyReLU(Function):
    name = "leaky_relu"
    formula = "y = x where x > 0, else slope · x"
    derivative = "dx = dy where x > 0, else slope · dy"

    def __init__(self, slope: float = 0.01) -> None:
        self.slope = slope

    def forward(self, x: Array) -> Array:
        self.x = x
        return self.xp.where(x > 0, x, x * self.slope)

    def backward(self, grad: Array) -> Any:
        return self.xp.where(self.x > 0, grad, grad * self.slope)


def leaky_relu(input: Tensor, negative_slope: float = 0.01) -> Tensor:
    """y = x where x > 0, else negative_slope · x"""
    check_floats("leaky_relu", input=input)
    check_number("leaky_relu", "negative_slope", negative_slope)
    return LeakyReLU(negative_slope)(input)


def logistic(x: Array, xp: Any) -> Array:
    """1 / (1 + e^-x), computed from e^-|x| so that nothing overflows and no digit is lost."""
    e = xp.exp(-xp.abs(x))
    return xp.where(x >= 0, 1 / (1 + e), e / (1 + e))


class ELU(Function, kernel="elu"):
    """Clevert, Unterthiner, Hochreiter 2016, equation 15."""

    formula = "y = x where x > 0, else α · (e^x - 1)"
    derivative = "dx = dy where x > 0, else dy · α · e^x"

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha

    def forward(self, x: Array) -> Array:
        self.x = x
        below = self.xp.minimum(x, 0)  # so that no e^x overflows
        return self.xp.where(x > 0, x, self.alpha * self.xp.expm1(below))

    def backward(self, grad: Array) -> Any:
        below = self.xp.minimum(self.x, 0)
        return grad * self.xp.where(self.x <= 0, self.alpha * self.xp.exp(below), 1)


def elu(input: Tensor, alpha: float = 1.0) -> Tensor:
    """y = x where x > 0, else α · (e^x - 1)"""
    check_floats("elu", input=input)
    check_number("elu", "alpha", alpha)
    return ELU(alpha)(input)


class Sigmoid(Function, kernel="sigmoid"):
    formula = "y = σ(x) = 1 / (1 + e^-x)"
    derivative = "dx = dy · y · (1 - y)"

    def forward(self, x: Array) -> Array:
        self.y = logistic(x, self.xp)
        return self.y

    def backward(self, grad: Array) -> Any:
        return grad * self.y * (1 - self.y)


def sigmoid(input: Tensor) -> Tensor:
    """y = 1 / (1 + e^-x)"""
    check_tensors("sigmoid", input=input)
    return Sigmoid()(floating(input))


class Tanh(Function):
    formula = "y = tanh x"
    derivative = "dx = dy · (1 - y²)"

    def forward(self, x: Array) -> Array:
        self.y = self.xp.tanh(x)
        return self.y

    def backward(self, grad: Array) -> Any:
        return grad * (1 - self.y * self.y)


def tanh(input: Tensor) -> Tensor:
    """y = tanh x"""
    check_tensors("tanh", input=input)
    return Tanh()(floating(input))


class SiLU(Function):
    formula = "y = x · σ(x)"
    derivative = "dx = dy · σ(x) · (1 + x · (1 - σ(x)))"

    def forward(self, x: Array) -> Array:
        self.x, self.sigma = x, logistic(x, self.xp)
        return x * self.sigma

    def backward(self, grad: Array) -> Any:
        return grad * self.sigma * (1 + self.x * (1 - self.sigma))


def silu(input: Tensor) -> Tensor:
    """y = x · σ(x), also called swish"""
    check_floats("silu", input=input)
    return SiLU()(input)


class Hardsigmoid(Function):
    formula = "y = min(max(x + 3, 0), 6) / 6"
    derivative = "dx = dy / 6 where -3 < x < 3, else 0"

    def forward(self, x: Array) -> Array:
        self.x = x
        return self.xp.clip(x + 3, 0, 6) / 6

    def backward(self, grad: Array) -> Any:
        return self.xp.where((self.x > -3) & (self.x < 3), grad / 6, 0)


def hardsigmoid(input: Tensor) -> Tensor:
    """y = min(max(x + 3, 0), 6) / 6"""
    check_floats("hardsigmoid", input=input)
    return Hardsigmoid()(input)


class Hardswish(Function):
    formula = "y = x · min(max(x + 3, 0), 6) / 6"
    derivative = "dx = 0 where x <= -3,  dy where x >= 3,  dy · (2x + 3) / 6 between"

    def forward(self, x: Array) -> Array:
        self.x = x
        return x * self.xp.clip(x + 3, 0, 6) / 6

    def backward(self, grad: Array) -> Any:
        x, where = self.x, self.xp.where
        return where(x <= -3, 0, where(x < 3, grad * (x / 3 + 0.5), grad))


def hardswish(input: Tensor) -> Tensor:
    """y = x · min(max(x + 3, 0), 6) / 6"""
    check_floats("hardswish", input=input)
    return Hardswish()(input)


class Softmax(Function):
    formula = "y_i = e^x_i / Σ_j e^x_j"
    derivative = "dx = y · (dy - Σ dy · y)"

    def __init__(self, axis: int | None) -> None:
        self.axis = axis

    def forward(self, x: Array) -> Array:
        e = self.xp.exp(x - x.max(axis=self.axis, keepdims=True))  # no e^x overflows
        self.y = e / e.sum(axis=self.axis, keepdims=True)
        return self.y

    def backward(self, grad: Array) -> Any:
        return self.y * (grad - (grad * self.y).sum(axis=self.axis, keepdims=True))


def softmax(input: Tensor, dim: int) -> Tensor:
    """y_i = e^x_i / Σ_j e^x_j along `dim`; IndexError if there are no elements along it."""
    check_floats("softmax", input=input)
    return Softmax(extreme_axis("softmax", input, whole("softmax", "axis", dim)))(input)


class LogSoftmax(Function, kernel="log_softmax"):
    name = "log_softmax"
    formula = "y_i = x_i - log Σ_j e^x_j"
    derivative = "dx = dy - e^y · Σ dy"

    def __init__(self, axis: int | None) -> None:
        self.axis = axis

    def forward(self, x: Array) -> Array:
        shifted = x - x.max(axis=self.axis, keepdims=True)  # no e^x overflows
        e = self.xp.exp(shifted)
        self.y = shifted - self.xp.log(e.sum(axis=self.axis, keepdims=True))
        return self.y

    def backward(self, grad: Array) -> Any:
        return grad - self.xp.exp(self.y) * grad.sum(axis=self.axis, keepdims=True)


def log_softmax(input: Tensor, dim: int) -> Tensor:
    """y_i = x_i - log Σ_j e^x_j along `dim`; IndexError if there are no elements along it."""
    check_floats("log_softmax", input=input)
    return LogSoftmax(extreme_axis("log_softmax", input, whole("log_softmax", "axis", dim)))(input)


def dropout(input: Tensor, p: float = 0.5, training: bool = True) -> Tensor:
    """In training each element becomes 0 with probability p, the others grow by 1 / (1 - p)."""
    check_tensors("dropout", input=input)
    check_number("dropout", "p", p)
    if not 0 <= p <= 1:
        raise ValueError(f"dropout: p must lie between 0 and 1, got {p}")
    if not training or p == 0:
        return input
    check_floats("dropout", input=input)
    kept = backend.random.generator().random(input.shape) >= p
    scale = 0.0 if p == 1 else 1 / (1 - p)
    return input * input.new(backend.of(input.data).as_array(kept * scale, dtype=input.dtype))
