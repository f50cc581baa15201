"""Checks of arguments that many ops share: dtypes, broadcasting, axes, sizes."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy

from .. import backend
from ..autograd import Tensor
from . import shape

Axis = int | tuple[int, ...] | None


def category(dtype: numpy.dtype) -> int:
    """Booleans, integers, floats: a higher category wins over a lower one, as in PyTorch."""
    return {"b": 0, "f": 2}.get(dtype.kind, 1)


def constant(value: Any, like: Tensor) -> Tensor:
    """A Python or NumPy number as a tensor on `like`'s backend; it promotes no dtype in vain."""
    own = category(numpy.asarray(value).dtype)
    fits = own <= category(like.dtype)
    dtype = like.dtype if fits else (numpy.int64, numpy.float32)[own - 1]
    return Tensor(backend.of(like.data).as_array(value, dtype=dtype))


def cast(x: Tensor, dtype: Any) -> Tensor:
    return x if x.dtype == dtype else shape.Cast(numpy.dtype(dtype))(x)


def common_dtype(tensors: Sequence[Tensor]) -> numpy.dtype:
    """The dtype that tensors meet in; one without axes counts like a number, as in PyTorch."""
    highest = max(category(tensor.dtype) for tensor in tensors)
    strong = [tensor for tensor in tensors if category(tensor.dtype) == highest]
    with_axes = [tensor for tensor in strong if tensor.ndim > 0]
    return numpy.result_type(*(tensor.dtype for tensor in with_axes or strong))


def operands(name: str, a: Any, b: Any) -> tuple[Tensor, Tensor]:
    """Both as tensors of one dtype whose shapes broadcast; TypeError or RuntimeError if not."""
    for value in (a, b):
        if not isinstance(value, (Tensor, bool, int, float, numpy.generic)):
            raise TypeError(
                f"{name}: expected a Tensor or a number, got {type(value).__name__}; "
                "make one with minise.tensor(...)"
            )
    if not isinstance(a, Tensor):
        a = constant(a, like=b)
    elif not isinstance(b, Tensor):
        b = constant(b, like=a)
    if a.dtype != b.dtype:
        dtype = common_dtype((a, b))
        a, b = cast(a, dtype), cast(b, dtype)
    if a.shape != b.shape:
        broadcast_shape(name, a.shape, b.shape)
    return a, b


def broadcast_shape(name: str, *shapes: tuple[int, ...]) -> tuple[int, ...]:
    try:
        return numpy.broadcast_shapes(*shapes)
    except ValueError:
        listed = " and ".join(str(s) for s in shapes)
        raise RuntimeError(f"{name}: shapes {listed} do not broadcast") from None


def floating(x: Tensor) -> Tensor:
    """Functions with fractional values make floats of integers, as PyTorch does."""
    return x if x.dtype.kind == "f" else cast(x, numpy.float32)


def normal_axis(name: str, axis: int, ndim: int) -> int:
    """`axis` counted from the front; IndexError if there is no such axis."""
    axis, ndim = operator.index(axis), max(ndim, 1)
    if not -ndim <= axis < ndim:
        raise IndexError(f"{name}: axis must lie in [{-ndim}, {ndim - 1}], got {axis}")
    return axis % ndim


def normal_axes(name: str, axis: Axis, ndim: int) -> Axis:
    if axis is None or ndim == 0:
        return None
    if isinstance(axis, (tuple, list)):
        axes = tuple(normal_axis(name, a, ndim) for a in axis)
        if len(set(axes)) != len(axes):
            raise RuntimeError(f"{name}: an axis appears twice in {tuple(axis)}")
        return axes or None
    return normal_axis(name, axis, ndim)


def sizes(arguments: tuple[Any, ...]) -> tuple[int, ...]:
    """`f(2, 3)` and `f((2, 3))` mean the same."""
    if len(arguments) == 1 and isinstance(arguments[0], (tuple, list)):
        arguments = tuple(arguments[0])
    return tuple(operator.index(n) for n in arguments)


def index_part(part: Any, home: backend.Backend) -> Any:
    """One part of `tensor[part, ...]` as something that raw arrays of backend `home` take."""
    if isinstance(part, Tensor):
        part = part.data
    if part is None or part is Ellipsis or isinstance(part, (slice, bool)):
        return part
    if isinstance(part, (list, numpy.ndarray)) or backend.of(part, default=None):
        array = home.as_array(part)
        if array.dtype.kind not in "bui":
            raise IndexError(f"index: expected integers or booleans, got {array.dtype}")
        return array
    try:
        return operator.index(part)
    except TypeError:
        raise TypeError(
            "index: expected integers, slices, None, ... or arrays of integers or booleans, "
            f"got {type(part).__name__}"
        ) from None
