"""Is a backward right? Compare it with slopes measured by small steps.

A derivative can be measured without a formula for it: step eps to the left and to the right, and
divide the change of the output by the distance,

    f'(x) ≈ (f(x + eps) - f(x - eps)) / (2 eps)          the central difference

Two errors pull eps in opposite directions. Cutting off the Taylor series costs eps² · f''' / 6, so
eps should be small; rounding f costs about u · f / eps, where u = 2.2e-16 is the machine epsilon of
float64, so eps should be large. Their sum is smallest near the cube root of u, 6e-6, and is about
1e-10 there. float32 would leave 1e-4, too coarse to tell a mistake from noise: that is why only
float64 is checked.

The outputs are weighed with random numbers, which become the gradients that backward starts from.
A plain sum would start it from ones, and many mistakes hide there: softmax(x).sum() is 1 wherever x
is, so its gradient is 0 with and without most factors that a backward may lose.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy

from . import backend
from .autograd import Function, no_grad
from .tensor import Tensor

LARGE = 1000  # with more elements than this, random directions take the place of single elements

Arrays = dict[int, numpy.ndarray]  # position of an input -> something of its shape


class GradcheckError(RuntimeError):
    """Backward and the central difference disagree, or cannot be compared."""


def gradcheck(
    fn: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    *,
    eps: float = 1e-6,
    atol: float = 1e-7,
    rtol: float = 1e-5,
    directions: int | None = None,
    seed: int = 0,
) -> bool:
    """Compare the backward of `fn(*inputs)` with central differences; True if they agree.

    fn          returns one float64 tensor or several; the same for the same inputs
    inputs      one or several; those that require gradients are checked: float64, and leaves
    eps         the step; inputs should be of order 1
    atol, rtol  backward b and central difference c agree where
                |b - c| <= max(atol, rtol · max(|b|, |c|))
    directions  0: move every element of every input, one at a time.
                k: move all inputs together, in k random directions d, and compare Σ gradient · d;
                the cost does not grow with the size of the inputs.
                None: 0 for up to 1000 elements, 10 for more
    seed        of the random weights of the outputs, and of the directions

    `fn` may ignore its arguments, so that a net is checked in all that it is made of:

        gradcheck(lambda *_: net(x), [x, *net.parameters()])

    The inputs and their `.grad` are left as they were, after an error too. (Other tensors that `fn`
    uses collect `.grad`, as in any backward.)

    Raises GradcheckError naming the place and both values, or saying that `fn` has a kink there or
    is not deterministic; ValueError for inputs and outputs that cannot be checked.
    """
    check = _Check(fn, (inputs,) if isinstance(inputs, Tensor) else tuple(inputs))
    if directions is None:
        directions = 10 if sum(x.size for x in check.leaves.values()) > LARGE else 0
    saved = [(x, x.data, x.grad) for x in check.leaves.values()]
    rng = numpy.random.default_rng(seed)
    try:
        check.run_backward(rng)
        if directions == 0:
            for place, direction in check.elements():
                check.compare(place, direction, eps, atol, rtol)
        for n in range(directions):
            together = {i: rng.standard_normal(x.shape) for i, x in check.leaves.items()}
            try:
                check.compare(f"random direction {n}", together, eps, atol, rtol)
            except GradcheckError:
                for i in together:  # name the input, if one alone shows it
                    place = f"{check.place(i)}, random direction {n}"
                    check.compare(place, {i: together[i]}, eps, atol, rtol)
                raise
    finally:
        for x, data, grad in saved:
            x.data, x.grad = data, grad
    return True


class _Check:
    """One function at one point: what backward says there, and what small steps measure."""

    def __init__(self, fn: Callable[..., Any], inputs: tuple[Any, ...]) -> None:
        self.fn, self.inputs = fn, inputs
        self.leaves = {
            i: x for i, x in enumerate(inputs) if isinstance(x, Tensor) and x.requires_grad
        }
        self.name, self.arguments = _names(fn, inputs)
        if not self.leaves:
            raise ValueError(f"gradcheck: {self.name}: no input requires a gradient")
        for i, x in self.leaves.items():
            if x.dtype != numpy.float64:
                raise ValueError(
                    f"gradcheck: {self.name}: argument {i} must be float64, got {x.dtype}, whose "
                    "rounding drowns small differences; make it with dtype='float64'"
                )
            if x.op is not None:
                raise ValueError(f"gradcheck: {self.name}: argument {i} must be a leaf: detach it")

    def run_backward(self, rng: numpy.random.Generator) -> None:
        """Keep the point, the outputs there, their weights, and the gradients."""
        self.point = {i: x.numpy().copy(order="K") for i, x in self.leaves.items()}
        outputs = self.outputs()
        self.values = [y.numpy().copy() for y in outputs]
        self.weights = [rng.standard_normal(y.shape) for y in outputs]
        for x in self.leaves.values():
            x.grad = None
        for y, weight in zip(outputs, self.weights):
            if y.requires_grad:  # the outputs may share a graph
                y.backward(Tensor(backend.of(y.data).as_array(weight)), retain_graph=True)
        self.gradients = {
            i: numpy.zeros(x.shape) if x.grad is None else x.grad.numpy()
            for i, x in self.leaves.items()
        }
        with no_grad():
            again = [y.numpy() for y in self.outputs()]
        # Not bit for bit: where an array lies in memory may change the last digit of a product.
        if not all(
            a.shape == b.shape and numpy.allclose(a, b, rtol=1e-9, atol=1e-12, equal_nan=True)
            for a, b in zip(self.values, again)
        ):
            raise GradcheckError(
                f"gradcheck: {self.name}: not deterministic: two calls with the same inputs gave "
                "different outputs (dropout? check in evaluation mode)"
            )

    def compare(self, place: str, direction: Arrays, eps: float, atol: float, rtol: float) -> None:
        """GradcheckError where backward and the central difference disagree along `direction`."""
        left, right = self.slopes(direction, eps)
        gap = right - left
        if abs(gap) > max(100 * atol, 1e-3 * max(abs(left), abs(right))):
            # Of a smooth function half the step leaves half the gap; of one with a kink, all.
            left_half, right_half = self.slopes(direction, eps / 2)
            if abs(right_half - left_half - gap / 2) > abs(gap) / 4:
                raise GradcheckError(
                    f"gradcheck: {self.name}: {place}: not differentiable here: the slope is "
                    f"{left:.4g} on the left and {right:.4g} on the right; check another point"
                )
        central = (left + right) / 2
        exact = sum(float((self.gradients[i] * d).sum()) for i, d in direction.items())
        difference, size = abs(exact - central), max(abs(exact), abs(central))
        if not difference <= max(atol, rtol * size):  # `not`, so that NaN counts as a mistake
            raise GradcheckError(
                f"gradcheck: {self.name}: {place}: backward gives {exact:.4g}, central difference "
                f"gives {central:.4g}, relative error {difference / (size or 1):.1e}"
            )

    def slopes(self, direction: Arrays, step: float) -> tuple[float, float]:
        """How fast the weighed outputs grow on the left and on the right of the point."""
        return -self.change(direction, -step) / step, self.change(direction, step) / step

    def change(self, direction: Arrays, step: float) -> float:
        """How much the weighed outputs grow when the inputs move by `step` in `direction`."""
        for i, d in direction.items():
            self.move(i, self.point[i] + step * d)
        with no_grad():
            outputs = self.outputs()
        for i in direction:
            self.move(i, self.point[i])
        rows = zip(outputs, self.values, self.weights)
        return sum(float((weight * (y.numpy() - value)).sum()) for y, value, weight in rows)

    def move(self, i: int, values: numpy.ndarray) -> None:
        x = self.leaves[i]
        x.data = backend.of(x.data).as_array(values)

    def outputs(self) -> list[Tensor]:
        result = self.fn(*self.inputs)
        outputs = list(result) if isinstance(result, (tuple, list)) else [result]
        for y in outputs:
            if not isinstance(y, Tensor) or y.dtype != numpy.float64:
                got = y.dtype if isinstance(y, Tensor) else type(y).__name__
                raise ValueError(f"gradcheck: {self.name}: outputs must be float64, got {got}")
        return outputs

    def elements(self) -> Iterator[tuple[str, Arrays]]:
        """Every element of every input: its name, and the direction that moves it alone."""
        for i, x in self.leaves.items():
            for index in numpy.ndindex(x.shape):
                direction = numpy.zeros(x.shape)
                direction[index] = 1
                yield self.place(i, index), {i: direction}

    def place(self, i: int, index: tuple[int, ...] = ()) -> str:
        """ "d/dx[1, 2] (argument 0)", where the function tells its arguments' names."""
        where = str(list(index)) if index else ""
        name = self.arguments[i]
        return f"d/d{name}{where} (argument {i})" if name else f"d/d(argument {i}){where}"


def _names(fn: Callable[..., Any], inputs: tuple[Any, ...]) -> tuple[str, list[str]]:
    """The name of the function, and of each argument: "" where it cannot be told."""
    body = fn.forward if isinstance(fn, Function) else fn
    name = fn.name if isinstance(fn, Function) else getattr(fn, "__name__", type(fn).__name__)
    try:
        parameters = list(inspect.signature(body).parameters.values())
    except (TypeError, ValueError):  # written in C, without a signature
        parameters = []
    positional = [p.name for p in parameters if p.kind.name.startswith("POSITIONAL")]
    return name, (positional + [""] * len(inputs))[: len(inputs)]
