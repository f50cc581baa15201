"""The CUDA sources of this folder: compiled when the first kernel is launched, and kept.

CuPy keeps what it compiled in a folder of the user too (~/.cupy/kernel_cache), so that the next
process need not wait.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from functools import cache
from importlib import resources
from typing import Any

import numpy

Array = Any

# In this order; a source uses what stands in those before it.
SOURCES = (
    "threads", "product", "conv", "norm", "se", "elementwise", "pool", "columns", "loss",
    "parameters", "sgd", "adam",
)  # fmt: skip
# Convolutions on tensor cores: kernels of the same names, in a module of their own.
TF32_SOURCES = ("threads", "product", "tensor_cores", "tf32", "conv")
THREADS = 128  # of a block, in every kernel
ROWS = THREADS // 32  # rows that such a block works on at a time: see threads.cu
REAL = {numpy.dtype("float32"): "float", numpy.dtype("float64"): "double"}
OLDEST_WITH_TF32 = 80  # compute capability 8.0, Ampere
# Indices are 32-bit integers, and a loop's index goes beyond the end before the loop stops.
MOST = 2**30


def code(sources: Sequence[str] = SOURCES) -> str:
    """The sources as one; messages of the compiler name the file and line they are about.

    In ASCII: CuPy writes them to a file in the encoding of the locale, which may lack the Σ of a
    comment.
    """
    folder = resources.files(__package__)
    text = "".join(
        f'#line 1 "{name}.cu"\n{(folder / f"{name}.cu").read_text(encoding="utf-8")}'
        for name in sources
    )
    return re.sub("[^\\x00-\\x7f]", "_", text)


def options(real: str) -> tuple[str, ...]:
    """For NVRTC."""
    defined = ("-DReal=float", "-DTF32") if real == "tf32" else (f"-DReal={real}",)
    return ("--std=c++17", *defined, f"-DTHREADS={THREADS}")


@cache
def module(real: str) -> Any:
    """real  "float", "double", or "tf32": float32 rounded for tensor cores."""
    import cupy

    if real == "tf32":
        check_has_tf32(cupy.cuda.Device().compute_capability)
    if sys.stderr.isatty():
        print("minise: compiling GPU kernels (once per machine) ...", file=sys.stderr, flush=True)
    sources = TF32_SOURCES if real == "tf32" else SOURCES
    return cupy.RawModule(code=code(sources), options=options(real))


def check_has_tf32(capability: str) -> None:
    """RuntimeError unless a GPU of that compute capability, "75" for 7.5, has the instructions."""
    if int(capability) < OLDEST_WITH_TF32:
        raise RuntimeError(
            "tf32: expected a GPU of compute capability 8.0 (Ampere) or newer, this one has "
            f"{capability[:-1]}.{capability[-1]}"
        )


@cache
def kernel(name: str, real: str) -> Callable[..., None]:
    """The kernel as a function of (blocks, threads, arguments)."""
    return module(real).get_function(name)


def launch(
    name: str, dtype: Any, blocks: tuple[int, ...], *arguments: Any, tf32: bool = False
) -> None:
    """Put a kernel into the current stream: nothing is waited for, so a graph can capture it.

    Arguments: contiguous arrays, integers (int in CUDA), floats (double), None (a null pointer),
    or a NumPy value (its own type; a structured one is passed as a struct).

    tf32  take the kernel for tensor cores
    """
    real = "tf32" if tf32 else REAL[dtype]
    kernel(name, real)(blocks, (THREADS,), tuple(map(_argument, arguments)))


def _without_fields(struct: numpy.ndarray) -> numpy.ndarray:
    """CuPy asks NumPy to describe the dtype, which takes 20 µs where that has fields."""
    return struct.view(f"V{struct.nbytes}")


_CONVERTED: dict[type, Callable[[Any], Any]] = {
    int: numpy.int32, bool: numpy.int32, float: numpy.float64, numpy.ndarray: _without_fields
}  # fmt: skip


def _argument(value: Any) -> Any:
    convert = _CONVERTED.get(type(value))
    return convert(value) if convert else value


def blocks_for(count: int, each: int) -> int:
    """How many blocks it takes if each does `each` of `count`."""
    return -(-count // each)


def are_supported(*arrays: Array) -> bool:
    """Whether all are float32 or all float64, not empty, and small enough for the indices."""
    dtype = arrays[0].dtype
    return dtype in REAL and all(a.dtype == dtype and 0 < a.size < MOST for a in arrays)


def address(array: Array) -> int:
    """Where a contiguous array lies in the memory of the GPU."""
    return array.data.ptr
