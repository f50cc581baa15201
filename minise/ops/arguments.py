"""Checks of arguments that many ops share: types, dtypes, broadcasting, axes, sizes.

Each takes the name of the op first, for its message.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy

from ..autograd import Variable

if TYPE_CHECKING:
    from ..tensor import Tensor

Axis = int | tuple[int, ...] | None
IntPair = int | Sequence[int]

NUMBERS = (int, float, numpy.bool_, numpy.integer, numpy.floating)  # bool is an int
SUPPORTED = "float16, float32, float64, bool and integers"


def check_tensors(name: str, **arguments: Any) -> None:
    """TypeError, naming the argument, unless all are tensors."""
    for argument, value in arguments.items():
        if not isinstance(value, Variable):
            raise TypeError(
                f"{name}: {argument} must be a Tensor, got {type(value).__name__}; "
                "make one with minise.tensor(...)"
            )


def check_sequence(name: str, tensors: Sequence[Tensor]) -> None:
    """TypeError unless `tensors` is a list or tuple of tensors."""
    if not isinstance(tensors, (tuple, list)):
        raise TypeError(
            f"{name}: tensors must be a list or tuple of Tensors, got {type(tensors).__name__}"
        )
    check_tensors(name, **{f"tensors[{i}]": tensor for i, tensor in enumerate(tensors)})


def check_floats(name: str, **arguments: Any) -> None:
    """TypeError for what is no tensor, NotImplementedError for one of integers or booleans."""
    check_tensors(name, **arguments)
    for argument, value in arguments.items():
        if value.dtype.kind != "f":
            raise NotImplementedError(
                f"{name}: {argument} must be a floating point tensor, got {value.dtype}"
            )


def check_number(name: str, argument: str, value: Any) -> None:
    """TypeError unless `value` is a Python or NumPy number."""
    if not isinstance(value, NUMBERS):
        raise TypeError(f"{name}: {argument} must be a number, got {type(value).__name__}")


def refuse_booleans(name: str, *values: Any) -> None:
    """RuntimeError for booleans, which have no sign and no difference."""
    for value in values:
        is_tensor = isinstance(value, Variable)
        if value.data.dtype.kind == "b" if is_tensor else isinstance(value, bool):
            raise RuntimeError(f"{name}: expected numbers, got booleans; cast them first")


def whole(name: str, argument: str, value: Any) -> int:
    """`value` as a Python int; TypeError if it is no integer."""
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: {argument} must be an integer, got {value!r}") from None


def pair(name: str, argument: str, value: IntPair, least: int) -> tuple[int, int]:
    """An int as (height, width); RuntimeError if it is neither an int >= least nor two."""
    given = value if isinstance(value, (tuple, list)) else (value,)
    lengths = [whole(name, argument, n) for n in given]
    lengths = lengths * 2 if len(lengths) == 1 else lengths
    if len(lengths) != 2 or min(lengths) < least:
        raise RuntimeError(
            f"{name}: {argument} must be one or two integers >= {least}, got {value}"
        )
    return lengths[0], lengths[1]


def sizes(name: str, arguments: tuple[Any, ...]) -> tuple[int, ...]:
    """`f(2, 3)` and `f((2, 3))` mean the same."""
    if len(arguments) == 1 and isinstance(arguments[0], (tuple, list)):
        arguments = tuple(arguments[0])
    return tuple(whole(name, "each length", n) for n in arguments)


def same_dtype(name: str, **arguments: Tensor | None) -> None:
    """RuntimeError unless all tensors (None is left out) have one dtype."""
    given = {key: value for key, value in arguments.items() if value is not None}
    check_tensors(name, **given)
    if len({tensor.dtype for tensor in given.values()}) > 1:
        listed = ", ".join(f"{key} {tensor.dtype}" for key, tensor in given.items())
        raise RuntimeError(f"{name}: expected one dtype, got {listed}")


def supported_dtype(name: str, value: Any) -> numpy.dtype[Any]:
    """`value` as a dtype that tensors can have; TypeError if there is none."""
    try:
        dtype = None if value is None else numpy.dtype(value)  # NumPy takes None for float64
    except TypeError:
        dtype = None
    if dtype is None or dtype.kind not in "fiub":
        shown = repr(value) if dtype is None else dtype
        raise TypeError(f"{name}: dtype must be one of {SUPPORTED}, got {shown}")
    return dtype


def broadcast_shape(name: str, *shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that these broadcast to; RuntimeError if they do not."""
    try:
        return numpy.broadcast_shapes(*shapes)
    except ValueError:
        listed = " and ".join(str(s) for s in shapes)
        raise RuntimeError(f"{name}: shapes {listed} do not broadcast") from None


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


def extreme_axis(name: str, x: Tensor, axis: int | None) -> int | None:
    """The one axis (None for all) along which to look for an extreme."""
    chosen = None if axis is None else normal_axis(name, axis, x.ndim)
    chosen = chosen if x.ndim else None
    check_extremes(name, x.shape, chosen)
    return chosen


def as_batch(name: str, input: Tensor) -> tuple[Tensor, bool]:
    """(C, H, W) as a batch of one picture; the flag says whether there was a batch."""
    check_tensors(name, input=input)
    if input.ndim not in (3, 4):
        raise RuntimeError(
            f"{name}: input must be (N, C, H, W) or (C, H, W), got shape {input.shape}"
        )
    if 0 in input.shape[-3:]:
        raise RuntimeError(f"{name}: only the batch may have length 0, got input {input.shape}")
    return (input, True) if input.ndim == 4 else (input.unsqueeze(0), False)


def unbatch(output: Tensor, batched: bool) -> Tensor:
    """What `as_batch` made of a single picture, as a single picture again."""
    return output if batched else output.squeeze(0)
