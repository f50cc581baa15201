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
    check_extremes,
    check_floats,
    check_indices,
    check_number,
    check_tensors,
    common_dtype,
    constant,
    floating,
    floating_operands,
    index_part,
    normal_axes,
    normal_axis,
    operands,
    power_operands,
    refuse_booleans,
    same_dtype,
    signed_operands,
    sizes,
    supported_dtype,
    whole,
)


def binary(name: str, op: type, prepare: Callable = operands) -> tuple[Callable, Callable]:
    """The operator and its reflection from a two-operand op; `prepare` makes its operands fit."""

    def forward(self: Tensor, other: Any) -> Tensor:
        return op()(*prepare(name, self, other))

    def reflected(self: Tensor, other: Any) -> Tensor:
        return op()(*prepare(name, other, self))

    return forward, reflected


def comparison(compare: Callable[[Any, Any], Any]) -> Callable:
    def forward(self: Tensor, other: Any) -> Tensor:
        if other is None:
            return NotImplemented  # then Python says that no tensor is None
        a, b = operands(compare.__name__, self, other)
        return Tensor(compare(a.data, b.data))

    return forward


def unary(op: type) -> Callable:
    def forward(self: Tensor) -> Tensor:
        return op()(floating(self))

    forward.__doc__ = f"{op.formula}, element by element."  # type: ignore[attr-defined]
    return forward


class TensorMethods(Tensor):
    """Every function here becomes a method of Tensor."""

    __slots__ = ()

    # Arithmetic: numbers and tensors, broadcast against each other

    __add__, __radd__ = binary("add", math.Add)
    __sub__, __rsub__ = binary("sub", math.Subtract, signed_operands)
    __mul__, __rmul__ = binary("mul", math.Multiply)
    __truediv__, __rtruediv__ = binary("div", math.Divide, floating_operands)
    __pow__, __rpow__ = binary("pow", math.Power, power_operands)

    def __neg__(self) -> Tensor:
        refuse_booleans("neg", self)
        return math.Negative()(self)

    def matmul(self, other: Tensor) -> Tensor:
        """(..., I, K) @ (..., K, J) -> (..., I, J).

        A vector is a row on the left and a column on the right. Raises RuntimeError where the
        inner lengths, the leading axes or the dtypes do not fit.
        """
        a, b = self, other
        check_tensors("matmul", other=other)
        if a.ndim == 0 or b.ndim == 0:
            raise RuntimeError(f"matmul: expected at least one axis, got {a.shape} and {b.shape}")
        rows = b.shape[-2] if b.ndim > 1 else b.shape[0]
        if a.shape[-1] != rows:
            raise RuntimeError(
                f"matmul: a {a.shape} has {a.shape[-1]} columns, b {b.shape} has {rows} rows"
            )
        same_dtype("matmul", a=a, b=b)
        broadcast_shape("matmul", a.shape[:-2], b.shape[:-2])
        return math.MatMul()(a, b)

    __matmul__ = matmul

    # Comparisons: tensors of booleans, without a gradient

    __eq__ = comparison(operator.eq)
    __ne__ = comparison(operator.ne)
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

    def abs(self) -> Tensor:
        """y = |x|; the gradient at 0 is 0."""
        refuse_booleans("abs", self)
        return math.Abs()(self)

    __abs__ = abs

    def relu(self) -> Tensor:
        """y = max(x, 0); the gradient at 0 is 0."""
        refuse_booleans("relu", self)
        return activation.ReLU()(self)

    def clamp(self, min: Any = None, max: Any = None) -> Tensor:
        """y = min(max(x, min), max); the gradient is 1 at the bounds and 0 outside."""
        bounds = {"min": min, "max": max}
        bounds = {side: bound for side, bound in bounds.items() if bound is not None}
        if not bounds:
            raise RuntimeError("clamp: expected min or max, got neither")
        for side, bound in bounds.items():
            check_number("clamp", side, bound)
        limits = (constant("clamp", bound, like=self) for bound in bounds.values())
        dtype = common_dtype([self, *limits])
        return math.Clamp(min, max)(cast(self, dtype))

    def softmax(self, dim: int) -> Tensor:
        """y_i = e^x_i / Σ_j e^x_j along `dim`; IndexError if there are no elements along it."""
        return activation.Softmax(distribution_axis("softmax", self, dim))(self)

    def log_softmax(self, dim: int) -> Tensor:
        """y_i = x_i - log Σ_j e^x_j along `dim`; IndexError if there are no elements along it."""
        return activation.LogSoftmax(distribution_axis("log_softmax", self, dim))(self)

    # Reductions over `axis`: an int, a tuple of ints, or None for all axes

    def sum(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Σ x. Booleans and integers add up as int64."""
        x = cast(self, numpy.int64) if self.dtype.kind in "bui" else self
        return reduce.Sum(normal_axes("sum", axis, x.ndim), keepdims)(x)

    def mean(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Σ x / n. RuntimeError for integers, which have no mean of their own dtype."""
        if self.dtype.kind != "f":
            raise RuntimeError(f"mean: expected a floating point tensor, got {self.dtype}")
        return reduce.Mean(normal_axes("mean", axis, self.ndim), keepdims)(self)

    def var(self, axis: Axis = None, *, correction: int = 1, keepdims: bool = False) -> Tensor:
        """Σ (x - mean)² / (n - correction); 1, as in PyTorch, gives the unbiased estimate."""
        if self.dtype.kind != "f":
            raise RuntimeError(f"var: expected a floating point tensor, got {self.dtype}")
        check_number("var", "correction", correction)
        return reduce.Variance(normal_axes("var", axis, self.ndim), correction, keepdims)(self)

    def max(self, axis: int | None = None, keepdims: bool = False) -> Tensor:
        """The largest value. Along an axis, the first of tied elements takes the gradient."""
        return extreme("max", self, axis, keepdims, reduce.Max, reduce.AMax)

    def min(self, axis: int | None = None, keepdims: bool = False) -> Tensor:
        """The smallest value. Along an axis, the first of tied elements takes the gradient."""
        return extreme("min", self, axis, keepdims, reduce.Min, reduce.AMin)

    def amax(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """The largest value over any axes; tied elements share the gradient equally."""
        axes = normal_axes("amax", axis, self.ndim)
        check_extremes("amax", self.shape, axes)
        return reduce.AMax(axes, keepdims)(self)

    def amin(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """The smallest value over any axes; tied elements share the gradient equally."""
        axes = normal_axes("amin", axis, self.ndim)
        check_extremes("amin", self.shape, axes)
        return reduce.AMin(axes, keepdims)(self)

    def argmax(self, axis: int | None = None, keepdims: bool = False) -> Tensor:
        """Where the largest value is (the first, if several tie); has no gradient."""
        along = extreme_axis("argmax", self, axis)
        return Tensor(self.data.argmax(axis=along, keepdims=keepdims))

    def argmin(self, axis: int | None = None, keepdims: bool = False) -> Tensor:
        """Where the smallest value is (the first, if several tie); has no gradient."""
        along = extreme_axis("argmin", self, axis)
        return Tensor(self.data.argmin(axis=along, keepdims=keepdims))

    # Shapes

    def reshape(self, *new_shape: Any) -> Tensor:
        """The same values in another shape; one length may be -1 and is worked out."""
        wanted = sizes("reshape", new_shape)
        known = numbers.prod(n for n in wanted if n != -1)
        free = wanted.count(-1)
        fits = known == self.size if free == 0 else known > 0 and self.size % known == 0
        if not fits or free > 1 or any(n < -1 for n in wanted):
            raise RuntimeError(
                f"reshape: shape {self.shape} has {self.size} elements, cannot become {wanted}"
            )
        return shape.Reshape(wanted)(self)

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Tensor:
        """The axes from start_dim to end_dim (inclusive) become one."""
        start, end = (normal_axis("flatten", d, self.ndim) for d in (start_dim, end_dim))
        if start > end:
            raise RuntimeError(f"flatten: start_dim {start_dim} lies behind end_dim {end_dim}")
        length = numbers.prod(self.shape[start : end + 1])
        return shape.Reshape((*self.shape[:start], length, *self.shape[end + 1 :]))(self)

    def permute(self, *axes: Any) -> Tensor:
        """Axis i of the result is axis axes[i] of this."""
        wanted = sizes("permute", axes)
        if len(wanted) == self.ndim:
            order = tuple(normal_axis("permute", a, self.ndim) for a in wanted)
            if len(set(order)) == self.ndim:
                return shape.Permute(order)(self)
        raise RuntimeError(f"permute: expected {self.ndim} axes, each once, got {wanted}")

    def transpose(self, dim0: int, dim1: int) -> Tensor:
        """The axes dim0 and dim1 change places."""
        order = list(range(self.ndim))
        first, second = (normal_axis("transpose", d, self.ndim) for d in (dim0, dim1))
        if order:
            order[first], order[second] = second, first
        return shape.Permute(tuple(order))(self)

    @property
    def T(self) -> Tensor:
        """All axes in reverse order."""
        return shape.Permute(tuple(range(self.ndim))[::-1])(self)

    def squeeze(self, dim: Axis = None) -> Tensor:
        """Without its axes of length 1 (only those in `dim`, if it is given)."""
        axes = normal_axes("squeeze", dim, self.ndim)
        chosen = range(self.ndim) if dim is None else (axes,) if isinstance(axes, int) else axes
        kept = tuple(n for i, n in enumerate(self.shape) if n != 1 or i not in (chosen or ()))
        return shape.Reshape(kept)(self)

    def unsqueeze(self, dim: int) -> Tensor:
        """With a new axis of length 1 at `dim`."""
        axis = normal_axis("unsqueeze", dim, self.ndim + 1)
        return shape.Reshape((*self.shape[:axis], 1, *self.shape[axis:]))(self)

    def expand(self, *new_shape: Any) -> Tensor:
        """Its axes of length 1 repeated to new lengths; -1 keeps a length. Copies nothing."""
        wanted = sizes("expand", new_shape)
        added = len(wanted) - self.ndim
        if added < 0 or -1 in wanted[:added]:
            raise RuntimeError(f"expand: shape {self.shape} cannot be expanded to {wanted}")
        lengths = (self.shape[i - added] if n == -1 else n for i, n in enumerate(wanted))
        return self.broadcast_to(tuple(lengths))

    def broadcast_to(self, new_shape: Any) -> Tensor:
        """Repeated along its axes of length 1 until it has `new_shape`. Copies nothing."""
        target = sizes("broadcast_to", (new_shape,))
        if broadcast_shape("broadcast_to", self.shape, target) != target:
            raise RuntimeError(f"broadcast_to: shape {self.shape} does not broadcast to {target}")
        return shape.Expand(target)(self)

    def __getitem__(self, key: Any) -> Tensor:
        """Slices, integers, None, `...`, boolean masks, and arrays or tensors of integers."""
        home = backend.of(self.data)
        parts = tuple(index_part(k, home) for k in (key if isinstance(key, tuple) else (key,)))
        check_indices(self.shape, parts)
        try:
            return shape.Index(parts if isinstance(key, tuple) else parts[0])(self)
        except (IndexError, TypeError, ValueError) as error:
            raise type(error)(f"index: a tensor of shape {self.shape}: {error}") from None

    def __setitem__(self, key: Any, value: Any) -> None:
        raise TypeError(
            "setitem: tensors are not changed in place; build a new one, or write to `.data`"
        )

    # Moving between backends and dtypes

    def to(self, target: Any) -> Tensor:
        """On another backend ("cupy") or in another dtype; the tensor itself if it is there.

        Raises TypeError for what is no dtype, ValueError for an unknown name.
        """
        try:
            return cast(self, supported_dtype("to", target))
        except TypeError:
            if not isinstance(target, str):
                raise
        return self if backend.get(target).name == self.backend else shape.Move(target)(self)

    def double(self) -> Tensor:
        return cast(self, numpy.float64)

    def float(self) -> Tensor:
        return cast(self, numpy.float32)

    def long(self) -> Tensor:
        return cast(self, numpy.int64)

    # Python's own protocols

    def __len__(self) -> int:
        if self.ndim == 0:
            raise TypeError("len: a tensor without axes has no length")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def __bool__(self) -> bool:
        if self.size != 1:
            raise RuntimeError(f"bool: a tensor of shape {self.shape} is neither true nor false")
        return bool(self.item())

    def __float__(self) -> Any:
        return single("float", self) + 0.0

    def __int__(self) -> int:
        return int(single("int", self))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> numpy.ndarray:
        return numpy.array(self.numpy(), dtype=dtype, copy=copy)

    __array_ufunc__ = None  # `ndarray * tensor` asks the tensor, not NumPy, what to do

    maximum = lambda self, other: maximum(self, other)  # noqa: E731
    minimum = lambda self, other: minimum(self, other)  # noqa: E731


def extreme(
    name: str, x: Tensor, axis: int | None, keepdims: bool, along: type, overall: type
) -> Tensor:
    chosen = extreme_axis(name, x, axis)
    return (overall if chosen is None else along)(chosen, keepdims)(x)


def extreme_axis(name: str, x: Tensor, axis: int | None) -> int | None:
    """The one axis (None for all) along which to look for an extreme."""
    chosen = None if axis is None else normal_axis(name, axis, x.ndim)
    chosen = chosen if x.ndim else None
    check_extremes(name, x.shape, chosen)
    return chosen


def distribution_axis(name: str, x: Tensor, dim: int) -> int | None:
    """The axis along which the elements of x become probabilities; None if x has no axes."""
    check_floats(name, input=x)
    return extreme_axis(name, x, whole(name, "axis", dim))


def single(name: str, x: Tensor) -> Any:
    if x.size != 1:
        raise ValueError(f"{name}: expected a tensor of one element, got shape {x.shape}")
    return x.item()


for _name, _function in vars(TensorMethods).items():
    if _name not in ("__module__", "__slots__", "__doc__"):
        setattr(Tensor, _name, _function)


def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Tensors one behind the other along `dim`; their other lengths must agree."""
    check_sequence("cat", tensors)
    if not tensors:
        raise ValueError("cat: expected at least one tensor, got none")
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
    check_sequence("stack", tensors)
    if not tensors:
        raise RuntimeError("stack: expected at least one tensor, got none")
    axis = normal_axis("stack", dim, tensors[0].ndim + 1)
    for index, tensor in enumerate(tensors):
        if tensor.shape != tensors[0].shape:
            raise RuntimeError(
                f"stack: tensor {index} has shape {tensor.shape}, expected {tensors[0].shape}"
            )
    return cat([tensor.unsqueeze(axis) for tensor in tensors], axis)


def check_sequence(name: str, tensors: Sequence[Tensor]) -> None:
    if not isinstance(tensors, (tuple, list)):
        raise TypeError(
            f"{name}: tensors must be a list or tuple of Tensors, got {type(tensors).__name__}"
        )
    check_tensors(name, **{f"tensors[{i}]": tensor for i, tensor in enumerate(tensors)})


def where(condition: Tensor, a: Any, b: Any) -> Tensor:
    """a where the condition holds, else b; all three broadcast, a and b may be numbers."""
    check_tensors("where", condition=condition)
    if condition.dtype.kind != "b":
        raise RuntimeError(f"where: condition must be boolean, got {condition.dtype}")
    if not isinstance(a, Tensor) and not isinstance(b, Tensor):
        check_number("where", "a", a)
        a = constant("where", a, like=condition)
    a, b = operands("where", a, b)
    broadcast_shape("where", condition.shape, a.shape, b.shape)
    return math.Where()(condition, a, b)


def maximum(a: Tensor, b: Tensor) -> Tensor:
    """The larger of a and b, element by element; where they tie each gets half the gradient."""
    return math.Maximum()(*operands("maximum", a, b))


def minimum(a: Tensor, b: Tensor) -> Tensor:
    """The smaller of a and b, element by element; where they tie each gets half the gradient."""
    return math.Minimum()(*operands("minimum", a, b))
