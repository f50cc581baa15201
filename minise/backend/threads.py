"""Worker threads that share out a batch.

NumPy's loops and BLAS let go of Python's global lock while they compute, so plain Python threads
keep several cores busy. Each worker takes a stretch of the batch small enough for its own cache.
BLAS must not start threads of its own beside ours: while workers run it is held to one thread each.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from functools import cache
from typing import Any

import numpy

_lock = threading.Lock()
_pool: ThreadPoolExecutor | None = None
_count: int | None = None  # workers, the calling thread included; None: not decided yet


def get_num_threads() -> int:
    """How many threads a fast kernel uses: as many as BLAS was given when minise first computed.

    So `OPENBLAS_NUM_THREADS=1` (or OMP_, or MKL_) holds minise to one core too. A BLAS that
    threadpoolctl does not know cannot be held to one thread; then minise leaves the cores to it.
    """
    global _count
    if _count is None:
        pools = _blas().info()
        _count = max((pool["num_threads"] for pool in pools), default=1)
    return _count


def set_num_threads(count: int) -> None:
    """Use `count` threads from now on; ValueError if it is not a positive integer."""
    global _count, _pool
    if not isinstance(count, int) or count < 1:
        raise ValueError(f"set_num_threads: expected a positive integer, got {count!r}")
    with _lock:
        _count, _pool = count, None  # the threads of an abandoned pool end by themselves


def share(work: Callable[[int, int], Any], count: int, parallel: bool = True) -> list[Any]:
    """[work(first, last), ...]: the range(count), cut into one stretch per worker.

    The stretches depend on `count` and the number of threads alone, so results are reproducible.
    With parallel=False (too little work to pay for waking threads) there is one stretch.
    """
    workers = min(get_num_threads(), count) if parallel else 1
    bounds = [count * i // workers for i in range(workers + 1)] if workers > 1 else [0, count]
    if workers <= 1:
        return [work(*bounds)]
    with _one_blas_thread():
        # Each worker inherits the caller's numpy.errstate through a copy of its context.
        others = [
            _workers().submit(copy_context().run, work, *bounds[i : i + 2])
            for i in range(1, workers)
        ]
        try:
            first = work(*bounds[:2])
        finally:  # nobody may still be writing into arrays of a call that has ended
            results = [(other.exception(), other) for other in others]
        for error, _ in results:
            if error is not None:
                raise error
        return [first, *(other.result() for _, other in results)]


def scratch(name: str, shape: tuple[int, ...], dtype: Any) -> numpy.ndarray:
    """Memory of this thread to work in: uninitialised, lasting until `name` is asked for again.

    Fresh arrays of this size would be given back to the system and fetched page by page each time.
    """
    size = numpy.dtype(dtype).itemsize
    for n in shape:
        size *= n
    buffers = _local.__dict__
    if name not in buffers or buffers[name].nbytes < size:
        buffers[name] = numpy.empty(size, dtype=numpy.uint8)
    return buffers[name][:size].view(dtype).reshape(shape)


_local = threading.local()


def _workers() -> ThreadPoolExecutor:
    global _pool
    with _lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(
                max(get_num_threads() - 1, 1), thread_name_prefix="minise-worker"
            )
        return _pool


@cache
def _blas() -> Any:
    """The BLAS libraries of this process, as threadpoolctl sees them."""
    from threadpoolctl import ThreadpoolController

    numpy.ones((2, 2)) @ numpy.ones((2, 2))  # BLAS is loaded by now
    return ThreadpoolController().select(user_api="blas")


_inside = 0  # how many calls of `share` are running, in whatever threads
_limit: Any = None


@contextmanager
def _one_blas_thread():
    """The first to come in limits BLAS, the last to leave gives it its threads back."""
    global _inside, _limit
    with _lock:
        _inside += 1
        if _inside == 1:
            _limit = _blas().limit(limits=1)
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                _limit.restore_original_limits()


def _after_fork() -> None:
    """A child process has none of its parent's threads, and locks as they happened to be."""
    global _lock, _pool, _inside
    _lock, _pool = threading.Lock(), None
    if _inside:
        _limit.restore_original_limits()
        _inside = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
