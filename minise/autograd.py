"""The whole engine: tensors that remember how they were made, and the walk back through them.

A `Tensor` holds an array. A `Function` is one operation: `forward` computes with arrays, `backward`
turns the gradient of its output into the gradients of its inputs. Calling a Function with tensors
links the output to the Function and the Function to its inputs; these links are the graph.

    x ──┐
        ├─ Multiply ── y ── Sum ── loss          tensor.op      the Function that made it
    w ──┘                                        op.inputs      the tensors that it was made from

`backward_steps(loss)` visits the tensors of that graph from the newest to the oldest. A tensor is
always older than what was made from it, so when its turn comes all gradients for it have arrived.

Links point backwards only. Nothing points from an op to its output, so there are no cycles: when
the last reference to `loss` goes, the graph and its arrays go with it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count, groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy

from . import backend

Array = Any  # a numpy.ndarray or a cupy.ndarray: whatever the tensor's backend computes with

_next_order = count().__next__  # tensors are numbered in the order of their creation


class _Recording(threading.local):
    """What is true for the code of this thread at this moment."""

    enabled = True  # False inside no_grad()
    path = ""  # the module that is being called: "layer1.0.se.fc1"


_recording = _Recording()


class Tensor:
    """An array and, if it was computed from tensors that require gradients, its history.

    data           the array (NumPy or CuPy); logical layout of images is (N, C, H, W)
    grad           None, or a Tensor of the same shape: d(loss)/d(this), summed over backward calls
    requires_grad  whether a gradient is wanted for this tensor or for one it was made from
    op             the Function that made it, None for a leaf

    `Tensor(array)` wraps an array without copying; `minise.tensor(...)` copies and converts.
    """

    __slots__ = ("__weakref__", "data", "grad", "op", "order", "requires_grad", "retains_grad")

    data: Array
    grad: Tensor | None
    op: Function | None

    def __init__(self, data: Array, requires_grad: bool = False) -> None:
        if isinstance(data, numpy.generic):  # NumPy hands 0-d results out as scalars
            data = numpy.asarray(data)
        if requires_grad and data.dtype.kind != "f":
            raise RuntimeError(
                f"tensor: only floating point tensors can require gradients, got {data.dtype}"
            )
        self.data = data
        self.grad = None
        self.op = None
        self.requires_grad = requires_grad
        self.retains_grad = False
        self.order = _next_order()

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape

    @property
    def ndim(self) -> int:
        return self.data.ndim

    @property
    def size(self) -> int:
        return self.data.size

    @property
    def dtype(self) -> numpy.dtype:
        return self.data.dtype

    @property
    def backend(self) -> str:
        """Where the array lives: "numpy" or "cupy"."""
        return backend.of(self.data).name

    def numpy(self) -> numpy.ndarray:
        """The values as a NumPy array: the tensor's own memory on NumPy, a copy from a GPU."""
        return backend.of(self.data).to_numpy(self.data)

    def item(self) -> float | int | bool:
        """The only element as a Python number; RuntimeError if there is not exactly one."""
        if self.size != 1:
            raise RuntimeError(f"item: expected a tensor of one element, got shape {self.shape}")
        return self.numpy().item()

    def detach(self) -> Tensor:
        """The same array without its history: a constant for everything computed from it."""
        return Tensor(self.data)

    def retain_grad(self) -> None:
        """Ask backward to leave `.grad` on this tensor although it is not a leaf."""
        if not self.requires_grad:
            raise RuntimeError("retain_grad: this tensor does not require a gradient")
        self.retains_grad = True

    def backward(self, gradient: Tensor | None = None, retain_graph: bool = False) -> None:
        """Compute d(self)/d(leaf) for every leaf and add it to `leaf.grad`.

        gradient      d(loss)/d(self), same shape; may be left out if self has one element (then 1)
        retain_graph  keep the saved arrays, so that backward can run again through this graph

        Raises RuntimeError as `backward_steps` does.
        """
        deque(backward_steps(self, gradient, retain_graph), maxlen=0)

    def __repr__(self) -> str:
        values = numpy.array2string(self.numpy(), precision=4, separator=", ", prefix="tensor(")
        extras = [f"dtype={self.dtype}"] if self.dtype != numpy.float32 else []
        extras += [f"backend={self.backend!r}"] if self.backend != "numpy" else []
        if self.op is not None:
            extras.append(f"op={self.op.name}")
        elif self.requires_grad:
            extras.append("requires_grad=True")
        return f"tensor({', '.join([values, *extras])})"

    if TYPE_CHECKING:  # operators and methods are attached by minise.ops, one floor up
        __add__: Callable[..., Tensor]
        __radd__: Callable[..., Tensor]
        __sub__: Callable[..., Tensor]
        __rsub__: Callable[..., Tensor]
        __mul__: Callable[..., Tensor]
        __rmul__: Callable[..., Tensor]
        __truediv__: Callable[..., Tensor]
        __rtruediv__: Callable[..., Tensor]
        __pow__: Callable[..., Tensor]
        __matmul__: Callable[..., Tensor]
        __neg__: Callable[..., Tensor]
        __getitem__: Callable[..., Tensor]

        def __getattr__(self, name: str) -> Any: ...


class Function:
    """One operation. Subclasses write `forward` and, directly below it, `backward`.

    forward(*arrays) -> array            keeps on `self` what backward will need
    backward(grad) -> array or tuple     one gradient per input, of that input's shape; None where
                                         there is none (labels, masks)

    Both see raw arrays. Options (a stride, an axis) go to the constructor, so one instance is one
    node of the graph:  `y = Sigmoid()(x)`,  `y = Sum(axis=1)(x)`.
    """

    name: ClassVar[str] = ""  # as in minise.functional: "sigmoid"
    formula: ClassVar[str] = ""  # what forward computes: "y = 1 / (1 + exp(-x))"
    derivative: ClassVar[str] = ""  # what backward computes: "dx = dy · y · (1 - y)"

    xp: Any = numpy  # the array module of the inputs
    inputs: tuple[Tensor, ...] | None = None  # None before the call and after the graph was freed
    needs: Sequence[bool] = (True,) * 8  # per input: does it need a gradient?
    path: str = ""  # the module that called it
    fast_backward: Callable[..., Any] | None = None  # set where a backend's fast kernel ran

    def __init_subclass__(cls) -> None:
        if "name" not in cls.__dict__:
            cls.name = cls.__name__.lower()

    def forward(self, *arrays: Array) -> Array:
        raise NotImplementedError(f"{self.name}: forward is not written")

    def backward(self, grad: Array) -> Any:
        raise NotImplementedError(f"{self.name}: backward is not written")

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Run forward and, unless no gradient is wanted, link the output to this op."""
        arrays = [tensor.data for tensor in inputs]
        home = backend.of(arrays[0])
        kind = type(arrays[0])
        for array in arrays:
            if type(array) is not kind and backend.of(array) is not home:
                places = ", ".join(f"{tensor.backend} {tensor.shape}" for tensor in inputs)
                raise RuntimeError(
                    f"{self.name}: expected all operands on one backend, got {places}; "
                    "move them with .to(name)"
                )
        self.xp = home.xp
        recording = _recording.enabled
        self.needs = [recording and tensor.requires_grad for tensor in inputs]

        if self.name in home.fast and backend.using_fast_kernels():
            fast_forward, self.fast_backward = home.fast[self.name]
            output = Tensor(fast_forward(self, *arrays))
        else:
            output = Tensor(self.forward(*arrays))

        if True in self.needs and output.dtype.kind == "f":  # integers have no gradient
            self.inputs = inputs
            self.path = _recording.path
            output.op = self
            output.requires_grad = True
        return output

    def contributions(self, grad: Array) -> tuple[Array | None, ...]:
        """What `backward` gives, as one array per input, checked; None where none is needed."""
        inputs = self.graph_inputs()
        result = self.fast_backward(self, grad) if self.fast_backward else self.backward(grad)
        result = result if isinstance(result, tuple) else (result,)
        if len(result) != len(inputs):
            raise RuntimeError(
                f"{self.name}.backward: expected {len(inputs)} gradients, got {len(result)}"
            )
        needed = []
        for index, (tensor, array) in enumerate(zip(inputs, result)):
            if not self.needs[index]:
                array = None
            elif array is not None and array.shape != tensor.data.shape:
                raise RuntimeError(
                    f"{self.name}.backward: the gradient of input {index} must have its shape "
                    f"{tensor.shape}, got {array.shape}"
                )
            needed.append(array)
        return tuple(needed)

    def graph_inputs(self) -> tuple[Tensor, ...]:
        """The tensors that the output was made from; RuntimeError if the graph was freed."""
        if self.inputs is None:
            raise RuntimeError(
                f"backward: the graph behind {self.name} was already freed by an earlier backward; "
                "call that one with retain_graph=True"
            )
        return self.inputs

    def free(self) -> None:
        """Let go of the inputs and of everything that forward saved."""
        path = self.path
        self.__dict__.clear()
        self.path = path


class Step(NamedTuple):
    """One op of the backward walk."""

    op: Function
    output: Tensor  # what the op made in the forward pass
    gradient: Array  # d(loss)/d(output), complete: everything that used the output came before
    contributions: tuple[Array | None, ...]  # what the op adds to the gradient of each input
    accumulated: tuple[Array | None, ...]  # the gradient of each input so far, this step included


def backward_steps(
    loss: Tensor, gradient: Tensor | None = None, retain_graph: bool = False
) -> Iterator[Step]:
    """Backpropagation, one op at a time, from `loss` to the leaves.

    Yields a `Step` per op, in reverse order of creation. When the walk is complete, `.grad` of
    each leaf has grown by its gradient; if it is broken off, no `.grad` has changed.

    Raises RuntimeError if `loss` has no graph, was already walked without `retain_graph`, or has
    several elements while `gradient` is missing.
    """
    gradients = {id(loss): _first_gradient(loss, gradient)}  # tensor -> sum of what has arrived
    received = []  # tensors whose .grad grows, with the amount
    for tensor in _newest_first(loss):
        grad = gradients.pop(id(tensor))
        if tensor.op is None or tensor.retains_grad:
            received.append((tensor, grad))
        if tensor.op is None:
            continue
        op = tensor.op
        inputs = op.graph_inputs()
        contributions = op.contributions(grad)
        for source, contribution, needed in zip(inputs, contributions, op.needs, strict=True):
            key = id(source)
            if contribution is not None:
                arrived = gradients.get(key)
                # A new array each time: the old sum may be somebody else's contribution too.
                if arrived is not None:
                    contribution = backend.of(source.data).add(arrived, contribution)
                gradients[key] = contribution
            elif needed and key not in gradients:
                gradients[key] = op.xp.zeros_like(source.data)
        accumulated = tuple([gradients.get(id(source)) for source in inputs])
        yield Step(op, tensor, grad, contributions, accumulated)
        del grad, contributions, accumulated  # or they would live through the next op's backward
        if not retain_graph:
            op.free()
    for _, pairs in groupby(received, lambda pair: pair[0].backend):
        _accumulate(list(pairs))


def _accumulate(received: list[tuple[Tensor, Array]]) -> None:
    """Let `.grad` of each tensor grow by what it received; all of them are on one backend."""
    # In memory of their own: the same array may have become another tensor's gradient.
    first = [grad for tensor, grad in received if tensor.grad is None]
    copies = iter(backend.get(received[0][0].backend).copies(first) if first else ())
    for tensor, grad in received:
        tensor.grad = Tensor(next(copies) if tensor.grad is None else tensor.grad.data + grad)


def _first_gradient(loss: Tensor, gradient: Tensor | None) -> Array:
    if not loss.requires_grad:
        raise RuntimeError("backward: this tensor does not require a gradient and has no graph")
    if gradient is None:
        if loss.size != 1:
            raise RuntimeError(
                "backward: a gradient can be left out only for a tensor of one element, "
                f"got shape {loss.shape}"
            )
        return backend.of(loss.data).xp.ones_like(loss.data)
    if not isinstance(gradient, Tensor):
        raise TypeError(f"backward: gradient must be a Tensor, got {type(gradient).__name__}")
    if gradient.shape != loss.shape:
        raise RuntimeError(
            f"backward: gradient must have the tensor's shape {loss.shape}, got {gradient.shape}"
        )
    if gradient.backend != loss.backend:
        raise RuntimeError(
            f"backward: gradient must be on backend {loss.backend!r}, got {gradient.backend!r}"
        )
    return gradient.data.astype(loss.dtype, copy=False)


def _newest_first(loss: Tensor) -> list[Tensor]:
    """`loss` and everything behind it that required gradients when it was used, newest first."""
    found = {id(loss): loss}
    to_visit = [loss]
    while to_visit:
        op = to_visit.pop().op
        if op is None:
            continue
        for tensor, needed in zip(op.graph_inputs(), op.needs, strict=True):
            if needed and id(tensor) not in found:
                found[id(tensor)] = tensor
                to_visit.append(tensor)
    return sorted(found.values(), key=attrgetter("order"), reverse=True)


def is_grad_enabled() -> bool:
    """False inside `no_grad()`."""
    return _recording.enabled


@contextmanager
def no_grad() -> Iterator[None]:
    """Inside this block (or function, as a decorator) ops leave no history behind."""
    before = _recording.enabled
    _recording.enabled = False
    try:
        yield
    finally:
        _recording.enabled = before


def current_module_path() -> str:
    """The path of the module that is being called in this thread, "" outside of any."""
    return _recording.path


@contextmanager
def module_path(path: str) -> Iterator[None]:
    """Ops inside this block belong to the module `path`: "layer1.0.se"."""
    before = _recording.path
    _recording.path = path
    try:
        yield
    finally:
        _recording.path = before
