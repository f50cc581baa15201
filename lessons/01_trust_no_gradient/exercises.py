"""Lesson 01: measuring slopes by small steps, and six gradients to be judged by them.

The functions below are the lesson's own answers. `use` takes them where a blank is still open, so
that everything after it runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy

from minise.teach import Check, Exercise, Mistake, Point

Array = numpy.ndarray
Loss = Callable[[Array], float]

FLOOR = 1e-8  # gradients smaller than this count as this large
LIMIT = 1e-3  # a relative error above this is no rounding


def central(f: Callable[[float], float], x: float, h: float) -> float:
    return (f(x + h) - f(x - h)) / (2 * h)


def partial(f: Loss, x: Array, index: tuple[int, ...], h: float) -> float:
    step = numpy.zeros(x.shape)
    step[index] = h
    return (f(x + step) - f(x - step)) / (2 * h)


def relative_error(a: Array, b: Array) -> Array:
    return abs(a - b) / numpy.maximum(numpy.maximum(abs(a), abs(b)), FLOOR)


def along(gradient: Array, d: Array) -> float:
    return (gradient * d).sum()


def directional(f: Loss, x: Array, d: Array, h: float) -> float:
    return (f(x + h * d) - f(x - h * d)) / (2 * h)


def guilty(here: Mapping[str, Array], nearby: Mapping[str, Array]) -> list[str]:
    return [name for name in here if here[name].max() > LIMIT and nearby[name].max() > LIMIT]


# --- the line-up: four of these six gradients are wrong ------------------------------------------


class Suspect(NamedTuple):
    """A function from an array to a number, what somebody wrote as its gradient, and a point."""

    name: str
    f: Loss
    gradient: Callable[[Array], Array]
    x: Array


def suspects() -> list[Suspect]:
    """Every function weighs its outputs with random numbers, dy, and adds them up."""
    stream = numpy.random.RandomState(1)
    X, dy_matmul = stream.standard_normal((2, 3, 3))
    dy_softmax = stream.standard_normal(5)
    dy_smooth = stream.standard_normal(200)
    dy_relu = stream.standard_normal(6)
    dy_sigmoid = stream.standard_normal(6)

    def softmax(x):
        e = numpy.exp(x - x.max())
        return e / e.sum()

    def sigmoid(x):
        return 1 / (1 + numpy.exp(-x))

    def smooth(x):
        """The mean of each value and its two neighbours; outside there are zeros."""
        padded = numpy.pad(x, 1)
        return (padded[:-2] + padded[1:-1] + padded[2:]) / 3

    def around(dy):
        """As if the last value were the neighbour of the first."""
        return (numpy.roll(dy, 1) + dy + numpy.roll(dy, -1)) / 3

    return [
        Suspect(
            "matmul",
            lambda W: (dy_matmul * (X @ W)).sum(),
            lambda W: X @ dy_matmul,
            stream.standard_normal((3, 3)),
        ),
        Suspect(
            "softmax",
            lambda x: (dy_softmax * softmax(x)).sum(),
            lambda x: softmax(x) * (dy_softmax - dy_softmax.mean()),
            stream.standard_normal(5),
        ),
        Suspect(
            "sigmoid",
            lambda x: (dy_sigmoid * sigmoid(x)).sum(),
            lambda x: dy_sigmoid * sigmoid(x) * (1 - sigmoid(x)),
            stream.standard_normal(6),
        ),
        Suspect(
            "mean of squares",
            lambda x: (x * x).mean(),
            lambda x: x / x.size,
            stream.standard_normal(2000),
        ),
        Suspect(
            "relu",
            lambda x: (dy_relu * numpy.maximum(x, 0)).sum(),
            lambda x: dy_relu * (x > 0),
            numpy.array([0.7, -0.4, 0.0, 1.3, -2.1, 0.2]),
        ),
        Suspect(
            "smooth",
            lambda x: (dy_smooth * smooth(x)).sum(),
            lambda x: around(dy_smooth),
            stream.standard_normal(200),
        ),
    ]


# --- the points ---------------------------------------------------------------------------------


def of(f: Callable[[float], float], x: float, h: float, derivative: float) -> Point:
    """derivative: that of f, measured with h; not its limit."""
    return {"f": f, "x": x, "h": h, "derivative": derivative}


def cubes(x: Array) -> float:
    """Σ k · x³ with k = 1, 2, 3, … : its central differences have a closed formula."""
    return float((weights(x) * x**3).sum())


def weights(x: Array) -> Array:
    return numpy.arange(1, x.size + 1).reshape(x.shape)


def of_cubes(x: Array, index: tuple[int, ...], seed: int, h: float = 0.1) -> Point:
    """((x + h)³ - (x - h)³) / 2h = 3x² + h², and the like for a direction."""
    d = numpy.random.RandomState(seed).standard_normal(x.shape)
    return {
        "f": cubes,
        "x": x,
        "index": index,
        "d": d,
        "h": h,
        "slope": float(weights(x)[index] * (3 * x[index] ** 2 + h**2)),
        "slope_along_d": float((weights(x) * (3 * x**2 * d + h**2 * d**3)).sum()),
    }


def pairs(a: list[float], b: list[float], error: list[float]) -> Point:
    return {"a": numpy.array(a), "b": numpy.array(b), "error": numpy.array(error)}


def products(*shape: int, seed: int) -> Point:
    gradient, d = numpy.random.RandomState(seed).standard_normal((2, *shape))
    expected = sum(float(gradient[i]) * float(d[i]) for i in numpy.ndindex(shape))
    return {"gradient": gradient, "d": d, "claimed": expected}


def cases(names: list[str], **errors: tuple[list[float], list[float]]) -> Point:
    """The largest errors of some gradients here and nearby, and the names of the guilty."""
    here = {name: numpy.array(error) for name, (error, _) in errors.items()}
    nearby = {name: numpy.array(error) for name, (_, error) in errors.items()}
    return {"here": here, "nearby": nearby, "names": names}


# --- the mistakes -------------------------------------------------------------------------------

ONE_SIDE = (
    "That is a step to one side only. Its error shrinks like h; steps to both sides cancel it, and "
    "what is left shrinks like h²."
)
DISTANCE = "The two points lie 2h apart, so divide the difference by 2h."

CENTRAL = [
    Mistake(ONE_SIDE, lambda f, x, h: (f(x + h) - f(x)) / h),
    Mistake(DISTANCE, lambda f, x, h: (f(x + h) - f(x - h)) / h),
    Mistake(
        "`/ 2 * h` divides by 2 and then multiplies by h. Write `/ (2 * h)`.",
        lambda f, x, h: (f(x + h) - f(x - h)) / 2 * h,
    ),
    Mistake(
        "Brackets are missing: the whole difference is divided by 2h, not its last term alone.",
        lambda f, x, h: f(x + h) - f(x - h) / (2 * h),
    ),
    Mistake("The sign is turned: right minus left.", lambda f, x, h: -central(f, x, h)),
]


def same_array(f: Loss, x: Array, index: tuple[int, ...], h: float) -> float:
    right = left = x
    right[index] += h
    left[index] -= h
    return (f(right) - f(left)) / (2 * h)


def not_put_back(f: Loss, x: Array, index: tuple[int, ...], h: float) -> float:
    x[index] += h
    right = f(x)
    x[index] -= 2 * h
    return (right - f(x)) / (2 * h)


PARTIAL = [
    Mistake(
        "All elements moved, so this is the sum of all partial derivatives. Move one: make a step "
        "of zeros, and write h at the index.",
        lambda f, x, index, h: (f(x + h) - f(x - h)) / (2 * h),
    ),
    Mistake(
        "`right = x` does not copy: right, left and x are one array, so both steps happened to "
        "it. Write x.copy().",
        same_array,
    ),
    Mistake(
        "x was moved and not put back. Even `+= h` and `-= h` need not give x again, because of "
        "rounding. Work on a copy.",
        not_put_back,
    ),
    Mistake(ONE_SIDE, lambda f, x, index, h: (f(moved(x, index, h)) - f(x)) / h),
    Mistake(DISTANCE, lambda f, x, index, h: 2 * partial(f, x, index, h)),
]


def moved(x: Array, index: tuple[int, ...], h: float) -> Array:
    step = numpy.zeros(x.shape)
    step[index] = h
    return x + step


RELATIVE_ERROR = [
    Mistake(
        "That is the absolute error. Divide it by the larger of |a| and |b|.",
        lambda a, b: abs(a - b),
    ),
    Mistake(
        "A sign got lost: the distance is |a - b|.",
        lambda a, b: (a - b) / numpy.maximum(numpy.maximum(abs(a), abs(b)), FLOOR),
    ),
    Mistake(
        "The larger of a and b is not the larger of |a| and |b|: -3 is smaller than -2.",
        lambda a, b: abs(a - b) / numpy.maximum(numpy.maximum(a, b), FLOOR),
    ),
    Mistake(
        "Divided by the largest value of all. Each element has its own size: np.maximum compares "
        "element by element.",
        lambda a, b: abs(a - b) / max(abs(a).max(), abs(b).max(), FLOOR),
    ),
    Mistake(
        "Divided by |b| alone. Where b is 0 and a is not, this is huge; the larger of both is "
        "meant.",
        lambda a, b: abs(a - b) / numpy.maximum(abs(b), FLOOR),
    ),
]

ALONG = [
    Mistake(
        "The products are right; now add them up.",
        lambda gradient, d: gradient * d,
    ),
    Mistake(
        "A sum, not a mean: each element moves, and each changes f.",
        lambda gradient, d: (gradient * d).mean(),
    ),
    Mistake(
        "@ is the matrix product. Here every element of the gradient meets the element of d at "
        "its own place: *, then sum.",
        lambda gradient, d: gradient @ d,
    ),
    Mistake(
        "First multiply element by element, then add up; not the product of two sums.",
        lambda gradient, d: gradient.sum() * d.sum(),
    ),
]

DIRECTIONAL = [
    Mistake(
        "The step is d itself. Make it small: h * d.",
        lambda f, x, d, h: (f(x + d) - f(x - d)) / (2 * h),
    ),
    Mistake(
        "Only h was added: all elements moved by the same step. Move along d: x + h * d.",
        lambda f, x, d, h: (f(x + h) - f(x - h)) / (2 * h),
    ),
    Mistake(ONE_SIDE, lambda f, x, d, h: (f(x + h * d) - f(x)) / h),
    Mistake(DISTANCE, lambda f, x, d, h: 2 * directional(f, x, d, h)),
    Mistake(
        "Divided by the length of d too. `along` does not do that, so the two could not agree.",
        lambda f, x, d, h: directional(f, x, d, h) / numpy.linalg.norm(d),
    ),
]

GUILTY = [
    Mistake(
        "An innocent is accused: its error vanishes nearby, so its point lay on a kink. Ask for a "
        "large error here and nearby.",
        lambda here, nearby: [name for name in here if here[name].max() > LIMIT],
    ),
    Mistake(
        "Someone escaped: one wrong element among many right ones hardly moves the mean. Ask for "
        "the largest error.",
        lambda here, nearby: [
            name for name in here if here[name].mean() > LIMIT and nearby[name].mean() > LIMIT
        ],
    ),
    Mistake(
        "An innocent is accused: one large error is enough for `or`. Ask for a large error here "
        "and nearby.",
        lambda here, nearby: [
            name for name in here if here[name].max() > LIMIT or nearby[name].max() > LIMIT
        ],
    ),
    Mistake(
        "These are the innocent ones: turn the comparison.",
        lambda here, nearby: [name for name in here if name not in guilty(here, nearby)],
    ),
    Mistake(
        "Someone escaped: not every element has to be wrong, one is enough.",
        lambda here, nearby: [
            name for name in here if here[name].min() > LIMIT and nearby[name].min() > LIMIT
        ],
    ),
]

check = Check(
    {
        "f = sin, h = 0.5": of(numpy.sin, 0.7, 0.5, math.cos(0.7) * math.sin(0.5) / 0.5),
        "f = exp, h = 0.1": of(numpy.exp, -0.3, 0.1, math.exp(-0.3) * math.sinh(0.1) / 0.1),
        "x of shape (2, 3)": of_cubes(
            numpy.array([[0.5, -1.0, 2.0], [1.5, 0.3, -0.7]]), (1, 2), seed=11
        ),
        "x of shape (4,)": of_cubes(numpy.array([1.1, -0.2, 0.6, -1.4]), (0,), seed=12),
        "four pairs": pairs([1, -3, 0, 0], [2, -2, 5e-3, 0], [0.5, 1 / 3, 1, 0]),
        "three pairs": pairs([4e-9, 1e-6, -2], [-4e-9, 1.1e-6, -2.5], [0.8, 1 / 11, 0.2]),
        "a gradient of shape (2, 3)": products(2, 3, seed=13),
        "a gradient of shape (3, 3)": products(3, 3, seed=14),
        "five gradients": cases(
            ["A", "D"],
            A=([0.4, 0.6], [0.5, 0.5]),
            B=([2e-8, 7e-9], [1e-8, 3e-9]),
            C=([1e-9, 1.0], [1e-9, 2e-9]),
            D=([0.3, 1e-9], [1e-9, 0.2]),
            E=([1e-9, 2e-9], [0.5, 1e-8]),
        ),
        "one element of 2000 off": cases(
            ["F"],
            F=([1e-9] * 1999 + [0.9], [1e-9] * 1999 + [0.8]),
            G=([1e-9] * 2000, [2e-9] * 2000),
        ),
    },
    [
        Exercise("central", "f x h", "derivative", CENTRAL),
        Exercise("partial", "f x index h", "slope", PARTIAL),
        Exercise("relative_error", "a b", "error", RELATIVE_ERROR),
        Exercise("along", "gradient d", "claimed", ALONG),
        Exercise("directional", "f x d h", "slope_along_d", DIRECTIONAL),
        Exercise("guilty", "here nearby", "names", GUILTY),
    ],
    answers=[central, partial, relative_error, along, directional, guilty],
)
use = check.use
