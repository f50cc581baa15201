"""Memory of large arrays: used again, but never while somebody can still see it."""

from __future__ import annotations

import copy
import gc
import itertools
import pickle
import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor

import numpy
import pytest
from scripts import run_script

import minise
from minise import functional as F
from minise import models, optim
from minise.backend.cpu import memory, threads

N = memory.LARGE // 4  # float32 numbers of the smallest large array


@pytest.fixture(autouse=True)
def from_the_start(monkeypatch):
    """As in a program that has not computed yet."""
    gc.collect()  # arrays of other tests
    for name, value in (("_shelves", OrderedDict()), ("_lent", 0), ("_idle", 0)):
        monkeypatch.setattr(memory, name, value)
    memory._returned.clear()


@pytest.fixture
def allocated(monkeypatch):
    """The sizes, in bytes, of the large arrays that the system was asked for."""
    sizes, numpy_empty = [], numpy.empty

    def empty(shape, dtype=float, *args, **kwargs):
        array = numpy_empty(shape, dtype, *args, **kwargs)
        if array.nbytes >= memory.LARGE:
            sizes.append(array.nbytes)
        return array

    monkeypatch.setattr(numpy, "empty", empty)
    return sizes


def address(array: numpy.ndarray) -> int:
    return array.ctypes.data


def held() -> int:
    """Bytes that are kept for later."""
    pieces = itertools.chain(memory._returned, *memory._shelves.values())
    return sum(piece.nbytes for piece in pieces)


# --- what comes out is an array like any other ----------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "bool", "float16"])
@pytest.mark.parametrize("shape", [(), (0,), (3, 4), (2 * N,), (2, 64, N // 32), (1, 2 * N, 1)])
def test_as_numpy_empty(shape, dtype):
    ours, theirs = memory.empty(shape, dtype), numpy.empty(shape, dtype)
    assert type(ours) is numpy.ndarray
    for name in ("shape", "dtype", "strides", "size", "nbytes"):
        assert getattr(ours, name) == getattr(theirs, name), name
    for flag in ("C_CONTIGUOUS", "F_CONTIGUOUS", "WRITEABLE", "ALIGNED"):
        assert ours.flags[flag] == theirs.flags[flag], flag
    assert address(ours) % 16 == address(theirs) % 16 == 0
    ours[...] = 1
    assert (ours == 1).all()


def test_copies_are_independent():
    array = memory.empty((2, N), "float32")
    array[:] = numpy.arange(N)
    for twin in (array.copy(), copy.copy(array), copy.deepcopy(array),
                 pickle.loads(pickle.dumps(array))):  # fmt: skip
        numpy.testing.assert_array_equal(twin, array)
        assert not numpy.shares_memory(twin, array)
        assert twin.flags.writeable


# --- used again -----------------------------------------------------------------------------------


def test_memory_is_used_again():
    keep = memory.empty((100 * N,), "float32")  # the shelves hold a part of what is lent
    array = memory.empty((2, N), "float32")
    before = address(array)
    del array
    again = memory.empty((N, 2), "float32")  # of the same size, whatever its shape
    assert address(again) == before
    del keep


@pytest.mark.parametrize(
    "view",
    [
        lambda a: a[1:, ::7],
        lambda a: a.T,
        lambda a: a.reshape(-1),
        lambda a: a.view("int32"),
        lambda a: numpy.broadcast_to(a, (3, *a.shape)),
        memoryview,
        numpy.asarray,
        lambda a: numpy.frombuffer(a, "uint8"),
        lambda a: minise.Tensor(a)[0],
        lambda a: minise.Tensor(a).T,
    ],
)
def test_not_as_long_as_there_is_a_view(view):
    keep = memory.empty((100 * N,), "float32")
    array = memory.empty((2, N), "float32")
    array[:] = 7
    before, seen = address(array), view(array)
    del array
    gc.collect()
    others = [memory.empty((2, N), "float32") for _ in range(5)]
    for other in others:
        other[:] = -1
    assert before not in map(address, others)
    values = numpy.asarray(seen.data if isinstance(seen, minise.Tensor) else seen)
    assert (values.view("float32") == 7).all()
    del seen, values
    assert address(memory.empty((2, N), "float32")) == before
    del keep


def test_two_arrays_never_share():
    arrays = [memory.empty((N,), "float32") for _ in range(20)]
    for i, array in enumerate(arrays):
        array[:] = i
    del arrays[::3]
    arrays += [memory.empty((N,), "float32") for _ in range(20)]
    for i, array in enumerate(arrays):
        array[:] = i
    assert all((array == i).all() for i, array in enumerate(arrays))


def test_results_of_a_net_stay_as_they_are():
    """What a user holds is not overwritten by later steps."""
    minise.manual_seed(0)
    net = models.create("se_resnet20", num_classes=10).eval()
    x = minise.randn(16, 3, 32, 32)
    with minise.no_grad():
        features = F.relu(net.conv1(x)).numpy()
        before = features.copy()
        for _ in range(3):
            net(x + 1)
    numpy.testing.assert_array_equal(features, before)


# --- not without bound ----------------------------------------------------------------------------


def test_the_shelves_stay_small_over_changing_sizes():
    stream = numpy.random.RandomState(0)
    keep = memory.empty((64 * N,), "float32")
    for _ in range(300):
        arrays = [memory.empty((stream.randint(1, 9), N + i), "float32") for i in range(4)]
        most = sum(array.nbytes for array in arrays) + keep.nbytes
        del arrays
        assert held() <= keep.nbytes // 4 + most
    for n in range(300):  # each size once: nothing that is kept would ever be used
        memory.empty((N + n,), "float32")
    assert held() <= keep.nbytes // 4
    assert len(memory._shelves) < 100
    del keep


def training_step(batch: int):
    minise.manual_seed(0)
    net = models.create("se_resnet20", num_classes=10)
    optimizer = optim.SGD(net.parameters(), lr=0.1, momentum=0.9)

    def step():
        optimizer.zero_grad()
        F.cross_entropy(net(x), labels).backward()
        optimizer.step()

    x, labels = minise.randn(batch, 3, 32, 32), minise.zeros(batch, dtype="int64")
    return step


@pytest.mark.fast_kernels
def test_a_training_step_finds_all_its_memory_used(allocated, monkeypatch):
    monkeypatch.setattr(threads, "_count", 1)  # a worker that wakes up late brings its own buffers
    step = training_step(16)
    step()
    first = len(allocated)
    assert first > 20
    step()
    allocated.clear()
    for _ in range(2):
        step()
    assert allocated == []


# --- from other threads, and at the end -----------------------------------------------------------


def test_an_array_may_end_in_another_thread():
    keep = memory.empty((100 * N,), "float32")
    box = [memory.empty((N,), "float32")]
    before = address(box[0])
    thread = threading.Thread(target=box.clear)
    thread.start()
    thread.join()
    assert address(memory.empty((N,), "float32")) == before
    del keep


def test_many_threads_take_and_leave_at_once():
    """Of few and of many sizes; each finds in its arrays what it wrote."""

    def work(seed):
        stream, mine = numpy.random.RandomState(seed), []
        for i in range(1500):
            array = memory.empty((N + stream.randint(6),), "float32")
            array[::1024] = seed * 10000 + i
            mine.append((array, seed * 10000 + i))
            del array
            if len(mine) > 4 or stream.randint(2):
                array, value = mine.pop(stream.randint(len(mine)))
                assert (array[::1024] == value).all()
                del array
        return True

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(work, range(6)))
    assert held() < 100 * memory.LARGE


def test_collection_in_the_middle_of_a_call():
    """Arrays in reference cycles end whenever the collector runs, even inside `empty`."""

    class Cycle:
        pass

    threshold = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for i in range(2000):
            cycle = Cycle()
            cycle.itself, cycle.array = cycle, memory.empty((N + i % 7,), "float32")
    finally:
        gc.set_threshold(*threshold)
    assert held() < 100 * memory.LARGE


@pytest.mark.parametrize("keeper", ["sys", "builtins", "numpy", "__main__", "cycle"])
def test_the_end_of_the_interpreter_is_silent(keeper):
    script = f"""
import builtins, numpy, sys, minise, __main__
from minise.backend.cpu import memory
x = minise.randn(8, 16, 64, 64, requires_grad=True)
class cycle: pass
cycle.itself = cycle
{keeper}.kept = [x.relu(), memory.empty((1 << 20,), "float32")]
y = minise.functional.conv2d(x, minise.randn(16, 16, 3, 3), padding=1)
print("end")
"""
    assert run_script(script) == "end"


def test_the_end_of_the_interpreter_in_the_middle_of_work():
    """Worker threads are daemons: they end with the program, whatever they do."""
    script = """
import threading, minise
from minise.backend.cpu.threads import set_num_threads
set_num_threads(2)
def work():
    x, w = minise.randn(8, 16, 64, 64), minise.randn(16, 16, 3, 3)
    started.set()
    while True:
        minise.functional.conv2d(x, w, padding=1)
started = threading.Event()
threading.Thread(target=work, daemon=True).start()
started.wait()
print("end")
"""
    assert run_script(script) == "end"
