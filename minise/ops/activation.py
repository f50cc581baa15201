"""Nonlinearities, element by element; softmax along an axis."""

from __future__ import annotations

from typing import Any

from ..autograd import Function


class ReLU(Function):
    formula = "y = max(x, 0)"
    derivative = "dx = dy where x > 0, else 0"

    def forward(self, x):
        self.y = self.xp.maximum(x, 0)
        return self.y

    def backward(self, grad):
        return self.xp.where(self.y <= 0, 0, grad)  # written so that a NaN lets the gradient pass


class ThenReLU:
    """Mixed into an op: the same op and the ReLU behind it, as one: it saves a pass over memory."""

    xp: Any

    def forward(self, *arrays):
        self.y = self.xp.maximum(super().forward(*arrays), 0)  # type: ignore[misc]
        return self.y

    def backward(self, grad):
        return super().backward(self.xp.where(self.y <= 0, 0, grad))  # type: ignore[misc]


class LeakyReLU(Function):
    name = "leaky_relu"
    formula = "y = x where x > 0, else slope · x"
    derivative = "dx = dy where x > 0, else slope · dy"

    def __init__(self, slope=0.01):
        self.slope = slope

    def forward(self, x):
        self.x = x
        return self.xp.where(x > 0, x, x * self.slope)

    def backward(self, grad):
        return self.xp.where(self.x > 0, grad, grad * self.slope)


class Sigmoid(Function):
    formula = "y = σ(x) = 1 / (1 + e^-x)"
    derivative = "dx = dy · y · (1 - y)"

    def forward(self, x):
        self.y = sigmoid(x, self.xp)
        return self.y

    def backward(self, grad):
        return grad * self.y * (1 - self.y)


class Tanh(Function):
    formula = "y = tanh x"
    derivative = "dx = dy · (1 - y²)"

    def forward(self, x):
        self.y = self.xp.tanh(x)
        return self.y

    def backward(self, grad):
        return grad * (1 - self.y * self.y)


class SiLU(Function):
    formula = "y = x · σ(x)"
    derivative = "dx = dy · σ(x) · (1 + x · (1 - σ(x)))"

    def forward(self, x):
        self.x, self.sigma = x, sigmoid(x, self.xp)
        return x * self.sigma

    def backward(self, grad):
        return grad * self.sigma * (1 + self.x * (1 - self.sigma))


class Hardsigmoid(Function):
    formula = "y = min(max(x + 3, 0), 6) / 6"
    derivative = "dx = dy / 6 where -3 < x < 3, else 0"

    def forward(self, x):
        self.x = x
        return self.xp.clip(x + 3, 0, 6) / 6

    def backward(self, grad):
        return self.xp.where((self.x > -3) & (self.x < 3), grad / 6, 0)


class Hardswish(Function):
    formula = "y = x · min(max(x + 3, 0), 6) / 6"
    derivative = "dx = 0 where x <= -3,  dy where x >= 3,  dy · (2x + 3) / 6 between"

    def forward(self, x):
        self.x = x
        return x * self.xp.clip(x + 3, 0, 6) / 6

    def backward(self, grad):
        x, where = self.x, self.xp.where
        return where(x <= -3, 0, where(x < 3, grad * (x / 3 + 0.5), grad))


class Softmax(Function):
    formula = "y_i = e^x_i / Σ_j e^x_j"
    derivative = "dx = y · (dy - Σ dy · y)"

    def __init__(self, axis):
        self.axis = axis

    def forward(self, x):
        e = self.xp.exp(x - x.max(axis=self.axis, keepdims=True))  # no e^x overflows
        self.y = e / e.sum(axis=self.axis, keepdims=True)
        return self.y

    def backward(self, grad):
        return self.y * (grad - (grad * self.y).sum(axis=self.axis, keepdims=True))


class LogSoftmax(Function):
    name = "log_softmax"
    formula = "y_i = x_i - log Σ_j e^x_j"
    derivative = "dx = dy - e^y · Σ dy"

    def __init__(self, axis):
        self.axis = axis

    def forward(self, x):
        shifted = x - x.max(axis=self.axis, keepdims=True)  # no e^x overflows
        e = self.xp.exp(shifted)
        self.y = shifted - self.xp.log(e.sum(axis=self.axis, keepdims=True))
        return self.y

    def backward(self, grad):
        return grad - self.xp.exp(self.y) * grad.sum(axis=self.axis, keepdims=True)


def sigmoid(x, xp):
    """1 / (1 + e^-x), computed from e^-|x| so that nothing overflows and no digit is lost."""
    e = xp.exp(-xp.abs(x))
    return xp.where(x >= 0, 1 / (1 + e), e / (1 + e))
