"""The checker of the exercises: what is wrong, where, how far off, and why.

A learner writes a function. The checker calls it with the values of a *point*, a dictionary that
holds all that goes in and all that has to come out:

    points   = {"the lesson's numbers": {"dy": …, "x": …, "ds": …}}
    check    = Check(points, [Exercise("grad_s", "dy x", "ds", [Mistake(hint, wrong), …]), …])

    def grad_s(dy, x):
        return (dy * x).sum(axis=(2, 3))

    check(grad_s)

To say why an answer is wrong, it makes the classic mistakes itself: `wrong` is a function of the
same arguments that makes one, and whoever gets the same numbers has very likely made it too.
"""

from __future__ import annotations

import html
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy

TOLERANCE = 1e-9  # largest relative error, in float64: rounding stays far below, mistakes far above

Point = Mapping[str, numpy.ndarray]


class Mistake(NamedTuple):
    hint: str
    wrong: Callable[..., Any]


class Exercise(NamedTuple):
    """name is that of the learner's function; inputs and answer are names in the points."""

    name: str
    inputs: str  # "dy x"
    answer: str  # "ds"
    mistakes: Sequence[Mistake] = ()

    @property
    def call(self) -> str:
        return f"{self.name}({', '.join(self.inputs.split())})"


@dataclass(frozen=True)
class Verdict:
    """What the checker found. Shown as text, and in a notebook with the hint folded away."""

    exercise: str
    state: str  # "right", "wrong" or "not attempted yet"
    details: str = ""
    hint: str = ""

    def __repr__(self) -> str:
        hint = f"\nHint: {self.hint}" if self.hint else ""
        return f"{self.headline}{hint}"

    @property
    def headline(self) -> str:
        return f"{self.exercise}: {self.state}. {self.details}".strip()

    def _repr_html_(self) -> str:
        colour = {"right": "#2a9d5c", "wrong": "#d1495b"}.get(self.state, "#8a8a8a")
        hint = f"<details><summary>Hint</summary>{html.escape(self.hint)}</details>"
        return (
            f'<div style="border-left: 4px solid {colour}; padding-left: 0.8em">'
            f"{html.escape(self.headline)}{hint if self.hint else ''}</div>"
        )


class Check:
    """`check(function)` gives a Verdict, whatever the function does; `check` shows the progress.

    points     what to call the functions with, by a name that a message can say. Several of
               different shapes, so that no answer passes by luck or with a number copied in
    exercises  in the order of the lesson
    """

    def __init__(self, points: Mapping[str, Point], exercises: Sequence[Exercise]) -> None:
        self.points = points
        self.exercises = {exercise.name: exercise for exercise in exercises}
        self.solved: set[str] = set()

    @property
    def complete(self) -> bool:
        """Whether the last check of every exercise found it right."""
        return len(self.solved) == len(self.exercises)

    def __repr__(self) -> str:
        missing = [name for name in self.exercises if name not in self.solved]
        rest = f" Still open: {', '.join(missing)}." if missing else ""
        return f"{len(self.solved)} of {len(self.exercises)} right.{rest}"

    def __call__(self, function: Callable[..., Any]) -> Verdict:
        """Calls the function with copies of each point's values and judges what comes back."""
        exercise = self.exercises.get(getattr(function, "__name__", ""))
        if exercise is None or not callable(function):
            got = getattr(function, "__name__", f"a value of type {type(function).__name__}")
            known = ", ".join(self.exercises)
            misuse = f"It takes one of the functions {known}, not called yet; this was {got}."
            return Verdict("check", "not attempted yet", misuse)
        self.solved.discard(exercise.name)
        with numpy.errstate(all="ignore"):  # inf and NaN are judged as values, not warned of
            verdict = self.judge(exercise, function)
        if verdict.state == "right":
            self.solved.add(exercise.name)
        return verdict

    def judge(self, exercise: Exercise, function: Callable[..., Any]) -> Verdict:
        """Stops at the first point where something is wrong."""
        seen: list[str] = []
        worst = 0.0
        for name, point in self.points.items():
            given = [point[key].copy() for key in exercise.inputs.split()]
            outcome = attempt(function, given)
            if is_blank(outcome):
                forgotten = "It returns None: is `return` missing?" if outcome is None else ""
                return Verdict(exercise.name, "not attempted yet", forgotten)
            complaint = first_complaint(exercise, point, given, outcome)
            if complaint:
                elsewhere = f"Right before, but not with {name}: " if seen else ""
                hint = find_hint(exercise, point, outcome)
                return Verdict(exercise.name, "wrong", elsewhere + complaint, hint)
            seen.append(f"{point[exercise.answer].size} values with {name}")
            worst = max(worst, float(relative_error(outcome, point[exercise.answer]).max()))
        compared = f"Compared: {', '.join(seen)}; largest relative error {worst:.1g}."
        return Verdict(exercise.name, "right", compared)


def attempt(function: Callable[..., Any], arguments: Sequence[Any]) -> Any:
    """What the function returns, or the exception that it raises."""
    try:
        value = function(*arguments)
        return numpy.asarray(value) if isinstance(value, (float, numpy.generic)) else value
    except Exception as error:  # whatever a learner's code raises
        return error


def is_blank(outcome: Any) -> bool:
    """The `...` of the notebook, alone or inside a formula, or nothing returned."""
    in_formula = isinstance(outcome, TypeError) and "ellipsis" in str(outcome)
    return outcome is None or outcome is ... or in_formula


def first_complaint(
    exercise: Exercise, point: Point, given: Sequence[numpy.ndarray], outcome: Any
) -> str:
    """The first thing that is wrong, in the order in which a learner would look; "" if nothing."""
    expected = point[exercise.answer]
    inputs = exercise.inputs.split()
    if isinstance(outcome, Exception):
        shapes = ", ".join(f"{name} {point[name].shape}" for name in inputs)
        return f"{describe(outcome)} It was called as {exercise.call} with {shapes}."
    for name, array in zip(inputs, given):
        if not numpy.array_equal(array, point[name]):
            return (
                f"{name} was changed in place, and later steps still need it: write a new array, "
                f"as in `a = a * b` rather than `a *= b`."
            )
    if not isinstance(outcome, numpy.ndarray):
        return f"It must return a NumPy array, got {type(outcome).__name__}."
    if outcome.shape != expected.shape:
        return f"Expected shape {expected.shape}, got {outcome.shape}."
    if outcome.dtype != expected.dtype:
        return f"Expected {expected.dtype}, got {outcome.dtype}: rounded or converted on the way?"
    finite = numpy.isfinite(outcome)
    if not finite.all():
        where = tuple(numpy.argwhere(~finite)[0])
        return f"{exercise.answer}{place(where)} is {outcome[where]}."
    error = relative_error(outcome, expected)
    if error.max() <= TOLERANCE:
        return ""
    where = numpy.unravel_index(error.argmax(), error.shape)
    digits = 4 if error[where] > 1e-3 else 12
    return (
        f"{(error > TOLERANCE).sum()} of {error.size} values differ, most of all "
        f"{exercise.answer}{place(where)}: yours {outcome[where]:.{digits}g}, expected "
        f"{expected[where]:.{digits}g}, relative error {error[where]:.1g}."
    )


def describe(error: Exception) -> str:
    """ "It stopped with ValueError: … in the line `return x @ y`." """
    lines = [frame.line for frame in traceback.extract_tb(error.__traceback__)[1:]]
    line = f" in the line `{lines[0]}`" if lines and lines[0] else ""
    return f"It stopped with {type(error).__name__}: {error}{line}."


def place(where: Sequence[Any]) -> str:
    return str([int(i) for i in where]) if len(where) else ""


def relative_error(actual: numpy.ndarray, expected: numpy.ndarray) -> numpy.ndarray:
    """|actual - expected| / the larger of both, element by element.

    Expected values below a thousandth of the typical (median) one count as that, because a sum
    that comes out close to 0 keeps the rounding error of its terms.
    """
    sizes = numpy.abs(expected)
    typical = numpy.median(sizes[sizes > 0]) if sizes.any() else 1.0
    larger = numpy.maximum(numpy.maximum(sizes, numpy.abs(actual)), typical / 1000)
    return numpy.abs(actual - expected) / larger


def find_hint(exercise: Exercise, point: Point, outcome: Any) -> str:
    """The hint of the mistake that gives exactly this outcome, "" if none is known to."""
    given = [point[key] for key in exercise.inputs.split()]
    for mistake in exercise.mistakes:
        if same(outcome, attempt(mistake.wrong, given)):
            return mistake.hint
    expected = point[exercise.answer]
    if expected.ndim == 2 and same(outcome, expected.T):
        return "Rows and columns are exchanged: the result is transposed."
    if is_floats(outcome) and outcome.shape == expected.shape:
        factor = (outcome * expected).sum() / (expected * expected).sum()
        if same(outcome, factor * expected):
            return (
                f"Every value is {factor:.4g} times the expected one: a sign or a factor is lost, "
                "or counted twice."
            )
    return ""


def same(outcome: Any, wrong: Any) -> bool:
    """The same numbers in the same shape, or the same exception."""
    if isinstance(outcome, Exception):
        return type(outcome) is type(wrong) and str(outcome) == str(wrong)
    return (
        is_floats(outcome)
        and is_floats(wrong)
        and outcome.shape == wrong.shape
        and bool((relative_error(outcome, wrong) <= TOLERANCE).all())
    )


def is_floats(outcome: Any) -> bool:
    """A floating-point array without inf and NaN."""
    is_float = isinstance(outcome, numpy.ndarray) and outcome.dtype.kind == "f"
    return is_float and bool(numpy.isfinite(outcome).all())
