"""The recorder of a CUDA GPU: a CUDA graph on a stream and with a memory pool of its own."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import cupy
import numpy

from ..capture import CaptureError

NO_MEMORY = 2  # cudaErrorMemoryAllocation
IN_FLIGHT = 2  # page-locked buffers per array: how many batches the program may be ahead


class CudaGraph:
    """See `capture.Recorder`.

    The graph holds addresses, so memory that was in use while it was recorded must never serve
    anything else. It comes from a pool that nobody else asks: blocks that are freed there, during
    the recording or after it, stay unused, and the scratch memory of every replay is among them.
    """

    def __init__(self) -> None:
        self._stream = cupy.cuda.Stream(non_blocking=True)
        self._pool = cupy.cuda.MemoryPool(partial(new_block, self._stream))
        self._entered = cupy.cuda.Event(disable_timing=True)
        self._left = cupy.cuda.Event(disable_timing=True)
        self._staged: dict[Any, deque[Any]] = {}  # by address, shape and dtype of the target
        self._graph: Any = None

    @contextmanager
    def stream(self) -> Iterator[None]:
        """See `Recorder.stream`: two events keep the order with the stream outside."""
        outer = cupy.cuda.get_current_stream()
        outer.record(self._entered)
        self._stream.wait_event(self._entered)
        try:
            with self._stream:
                yield
        finally:
            self._stream.record(self._left)
            outer.wait_event(self._left)

    def warm_up(self, work: Callable[[], Any]) -> Any:
        """See `Recorder.warm_up`."""
        with cupy.cuda.using_allocator(self._pool.malloc):
            return work()

    def record(self, work: Callable[[], Any]) -> Any:
        """See `Recorder.record`."""
        self._graph = None
        self._stream.begin_capture()
        try:
            result = self.warm_up(work)
            self._graph = self._stream.end_capture()
        except BaseException as error:
            with suppress(cupy.cuda.runtime.CUDARuntimeError):  # what was recorded is of no use
                self._stream.end_capture()
            # cuBLAS (NotImplementedError, a RuntimeError) and everything that has to wait.
            if isinstance(error, RuntimeError) and not isinstance(error, CaptureError):
                raise CaptureError(" ".join(str(error).split())) from error
            raise
        return result

    def replay(self) -> None:
        """See `Recorder.replay`."""
        self._graph.launch(self._stream)

    def send(self, source: numpy.ndarray, target: Any) -> None:
        """See `Recorder.send`: the copy goes through page-locked buffers, used in turns."""
        place = (target.data.ptr, target.shape, target.dtype)
        buffers = self._staged.setdefault(place, deque())
        if len(buffers) < IN_FLIGHT:
            memory = cupy.cuda.alloc_pinned_memory(target.nbytes)
            array = numpy.frombuffer(memory, target.dtype, target.size).reshape(target.shape)
            buffers.append((array, cupy.cuda.Event(disable_timing=True)))
        else:
            buffers.rotate(-1)
            buffers[-1][1].synchronize()  # until the copy of that buffer is over: long ago, mostly
        array, copied = buffers[-1]
        array[...] = source
        target.set(array, self._stream)
        self._stream.record(copied)


def new_block(stream: Any, size: int) -> Any:
    """More memory for a pool that serves `stream`.

    A pool that gets none returns its free blocks to CUDA and asks again. It must not while a graph
    is being recorded: the kernels that were recorded already use them. So it is told the end of it.
    """
    try:
        return cupy.cuda.MemoryPointer(cupy.cuda.Memory(size), 0)
    except cupy.cuda.runtime.CUDARuntimeError as error:
        if error.status == NO_MEMORY:
            if stream.is_capturing():
                raise cupy.cuda.memory.OutOfMemoryError(size, -1) from error
            cupy.get_default_memory_pool().free_all_blocks()  # that pool would not do it for us
        raise
