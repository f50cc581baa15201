"""Worker threads that share out a batch.

NumPy's loops and BLAS let go of Python's global lock while they compute, so plain Python threads
keep several cores busy. Each worker takes a stretch of the batch small enough for its own cache.
BLAS must not start threads of its own beside ours: while workers run it is held to one thread each.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from contextvars import copy_context
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from queue import SimpleQueue
from typing import Any

import numpy

from .memory import aligned

ROW = 512  # numbers: rows of this length are worked on as they lie; see `_rows_as_they_lie`

_lock = threading.Lock()
_queue: SimpleQueue[_Task] = SimpleQueue()
_started = 0  # threads that wait at the queue
_count: int | None = None  # workers, the calling thread included; None: not decided yet


def get_num_threads() -> int:
    """How many threads a fast kernel uses: as many as BLAS was given when minise first computed.

    So `OPENBLAS_NUM_THREADS=1` (or OMP_, or MKL_) holds minise to one core too. A BLAS that
    threadpoolctl does not know cannot be held to one thread; then minise leaves the cores to it.
    """
    global _count
    if _count is None:
        pools = blas_libraries().info()
        _count = max((pool["num_threads"] for pool in pools), default=1)
    return _count


def set_num_threads(count: int) -> None:
    """Use `count` threads from now on; ValueError if it is not a positive integer."""
    global _count
    if not isinstance(count, int) or count < 1:
        raise ValueError(f"set_num_threads: expected a positive integer, got {count!r}")
    _count = count


def share(
    work: Callable[[int, int], Any],
    count: int,
    *,
    step: int = 0,
    parallel: bool = True,
    blas: bool = False,
) -> list[Any]:
    """[work(first, last), ...]: the range(count), cut into stretches that the workers share.

    step      length of a stretch; whoever is free takes the next one. 0: one for each worker
    parallel  False where there is too little work to pay for waking threads: one stretch
    blas      whether `work` multiplies matrices

    The stretches depend on `count`, `step` and the number of threads alone, so results are
    reproducible, whoever computes them.
    """
    workers = get_num_threads() if parallel else 1
    stretches = max(-(-count // step) if step else min(workers, count), 1)
    bounds = [min(i * step, count) if step else count * i // stretches for i in range(stretches)]
    bounds.append(count)
    workers = min(workers, stretches)
    held = _one_blas_thread() if blas else nullcontext()
    if workers == 1:  # small products gain nothing from BLAS's threads, and would wait for them
        with held, _rows_as_they_lie():
            return [work(*ends) for ends in pairwise(bounds)]
    results: list[Any] = [None] * (len(bounds) - 1)
    number = itertools.count()

    def take_stretches() -> None:
        while (i := next(number)) < len(results):
            results[i] = work(bounds[i], bounds[i + 1])

    with held, _rows_as_they_lie():
        others = [_Task(take_stretches) for _ in range(workers - 1)]
        queue = _workers(len(others))
        for task in others:
            queue.put(task)
        try:
            take_stretches()
        finally:  # nobody may still be writing into arrays of a call that has ended
            for task in others:
                task.wait()
    for task in others:
        if task.error is not None:  # it belongs to the thread that asked
            raise task.error
    return results


@contextmanager
def _rows_as_they_lie() -> Iterator[None]:
    """Without NumPy's habit of collecting short rows in a buffer before it computes.

    It does so where an array's rows do not follow each other without a gap, or one row is used for
    all rows of another array, and a row is shorter than its buffers, 8192 numbers: a copy more for
    each number. (What that costs: docs/kernels.md.)
    """
    before = numpy.setbufsize(ROW)
    try:
        yield
    finally:
        numpy.setbufsize(before)


class _Task:
    """Work for another thread. It does not begin once the thread that asked waits for it."""

    def __init__(self, work: Callable[[], None]) -> None:
        self.work: Callable[[], None] | None = work
        self.context = copy_context()  # of NumPy's settings: errstate, the size of buffers
        self.error: BaseException | None = None
        self.taken, self.done = threading.Lock(), threading.Lock()
        self.done.acquire()

    def run(self) -> None:
        """Do the work, unless the thread that asked has given up on it."""
        if not self.taken.acquire(blocking=False):
            return
        assert self.work
        try:
            self.context.run(self.work)
        except BaseException as error:
            self.error = error
        self.work = None
        self.done.release()

    def wait(self) -> None:
        """Until the work is done; work that nobody has begun by now is dropped."""
        if self.taken.acquire(blocking=False):  # all was done before a thread woke up for it
            self.work = None
        else:
            self.done.acquire()


def scratch(name: str, shape: tuple[int, ...], dtype: Any) -> numpy.ndarray:
    """A workspace of this thread: uninitialised, and its own until `name` is asked for again.

    Fresh arrays of this size would be given back to the system and fetched page by page each time.
    """
    size = numpy.dtype(dtype).itemsize
    for n in shape:
        size *= n
    buffers = _local.__dict__
    if name not in buffers or buffers[name].nbytes < size:
        buffers[name] = aligned((size,), numpy.uint8)
    return buffers[name][:size].view(dtype).reshape(shape)


_local = threading.local()


def _workers(least: int) -> SimpleQueue[_Task]:
    """Where at least so many worker threads wait for tasks. Once started they stay."""
    global _started
    with _lock:
        while _started < least:
            name = f"minise-worker-{_started + 1}"
            threading.Thread(target=_serve, args=(_queue,), name=name, daemon=True).start()
            _started += 1
        return _queue


def _serve(queue: SimpleQueue[_Task]) -> None:
    while True:
        queue.get().run()  # kept by no name, or its arrays would live until the next one


@cache
def blas_libraries() -> Any:
    """The BLAS libraries of this process, as threadpoolctl sees them."""
    from threadpoolctl import ThreadpoolController

    numpy.ones((2, 2)) @ numpy.ones((2, 2))  # BLAS is loaded by now
    return ThreadpoolController().select(user_api="blas")


@dataclass(frozen=True)
class Blas:
    """A BLAS library of this process.

    name           "openblas", "mkl", ...
    threads        how many it uses now
    architecture   the CPU that its kernels are for; "" where it does not say
    """

    name: str
    version: str
    threads: int
    architecture: str


def blas_in_use() -> list[Blas]:
    """The BLAS libraries that threadpoolctl recognises; ImportError without threadpoolctl."""
    return [
        Blas(
            str(found["internal_api"]), str(found["version"]), int(found["num_threads"]),
            str(found.get("architecture") or ""),
        )
        for found in blas_libraries().info()
    ]  # fmt: skip


_inside = 0  # how many calls of `share` are running, in whatever threads
_before: list[int] = []  # threads of each BLAS before the first of them came in


@contextmanager
def _one_blas_thread() -> Iterator[None]:
    """The first to come in limits BLAS, the last to leave gives it its threads back."""
    global _inside, _before
    with _lock:
        _inside += 1
        if _inside == 1:
            _before = [library.num_threads for library in blas_libraries().lib_controllers]
            _set_blas_threads([1] * len(_before))
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                _set_blas_threads(_before)


def _set_blas_threads(counts: list[int]) -> None:
    for library, count in zip(blas_libraries().lib_controllers, counts):
        # Since 3.7 threadpoolctl obeys only the first thread that sets OpenBLAS's number, and the
        # first to come in may be another thread than the last to leave.
        release = getattr(library, "clear_controlling_thread", lambda force: None)
        release(force=True)
        library.set_num_threads(count)
        release(force=True)


def _after_fork() -> None:
    """A child process has none of its parent's threads, and locks as they happened to be."""
    global _lock, _queue, _started, _inside
    _lock, _queue, _started = threading.Lock(), SimpleQueue(), 0
    if _inside:
        _set_blas_threads(_before)
        _inside = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
