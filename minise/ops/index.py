"""Indexing: slices, integers, masks, and arrays of integers."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import numpy

from .. import backend
from ..autograd import Array, Function, Variable

if TYPE_CHECKING:
    from ..tensor import Tensor


class Index(Function, kernel="index"):
    """`key` is what stands between the brackets, with arrays for tensors."""

    formula = "y = x[key]"
    derivative = "dx[key] += dy, 0 elsewhere"

    def __init__(self, key: Any) -> None:
        self.key = key

    def forward(self, x: Array) -> Array:
        self.shape = x.shape
        return x[self.key]

    def backward(self, grad: Array) -> Any:
        dx = self.xp.zeros(self.shape, dtype=grad.dtype)
        if holds_integers(self.key):
            self.xp.add.at(dx, self.key, grad)  # scatter-add: what was picked twice gets both
        else:
            dx[self.key] = grad  # slices and masks pick nothing twice
        return dx


def holds_integers(key: Any) -> bool:
    """Whether arrays of integers, which may pick an element several times, are in a key."""
    parts = key if isinstance(key, tuple) else (key,)
    return any(hasattr(part, "dtype") and part.dtype.kind in "iu" for part in parts)


def index(x: Tensor, key: Any) -> Tensor:
    """x[key]: slices, integers, None, `...`, boolean masks, and arrays or tensors of integers.

    Raises IndexError for what is no index and for integers beyond an axis.
    """
    home = backend.of(x.data)
    parts = tuple(index_part(k, home) for k in (key if isinstance(key, tuple) else (key,)))
    check_indices(x.shape, parts)
    try:
        return Index(parts if isinstance(key, tuple) else parts[0])(x)
    except (IndexError, TypeError, ValueError) as error:
        raise type(error)(f"index: a tensor of shape {x.shape}: {error}") from None


def index_part(part: Any, home: backend.Backend) -> Any:
    """One part of `tensor[part, ...]` as something that raw arrays of backend `home` take."""
    if isinstance(part, Variable):
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
