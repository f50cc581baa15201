"""Sums, means and extremes over axes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy

from ..autograd import Array, Function
from .arguments import Axis, check_extremes, check_number, extreme_axis, normal_axes
from .broadcast import sum_in_double
from .promotion import cast

if TYPE_CHECKING:
    from ..tensor import Tensor


class Reduction(Function):
    """Over `axis`: None for all axes, an int or a tuple of ints, already non-negative."""

    def __init__(self, axis: Axis = None, keepdims: bool = False) -> None:
        self.axis, self.keepdims = axis, keepdims

    def kept(self, reduced: Array, shape: tuple[int, ...]) -> Array:
        """`reduced` with its reduced axes back as axes of length 1, to broadcast with `shape`."""
        axes = range(len(shape)) if self.axis is None else self.axis
        axes = (axes,) if isinstance(axes, int) else axes
        return reduced.reshape([1 if i in axes else n for i, n in enumerate(shape)])


class Sum(Reduction):
    formula = "y = Σ x"
    derivative = "dx = dy, the same for every summand"

    def forward(self, x: Array) -> Array:
        self.shape = x.shape
        return sum_in_double(x, self.axis, self.keepdims)

    def backward(self, grad: Array) -> Any:
        return self.xp.broadcast_to(self.kept(grad, self.shape), self.shape)


def sum(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Σ x over `axis`: an int, a tuple of ints, or None for all axes.

    Booleans and integers add up as int64. IndexError for an axis that is not there; so do all
    reductions here.
    """
    x = cast(x, numpy.int64) if x.dtype.kind in "bui" else x
    return Sum(normal_axes("sum", axis, x.ndim), keepdims)(x)


class Mean(Reduction):
    formula = "y = Σ x / n"
    derivative = "dx = dy / n, the same for every summand"

    def forward(self, x: Array) -> Array:
        self.shape = x.shape
        total = sum_in_double(x, self.axis, self.keepdims)
        self.count = x.size // (total.size or 1)
        return total / self.count

    def backward(self, grad: Array) -> Any:
        return self.xp.broadcast_to(self.kept(grad / self.count, self.shape), self.shape)


def mean(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Σ x / n over `axis`. RuntimeError for integers, which have no mean of their own dtype."""
    if x.dtype.kind != "f":
        raise RuntimeError(f"mean: expected a floating point tensor, got {x.dtype}")
    return Mean(normal_axes("mean", axis, x.ndim), keepdims)(x)


class Variance(Reduction):
    """`correction` is subtracted from the count: 1 for the unbiased estimate."""

    name = "var"
    formula = "y = Σ (x - mean)² / (n - correction)"
    derivative = "dx = dy · 2 (x - mean) / (n - correction)"

    def __init__(self, axis: Axis = None, correction: float = 1, keepdims: bool = False) -> None:
        super().__init__(axis, keepdims)
        self.correction = correction

    def forward(self, x: Array) -> Array:
        total = sum_in_double(x, self.axis, keepdims=True)
        count = x.size // (total.size or 1)
        self.centred = x - total / count
        freedom = count - self.correction
        self.freedom = freedom if freedom > 0 else 0
        squares = sum_in_double(self.centred * self.centred, self.axis, self.keepdims)
        return squares / self.freedom

    def backward(self, grad: Array) -> Any:
        return self.kept(grad / self.freedom, self.centred.shape) * 2 * self.centred


def var(
    x: Tensor, axis: Axis = None, *, correction: float = 1, keepdims: bool = False
) -> Tensor:
    """Σ (x - mean)² / (n - correction); 1, as in PyTorch, gives the unbiased estimate."""
    if x.dtype.kind != "f":
        raise RuntimeError(f"var: expected a floating point tensor, got {x.dtype}")
    check_number("var", "correction", correction)
    return Variance(normal_axes("var", axis, x.ndim), correction, keepdims)(x)


class AMax(Reduction):
    """Elements that tie for the extreme share the gradient equally."""

    formula = "y = max x"
    derivative = "dx = dy / (number of maxima) at each maximum, else 0"
    extreme = "max"

    def forward(self, x: Array) -> Array:
        self.x, self.y = x, getattr(x, self.extreme)(axis=self.axis, keepdims=self.keepdims)
        return self.y

    def backward(self, grad: Array) -> Any:
        x = self.x
        at_extreme = (x == self.kept(self.y, x.shape)) | (x != x)  # a NaN, unlike itself, wins
        ties = at_extreme.sum(axis=self.axis, keepdims=True).astype(grad.dtype)
        return at_extreme * (self.kept(grad, x.shape) / ties)


class AMin(AMax):
    """Elements that tie for the extreme share the gradient equally."""

    formula = "y = min x"
    derivative = "dx = dy / (number of minima) at each minimum, else 0"
    extreme = "min"


def amax(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The largest value over any axes; tied elements share the gradient equally."""
    axes = normal_axes("amax", axis, x.ndim)
    check_extremes("amax", x.shape, axes)
    return AMax(axes, keepdims)(x)


def amin(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The smallest value over any axes; tied elements share the gradient equally."""
    axes = normal_axes("amin", axis, x.ndim)
    check_extremes("amin", x.shape, axes)
    return AMin(axes, keepdims)(x)


class Max(Reduction):
    """Over one axis; the first of tied elements takes the whole gradient."""

    formula = "y = x[argmax x]"
    derivative = "dx = dy at the argmax, else 0"
    argument = "argmax"

    def forward(self, x: Array) -> Array:
        index = getattr(x, self.argument)(axis=self.axis)
        self.index, self.shape = self.xp.expand_dims(index, self.axis), x.shape
        y = self.xp.take_along_axis(x, self.index, axis=self.axis)
        return y if self.keepdims else y.reshape(index.shape)

    def backward(self, grad: Array) -> Any:
        n = self.shape[self.axis]
        along = [n if i == self.axis else 1 for i in range(len(self.shape))]
        positions = self.xp.arange(n).reshape(along)
        return (positions == self.index) * self.kept(grad, self.shape)


class Min(Max):
    """Over one axis; the first of tied elements takes the whole gradient."""

    formula = "y = x[argmin x]"
    derivative = "dx = dy at the argmin, else 0"
    argument = "argmin"


def max(x: Tensor, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """The largest value. Along an axis, the first of tied elements takes the gradient."""
    chosen = extreme_axis("max", x, axis)
    return (AMax if chosen is None else Max)(chosen, keepdims)(x)


def min(x: Tensor, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """The smallest value. Along an axis, the first of tied elements takes the gradient."""
    chosen = extreme_axis("min", x, axis)
    return (AMin if chosen is None else Min)(chosen, keepdims)(x)


def argmax(x: Tensor, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Where the largest value is (the first, if several tie); has no gradient."""
    return x.new(x.data.argmax(axis=extreme_axis("argmax", x, axis), keepdims=keepdims))


def argmin(x: Tensor, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Where the smallest value is (the first, if several tie); has no gradient."""
    return x.new(x.data.argmin(axis=extreme_axis("argmin", x, axis), keepdims=keepdims))
