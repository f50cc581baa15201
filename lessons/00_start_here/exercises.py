"""Lesson 00: three small blanks to get acquainted with tensors, gradients and the checker.

The functions below are the lesson's own answers. `use` takes them where a blank is still open, so
that everything after it runs.
"""

from __future__ import annotations

import numpy

from minise import tensor
from minise.teach import Check, Exercise, Mistake, Point

Array = numpy.ndarray


def slope(x: Array) -> Array:
    return 2 * x


def first_gradient(values: Array) -> Array:
    x = tensor(values, requires_grad=True)
    y = (x * x).sum()
    y.backward()
    assert x.grad is not None
    return x.grad.numpy()


def step(x: Array, grad: Array, lr: float) -> Array:
    return x - lr * grad


def slopes(x: Array) -> Point:
    """x² has the slope x + x: once for each of the two factors."""
    return {"x": x, "slope": x + x, "values": x, "gradient": x + x}


def descent(x: Array, grad: Array, lr: float, lower: Array) -> Point:
    return {"x": x, "grad": grad, "lr": lr, "lower": lower}


def step_in_place(x: Array, grad: Array, lr: float) -> Array:
    x -= lr * grad
    return x


SLOPE = [
    Mistake(
        "That is x² itself: how high the curve is, not how steep.",
        lambda x: x * x,
    ),
    Mistake(
        "That is half of it. In x · x there are two factors; each contributes the other one.",
        lambda x: x,
    ),
]

FIRST_GRADIENT = [
    Mistake(
        "`.grad` is None: it is there only after y.backward(), and only on x, where the walk back "
        "ends.",
        lambda values: None.numpy(),  # type: ignore[attr-defined]
    ),
    Mistake(
        "x does not remember: without requires_grad=True nothing is recorded for it.",
        lambda values: tensor(values).sum().backward(),
    ),
    Mistake(
        "The right numbers, as a minise Tensor. `.numpy()` gives the array.",
        lambda values: tensor(first_gradient(values)),
    ),
    Mistake(
        "These are the values of x. Its gradient is x.grad.",
        lambda values: values,
    ),
]

STEP = [
    Mistake(
        "That goes uphill. The gradient points to where the loss grows; go the other way.",
        lambda x, grad, lr: x + lr * grad,
    ),
    Mistake(
        "The learning rate lr is missing: the step is lr * grad.",
        lambda x, grad, lr: x - grad,
    ),
    Mistake(
        "The gradient is missing: how far to go depends on how steep it is. The step is lr * grad.",
        lambda x, grad, lr: x - lr,
    ),
    Mistake(
        "The numbers are right, but `-=` wrote them into the array that you were given.",
        step_in_place,
    ),
]

check = Check(
    {
        "three values": slopes(numpy.array([3.0, -1.0, 0.5])),
        "four values": slopes(numpy.array([-2.5, 0.1, 4.0, 1.2])),
        "one step": descent(
            numpy.array([4.0, -1.0]), numpy.array([6.0, -5.0]), 0.1, numpy.array([3.4, -0.5])
        ),
        "another step": descent(
            numpy.array([[0.5, 2.0]]), numpy.array([[-1.0, 4.0]]), 0.25, numpy.array([[0.75, 1.0]])
        ),
    },
    [
        Exercise("slope", "x", "slope", SLOPE),
        Exercise("first_gradient", "values", "gradient", FIRST_GRADIENT),
        Exercise("step", "x grad lr", "lower", STEP),
    ],
    answers=[slope, first_gradient, step],
)
use = check.use
