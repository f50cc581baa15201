"""The checker of the exercises: what is wrong, where, how far off, and why.

A learner writes a function. The checker calls it with the values of a *point*, a dictionary that
holds all that goes in and all that has to come out:

    points   = {"the lesson's numbers": {"dy": …, "x": …, "ds": …}}
    check    = Check(points, [Exercise("grad_s", "dy x", "ds", [Mistake(hint, wrong), …]), …])

    def grad_s(dy, x):
        return (dy * x).sum(axis=(2, 3))

    check(grad_s)

What goes in may be anything that `copy.deepcopy` can copy: arrays, numbers, lists, functions (which
stay themselves), tensors without a history. `compare` says what may come out.

To say why an answer is wrong, it makes the classic mistakes itself: `wrong` is a function of the
same arguments that makes one, and whoever gets the same numbers has very likely made it too.
"""

from __future__ import annotations

import html
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from numbers import Real
from typing import Any, NamedTuple

import numpy

from ..tensor import Tensor
from .compare import Comparison, compare, kind

TOLERANCE = 1e-9  # largest relative error, in float64: rounding stays far below, mistakes far above

Point = Mapping[str, Any]


class Mistake(NamedTuple):
    """A classic mistake: code that makes it, and the hint for whoever made it."""

    hint: str
    wrong: Callable[..., Any]


class Exercise(NamedTuple):
    """name is that of the learner's function; inputs and answer are names in the points.

    It is checked at every point that holds its answer.
    """

    name: str
    inputs: str  # "dy x"
    answer: str  # "ds"
    mistakes: Sequence[Mistake] = ()
    tolerance: float = TOLERANCE

    def given(self, point: Point) -> dict[str, Any]:
        """Copies of its inputs by name, so that no learner can spoil the point."""
        return deepcopy({name: point[name] for name in self.inputs.split()})


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
        """The verdict in one line of text."""
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
    answers    functions of the lesson's own, which `use` takes where a blank is still open

    Raises ValueError for an exercise whose answer is in no point.
    """

    def __init__(
        self,
        points: Mapping[str, Point],
        exercises: Sequence[Exercise],
        answers: Sequence[Callable[..., Any]] = (),
    ) -> None:
        self.points = points
        self.exercises = {exercise.name: exercise for exercise in exercises}
        self.answers = {answer.__name__: answer for answer in answers}
        self.solved: set[str] = set()
        for exercise in exercises:
            if not any(exercise.answer in point for point in points.values()):
                raise ValueError(f"{exercise.name}: no point holds its answer {exercise.answer!r}")

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
        name = getattr(function, "__name__", "")
        exercise = self.exercises.get(name)
        if exercise is None or not callable(function) or isinstance(function, type):
            got = kind(function)
            misuse = f"It takes one of the functions {', '.join(self.exercises)}, not called yet"
            return Verdict("check", "not attempted yet", f"{misuse}; this was {got}.")
        self.solved.discard(exercise.name)
        with numpy.errstate(all="ignore"):  # inf and NaN are judged as values, not warned of
            verdict = self.judge(exercise, function)
        if verdict.state == "right":
            self.solved.add(exercise.name)
        return verdict

    def use(self, blank: Callable[..., Any]) -> Callable[..., Any]:
        """The learner's function once its check has found it right, until then the lesson's own.

        So that all cells of a notebook run at any time. Raises KeyError where there is no answer.
        """
        return blank if blank.__name__ in self.solved else self.answers[blank.__name__]

    def judge(self, exercise: Exercise, function: Callable[..., Any]) -> Verdict:
        """Stops at the first point where something is wrong."""
        seen: list[str] = []
        worst = 0.0
        for name, point in self.points.items():
            if exercise.answer not in point:
                continue
            given = exercise.given(point)
            outcome = attempt(function, given.values())
            if is_blank(outcome):
                forgotten = "It returns None: is `return` missing?" if outcome is None else ""
                return Verdict(exercise.name, "not attempted yet", forgotten)
            found = examine(exercise, point, given, outcome)
            if found.complaint:
                elsewhere = f"Right before, but not with {name}: " if seen else ""
                hint = find_hint(exercise, point, outcome)
                return Verdict(exercise.name, "wrong", elsewhere + found.complaint, hint)
            seen.append(f"{found.values} value{'s' * (found.values != 1)} with {name}")
            worst = max(worst, found.error)
        equal = f"largest relative error {worst:.1g}" if worst else "all equal"
        return Verdict(exercise.name, "right", f"Compared: {', '.join(seen)}; {equal}.")


def attempt(function: Callable[..., Any], arguments: Iterable[Any]) -> Any:
    """What the function returns, or the exception that it raises."""
    try:
        return function(*arguments)
    except Exception as error:  # whatever a learner's code raises
        return error


def is_blank(outcome: Any) -> bool:
    """The `...` of the notebook, alone, in a list or inside a formula, or nothing returned."""
    if isinstance(outcome, (TypeError, AttributeError)):
        return "ellipsis" in str(outcome)
    if isinstance(outcome, (list, tuple)):
        return any(entry is ... for entry in outcome)
    return outcome is None or outcome is ...


def examine(exercise: Exercise, point: Point, given: Mapping[str, Any], outcome: Any) -> Comparison:
    """Complains of the first thing that is wrong, in the order in which a learner would look."""
    if isinstance(outcome, Exception):
        call = f"{exercise.name}({', '.join(given)})"
        values = ", ".join(f"{name} {brief(point[name])}" for name in given)
        return Comparison(f"{describe(outcome)} It was called as {call} with {values}.")
    for name, value in given.items():
        if not unchanged(value, point[name]):
            return Comparison(
                f"{name} was changed in place, and later steps still need it: write a new one, "
                "as in `a = a * b` rather than `a *= b`."
            )
    return compare(outcome, point[exercise.answer], exercise.answer, exercise.tolerance)


def describe(error: Exception) -> str:
    """ "It stopped with ValueError: … in the line `return x @ y`." """
    lines = [frame.line for frame in traceback.extract_tb(error.__traceback__)[1:]]
    line = f" in the line `{lines[0]}`" if lines and lines[0] else ""
    endless = " It calls itself without end." if isinstance(error, RecursionError) else ""
    return f"It stopped with {type(error).__name__}: {error}{line}.{endless}"


def brief(value: Any) -> str:
    """A value in a few characters: itself, its shape or its kind."""
    if value is None or isinstance(value, (Real, str)):
        return repr(value)
    return str(value.shape) if isinstance(value, numpy.ndarray) else kind(value)


def unchanged(value: Any, before: Any) -> bool:
    """Whether an input holds what it held; functions and other objects are taken at their word."""
    if isinstance(before, Tensor):
        value, before = value.data, before.data
    if isinstance(before, numpy.ndarray):
        return numpy.array_equal(value, before, equal_nan=before.dtype.kind == "f")
    if isinstance(before, (list, tuple)):
        return len(value) == len(before) and all(map(unchanged, value, before))
    return value == before if isinstance(before, (Real, str)) else True


def find_hint(exercise: Exercise, point: Point, outcome: Any) -> str:
    """The hint of the mistake that gives exactly this outcome, "" if none is known to."""
    for mistake in exercise.mistakes:
        wrong = attempt(mistake.wrong, exercise.given(point).values())
        if same(outcome, wrong, exercise.tolerance):
            return mistake.hint
    expected = point[exercise.answer]
    if not (is_floats(outcome) and is_floats(expected)):
        return ""
    if same(outcome, expected, exercise.tolerance):  # and an input was changed in place
        return ""
    if expected.ndim == 2 and same(outcome, expected.T, exercise.tolerance):
        return "Rows and columns are exchanged: the result is transposed."
    if outcome.shape == expected.shape and expected.any():
        factor = (outcome * expected).sum() / (expected * expected).sum()
        apart = abs(factor - 1) > exercise.tolerance  # else the complaint is about something else
        if apart and same(outcome, factor * expected, exercise.tolerance):
            return (
                f"Every value is {factor:.4g} times the expected one: a sign or a factor is lost, "
                "or counted twice."
            )
    return ""


def same(outcome: Any, wrong: Any, tolerance: float = TOLERANCE) -> bool:
    """The same values in the same shape, or the same exception."""
    if isinstance(outcome, Exception):
        return type(outcome) is type(wrong) and str(outcome) == str(wrong)
    return not compare(outcome, wrong, "", tolerance).complaint


def is_floats(value: Any) -> bool:
    """A floating-point array without inf and NaN."""
    is_float = isinstance(value, numpy.ndarray) and value.dtype.kind == "f"
    return is_float and bool(numpy.isfinite(value).all())
