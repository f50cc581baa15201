"""Checks of arguments that many ops share: types, dtypes, broadcasting, axes, sizes.

Each takes the name of the op first, for its message.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy

from .. import backend
from ..autograd import Tensor
from . import shape

Axis = int | tuple[int, ...] | None

NUMBERS = (int, float, numpy.bool_, numpy.integer, numpy.floating)  # bool is an int
OPERANDS = (Tensor, *NUMBERS)
SUPPORTED = "float16, float32, float64, bool and integers"


def check_tensors(name: str, **arguments: Any) -> None:
    for argument, value in arguments.items():
        if not isinstance(value, Tensor):
            raise TypeError(
                f"{name}: {argument} must be a Tensor, got {type(value).__name__}; "
                "make one with minise.tensor(...)"
            )


def check_floats(name: str, **arguments: Any) -> None:
    check_tensors(name, **arguments)
    for argument, value in arguments.items():
        if value.dtype.kind != "f":
            raise NotImplementedError(
                f"{name}: {argument} must be a floating point tensor, got {value.dtype}"
            )


def check_number(name: str, argument: str, value: Any) -> None:
    if not isinstance(value, NUMBERS):
        raise TypeError(f"{name}: {argument} must be a number, got {type(value).__name__}")


def whole(name: str, argument: str, value: Any) -> int:
    """`value` as a Python int; TypeError if it is no integer."""
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: {argument} must be an integer, got {value!r}") from None


def same_dtype(name: str, **arguments: Tensor | None) -> None:
    """RuntimeError unless all tensors (None is left out) have one dtype."""
    given = {key: value for key, value in arguments.items() if value is not None}
    check_tensors(name, **given)
    if len({tensor.dtype for tensor in given.values()}) > 1:
        listed = ", ".join(f"{key} {tensor.dtype}" for key, tensor in given.items())
        raise RuntimeError(f"{name}: expected one dtype, got {listed}")


def supported_dtype(name: str, value: Any) -> numpy.dtype:
    """`value` as a dtype that tensors can have; TypeError if there is none."""
    try:
        dtype = None if value is None else numpy.dtype(value)  # NumPy takes None for float64
    except TypeError:
        dtype = None
    if dtype is None or dtype.kind not in "fiub":
        shown = repr(value) if dtype is None else dtype
        raise TypeError(f"{name}: dtype must be one of {SUPPORTED}, got {shown}")
    return dtype


def category(dtype: numpy.dtype) -> int:
    """Booleans, integers, floats: a higher category wins over a lower one, as in PyTorch."""
    return {"b": 0, "f": 2}.get(dtype.kind, 1)


def constant(name: str, value: Any, like: Tensor) -> Tensor:
    """A Python or NumPy number as a tensor on `like`'s backend; it promotes no dtype in vain."""
    own = category(numpy.asarray(value).dtype)
    fits = own <= category(like.dtype)
    dtype = like.dtype if fits else (numpy.int64, numpy.float32)[own - 1]
    try:
        return Tensor(backend.of(like.data).as_array(value, dtype=dtype))
    except OverflowError:
        raise OverflowError(f"{name}: the number {value} does not fit into {dtype}") from None


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
        if not isinstance(value, OPERANDS):
            raise TypeError(
                f"{name}: expected a Tensor or a number, got {type(value).__name__}; "
                "make a tensor with minise.tensor(...)"
            )
    if not isinstance(a, Tensor):
        check_tensors(name, b=b)
        a = constant(name, a, like=b)
    elif not isinstance(b, Tensor):
        b = constant(name, b, like=a)
    elif type(a.data) is not type(b.data) and a.backend != b.backend:
        raise RuntimeError(
            f"{name}: expected all operands on one backend, got {a.backend} {a.shape}, "
            f"{b.backend} {b.shape}; move them with .to(name)"
        )
    if a.dtype != b.dtype:
        dtype = common_dtype((a, b))
        a, b = cast(a, dtype), cast(b, dtype)
    if a.shape != b.shape:
        broadcast_shape(name, a.shape, b.shape)
    return a, b


def floating_operands(name: str, a: Any, b: Any) -> tuple[Tensor, Tensor]:
    """As `operands`, with integers as floats."""
    a, b = operands(name, a, b)
    return floating(a), floating(b)


def signed_operands(name: str, a: Any, b: Any) -> tuple[Tensor, Tensor]:
    """As `operands`, without booleans, which have no difference."""
    refuse_booleans(name, a, b)
    return operands(name, a, b)


def refuse_booleans(name: str, *values: Any) -> None:
    for value in values:
        if value.dtype.kind == "b" if isinstance(value, Tensor) else isinstance(value, bool):
            raise RuntimeError(f"{name}: expected numbers, got booleans; cast them first")


def power_operands(name: str, a: Any, b: Any) -> tuple[Tensor, Tensor]:
    """As `operands`, without negative powers of integers, which are fractions."""
    a, b = operands(name, a, b)
    if b.dtype.kind == "i" and bool((b.data < 0).any()):
        raise RuntimeError(f"{name}: integers take powers >= 0 only, got a negative exponent")
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
    axis, ndim = whole(name, "axis", axis), max(ndim, 1)
    if not -ndim <= axis < ndim:
        raise IndexError(f"{name}: axis must lie in [{-ndim}, {ndim - 1}], got {axis}")
    return axis % ndim


def normal_axes(name: str, axis: Axis, ndim: int) -> Axis:
    """`axis` counted from the front; None, which stands for all axes, if there are none."""
    if axis is None:
        return None
    if not isinstance(axis, (tuple, list)):
        first = normal_axis(name, axis, ndim)
        return first if ndim else None
    axes = tuple(normal_axis(name, a, ndim) for a in axis)
    if len(set(axes)) != len(axes):
        raise RuntimeError(f"{name}: an axis appears twice in {tuple(axis)}")
    return axes or None if ndim else None


def check_extremes(name: str, shape: tuple[int, ...], axis: Axis) -> None:
    """An extreme of no elements does not exist: RuntimeError, or IndexError along an axis."""
    axes = range(len(shape)) if axis is None else (axis,) if isinstance(axis, int) else axis
    if any(shape[i] == 0 for i in axes):
        along = "" if axis is None else f" along axis {axis}"
        error = RuntimeError if axis is None else IndexError
        raise error(f"{name}: expected at least one element{along}, got shape {shape}")


def sizes(name: str, arguments: tuple[Any, ...]) -> tuple[int, ...]:
    """`f(2, 3)` and `f((2, 3))` mean the same."""
    if len(arguments) == 1 and isinstance(arguments[0], (tuple, list)):
        arguments = tuple(arguments[0])
    return tuple(whole(name, "each length", n) for n in arguments)


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
        raise IndexError(
            "index: expected integers, slices, None, ... or arrays of integers or booleans, "
            f"got {type(part).__name__}"
        ) from None


def check_indices(shape: tuple[int, ...], parts: tuple[Any, ...]) -> None:
    """IndexError for arrays of integers that reach beyond an axis: CuPy would wrap them round."""
    if not any(hasattr(part, "dtype") for part in parts):
        return
    used = [axes_used(part) for part in parts]
    axis = 0
    for part, count in zip(parts, used):
        if hasattr(part, "dtype") and part.dtype.kind != "b" and axis < len(shape):
            n = shape[axis]
            wrong = (part < -n) | (part >= n)
            if bool(wrong.any()):
                raise IndexError(
                    f"index: axis {axis} of shape {shape} takes integers in [{-n}, {n - 1}], "
                    f"got {int(part[wrong].reshape(-1)[0])}"
                )
        axis += len(shape) - sum(used) if part is Ellipsis else count


def axes_used(part: Any) -> int:
    """How many axes of a tensor one part of an index stands for."""
    if part is None or part is Ellipsis or isinstance(part, bool):
        return 0
    return part.ndim if hasattr(part, "dtype") and part.dtype.kind == "b" else 1
