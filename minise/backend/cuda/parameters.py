"""Tables of what a kernel needs to work on many parameters at once: see sgd.cu and adam.cu."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy

from .launch import THREADS, address, blocks_for

MOST = 64  # parameters of one launch
EACH = 4  # numbers that a thread works on, of the largest parameter
ADDRESS = numpy.uintp  # the type of a column of arrays


def struct(**columns: Any) -> numpy.dtype:
    """A struct of CUDA with these members, each an array of MOST values of that type."""
    return numpy.dtype([(name, kind, MOST) for name, kind in columns.items()])


def table(kind: numpy.dtype, **columns: Sequence[Any]) -> numpy.ndarray:
    """A struct of that kind: for an array its address, for a number itself; 0 beyond the last."""
    filled = numpy.zeros((), kind)
    for name, values in columns.items():
        filled[name][: len(values)] = [v if isinstance(v, int) else address(v) for v in values]
    return filled


def parts(count: int) -> Iterator[slice]:
    """Which parameters go into one launch together."""
    return (slice(start, start + MOST) for start in range(0, count, MOST))


def blocks(counts: Sequence[int]) -> tuple[int, int]:
    """The grid for parameters of so many numbers: block (·, i) works on parameter i."""
    return blocks_for(max(*counts, 1), EACH * THREADS), len(counts)
