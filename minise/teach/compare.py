"""Is it what was expected? If not: what is wrong, where, and how far off.

Expected may be a NumPy array, a number, a minise Tensor, a string or something else to compare by
==, or a list or tuple of these. Floating-point numbers may differ by rounding, others may not.
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy

from ..tensor import Tensor


class Comparison(NamedTuple):
    """What comparing an outcome with the expected value found."""

    complaint: str = ""  # about the first thing that is wrong, "" if nothing is
    values: int = 1  # how many were compared
    error: float = 0.0  # the largest relative error among them


def compare(outcome: Any, expected: Any, name: str, tolerance: float) -> Comparison:
    """Compares what a function returned with what was expected of it.

    name       what messages call the value: "ds"
    tolerance  the largest relative error that counts as rounding
    """
    if isinstance(expected, (list, tuple)):
        return compare_entries(outcome, expected, name, tolerance)
    if isinstance(expected, Tensor):
        if not isinstance(outcome, Tensor):
            return wrong_kind("a minise Tensor", outcome)
        return compare_arrays(outcome.numpy(), expected.numpy(), name, tolerance)
    if isinstance(expected, numpy.ndarray):
        if not isinstance(outcome, (numpy.ndarray, numpy.generic, float)):
            return wrong_kind("a NumPy array", outcome)
        return compare_arrays(numpy.asarray(outcome), expected, name, tolerance)

    if isinstance(outcome, (numpy.ndarray, numpy.generic)) and outcome.shape == ():
        outcome = outcome.item()
    if is_number(expected):
        if not is_number(outcome):
            return wrong_kind("a number", outcome)
        convert = int if isinstance(outcome, Integral) and isinstance(expected, Integral) else float
        pair = numpy.asarray(convert(outcome)), numpy.asarray(convert(expected))
        return compare_arrays(*pair, name, tolerance)
    if type(outcome) is not type(expected):
        return wrong_kind(kind(expected), outcome)
    return Comparison("" if outcome == expected else f"{name} is {outcome!r}, not {expected!r}.")


def compare_entries(
    outcome: Any, expected: Sequence[Any], name: str, tolerance: float
) -> Comparison:
    """Entry by entry, in order; a list may stand for a tuple."""
    if not isinstance(outcome, (list, tuple)):
        return wrong_kind(kind(expected), outcome)
    if len(outcome) != len(expected):
        return Comparison(f"Expected {len(expected)} entries, got {len(outcome)}.")
    values, error = 0, 0.0
    for i, pair in enumerate(zip(outcome, expected)):
        entry = compare(*pair, f"{name}[{i}]", tolerance)
        if entry.complaint:
            return Comparison(f"Entry {i}: {entry.complaint}")
        values, error = values + entry.values, max(error, entry.error)
    return Comparison("", values, error)


def compare_arrays(
    outcome: numpy.ndarray, expected: numpy.ndarray, name: str, tolerance: float
) -> Comparison:
    """Shape, dtype, then every element."""
    if outcome.shape != expected.shape:
        return Comparison(f"Expected shape {expected.shape}, got {outcome.shape}.")
    if outcome.dtype != expected.dtype:
        return Comparison(
            f"Expected {expected.dtype}, got {outcome.dtype}: rounded or converted on the way?"
        )
    if outcome.size == 0:
        return Comparison(values=0)
    if outcome.dtype.kind != "f":
        error = (outcome != expected).astype(float)
    else:
        finite = numpy.isfinite(outcome)
        if not finite.all():
            where = tuple(numpy.argwhere(~finite)[0])
            return Comparison(f"{name}{place(where)} is {outcome[where]}.")
        error = relative_error(outcome, expected)
    where = numpy.unravel_index(error.argmax(), error.shape)
    if error[where] <= tolerance:
        return Comparison("", outcome.size, float(error[where]))
    count = f"{(error > tolerance).sum()} of {error.size} values differ, most of all "
    yours, right = outcome[where], expected[where]
    if outcome.dtype.kind == "f":
        digits = 4 if error[where] > 1e-3 else 12
        yours, right = f"{yours:.{digits}g}", f"{right:.{digits}g}"
        right += f", relative error {error[where]:.1g}"
    return Comparison(
        f"{count if error.size > 1 else ''}{name}{place(where)}: yours {yours}, expected {right}."
    )


def relative_error(actual: numpy.ndarray, expected: numpy.ndarray) -> numpy.ndarray:
    """|actual - expected| / the larger of both, element by element.

    Expected values below a thousandth of the typical (median) one count as that, because a sum
    that comes out close to 0 keeps the rounding error of its terms.
    """
    sizes = numpy.abs(expected)
    positive = sizes[sizes > 0]
    typical = numpy.median(positive) if positive.size else 1.0
    larger = numpy.maximum(numpy.maximum(sizes, numpy.abs(actual)), typical / 1000)
    return numpy.abs(actual - expected) / larger


def place(where: Sequence[Any]) -> str:
    """Where an element stands: "[1, 2]"; nothing for a number."""
    return str([int(i) for i in where]) if len(where) else ""


def is_number(value: Any) -> bool:
    """Whether it is a number, booleans not counted."""
    return isinstance(value, Real) and not isinstance(value, bool)


def wrong_kind(wanted: str, outcome: Any) -> Comparison:
    """The complaint about a value of another type, with the way to the right one if it is short."""
    way = ""
    if wanted == "a NumPy array":
        if isinstance(outcome, Tensor):
            way = ": `.numpy()` gives its array"
        elif is_cupy(outcome):
            way = ": `.get()` copies it into a NumPy array"
        elif isinstance(outcome, list):
            way = ": `np.array(…)` makes an array of it"
    elif wanted == "a number" and isinstance(outcome, Tensor):
        way = ": `.item()` gives the number in it"
    if isinstance(outcome, tuple) and len(outcome) == 1:
        way = ": there is a comma too many"
    return Comparison(f"Expected {wanted}, got {kind(outcome)}{way}.")


def kind(value: Any) -> str:
    """What a value is, as a message says it: "a list of 3", "a minise Tensor of shape (2, 3)"."""
    if isinstance(value, (numpy.ndarray, Tensor)):
        owner = "NumPy array" if isinstance(value, numpy.ndarray) else "minise Tensor"
        return f"a {owner} of shape {value.shape}"
    if is_cupy(value):
        return "a CuPy array"
    if isinstance(value, (list, tuple)):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if callable(value) and hasattr(value, "__name__"):
        return f"the function {value.__name__}"
    return f"a value of type {type(value).__name__}"


def is_cupy(value: Any) -> bool:
    """Whether it is an array of CuPy, which need not be installed."""
    return type(value).__module__.partition(".")[0] == "cupy"
