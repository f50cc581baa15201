"""The recorder of a CUDA GPU, with a CuPy that only notes what it is asked for."""

from __future__ import annotations

import importlib
import sys
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from minise.backend import CaptureError


class CUDARuntimeError(RuntimeError):
    status = 0


class NoMemory(CUDARuntimeError):
    status = 2


class OutOfMemoryError(MemoryError):
    def __init__(self, size, total):
        super().__init__(f"Out of memory allocating {size:,} bytes")


@pytest.fixture
def log():
    return []


@pytest.fixture
def recorder(monkeypatch, log):
    """A CudaGraph; `log` tells what it asks of CUDA, in order."""

    class Event:
        count = 0

        def __init__(self, disable_timing):
            Event.count += 1
            self.name = f"event {Event.count}"

        def synchronize(self):
            log.append(f"wait for {self.name}")

    class Stream:
        def __init__(self, non_blocking=True, name="stream"):
            self.name = name
            self.capturing = False

        def is_capturing(self):
            return self.capturing

        def record(self, event):
            log.append(f"{self.name} records {event.name}")

        def wait_event(self, event):
            log.append(f"{self.name} waits for {event.name}")

        def __enter__(self):
            log.append(f"enter {self.name}")

        def __exit__(self, *error):
            log.append(f"leave {self.name}")

        def begin_capture(self):
            log.append("begin")
            self.capturing = True

        def end_capture(self):
            log.append("end")
            self.capturing = False
            if log.count("fail at the end"):
                raise CUDARuntimeError("cudaErrorStreamCaptureInvalidated")
            return SimpleNamespace(launch=lambda stream: log.append(f"launch on {stream.name}"))

    @contextmanager
    def using_allocator(allocator):
        log.append("own memory")
        try:
            yield
        finally:
            log.append("usual memory")

    class MemoryPool:
        def __init__(self, allocator):
            self.allocator = allocator

        def malloc(self, size):
            return self.allocator(size)

    def no_memory(size):
        raise NoMemory("cudaErrorMemoryAllocation")

    outer = Stream(name="outer")
    default_pool = SimpleNamespace(free_all_blocks=lambda: log.append("free default pool"))
    cupy = ModuleType("cupy")
    cupy.get_default_memory_pool = lambda: default_pool
    cupy.cuda = SimpleNamespace(
        MemoryPool=MemoryPool, Memory=no_memory, MemoryPointer=None, Stream=Stream, Event=Event,
        get_current_stream=lambda: outer, using_allocator=using_allocator,
        alloc_pinned_memory=lambda size: bytearray(2 * size),  # CUDA rounds up
        runtime=SimpleNamespace(CUDARuntimeError=CUDARuntimeError),
        memory=SimpleNamespace(OutOfMemoryError=OutOfMemoryError),
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.delitem(sys.modules, "minise.backend.gpu.graph", raising=False)
    module = importlib.import_module("minise.backend.gpu.graph")
    yield module.CudaGraph()
    del sys.modules["minise.backend.gpu.graph"]  # or a real GPU would meet the CuPy of this test


@pytest.mark.parametrize("fails", [False, True])
def test_its_stream_takes_its_turn(recorder, log, fails):
    """After what was asked before, and before what is asked afterwards, come what may."""
    try:
        with recorder.stream():
            log.append("work")
            if fails:
                raise KeyError
    except KeyError:
        pass
    assert log == [
        "outer records event 1", "stream waits for event 1", "enter stream", "work",
        "leave stream", "stream records event 2", "outer waits for event 2",
    ]  # fmt: skip


def test_recording_and_replaying(recorder, log):
    assert recorder.record(lambda: log.append("work") or 5) == 5
    recorder.replay()
    recorder.replay()
    steps = ["begin", "own memory", "work", "usual memory", "end"]
    assert log == [*steps, "launch on stream", "launch on stream"]


@pytest.mark.parametrize("invalid", [False, True])
@pytest.mark.parametrize(
    ("error", "message"),
    [
        (NotImplementedError("calling cuBLAS\nduring capture"), "calling cuBLAS during capture"),
        (CUDARuntimeError("cudaErrorStreamCaptureUnsupported"), "cudaErrorStreamCaptureUnsup"),
        (CaptureError("an array comes from the host"), "an array comes from the host"),
    ],
)
def test_what_cannot_be_recorded(recorder, log, error, message, invalid):
    """The stream stops capturing in any case, even if CUDA calls the capture invalid."""

    def work():
        log.extend(["fail at the end"] * invalid)
        raise error

    with pytest.raises(CaptureError, match=f"^{message}"):
        recorder.record(work)
    assert log[-1] == "end"


def test_a_graph_that_cannot_be_made(recorder, log):
    """Everything was recorded, and CUDA only then finds that it cannot make a graph of it."""
    with pytest.raises(CaptureError, match="StreamCaptureInvalidated"):
        recorder.record(lambda: log.append("fail at the end"))


def test_free_blocks_are_kept_while_a_graph_is_recorded(recorder, log):
    """A pool frees them when it meets a CUDARuntimeError; what was recorded so far uses them."""
    with pytest.raises(NoMemory):
        recorder.warm_up(lambda: recorder._pool.malloc(5000))
    assert log == ["own memory", "free default pool", "usual memory"]
    with pytest.raises(OutOfMemoryError, match="allocating 5,000 bytes"):
        recorder.record(lambda: recorder._pool.malloc(5000))
    assert log.count("free default pool") == 1


@pytest.mark.parametrize("error", [MemoryError("full"), KeyboardInterrupt(), TypeError("wrong")])
def test_other_errors_stay_what_they_are(recorder, log, error):
    def work():
        raise error

    with pytest.raises(type(error)):
        recorder.record(work)
    assert log[-1] == "end"


class Target:
    """An array of the device; its copies happen when `arrive` is called, as late as they may."""

    dtype, shape, size, nbytes = np.dtype("float32"), (2, 2), 4, 16

    def __init__(self, address=7):
        self.data = SimpleNamespace(ptr=address)
        self.under_way = []
        self.arrived = []

    def set(self, array, stream):
        assert stream.name == "stream"
        self.under_way.append(array)

    def arrive(self):
        self.arrived.append(self.under_way.pop(0).copy())


def test_batches_are_staged_in_page_locked_memory(recorder, log):
    target, other = Target(), Target(8)
    for number in range(5):
        source = np.full((2, 2), number, "float64")  # is converted on the way
        recorder.send(source, target)
        recorder.send(source, other)
        source[...] = -1  # may be changed at once
        if number >= 1:  # the one before the last has arrived, as the wait below makes sure
            target.arrive()
    target.arrive()
    assert [array[0, 0] for array in target.arrived] == [0, 1, 2, 3, 4]
    waits = [line for line in log if line.startswith("wait for")]
    events = [line.removeprefix("stream records ") for line in log if "records" in line]
    # With two buffers for each target, the third batch waits for the copy of the first.
    assert waits == [f"wait for {event}" for event in events[:-4]]


def test_an_address_that_gets_another_array(recorder):
    """The batch of an earlier recording is gone, and its memory serves one of another size."""
    recorder.send(np.zeros((2, 2)), Target())
    larger = Target()
    larger.shape, larger.size, larger.nbytes = (3, 2), 6, 24
    recorder.send(np.full((3, 2), 5), larger)
    larger.arrive()
    assert larger.arrived[0].tolist() == [[5, 5]] * 3
