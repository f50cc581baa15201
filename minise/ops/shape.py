"""Ops that move values without changing them; their backward moves the gradients home."""

from __future__ import annotations

from itertools import accumulate

from .. import backend
from ..autograd import Function
from .broadcast import unbroadcast


class Reshape(Function):
    formula = "y = x in another shape"
    derivative = "dx = dy in the shape of x"

    def __init__(self, shape):
        self.new_shape = shape

    def forward(self, x):
        self.shape = x.shape
        return x.reshape(self.new_shape)

    def backward(self, grad):
        return grad.reshape(self.shape)


class Permute(Function):
    formula = "y = x with its axes in another order"
    derivative = "dx = dy with its axes in the old order"

    def __init__(self, axes):
        self.axes = axes

    def forward(self, x):
        return x.transpose(self.axes)

    def backward(self, grad):
        return grad.transpose([self.axes.index(i) for i in range(len(self.axes))])


class Expand(Function):
    formula = "y = x, repeated along its axes of length 1"
    derivative = "dx = Σ dy over the repetitions"

    def __init__(self, shape):
        self.new_shape = shape

    def forward(self, x):
        self.shape = x.shape
        return self.xp.broadcast_to(x, self.new_shape)

    def backward(self, grad):
        return unbroadcast(grad, self.shape)


class Index(Function):
    """`key` is what stands between the brackets, with arrays for tensors."""

    formula = "y = x[key]"
    derivative = "dx[key] += dy, 0 elsewhere"

    def __init__(self, key):
        self.key = key

    def forward(self, x):
        self.shape = x.shape
        return x[self.key]

    def backward(self, grad):
        dx = self.xp.zeros(self.shape, dtype=grad.dtype)
        keys = self.key if isinstance(self.key, tuple) else (self.key,)
        if not any(hasattr(key, "dtype") and key.dtype.kind in "iu" for key in keys):
            dx[self.key] = grad  # no element is picked twice
            return dx
        places = self.xp.arange(dx.size).reshape(self.shape)[self.key].reshape(-1)
        order = self.xp.argsort(places, kind="stable")
        places, parts = places[order], grad.reshape(-1)[order]
        # Add up what goes to one place, two by two: in a fixed order, so on a GPU too the same
        # numbers come out every time.
        while True:
            rank = self.xp.arange(places.size) - self.xp.searchsorted(places, places)
            second = rank % 2 == 1  # the 2nd, 4th, ... of equal places
            if not second.any():
                break
            at = self.xp.flatnonzero(second)
            parts[at - 1] += parts[at]
            places, parts = places[~second], parts[~second]
        dx.reshape(-1)[places] = parts
        return dx


class Concatenate(Function):
    name = "cat"
    formula = "y = the inputs, one behind the other"
    derivative = "dx_i = the part of dy that came from x_i"

    def __init__(self, axis):
        self.axis = axis

    def forward(self, *arrays):
        self.ends = list(accumulate(array.shape[self.axis] for array in arrays))
        return self.xp.concatenate(arrays, axis=self.axis)

    def backward(self, grad):
        return tuple(self.xp.split(grad, self.ends[:-1], axis=self.axis))


class Pad(Function):
    """`widths` holds (before, after) per axis; with constant padding negative widths crop."""

    formula = "y = x with a border"
    derivative = "dx = dy without the border; what the border copied goes back to its source"
    modes = {"constant": "constant", "reflect": "reflect", "replicate": "edge"}  # noqa: RUF012

    def __init__(self, widths, mode="constant", value=0.0):
        self.widths, self.mode, self.value = widths, mode, value

    def forward(self, x):
        self.shape = x.shape
        if self.mode != "constant":
            return self.xp.pad(x, self.widths, mode=self.modes[self.mode])
        grown = [(max(before, 0), max(after, 0)) for before, after in self.widths]
        y = self.xp.pad(x, grown, mode="constant", constant_values=self.value)
        return y[self.kept(y.shape, -1)]

    def kept(self, shape, sign):
        """Slices that leave out, on each side, `sign` · width elements where that is positive."""
        return tuple(
            slice(max(sign * before, 0), n - max(sign * after, 0))
            for n, (before, after) in zip(shape, self.widths, strict=True)
        )

    def backward(self, grad):
        if self.mode == "constant":
            dx = self.xp.zeros(self.shape, dtype=grad.dtype)
            dx[self.kept(self.shape, -1)] = grad[self.kept(grad.shape, 1)]
            return dx
        for axis, (before, after) in enumerate(self.widths):
            grad = self.fold(grad, axis, before, after)
        return grad

    def fold(self, grad, axis, before, after):
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


class Cast(Function):
    formula = "y = x in another dtype"
    derivative = "dx = dy in the dtype of x"

    def __init__(self, dtype):
        self.new_dtype = dtype

    def forward(self, x):
        self.dtype = x.dtype
        return x.astype(self.new_dtype)

    def backward(self, grad):
        return grad.astype(self.dtype)


class Move(Function):
    name = "to"
    formula = "y = x on another backend"
    derivative = "dx = dy on the backend of x"

    def __init__(self, target):
        self.target = target

    def forward(self, x):
        self.home = backend.of(x)
        return backend.get(self.target).as_array(x)

    def backward(self, grad):
        return self.home.as_array(grad)
