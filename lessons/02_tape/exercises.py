"""Lesson 02: what a tape remembers of each op, and the walk back along it.

The functions below are the lesson's own answers. `use` takes them where a blank is still open, so
that everything after it runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy

from minise import Tensor
from minise.teach import Check, Exercise, Mistake, Point

Array = numpy.ndarray


@dataclass(frozen=True, repr=False)
class Entry:
    """A tensor on the tape, as far as the order of the walk depends on it."""

    name: str
    order: int

    def __repr__(self) -> str:
        return self.name


def multiply_backward(grad: Array, a: Array, b: Array) -> tuple[Array, Array]:
    return grad * b, grad * a


def sum_backward(grad: Array, x: Array) -> Array:
    return numpy.broadcast_to(grad, x.shape)


def newest(waiting: Sequence[Any]) -> Any:
    return max(waiting, key=lambda tensor: tensor.order)


def add_up(arrived: Array | None, contribution: Array) -> Array:
    return contribution if arrived is None else arrived + contribution


def engine(output, grad, *inputs):
    """The gradients of the inputs of an op, from minise."""
    output.backward(Tensor(grad))
    return tuple(tensor.grad.numpy() for tensor in inputs)


def product(*shape: int, seed: int) -> Point:
    """Two arrays, the gradient of their product, and what minise's own op makes of them."""
    grad, a, b = numpy.random.RandomState(seed).standard_normal((3, *shape))
    of_a, of_b = Tensor(a, requires_grad=True), Tensor(b, requires_grad=True)
    return {"grad": grad, "a": a, "b": b, "gradients": engine(of_a * of_b, grad, of_a, of_b)}


def total(*shape: int, grad: float, seed: int) -> Point:
    """An array, the gradient of its sum, and what minise's own op makes of them."""
    x = numpy.random.RandomState(seed).standard_normal(shape)
    of_x = Tensor(x, requires_grad=True)
    upstream = numpy.asarray(grad)
    return {"grad": upstream, "x": x, "dx": engine(of_x.sum(), upstream, of_x)[0]}


def waiting(*orders: int) -> Point:
    """Tensors in the order in which they began to wait; their names tell their numbers."""
    entries = [Entry(f"tensor {order}", order) for order in orders]
    return {"waiting": entries, "next": entries[orders.index(max(orders))]}


def arrivals(arrived: Array | None, contribution: Array, total: Array) -> Point:
    return {"arrived": arrived, "contribution": contribution, "total": total}


# --- the mistakes -------------------------------------------------------------------------------


def added_in_place(arrived: Array | None, contribution: Array) -> Array:
    if arrived is None:
        return contribution
    arrived += contribution
    return arrived


MULTIPLY = [
    Mistake(
        "The two are exchanged. If a grows by a little, a · b grows by b times that: the gradient "
        "of a has the factor b.",
        lambda grad, a, b: (grad * a, grad * b),
    ),
    Mistake(
        "These are the local slopes alone. The chain rule multiplies them by the gradient that "
        "came in.",
        lambda grad, a, b: (b, a),
    ),
    Mistake(
        "Two inputs, two gradients: return both, as in `return da, db`.",
        lambda grad, a, b: grad * b,
    ),
    Mistake(
        "Two inputs, two gradients, each on its own; they are not added to each other.",
        lambda grad, a, b: grad * b + grad * a,
    ),
]

SUM = [
    Mistake(
        "One gradient came in, but every element of x needs its own: repeat it, in the shape of x.",
        lambda grad, x: grad,
    ),
    Mistake(
        "That is the rule of a mean. In a sum every element counts in full: if one grows by a "
        "little, so does the sum.",
        lambda grad, x: numpy.full(x.shape, grad / x.size),
    ),
    Mistake(
        "The gradient that came in is lost: the slope of a sum is 1, times that.",
        lambda grad, x: numpy.ones_like(x),
    ),
    Mistake(
        "The factor x does not belong here: a sum has the slope 1 whatever x is.",
        lambda grad, x: grad * x,
    ),
]

NEWEST = [
    Mistake(
        "That is the oldest. What was made from it may wait too, with more gradient for it.",
        lambda waiting: min(waiting, key=lambda tensor: tensor.order),
    ),
    Mistake(
        "That one has waited longest. It matters when it was made, not when it began to wait.",
        lambda waiting: waiting[0],
    ),
    Mistake(
        "That one came last. It matters when it was made, not when it began to wait.",
        lambda waiting: waiting[-1],
    ),
    Mistake(
        "That is its number. Return the tensor that has it: max(…, key=…) compares by the key and "
        "returns the tensor.",
        lambda waiting: max(tensor.order for tensor in waiting),
    ),
    Mistake(
        "Python cannot compare tensors. Compare their numbers: max(waiting, key=…), where key is a "
        "function that gives a tensor's number.",
        lambda waiting: max(waiting),
    ),
]

ADD_UP = [
    Mistake(
        "The sum is right, but it was written into the old array, which may be the gradient of "
        "another tensor too. Make a new one: arrived + contribution.",
        added_in_place,
    ),
    Mistake(
        "The second gradient has overwritten the first: = instead of +=. Both uses count.",
        lambda arrived, contribution: contribution,
    ),
    Mistake(
        "The first time nothing has arrived: arrived is None, and the sum is the contribution.",
        lambda arrived, contribution: arrived + contribution,
    ),
    Mistake(
        "Only the first gradient is left. Both uses count: add them.",
        lambda arrived, contribution: contribution if arrived is None else arrived,
    ),
    Mistake(
        "An array of several numbers is neither true nor false, and == compares each of them. Ask "
        "for None itself: `arrived is None`.",
        lambda arrived, contribution: arrived + contribution if arrived else contribution,
    ),
]

check = Check(
    {
        "matrices of shape (2, 3)": product(2, 3, seed=21),
        "vectors of length 4": product(4, seed=22),
        "x of shape (2, 3)": total(2, 3, grad=-1.5, seed=23),
        "x of shape (4,)": total(4, grad=0.4, seed=24),
        "four that wait": waiting(5, 3, 9, 7),
        "five that wait": waiting(12, 15, 4, 19, 8),
        "the first gradient": arrivals(None, numpy.array([0.5, -1.5]), numpy.array([0.5, -1.5])),
        "a second one": arrivals(
            numpy.array([2.0, 3.0]), numpy.array([0.5, -1.5]), numpy.array([2.5, 1.5])
        ),
    },
    [
        Exercise("multiply_backward", "grad a b", "gradients", MULTIPLY),
        Exercise("sum_backward", "grad x", "dx", SUM),
        Exercise("newest", "waiting", "next", NEWEST),
        Exercise("add_up", "arrived contribution", "total", ADD_UP),
    ],
    answers=[multiply_backward, sum_backward, newest, add_up],
)
use = check.use
