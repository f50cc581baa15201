"""Runs minise's CUDA kernels on the CPU, on the memory of strict arrays.

The sources are those that CuPy gets, compiled for the host by g++ (see cuda_on_host.h). `kernel`
takes the place of `minise.backend.gpu.kernels.launch.kernel`, so that all of minise's own Python
runs: the choice of the kernel, the sizes of grids, the packing of arguments.

It is stricter than a GPU. An argument must have exactly the type that the kernel declares, and what
is written must not overlap with another (threads.cu tells the compiler so). Every kernel runs
twice, with the blocks, and the threads of a block, in opposite orders, and with other numbers
around its arrays, first NaN, then anything: both must give the same bits, and leave what lies
around as it was.

What it cannot see: rounding as a GPU does it (fused multiply-adds, its own exp and log), the limits
of a GPU (NVRTC checks these, see tests/backend/gpu/test_kernels.py), reads of shared memory that
nobody wrote, the way in which a tensor core rounds its sums, speed.
"""

from __future__ import annotations

import ctypes
import random
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from strict_array import StrictArray, from_strict, strict, strict_backend

from minise import backend
from minise.backend import Backend
from minise.backend.gpu import kernels as gpu
from minise.backend.gpu.kernels import launch

COMPILER = shutil.which("g++")
HEADER = Path(__file__).with_name("cuda_on_host.h")
MARGIN = 4096  # bytes

needs_compiler = pytest.mark.skipif(COMPILER is None, reason="g++ is not installed")


class Kernels:
    """The kernels of `code`, compiled in `folder` for Real = float or double when asked for."""

    def __init__(self, code: str, folder: Path) -> None:
        self.code, self.folder = code, folder
        self.libraries: dict[str, Any] = {}
        self.launched: set[str] = set()
        self.addressed: list[np.ndarray] = []  # arrays whose address is in a struct

    def kernel(self, name: str, real: str) -> Callable[..., None]:
        """As `minise.backend.gpu.kernels.launch.kernel`."""
        if real not in self.libraries:
            self.libraries[real] = self.compile(real)
        self.launched.add(name)
        library = self.libraries[real]

        def run(blocks: tuple[int, ...], threads: tuple[int], arguments: tuple[Any, ...]) -> None:
            grid = (*blocks, 1, 1)[:3]
            assert min(grid) > 0, f"{name}: an empty grid {grid}"
            assert max(grid[1:]) <= 65535, f"{name}: grid {grid} is too large"
            types = getattr(library, f"{name}_types")
            types.restype = ctypes.c_char_p
            check_types(name, types().decode().split(), arguments)
            function = getattr(library, f"{name}_launch")
            function.restype = ctypes.c_bool
            run_both_ways(name, function, (*grid, *threads), arguments, self.addressed)
            self.addressed.clear()

        return run

    def address(self, array: StrictArray) -> int:
        """As `minise.backend.gpu.kernels.launch.address`."""
        self.addressed.append(array._array)
        return array._array.ctypes.data

    def compile(self, real: str) -> Any:
        """AssertionError with the compiler's messages if it finds a mistake."""
        source, library = (self.folder / f"{real}{suffix}" for suffix in (".cpp", ".so"))
        names = kernel_names(self.code)
        lines = [f'#include "{HEADER}"', self.code, *(f"CALLABLE({name})" for name in names)]
        source.write_text("\n".join(lines), encoding="utf-8")
        command = [
            COMPILER, "-std=c++17", "-O1", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror",
            "-Wno-sign-compare", "-Wno-unknown-pragmas",
            *launch.options(real)[1:], str(source), "-o", str(library),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return ctypes.CDLL(str(library))


def kernel_names(code: str) -> list[str]:
    """Of all kernels. conv.cu makes its own by a macro, one for each size of tile."""
    found = re.findall(r"__global__ .*?void (\w+)(##N)?\(", code)
    sizes = re.findall(r"^KERNELS\((\d+)", code, re.MULTILINE)
    return [name + size for name, made in found for size in (sizes if made else [""])]


def check_types(name: str, types: list[str], arguments: tuple[Any, ...]) -> None:
    assert len(arguments) == len(types), f"{name}: {len(arguments)} arguments, wants {len(types)}"
    for i, (argument, wanted) in enumerate(zip(arguments, types)):
        if isinstance(argument, StrictArray):
            assert argument.flags.c_contiguous, f"{name}: argument {i} is not contiguous"
        if argument is None:
            given = wanted if wanted[0] == "*" else "None"
        else:
            given = "*" * isinstance(argument, StrictArray) + argument.dtype.str.lstrip("<|")
        assert given == wanted, f"{name}: argument {i} is {given}, the kernel wants {wanted}"


def run_both_ways(
    name: str,
    function: Any,
    sizes: tuple[int, ...],
    arguments: tuple[Any, ...],
    addressed: list[np.ndarray],
) -> None:
    """`addressed` are arrays that the kernel finds by itself: these have no margins."""
    arrays = {id(a._array): a._array for a in arguments if isinstance(a, StrictArray)}
    before = [array.copy() for array in addressed]
    found = []
    for backwards in (False, True):
        for array, values in zip(addressed, before):
            array[...] = values
        guarded = {key: Guarded(array, backwards) for key, array in arrays.items()}
        values = [  # what cuLaunchKernel gets the addresses of
            np.array(guarded[id(argument._array)].address, np.uintp)
            if isinstance(argument, StrictArray)
            else np.array(np.uintp(0) if argument is None else argument)
            for argument in arguments
        ]
        pointers = (ctypes.c_void_p * len(values))(*(value.ctypes.data for value in values))
        assert function(*sizes, pointers, backwards), (
            f"{name}: some threads wait at a __syncthreads() that others do not come to"
        )
        for array in guarded.values():
            array.check(name)
        found.append([*(g.bytes() for g in guarded.values()), *(a.tobytes() for a in addressed)])
    assert found[0] == found[1], (
        f"{name}: the order of threads matters (is a __syncthreads() missing?), "
        "or what lies around its arrays"
    )
    written = [key for key, array in guarded.items() if array.was_written()]
    given = [a._array for a in arguments if isinstance(a, StrictArray)]
    for key in written:
        overlapping = sum(np.may_share_memory(arrays[key], other) for other in given)
        assert overlapping == 1, f"{name}: it writes an array that another argument overlaps with"
        guarded[key].give_back()


class Guarded:
    """A copy of an array with margins: NaN on all sides, or with `anything` random bytes."""

    def __init__(self, array: np.ndarray, anything: bool) -> None:
        self.array = array
        size = array.nbytes + 2 * MARGIN
        # As far from a multiple of 16 as the array itself: see `in_fours` in product.cu.
        larger = np.full(size + 16, 0xFF, np.uint8)
        self.memory = larger[(array.ctypes.data - larger.ctypes.data) % 16 :][:size]
        if anything:
            self.memory[:] = np.frombuffer(random.randbytes(size), np.uint8)
        self.memory[MARGIN : MARGIN + array.nbytes] = np.frombuffer(array.tobytes(), np.uint8)
        self.margins = self.memory[:MARGIN].tobytes(), self.memory[-MARGIN:].tobytes()
        self.address = self.memory.ctypes.data + MARGIN

    def bytes(self) -> bytes:
        return self.memory[MARGIN:-MARGIN].tobytes()

    def check(self, name: str) -> None:
        margins = self.memory[:MARGIN].tobytes(), self.memory[-MARGIN:].tobytes()
        assert margins == self.margins, (
            f"{name}: wrote outside of an array of shape {self.array.shape}"
        )

    def was_written(self) -> bool:
        return self.bytes() != self.array.tobytes()

    def give_back(self) -> None:
        self.array[...] = np.frombuffer(self.bytes(), self.array.dtype).reshape(self.array.shape)


@contextmanager
def plugged_in(kernels: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Backend]:
    """Inside, strict arrays have the kernels of the GPU, which run on the CPU."""
    monkeypatch.setattr(launch, "kernel", kernels.kernel)
    monkeypatch.setattr(gpu.parameters, "address", kernels.address)
    labels = gpu.LabelCheck(strict, from_strict)
    before = strict_backend()
    home = backend.register(
        replace(
            before,
            add=gpu.add,
            copies=partial(gpu.copies, strict),
            offers=gpu.KERNELS,
            kernels={},
            check_labels=labels.check,
            synchronize=labels.raise_if_wrong,
            sgd=gpu.sgd.UPDATE,
            adam=gpu.adam.UPDATE,
        )
    )
    strict.sync_count = 0
    kernels.launched.clear()
    try:
        yield home
    finally:
        backend.register(before)
