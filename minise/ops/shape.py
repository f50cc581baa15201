"""Ops that move values without changing them; their backward moves the gradients home."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from .. import backend
from ..autograd import Array, Function
from .arguments import (
    Axis,
    broadcast_shape,
    check_number,
    check_sequence,
    check_tensors,
    normal_axes,
    normal_axis,
    sizes,
    whole,
)
from .broadcast import unbroadcast
from .promotion import cast, common_dtype

if TYPE_CHECKING:
    from ..tensor import Tensor


class Reshape(Function):
    formula = "y = x in another shape"
    derivative = "dx = dy in the shape of x"

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.new_shape = shape

    def forward(self, x: Array) -> Array:
        self.shape = x.shape
        return x.reshape(self.new_shape)

    def backward(self, grad: Array) -> Any:
        return grad.reshape(self.shape)


def reshape(x: Tensor, *new_shape: Any) -> Tensor:
    """The same values in another shape; one length may be -1 and is worked out."""
    wanted = sizes("reshape", new_shape)
    known = math.prod(n for n in wanted if n != -1)
    free = wanted.count(-1)
    fits = known == x.size if free == 0 else known > 0 and x.size % known == 0
    if not fits or free > 1 or any(n < -1 for n in wanted):
        raise RuntimeError(
            f"reshape: shape {x.shape} has {x.size} elements, cannot become {wanted}"
        )
    return Reshape(wanted)(x)


def flatten(x: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """The axes from start_dim to end_dim (inclusive) become one."""
    start, end = (normal_axis("flatten", d, x.ndim) for d in (start_dim, end_dim))
    if start > end:
        raise RuntimeError(f"flatten: start_dim {start_dim} lies behind end_dim {end_dim}")
    length = math.prod(x.shape[start : end + 1])
    return Reshape((*x.shape[:start], length, *x.shape[end + 1 :]))(x)


def squeeze(x: Tensor, dim: Axis = None) -> Tensor:
    """Without its axes of length 1 (only those in `dim`, if it is given)."""
    axes = normal_axes("squeeze", dim, x.ndim)
    chosen = range(x.ndim) if dim is None else (axes,) if isinstance(axes, int) else axes
    kept = tuple(n for i, n in enumerate(x.shape) if n != 1 or i not in (chosen or ()))
    return Reshape(kept)(x)


def unsqueeze(x: Tensor, dim: int) -> Tensor:
    """With a new axis of length 1 at `dim`."""
    axis = normal_axis("unsqueeze", dim, x.ndim + 1)
    return Reshape((*x.shape[:axis], 1, *x.shape[axis:]))(x)


class Permute(Function):
    formula = "y = x with its axes in another order"
    derivative = "dx = dy with its axes in the old order"

    def __init__(self, axes: tuple[int, ...]) -> None:
        self.axes = axes

    def forward(self, x: Array) -> Array:
        return x.transpose(self.axes)

    def backward(self, grad: Array) -> Any:
        return grad.transpose([self.axes.index(i) for i in range(len(self.axes))])


def permute(x: Tensor, *axes: Any) -> Tensor:
    """Axis i of the result is axis axes[i] of this."""
    wanted = sizes("permute", axes)
    if len(wanted) == x.ndim:
        order = tuple(normal_axis("permute", a, x.ndim) for a in wanted)
        if len(set(order)) == x.ndim:
            return Permute(order)(x)
    raise RuntimeError(f"permute: expected {x.ndim} axes, each once, got {wanted}")


def transpose(x: Tensor, dim0: int, dim1: int) -> Tensor:
    """The axes dim0 and dim1 change places."""
    order = list(range(x.ndim))
    first, second = (normal_axis("transpose", d, x.ndim) for d in (dim0, dim1))
    if order:
        order[first], order[second] = second, first
    return Permute(tuple(order))(x)


def reverse_axes(x: Tensor) -> Tensor:
    """All axes in reverse order."""
    return Permute(tuple(range(x.ndim))[::-1])(x)


class Expand(Function):
    formula = "y = x, repeated along its axes of length 1"
    derivative = "dx = Σ dy over the repetitions"

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.new_shape = shape

    def forward(self, x: Array) -> Array:
        self.shape = x.shape
        return self.xp.broadcast_to(x, self.new_shape)

    def backward(self, grad: Array) -> Any:
        return unbroadcast(grad, self.shape)


def expand(x: Tensor, *new_shape: Any) -> Tensor:
    """Its axes of length 1 repeated to new lengths; -1 keeps a length. Copies nothing."""
    wanted = sizes("expand", new_shape)
    added = len(wanted) - x.ndim
    if added < 0 or -1 in wanted[:added]:
        raise RuntimeError(f"expand: shape {x.shape} cannot be expanded to {wanted}")
    lengths = (x.shape[i - added] if n == -1 else n for i, n in enumerate(wanted))
    return broadcast_to(x, tuple(lengths))


def broadcast_to(x: Tensor, new_shape: Any) -> Tensor:
    """Repeated along its axes of length 1 until it has `new_shape`. Copies nothing."""
    target = sizes("broadcast_to", (new_shape,))
    if broadcast_shape("broadcast_to", x.shape, target) != target:
        raise RuntimeError(f"broadcast_to: shape {x.shape} does not broadcast to {target}")
    return Expand(target)(x)


class Concatenate(Function):
    name = "cat"
    formula = "y = the inputs, one behind the other"
    derivative = "dx_i = the part of dy that came from x_i"

    def __init__(self, axis: int) -> None:
        self.axis = axis

    def forward(self, *arrays: Array) -> Array:
        self.ends = list(accumulate(array.shape[self.axis] for array in arrays))
        return self.xp.concatenate(arrays, axis=self.axis)

    def backward(self, grad: Array) -> Any:
        return tuple(self.xp.split(grad, self.ends[:-1], axis=self.axis))


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
    return Concatenate(axis)(*(cast(tensor, dtype) for tensor in tensors))


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
    return cat([unsqueeze(tensor, axis) for tensor in tensors], axis)


class Pad(Function):
    """`widths` holds (before, after) per axis; with constant padding negative widths crop."""

    formula = "y = x with a border"
    derivative = "dx = dy without the border; what the border copied goes back to its source"
    modes = {"constant": "constant", "reflect": "reflect", "replicate": "edge"}  # noqa: RUF012

    def __init__(
        self, widths: Sequence[tuple[int, int]], mode: str = "constant", value: float = 0.0
    ) -> None:
        self.widths, self.mode, self.value = widths, mode, value

    def forward(self, x: Array) -> Array:
        self.shape = x.shape
        if self.mode != "constant":
            return self.xp.pad(x, self.widths, mode=self.modes[self.mode])
        grown = [(max(before, 0), max(after, 0)) for before, after in self.widths]
        y = self.xp.pad(x, grown, mode="constant", constant_values=self.value)
        return y[self.kept(y.shape, -1)]

    def kept(self, shape: tuple[int, ...], sign: int) -> tuple[slice, ...]:
        """Slices that leave out, on each side, `sign` · width elements where that is positive."""
        return tuple(
            slice(max(sign * before, 0), n - max(sign * after, 0))
            for n, (before, after) in zip(shape, self.widths, strict=True)
        )

    def backward(self, grad: Array) -> Any:
        if self.mode == "constant":
            dx = self.xp.zeros(self.shape, dtype=grad.dtype)
            dx[self.kept(self.shape, -1)] = grad[self.kept(grad.shape, 1)]
            return dx
        for axis, (before, after) in enumerate(self.widths):
            grad = self.fold(grad, axis, before, after)
        return grad

    def fold(self, grad: Array, axis: int, before: int, after: int) -> Array:
        """Add the gradient of the border along one axis to the elements that it repeats."""
        if before == after == 0:
            return grad
        n = grad.shape[axis] - before - after
        rows = self.xp.moveaxis(grad, axis, 0)
        dx = rows[before : before + n].copy()
        for k in range(1, before + 1):  # k elements before the first
            dx[k if self.mode == "reflect" else 0] += rows[before - k]
        for k in range(1, after + 1):  # k elements behind the last
            dx[n - 1 - k if self.mode == "reflect" else n - 1] += rows[before + n - 1 + k]
        return self.xp.moveaxis(dx, 0, axis)


def pad(
    input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> Tensor:
    """A border around the last axes: `pad` is (left, right, top, bottom, ...), last axis first.

    mode   "constant" (`value`, default 0; negative widths crop), "reflect" or "replicate"

    Raises RuntimeError for odd or too many widths or a border wider than its source,
    NotImplementedError for a mode that minise does not have ("circular").
    """
    check_tensors("pad", input=input)
    if not isinstance(pad, (tuple, list)):
        raise TypeError(f"pad: pad must be a list or tuple of integers, got {type(pad).__name__}")
    pad = [whole("pad", "each width", n) for n in pad]
    if len(pad) % 2 or len(pad) // 2 > input.ndim:
        raise RuntimeError(f"pad: expected up to {input.ndim} pairs of widths, got {tuple(pad)}")
    if mode not in Pad.modes:
        raise NotImplementedError(f"pad: mode must be one of {tuple(Pad.modes)}, got {mode!r}")
    pairs = [(pad[i], pad[i + 1]) for i in range(0, len(pad), 2)]
    widths = [(0, 0)] * (input.ndim - len(pairs)) + pairs[::-1]
    for n, (before, after) in zip(input.shape, widths, strict=True):
        if mode == "constant":
            fits = n + min(before, 0) + min(after, 0) >= 0
        else:
            most = n - 1 if mode == "reflect" else math.inf
            fits = 0 <= before <= most and 0 <= after <= most and n > 0
        if not fits:
            raise RuntimeError(f"pad: widths {(before, after)} do not fit an axis of length {n}")
    if value is not None:
        check_number("pad", "value", value)
        if mode != "constant":
            raise RuntimeError(f"pad: value goes with mode 'constant' only, got mode {mode!r}")
    return Pad(widths, mode, value or 0.0)(input)


class Move(Function):
    name = "to"
    formula = "y = x on another backend"
    derivative = "dx = dy on the backend of x"

    def __init__(self, target: str) -> None:
        self.target = target

    def forward(self, x: Array) -> Array:
        self.home = backend.of(x)
        return backend.get(self.target).as_array(x)

    def backward(self, grad: Array) -> Any:
        return self.home.as_array(grad)


def move(x: Tensor, target: str) -> Tensor:
    """x on another backend, by name; x itself if it is there. Raises as `backend.get`."""
    return x if backend.get(target).name == x.backend else Move(target)(x)
