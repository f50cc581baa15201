"""Memory for the large arrays of the fast kernels, used again as soon as nobody sees it.

A training step makes and drops the same large arrays each time. The system would take their pages
back and hand them out again, filled with zeros: much of a step (docs/kernels.md). Here an array's
memory returns to a shelf when its last view is gone, and the next array of that size takes it from
there.
"""

from __future__ import annotations

import math
import os
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any

import numpy

LINE = 64  # bytes of a cache line, and of the widest vectors
LARGE = 1 << 18  # bytes; smaller arrays are left to the system, which keeps them anyway

_shelves: OrderedDict[int, list[numpy.ndarray]] = OrderedDict()  # by size, last used at the end
_returned: deque[numpy.ndarray] = deque()  # what arrays have left, on its way to the shelves
_lock = threading.Lock()
_lent = 0  # bytes that arrays hold now
_idle = 0  # bytes on the shelves


class _Lease:
    """Owns the memory of one array: NumPy keeps it alive as long as that array has a view."""

    def __init__(self, memory: numpy.ndarray, shape: tuple[int, ...], dtype: numpy.dtype) -> None:
        self.memory = memory
        self.__array_interface__ = {
            "shape": shape,
            "typestr": dtype.str,
            "data": (memory.ctypes.data, False),
            "version": 3,
        }

    # An array may end in any thread, inside any call (the collector runs when it likes) and after
    # this module: so nothing happens here but one append, which cannot be interrupted.
    def __del__(self, leave: Callable[[numpy.ndarray], None] = _returned.append) -> None:
        leave(self.memory)


def aligned(shape: tuple[int, ...], dtype: Any) -> numpy.ndarray:
    """As numpy.empty, beginning with a cache line.

    NumPy begins large arrays 16 bytes into one; every vector of 64 bytes then lies in two lines,
    and takes two reads in a matrix product (docs/kernels.md).
    """
    dtype = numpy.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    memory = numpy.empty(size + LINE, numpy.uint8)
    start = -memory.ctypes.data % LINE
    return memory[start : start + size].view(dtype).reshape(shape)


def empty(shape: tuple[int, ...], dtype: Any) -> numpy.ndarray:
    """As numpy.empty; large arrays begin with a cache line."""
    global _lent, _idle
    dtype = numpy.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    if size < LARGE:
        return numpy.empty(shape, dtype)
    with _lock:
        _fill_shelves()
        shelf = _shelves.get(size)
        if shelf:
            memory = shelf.pop()
            _shelves.move_to_end(size)
            _idle -= size
        else:
            _make_room(size)
            memory = aligned((size,), numpy.uint8)
        _lent += size
    return numpy.asarray(_Lease(memory, shape, dtype))


def _fill_shelves() -> None:
    global _lent, _idle
    while _returned:
        memory = _returned.popleft()
        _lent -= memory.nbytes
        _idle += memory.nbytes
        _shelves.setdefault(memory.nbytes, []).append(memory)


def _make_room(size: int) -> None:
    """New memory is needed: sizes that were not asked for lately go back to the system first."""
    global _idle
    while _shelves and _idle + size > _lent // 8:
        oldest, shelf = next(iter(_shelves.items()))
        if shelf:
            _idle -= shelf.pop().nbytes
        if not shelf:
            del _shelves[oldest]


def _after_fork() -> None:
    """Another thread may have been at the shelves, and is not there in the child to finish."""
    global _lock, _idle
    _lock, _idle = threading.Lock(), 0
    _shelves.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
