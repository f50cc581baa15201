"""Tables of what a kernel needs to work on many arrays at once: see parameters.cu."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

import numpy

from ...registry import using_fast_kernels
from .launch import MOST as TOO_LARGE
from .launch import REAL, THREADS, address, are_supported, blocks_for, launch

Array = Any

MOST = 64  # arrays of one launch
EACH = 4  # numbers that a thread works on, of the largest array
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
    """Which arrays go into one launch together."""
    return (slice(start, start + MOST) for start in range(0, count, MOST))


def blocks(counts: Sequence[int]) -> tuple[int, int]:
    """The grid for arrays of so many numbers: block (·, i) works on array i."""
    return blocks_for(max(*counts, 1), EACH * THREADS), len(counts)


def suit_an_update(weights: Sequence[Array]) -> bool:
    """Whether an update covers them: contiguous, of one dtype of the kernels, none too large."""
    dtype = weights[0].dtype
    return dtype in REAL and all(
        array.dtype == dtype and array.size < TOO_LARGE and array.flags.c_contiguous
        for array in weights
    )


# The struct Copies of parameters.cu.
COPIES = struct(targets=ADDRESS, sources=ADDRESS, counts=numpy.int32)


def copies(xp: Any, arrays: Sequence[Array]) -> list[Array]:
    """A copy of each: of contiguous arrays of one dtype side by side in one piece of memory."""
    contiguous = all(array.flags.c_contiguous for array in arrays)
    if not (using_fast_kernels() and are_supported(*arrays) and contiguous):
        return [array.copy(order="K") for array in arrays]
    counts = [array.size for array in arrays]
    flat = xp.empty(sum(counts), dtype=arrays[0].dtype)
    targets = [
        flat[end - array.size : end].reshape(array.shape)
        for array, end in zip(arrays, accumulate(counts))
    ]
    for part in parts(len(arrays)):
        copied = table(COPIES, targets=targets[part], sources=arrays[part], counts=counts[part])
        launch("copy_all", flat.dtype, blocks(counts[part]), copied)
    return targets
