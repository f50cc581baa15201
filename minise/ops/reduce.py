"""Sums, means and extremes over axes."""

from __future__ import annotations

from ..autograd import Function
from .broadcast import sum_in_double


class Reduction(Function):
    """Over `axis`: None for all axes, an int or a tuple of ints, already non-negative."""

    def __init__(self, axis=None, keepdims=False):
        self.axis, self.keepdims = axis, keepdims

    def kept(self, reduced, shape):
        """`reduced` with its reduced axes back as axes of length 1, to broadcast with `shape`."""
        axes = range(len(shape)) if self.axis is None else self.axis
        axes = (axes,) if isinstance(axes, int) else axes
        return reduced.reshape([1 if i in axes else n for i, n in enumerate(shape)])


class Sum(Reduction):
    formula = "y = Σ x"
    derivative = "dx = dy, the same for every summand"

    def forward(self, x):
        self.shape = x.shape
        return sum_in_double(x, self.axis, self.keepdims)

    def backward(self, grad):
        return self.xp.broadcast_to(self.kept(grad, self.shape), self.shape)


class Mean(Reduction):
    formula = "y = Σ x / n"
    derivative = "dx = dy / n, the same for every summand"

    def forward(self, x):
        self.shape = x.shape
        total = sum_in_double(x, self.axis, self.keepdims)
        self.count = x.size // max(total.size, 1)
        return total / self.count

    def backward(self, grad):
        return self.xp.broadcast_to(self.kept(grad / self.count, self.shape), self.shape)


class Variance(Reduction):
    """`correction` is subtracted from the count: 1 for the unbiased estimate."""

    name = "var"
    formula = "y = Σ (x - mean)² / (n - correction)"
    derivative = "dx = dy · 2 (x - mean) / (n - correction)"

    def __init__(self, axis=None, correction=1, keepdims=False):
        super().__init__(axis, keepdims)
        self.correction = correction

    def forward(self, x):
        total = sum_in_double(x, self.axis, keepdims=True)
        count = x.size // max(total.size, 1)
        self.centred = x - total / count
        self.freedom = max(count - self.correction, 0)
        squares = sum_in_double(self.centred * self.centred, self.axis, self.keepdims)
        return squares / self.freedom

    def backward(self, grad):
        return self.kept(grad / self.freedom, self.centred.shape) * 2 * self.centred


class AMax(Reduction):
    """Elements that tie for the extreme share the gradient equally."""

    formula = "y = max x"
    derivative = "dx = dy / (number of maxima) at each maximum, else 0"
    extreme = "max"

    def forward(self, x):
        self.x, self.y = x, getattr(x, self.extreme)(axis=self.axis, keepdims=self.keepdims)
        return self.y

    def backward(self, grad):
        x = self.x
        at_extreme = (x == self.kept(self.y, x.shape)) | (x != x)  # a NaN, unlike itself, wins
        ties = at_extreme.sum(axis=self.axis, keepdims=True).astype(grad.dtype)
        return at_extreme * (self.kept(grad, x.shape) / ties)


class AMin(AMax):
    """Elements that tie for the extreme share the gradient equally."""

    formula = "y = min x"
    derivative = "dx = dy / (number of minima) at each minimum, else 0"
    extreme = "min"


class Max(Reduction):
    """Over one axis; the first of tied elements takes the whole gradient."""

    formula = "y = x[argmax x]"
    derivative = "dx = dy at the argmax, else 0"
    argument = "argmax"

    def forward(self, x):
        index = getattr(x, self.argument)(axis=self.axis)
        self.index, self.shape = self.xp.expand_dims(index, self.axis), x.shape
        y = self.xp.take_along_axis(x, self.index, axis=self.axis)
        return y if self.keepdims else y.reshape(index.shape)

    def backward(self, grad):
        along = [1] * len(self.shape)
        along[self.axis] = self.shape[self.axis]
        positions = self.xp.arange(self.shape[self.axis]).reshape(along)
        return (positions == self.index) * self.kept(grad, self.shape)


class Min(Max):
    """Over one axis; the first of tied elements takes the whole gradient."""

    formula = "y = x[argmin x]"
    derivative = "dx = dy at the argmin, else 0"
    argument = "argmin"
