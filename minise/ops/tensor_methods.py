"""The operators and methods of Tensor: each checks its arguments and calls one op.

They are written as a class and attached to Tensor here, one floor above the engine, so that the
engine stays a page that knows nothing of any particular op.
"""

from __future__ import annotations

import math as numbers
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy

from .. import backend
from ..autograd import Tensor
from . import activation, math, reduce, shape
from .arguments import (
    Axis,
    broadcast_shape,
    cast,
    common_dtype,
    constant,
    floating,
    index_part,
    normal_axes,
    normal_axis,
    operands,
    sizes,
)


def binary(name: str, op: type, integers: bool = True) -> tuple[Callable, Callable]:
    """The operator and its reflection from a two-operand op; ints become floats on request."""

    def forward(self: Tensor, other: Any) -> Tensor:
        a, b = operands(name, self, other)
        return op()(a, b) if integers else op()(floating(a), floating(b))

    def reflected(self: Tensor, other: Any) -> Tensor:
        a, b = operands(name, other, self)
        return op()(a, b) if integers else op()(floating(a), floating(b))

    return forward, reflected


def comparison(compare: Callable[[Any, Any], Any]) -> Callable:
    def forward(self: Tensor, other: Any) -> Tensor:
        a, b = operands(compare.__name__, self, other)
        return Tensor(compare(a.data, b.data))

    return forward


def unary(op: type) -> Callable:
    def forward(self: Tensor) -> Tensor:
        return op()(floating(self))

    forward.__doc__ = f"{op.formula}, element by element."  # type: ignore[attr-defined]
    return forward


class TensorMethods:
    """Every function here becomes a method of Tensor."""

    # Arithmetic: numbers and tensors, broadcast against each other

    __add__, __radd__ = binary("add", math.Add)
    __sub__, __rsub__ = binary("sub", math.Subtract)
    __mul__, __rmul__ = binary("mul", math.Multiply)
    __truediv__, __rtruediv__ = binary("div", math.Divide, integers=False)
    __pow__, __rpow__ = binary("pow", math.Power)

    def __neg__(self):
        return math.Negative()(self)

    def matmul(self, other: Tensor) -> Tensor:
        """(..., I, K) @ (..., K, J) -> (..., I, J).

        A vector is a row on the left and a column on the right. Raises RuntimeError where the
        inner lengths, the leading axes or the dtypes do not fit.
        """
        a, b = self, other
        if not isinstance(b, Tensor):
            raise TypeError(f"matmul: expected a Tensor, got {type(b).__name__}")
        if a.ndim == 0 or b.ndim == 0:
            raise RuntimeError(f"matmul: expected at least one axis, got {a.shape} and {b.shape}")
        rows = b.shape[-2] if b.ndim > 1 else b.shape[0]
        if a.shape[-1] != rows:
            raise RuntimeError(
                f"matmul: a {a.shape} has {a.shape[-1]} columns, b {b.shape} has {rows} rows"
            )
        if a.dtype != b.dtype:
            raise RuntimeError(f"matmul: expected one dtype, got {a.dtype} and {b.dtype}")
        broadcast_shape("matmul", a.shape[:-2], b.shape[:-2])
        return math.MatMul()(a, b)

    __matmul__ = matmul

    # Comparisons: tensors of booleans, without a gradient

    __eq__ = comparison(operator.eq)  # type: ignore[assignment]
    __ne__ = comparison(operator.ne)  # type: ignore[assignment]
    __lt__ = comparison(operator.lt)
    __le__ = comparison(operator.le)
    __gt__ = comparison(operator.gt)
    __ge__ = comparison(operator.ge)
    __hash__ = object.__hash__  # == compares values, so a set or dict goes by identity

    # Functions, element by element

    exp = unary(math.Exp)
    log = unary(math.Log)
    sqrt = unary(math.Sqrt)
    tanh = unary(activation.Tanh)
    sigmoid = unary(activation.Sigmoid)

    def abs(self):
        """y = |x|; the gradient at 0 is 0."""
        return math.Abs()(self)

    __abs__ = abs

    def relu(self):
        """y = max(x, 0); the gradient at 0 is 0."""
        return activation.ReLU()(self)

    def clamp(self, min=None, max=None):
        """y = min(max(x, min), max); the gradient is 1 at the bounds and 0 outside."""
        if min is None and max is None:
            raise RuntimeError("clamp: expected min or max, got neither")
        return math.Clamp(min, max)(self)

    def softmax(self, dim: int):
        return activation.Softmax(normal_axis("softmax", dim, self.ndim))(floating(self))

    def log_softmax(self, dim: int):
        return activation.LogSoftmax(normal_axis("log_softmax", dim, self.ndim))(floating(self))

    # Reductions over `axis`: an int, a tuple of ints, or None for all axes

    def sum(self, axis: Axis = None, keepdims: bool = False):
        """Σ x. Booleans and integers add up as int64."""
        x = cast(self, numpy.int64) if self.dtype.kind in "bui" else self
        return reduce.Sum(normal_axes("sum", axis, x.ndim), keepdims)(x)

    def mean(self, axis: Axis = None, keepdims: bool = False):
        """Σ x / n. RuntimeError for integers, which have no mean of their own dtype."""
        if self.dtype.kind != "f":
            raise RuntimeError(f"mean: expected a floating point tensor, got {self.dtype}")
        return reduce.Mean(normal_axes("mean", axis, self.ndim), keepdims)(self)

    def var(self, axis: Axis = None, *, correction: int = 1, keepdims: bool = False):
        """Σ (x - mean)² / (n - correction); 1, as in PyTorch, gives the unbiased estimate."""
        if self.dtype.kind != "f":
            raise RuntimeError(f"var: expected a floating point tensor, got {self.dtype}")
        return reduce.Variance(normal_axes("var", axis, self.ndim), correction, keepdims)(self)

    def max(self, axis: int | None = None, keepdims: bool = False):
        """The largest value. Along an axis, the first of tied elements takes the gradient."""
        return extreme("max", self, axis, keepdims, reduce.Max, reduce.AMax)

    def min(self, axis: int | None = None, keepdims: bool = False):
        """The smallest value. Along an axis, the first of tied elements takes the gradient."""
        return extreme("min", self, axis, keepdims, reduce.Min, reduce.AMin)

    def amax(self, axis: Axis = None, keepdims: bool = False):
        """The largest value over any axes; tied elements share the gradient equally."""
        return reduce.AMax(normal_axes("amax", axis, self.ndim), keepdims)(self)

    def amin(self, axis: Axis = None, keepdims: bool = False):
        """The smallest value over any axes; tied elements share the gradient equally."""
        return reduce.AMin(normal_axes("amin", axis, self.ndim), keepdims)(self)

    def argmax(self, axis: int | None = None, keepdims: bool = False):
        """Where the largest value is (the first, if several tie); has no gradient."""
        return Tensor(self.data.argmax(axis=axis, keepdims=keepdims))

    def argmin(self, axis: int | None = None, keepdims: bool = False):
        """Where the smallest value is (the first, if several tie); has no gradient."""
        return Tensor(self.data.argmin(axis=axis, keepdims=keepdims))

    # Shapes

    def reshape(self, *new_shape):
        """The same values in another shape; one length may be -1 and is worked out."""
        wanted = sizes(new_shape)
        known = numbers.prod(n for n in wanted if n != -1)
        free = wanted.count(-1)
        fits = known == self.size if free == 0 else known > 0 and self.size % known == 0
        if not fits or free > 1 or any(n < -1 for n in wanted):
            raise RuntimeError(
                f"reshape: shape {self.shape} has {self.size} elements, cannot become {wanted}"
            )
        return shape.Reshape(wanted)(self)

    def flatten(self, start_dim: int = 0, end_dim: int = -1):
        """The axes from start_dim to end_dim (inclusive) become one."""
        start, end = (normal_axis("flatten", d, self.ndim) for d in (start_dim, end_dim))
        if start > end:
            raise RuntimeError(f"flatten: start_dim {start_dim} lies behind end_dim {end_dim}")
        length = numbers.prod(self.shape[start : end + 1])
        return shape.Reshape((*self.shape[:start], length, *self.shape[end + 1 :]))(self)

    def permute(self, *axes):
        """Axis i of the result is axis axes[i] of this."""
        order = tuple(normal_axis("permute", a, self.ndim) for a in sizes(axes))
        if sorted(order) != list(range(self.ndim)):
            raise RuntimeError(f"permute: expected {self.ndim} axes, each once, got {sizes(axes)}")
        return shape.Permute(order)(self)

    def transpose(self, dim0: int, dim1: int):
        """The axes dim0 and dim1 change places."""
        order = list(range(self.ndim))
        first, second = (normal_axis("transpose", d, self.ndim) for d in (dim0, dim1))
        if order:
            order[first], order[second] = second, first
        return shape.Permute(tuple(order))(self)

    @property
    def T(self):
        """All axes in reverse order."""
        return shape.Permute(tuple(range(self.ndim))[::-1])(self)

    def squeeze(self, dim: Axis = None):
        """Without its axes of length 1 (only those in `dim`, if it is given)."""
        axes = normal_axes("squeeze", dim, self.ndim)
        chosen = range(self.ndim) if axes is None else (axes,) if isinstance(axes, int) else axes
        kept = tuple(n for i, n in enumerate(self.shape) if n != 1 or i not in chosen)
        return shape.Reshape(kept)(self)

    def unsqueeze(self, dim: int):
        """With a new axis of length 1 at `dim`."""
        axis = normal_axis("unsqueeze", dim, self.ndim + 1)
        return shape.Reshape((*self.shape[:axis], 1, *self.shape[axis:]))(self)

    def expand(self, *new_shape):
        """Its axes of length 1 repeated to new lengths; -1 keeps a length. Copies nothing."""
        wanted = sizes(new_shape)
        added = len(wanted) - self.ndim
        if added < 0 or -1 in wanted[:added]:
            raise RuntimeError(f"expand: shape {self.shape} cannot be expanded to {wanted}")
        lengths = (self.shape[i - added] if n == -1 else n for i, n in enumerate(wanted))
        return self.broadcast_to(tuple(lengths))

    def broadcast_to(self, new_shape):
        """Repeated along its axes of length 1 until it has `new_shape`. Copies nothing."""
        target = sizes((new_shape,))
        if broadcast_shape("broadcast_to", self.shape, target) != target:
            raise RuntimeError(f"broadcast_to: shape {self.shape} does not broadcast to {target}")
        return shape.Expand(target)(self)

    def __getitem__(self, key):
        """Slices, integers, None, `...`, boolean masks, and arrays or tensors of integers."""
        home = backend.of(self.data)
        parts = tuple(index_part(k, home) for k in (key if isinstance(key, tuple) else (key,)))
        try:
            return shape.Index(parts if isinstance(key, tuple) else parts[0])(self)
        except IndexError as error:
            raise IndexError(f"index: a tensor of shape {self.shape}: {error}") from None

    def __setitem__(self, key, value):
        raise TypeError("tensors are not changed in place: build a new one, or write to `.data`")

    # Moving between backends and dtypes

    def to(self, target):
        """On another backend ("cupy") or in another dtype; the tensor itself if it is there."""
        try:
            return cast(self, numpy.dtype(target))
        except TypeError:
            return self if backend.get(target).name == self.backend else shape.Move(target)(self)

    def double(self):
        return cast(self, numpy.float64)

    def float(self):
        return cast(self, numpy.float32)

    def long(self):
        return cast(self, numpy.int64)

    # Python's own protocols

    def __len__(self):
        if self.ndim == 0:
            raise TypeError("len() of a tensor without axes")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def __bool__(self):
        if self.size != 1:
            raise RuntimeError(f"bool: a tensor of shape {self.shape} is neither true nor false")
        return bool(self.item())

    def __float__(self):
        return self.item() + 0.0

    def __int__(self):
        return int(self.item())

    def __array__(self, dtype=None, copy=None):
        return numpy.array(self.numpy(), dtype=dtype, copy=copy)

    __array_ufunc__ = None  # `ndarray * tensor` asks the tensor, not NumPy, what to do

    maximum = lambda self, other: maximum(self, other)  # noqa: E731
    minimum = lambda self, other: minimum(self, other)  # noqa: E731


def extreme(
    name: str, x: Tensor, axis: int | None, keepdims: bool, along: type, overall: type
) -> Tensor:
    if x.size == 0:
        raise RuntimeError(f"{name}: expected at least one element, got shape {x.shape}")
    if axis is None or x.ndim == 0:
        return overall(None, keepdims)(x)
    return along(normal_axis(name, axis, x.ndim), keepdims)(x)


for _name, _function in vars(TensorMethods).items():
    if _name not in ("__module__", "__dict__", "__weakref__", "__doc__"):
        setattr(Tensor, _name, _function)


def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Tensors one behind the other along `dim`; their other lengths must agree."""
    if not tensors:
        raise RuntimeError("cat: expected at least one tensor, got none")
    dtype, first = common_dtype(tensors), tensors[0]
    axis = normal_axis("cat", dim, first.ndim)
    for index, tensor in enumerate(tensors):
        same = [
            n == m or i == axis
            for i, (n, m) in enumerate(zip(tensor.shape, first.shape, strict=False))
        ]
        if tensor.ndim != first.ndim or tensor.ndim == 0 or not all(same):
            raise RuntimeError(
                f"cat: tensor {index} of shape {tensor.shape} does not fit behind {first.shape} "
                f"along dim {dim}"
            )
    return shape.Concatenate(axis)(*(cast(tensor, dtype) for tensor in tensors))


def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Tensors of one shape along a new axis `dim`."""
    for index, tensor in enumerate(tensors):
        if tensor.shape != tensors[0].shape:
            raise RuntimeError(
                f"stack: tensor {index} has shape {tensor.shape}, expected {tensors[0].shape}"
            )
    return cat([tensor.unsqueeze(dim) for tensor in tensors], dim)


def where(condition: Tensor, a: Any, b: Any) -> Tensor:
    """a where the condition holds, else b; all three broadcast, a and b may be numbers."""
    if condition.dtype.kind != "b":
        raise RuntimeError(f"where: condition must be boolean, got {condition.dtype}")
    if not isinstance(a, Tensor) and not isinstance(b, Tensor):
        a = constant(a, like=condition)
    a, b = operands("where", a, b)
    broadcast_shape("where", condition.shape, a.shape, b.shape)
    return math.Where()(condition, a, b)


def maximum(a: Tensor, b: Tensor) -> Tensor:
    """The larger of a and b, element by element; where they tie each gets half the gradient."""
    return math.Maximum()(*operands("maximum", a, b))


def minimum(a: Tensor, b: Tensor) -> Tensor:
    """The smaller of a and b, element by element; where they tie each gets half the gradient."""
    return math.Minimum()(*operands("minimum", a, b))
