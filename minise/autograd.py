"""The whole engine: tensors that remember how they were made, and the walk back through them.

A `Variable` holds an array. A `Function` is one operation: `forward` computes with arrays,
`backward` turns the gradient of its output into the gradients of its inputs. Calling a Function
links the output to the Function and the Function to its inputs; these links are the graph.

    x ──┐
        ├─ Multiply ── y ── Sum ── loss          variable.op    the Function that made it
    w ──┘                                        op.inputs      the variables it was made from

`backward_steps(loss)` visits the variables of that graph from the newest to the oldest. A variable
is always older than what was made from it, so when its turn comes all gradients for it have
arrived.

Links point backwards only. Nothing points from an op to its output, so there are no cycles: when
the last reference to `loss` goes, the graph and its arrays go with it.

What people compute with is the Variable with operators and methods: `Tensor`, in tensor.py.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count, groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy

from . import backend
from .backend import Kernel

if TYPE_CHECKING:
    from .tensor import Tensor

Array = Any  # a numpy.ndarray or a cupy.ndarray: whatever the tensor's backend computes with

next_order = count().__next__  # variables are numbered in the order of their creation


class _Recording(threading.local):
    enabled = True  # False inside no_grad(), for the code of this thread


_recording = _Recording()


class Variable:
    """An array and, if it was computed from variables that require gradients, its history.

    data           the array (NumPy or CuPy); logical layout of images is (N, C, H, W)
    grad           None, or a Tensor of the same shape: d(loss)/d(this), summed over backward calls
    requires_grad  whether a gradient is wanted for this variable or for one it was made from
    op             the Function that made it, None for a leaf
    order          its place in the order of creation
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
        self.order = next_order()

    def new(self, data: Array) -> Tensor:
        """What ops return: a tensor of that array, without history."""
        raise NotImplementedError

    @property
    def backend(self) -> str:
        """Where the array lives: "numpy" or "cupy"."""
        return backend.of(self.data).name


class Function:
    """One operation. Subclasses write `forward` and, directly below it, `backward`.

    forward(*arrays) -> array            keeps on `self` what backward will need
    backward(grad) -> array or tuple     one gradient per input, of that input's shape; None where
                                         there is none (labels, masks)

    Both see raw arrays. Options (a stride, an axis) go to the constructor, so one instance is one
    node of the graph:  `y = Sigmoid()(x)`,  `y = Sum(axis=1)(x)`.

    `class ReLU(Function, kernel="relu")` lets backends compute ops of exactly this class by their
    fast kernel of that name. Nothing is inherited: a subclass runs its own forward and backward.
    """

    name: ClassVar[str] = ""  # in errors and traces; the class's own name in small letters
    formula: ClassVar[str] = ""  # what forward computes: "y = 1 / (1 + exp(-x))"
    derivative: ClassVar[str] = ""  # what backward computes: "dx = dy · y · (1 - y)"

    xp: Any = numpy  # the array module of the inputs
    needs: list[bool]  # per input: does it need a gradient?
    inputs: tuple[Tensor, ...] | None = None  # None before the call and after the graph was freed
    kernel: Kernel | None = None  # the fast kernel that ran in place of forward

    def __init_subclass__(cls, kernel: str | None = None) -> None:
        if "name" not in cls.__dict__:
            cls.name = cls.__name__.lower()
        if kernel is not None:
            backend.open_to_kernels(cls, kernel)

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

        kernel = home.kernel_for(self, arrays)
        if kernel is None:
            output = inputs[0].new(self.forward(*arrays))
        else:
            self.kernel = kernel
            output = inputs[0].new(kernel.forward(self, *arrays))

        if True in self.needs and output.dtype.kind == "f":  # integers have no gradient
            self.inputs = inputs
            output.op = self
            output.requires_grad = True
        return output

    def contributions(self, grad: Array) -> tuple[Array | None, ...]:
        """What `backward` gives, as one array per input, checked; None where none is needed."""
        inputs = self.graph_inputs()
        result = self.kernel.backward(self, grad) if self.kernel else self.backward(grad)
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
        self.__dict__.clear()


class Step(NamedTuple):
    """One op of the backward walk."""

    op: Function
    output: Tensor  # what the op made in the forward pass
    gradient: Array  # d(loss)/d(output), complete: everything that used the output came before
    contributions: tuple[Array | None, ...]  # what the op adds to the gradient of each input


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
        yield Step(op, tensor, grad, contributions)
        del grad, contributions  # or they would live through the next op's backward
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
        tensor.grad = tensor.new(next(copies) if tensor.grad is None else tensor.grad.data + grad)


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
    if not isinstance(gradient, Variable):
        raise TypeError(f"backward: gradient must be a Tensor, got {type(gradient).__name__}")
    if gradient.shape != loss.shape:
        raise RuntimeError(
            f"backward: gradient must have the tensor's shape {loss.shape}, "
            f"got {gradient.shape}"
        )
    if gradient.backend != loss.backend:
        raise RuntimeError(
            f"backward: gradient must be on backend {loss.backend!r}, got {gradient.backend!r}"
        )
    return gradient.data.astype(loss.dtype, copy=False)


def _newest_first(loss: Tensor) -> list[Tensor]:
    """`loss` and everything behind it that required gradients when it was used, newest first."""
    found: dict[int, Tensor] = {id(loss): loss}
    to_visit: list[Tensor] = [loss]
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
