"""The tensor that people compute with: the engine's Variable with operators and methods.

Every method is one call of the function that stands, with its checks, under its op in minise/ops.
"""

from __future__ import annotations

import operator
from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy

from . import backend
from .autograd import Array, Variable, backward_steps
from .ops import activation, arithmetic, linear, pointwise, reduce, shape
from .ops.arguments import Axis, supported_dtype
from .ops.index import index
from .ops.promotion import cast

HostArray = numpy.ndarray[Any, Any]


class Tensor(Variable):
    """An array with a history; `minise.tensor(...)` makes one from values.

    `Tensor(array)` wraps an array without copying. Arithmetic takes tensors and numbers, which
    broadcast against each other; see `Variable` for data, grad, requires_grad and op.
    """

    __slots__ = ()

    def new(self, data: Array) -> Tensor:
        """A tensor of that array, without history: what ops return."""
        return Tensor(data)

    # What it is

    @property
    def shape(self) -> tuple[int, ...]:
        """The length of each axis."""
        return self.data.shape

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self.data.ndim

    @property
    def size(self) -> int:
        """The number of elements."""
        return self.data.size

    @property
    def dtype(self) -> numpy.dtype[Any]:
        """The type of the elements."""
        return self.data.dtype

    def numpy(self) -> HostArray:
        """The values as a NumPy array: the tensor's own memory on NumPy, a copy from a GPU."""
        return backend.of(self.data).to_numpy(self.data)

    def item(self) -> Any:
        """The only element as a Python number; RuntimeError if there is not exactly one."""
        if self.size != 1:
            raise RuntimeError(f"item: expected a tensor of one element, got shape {self.shape}")
        return self.numpy().item()

    def backward(self, gradient: Tensor | None = None, retain_graph: bool = False) -> None:
        """Compute d(self)/d(leaf) for every leaf and add it to `leaf.grad`.

        gradient      d(loss)/d(self), same shape; may be left out if self has one element (then 1)
        retain_graph  keep the saved arrays, so that backward can run again through this graph

        Raises RuntimeError as `backward_steps` does.
        """
        deque(backward_steps(self, gradient, retain_graph), maxlen=0)

    def detach(self) -> Tensor:
        """The same array without its history: a constant for everything computed from it."""
        return Tensor(self.data)

    def retain_grad(self) -> None:
        """Ask backward to leave `.grad` on this tensor although it is not a leaf."""
        if not self.requires_grad:
            raise RuntimeError("retain_grad: this tensor does not require a gradient")
        self.retains_grad = True

    def __repr__(self) -> str:
        values = numpy.array2string(self.numpy(), precision=4, separator=", ", prefix="tensor(")
        extras = [f"dtype={self.dtype}"] if self.dtype != numpy.float32 else []
        extras += [f"backend={self.backend!r}"] if self.backend != "numpy" else []
        if self.op is not None:
            extras.append(f"op={self.op.name}")
        elif self.requires_grad:
            extras.append("requires_grad=True")
        return f"tensor({', '.join([values, *extras])})"

    # Arithmetic

    def __add__(self, other: Any) -> Tensor:
        return arithmetic.add(self, other)

    def __radd__(self, other: Any) -> Tensor:
        return arithmetic.add(other, self)

    def __sub__(self, other: Any) -> Tensor:
        return arithmetic.subtract(self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return arithmetic.subtract(other, self)

    def __mul__(self, other: Any) -> Tensor:
        return arithmetic.multiply(self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return arithmetic.multiply(other, self)

    def __truediv__(self, other: Any) -> Tensor:
        return arithmetic.divide(self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return arithmetic.divide(other, self)

    def __pow__(self, other: Any) -> Tensor:
        return arithmetic.power(self, other)

    def __rpow__(self, other: Any) -> Tensor:
        return arithmetic.power(other, self)

    def __neg__(self) -> Tensor:
        return arithmetic.negative(self)

    def __matmul__(self, other: Tensor) -> Tensor:
        return linear.matmul(self, other)

    def matmul(self, other: Tensor) -> Tensor:
        """(..., I, K) @ (..., K, J) -> (..., I, J); see `ops.linear.matmul`."""
        return linear.matmul(self, other)

    def maximum(self, other: Any) -> Tensor:
        """The larger one, element by element; where they tie each gets half the gradient."""
        return arithmetic.maximum(self, other)

    def minimum(self, other: Any) -> Tensor:
        """The smaller one, element by element; where they tie each gets half the gradient."""
        return arithmetic.minimum(self, other)

    # Comparisons: tensors of booleans, without a gradient. Nothing equals None: Python says so.

    def __eq__(self, other: Any) -> Tensor:  # type: ignore[override]
        return NotImplemented if other is None else arithmetic.compare(operator.eq, self, other)

    def __ne__(self, other: Any) -> Tensor:  # type: ignore[override]
        return NotImplemented if other is None else arithmetic.compare(operator.ne, self, other)

    def __lt__(self, other: Any) -> Tensor:
        return NotImplemented if other is None else arithmetic.compare(operator.lt, self, other)

    def __le__(self, other: Any) -> Tensor:
        return NotImplemented if other is None else arithmetic.compare(operator.le, self, other)

    def __gt__(self, other: Any) -> Tensor:
        return NotImplemented if other is None else arithmetic.compare(operator.gt, self, other)

    def __ge__(self, other: Any) -> Tensor:
        return NotImplemented if other is None else arithmetic.compare(operator.ge, self, other)

    __hash__ = object.__hash__  # == compares values, so a set or dict goes by identity

    # Functions, element by element

    def exp(self) -> Tensor:
        """e^x"""
        return pointwise.exp(self)

    def log(self) -> Tensor:
        """The natural logarithm."""
        return pointwise.log(self)

    def sqrt(self) -> Tensor:
        """√x"""
        return pointwise.sqrt(self)

    def abs(self) -> Tensor:
        """|x|; the gradient at 0 is 0."""
        return pointwise.absolute(self)

    __abs__ = abs

    def clamp(self, min: Any = None, max: Any = None) -> Tensor:
        """min(max(x, min), max); the gradient is 1 at the bounds and 0 outside."""
        return pointwise.clamp(self, min, max)

    def relu(self) -> Tensor:
        """max(x, 0); the gradient at 0 is 0."""
        return activation.relu(self)

    def sigmoid(self) -> Tensor:
        """1 / (1 + e^-x)"""
        return activation.sigmoid(self)

    def tanh(self) -> Tensor:
        """tanh x"""
        return activation.tanh(self)

    def softmax(self, dim: int) -> Tensor:
        """e^x_i / Σ_j e^x_j along `dim`."""
        return activation.softmax(self, dim)

    def log_softmax(self, dim: int) -> Tensor:
        """x_i - log Σ_j e^x_j along `dim`."""
        return activation.log_softmax(self, dim)

    # Reductions over `axis`: an int, a tuple of ints, or None for all axes

    def sum(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Σ x. Booleans and integers add up as int64."""
        return reduce.sum(self, axis, keepdims)

    def mean(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Σ x / n"""
        return reduce.mean(self, axis, keepdims)

    def var(self, axis: Axis = None, *, correction: float = 1, keepdims: bool = False) -> Tensor:
        """Σ (x - mean)² / (n - correction)"""
        return reduce.var(self, axis, correction=correction, keepdims=keepdims)

    def max(self, axis: int | None = None, keepdims: bool = False) -> Tensor:
        """The largest value. Along an axis, the first of tied elements takes the gradient."""
        return reduce.max(self, axis, keepdims)

    def min(self, axis: int | None = None, keepdims: bool = False) -> Tensor:
        """The smallest value. Along an axis, the first of tied elements takes the gradient."""
        return reduce.min(self, axis, keepdims)

    def amax(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """The largest value over any axes; tied elements share the gradient equally."""
        return reduce.amax(self, axis, keepdims)

    def amin(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """The smallest value over any axes; tied elements share the gradient equally."""
        return reduce.amin(self, axis, keepdims)

    def argmax(self, axis: int | None = None, keepdims: bool = False) -> Tensor:
        """Where the largest value is (the first, if several tie); has no gradient."""
        return reduce.argmax(self, axis, keepdims)

    def argmin(self, axis: int | None = None, keepdims: bool = False) -> Tensor:
        """Where the smallest value is (the first, if several tie); has no gradient."""
        return reduce.argmin(self, axis, keepdims)

    # Shapes

    def reshape(self, *new_shape: Any) -> Tensor:
        """The same values in another shape; one length may be -1 and is worked out."""
        return shape.reshape(self, *new_shape)

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Tensor:
        """The axes from start_dim to end_dim (inclusive) become one."""
        return shape.flatten(self, start_dim, end_dim)

    def permute(self, *axes: Any) -> Tensor:
        """Axis i of the result is axis axes[i] of this."""
        return shape.permute(self, *axes)

    def transpose(self, dim0: int, dim1: int) -> Tensor:
        """The axes dim0 and dim1 change places."""
        return shape.transpose(self, dim0, dim1)

    @property
    def T(self) -> Tensor:
        """All axes in reverse order."""
        return shape.reverse_axes(self)

    def squeeze(self, dim: Axis = None) -> Tensor:
        """Without its axes of length 1 (only those in `dim`, if it is given)."""
        return shape.squeeze(self, dim)

    def unsqueeze(self, dim: int) -> Tensor:
        """With a new axis of length 1 at `dim`."""
        return shape.unsqueeze(self, dim)

    def expand(self, *new_shape: Any) -> Tensor:
        """Its axes of length 1 repeated to new lengths; -1 keeps a length. Copies nothing."""
        return shape.expand(self, *new_shape)

    def broadcast_to(self, new_shape: Any) -> Tensor:
        """Repeated along its axes of length 1 until it has `new_shape`. Copies nothing."""
        return shape.broadcast_to(self, new_shape)

    def __getitem__(self, key: Any) -> Tensor:
        return index(self, key)

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
        return shape.move(self, target)

    def double(self) -> Tensor:
        """In float64."""
        return cast(self, numpy.float64)

    def float(self) -> Tensor:
        """In float32."""
        return cast(self, numpy.float32)

    def long(self) -> Tensor:
        """In int64."""
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
        return self._single("float") + 0.0

    def __int__(self) -> int:
        return int(self._single("int"))

    def _single(self, name: str) -> Any:
        if self.size != 1:
            raise ValueError(f"{name}: expected a tensor of one element, got shape {self.shape}")
        return self.item()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> HostArray:
        return numpy.array(self.numpy(), dtype=dtype, copy=copy)

    __array_ufunc__ = None  # `ndarray * tensor` asks the tensor, not NumPy, what to do
