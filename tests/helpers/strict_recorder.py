"""A stand-in for CUDA graphs: the calls on strict arrays are recorded, refused and replayed.

Like a stream that is being captured, a `Tape`

- refuses to wait (`float(x)`, `x.get()`), cuBLAS, and arrays that come from the host;
- keeps addresses and host numbers as they are: a replay reads and writes the memory of the
  recording, and a learning rate that was a Python number stays what it was;
- computes nothing while it records: what it had to compute to know the shapes is undone, and the
  arrays that it hands out are full of NaN until the first replay. So is all scratch memory at the
  start of every replay: nothing but what was there before the recording outlives a step.

What it cannot show: the order of streams, memory that serves two arrays, the driver's own limits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from strict_array import StrictArray, strict

from minise.backend import CaptureError, Kernel
from minise.ops.conv import Conv2d
from minise.ops.linear import Linear

CUBLAS = {"dot", "einsum", "inner", "matmul", "tensordot", "vdot"}
WRITES_TO_ITS_OWNER = {"fill", "itemset", "partition", "put", "sort"}
WRITES_TO_ITS_FIRST = {"copyto", "fill_diagonal", "place", "put", "putmask"}


class Tape:
    """Calls, and what has to be undone after the recording."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], None]] = []
        self.numbers: list[tuple[str, Any]] = []  # host numbers that were recorded, in order
        self.memory: list[np.ndarray] = []  # made during the recording
        self.before_it: dict[int, tuple[np.ndarray, np.ndarray]] = {}  # memory, its values
        self.own_kernel = 0  # how many kernels of ours are running: those need no cuBLAS

    def before(self, name: str, owner: Any, args: tuple, kwargs: dict[str, Any]) -> None:
        if name in CUBLAS and not self.own_kernel:
            raise NotImplementedError(f"calling cuBLAS API during stream capture ({name})")
        for value in _flat((args, kwargs)):
            if isinstance(value, np.ndarray) and value.ndim:
                raise RuntimeError(f"{name}: a host array would be recorded")
            if not isinstance(value, (StrictArray, str, type, np.dtype, type(None))):
                self.numbers.append((name, value))
        if owner is not None and name in WRITES_TO_ITS_OWNER:
            self.before_writing(owner._array)
        elif name in WRITES_TO_ITS_FIRST and isinstance(args[0], StrictArray):
            self.before_writing(args[0]._array)
        if isinstance(kwargs.get("out"), StrictArray):
            self.before_writing(kwargs["out"]._array)

    def before_writing(self, array: np.ndarray) -> None:
        root = _root(array)
        self.before_it.setdefault(id(root), (root, root.copy()))

    def note(
        self, function: Callable[..., Any], args: Any, kwargs: dict[str, Any], result: Any,
        owner: Any,
    ) -> None:  # fmt: skip
        given = [value for value in _flat((args, kwargs)) if isinstance(value, np.ndarray)]
        given += [] if owner is None else [owner._array]
        made = [
            (index, array._array)
            for index, array in enumerate(_flat(result))
            if isinstance(array, StrictArray)
            and not any(np.may_share_memory(array._array, other) for other in given)
        ]
        self.memory += [_root(array) for _, array in made]
        if not made and result is not None and "out" not in kwargs:
            return  # views: nothing is computed

        def call() -> None:
            values = list(_flat(function(*args, **kwargs)))
            for index, array in made:
                np.copyto(array, values[index])

        self.calls.append(call)

    def note_kernel(
        self, name: str, args: tuple, arrays: list[np.ndarray], call: Callable[[], None]
    ) -> None:
        """A kernel of ours that is launched directly; it may write to any of `arrays`."""
        numbers = [a for a in args if isinstance(a, np.generic)]  # others are arrays, and structs
        self.numbers += [(name, number) for number in numbers]
        for array in arrays:
            self.before_writing(array)
        self.calls.append(call)

    def undo(self) -> None:
        for root, values in self.before_it.values():
            root[...] = values
        self.spoil()

    def spoil(self) -> None:
        for root in self.memory:
            root.fill(np.nan if root.dtype.kind == "f" else 0)

    def replay(self) -> None:
        self.spoil()
        with np.errstate(all="ignore"):
            for call in self.calls:
                call()


class StandIn:
    """See `minise.backend.Recorder`. `log` says what was asked of it."""

    def __init__(self) -> None:
        self.tape: Tape | None = None
        self.log: list[str] = []
        self.inside = False

    @contextmanager
    def stream(self) -> Iterator[None]:
        assert not self.inside
        self.inside = True
        try:
            yield
        finally:
            self.inside = False

    def warm_up(self, work: Callable[[], Any]) -> Any:
        assert self.inside
        self.log.append("warm up")
        return work()

    def record(self, work: Callable[[], Any]) -> Any:
        assert self.inside
        self.log.append("record")
        self.tape, strict.tape = None, Tape()
        tape = strict.tape
        try:
            result = work()
        except RuntimeError as error:
            raise CaptureError(str(error)) from error
        finally:
            strict.tape = None
            tape.undo()
        self.tape = tape
        return result

    def replay(self) -> None:
        assert self.inside
        assert self.tape is not None
        self.log.append("replay")
        self.tape.replay()

    def send(self, source: np.ndarray, target: StrictArray) -> None:
        assert self.inside
        target._array[...] = source


def _root(array: np.ndarray) -> np.ndarray:
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _flat(item)
    elif isinstance(value, dict):
        yield from _flat(list(value.values()))
    elif isinstance(value, slice):
        yield from (value.start, value.stop, value.step)
    else:
        yield value


def own_kernels() -> dict[type, Kernel]:
    """For `Backend.kernels`: matrix products as kernels of ours, which can be recorded."""

    def of(method: Callable[..., Any]) -> Callable[..., Any]:
        def kernel(*args: Any) -> Any:
            if strict.tape is None:
                return method(*args)
            strict.tape.own_kernel += 1
            try:
                return method(*args)
            finally:
                if strict.tape is not None:
                    strict.tape.own_kernel -= 1

        return kernel

    always = lambda op, *arrays: True  # noqa: E731
    return {op: Kernel(always, of(op.forward), of(op.backward)) for op in (Conv2d, Linear)}
