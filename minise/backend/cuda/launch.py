"""The CUDA sources of this folder: compiled when the first kernel is launched, and kept.

CuPy keeps what it compiled in a folder of the user too (~/.cupy/kernel_cache), so that the next
process need not wait.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import cache
from importlib import resources
from typing import Any

import numpy

Array = Any

# In this order; a source uses what stands in those before it.
SOURCES = ("threads", "product", "conv", "norm", "se", "elementwise", "pool", "loss", "sgd")
THREADS = 128  # of a block, in every kernel
ROWS = THREADS // 32  # rows that such a block works on at a time: see threads.cu
REAL = {"float32": "float", "float64": "double"}
# Indices are 32-bit integers, and a loop's index goes beyond the end before the loop stops.
MOST = 2**30


def code(sources: Sequence[str] = SOURCES) -> str:
    """The sources as one; messages of the compiler name the file and line they are about."""
    folder = resources.files(__package__)
    return "".join(
        f'#line 1 "{name}.cu"\n{(folder / f"{name}.cu").read_text(encoding="utf-8")}'
        for name in sources
    )


def options(real: str) -> tuple[str, ...]:
    return ("--std=c++17", f"-DReal={real}", f"-DTHREADS={THREADS}")


@cache
def module(real: str) -> Any:
    import cupy

    if sys.stderr.isatty():
        print("minise: compiling GPU kernels (once per machine) ...", file=sys.stderr, flush=True)
    return cupy.RawModule(code=code(), options=options(real))


@cache
def kernel(name: str, real: str) -> Callable[..., None]:
    """The kernel as a function of (blocks, threads, arguments)."""
    return module(real).get_function(name)


def launch(name: str, dtype: Any, blocks: tuple[int, ...], *arguments: Any) -> None:
    """Put a kernel into the current stream: nothing is waited for, so a graph can capture it.

    Arguments: contiguous arrays, integers (int in CUDA), floats (double), None (a null pointer),
    or a NumPy value (its own type; a structured one is passed as a struct).
    """
    kernel(name, REAL[dtype.name])(blocks, (THREADS,), tuple(map(_argument, arguments)))


def _argument(value: Any) -> Any:
    if isinstance(value, int):
        return numpy.int32(value)
    return numpy.float64(value) if isinstance(value, float) else value


def blocks_for(count: int, each: int) -> int:
    """How many blocks it takes if each does `each` of `count`."""
    return -(-count // each)


def suits(*arrays: Array) -> bool:
    """Whether all are float32 or all float64, not empty, and small enough for the indices."""
    dtype = arrays[0].dtype
    return dtype.name in REAL and all(a.dtype == dtype and 0 < a.size < MOST for a in arrays)


def address(array: Array) -> int:
    """Where a contiguous array lies in the memory of the GPU."""
    return array.data.ptr
