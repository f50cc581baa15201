"""Sharing out work: every part done once, the same results, on any machine and from any thread."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy
import pytest
from scripts import run_script
from threadpoolctl import ThreadpoolController

import minise
from minise import Tensor, backend
from minise import functional as F
from minise.backend.cpu import threads
from minise.backend.cpu.threads import get_num_threads, set_num_threads, share

COUNTS = (1, 2, 3, 5)


@pytest.fixture(autouse=True)
def as_before():
    before = get_num_threads()
    yield
    set_num_threads(before)


@pytest.fixture
def two():
    set_num_threads(2)


# --- share ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", COUNTS)
@pytest.mark.parametrize("blas", [False, True])
def test_the_range_is_covered_once_in_order(workers, blas):
    set_num_threads(workers)
    for count in (*range(1, 20), 64, 97, 1000):
        stretches = share(lambda first, last: (first, last), count, blas=blas)
        assert len(stretches) == min(workers, count)
        assert [i for first, last in stretches for i in range(first, last)] == [*range(count)]
        sizes = [last - first for first, last in stretches]
        assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("workers", COUNTS)
def test_stretches_of_a_given_length(workers):
    set_num_threads(workers)
    for count, step in ((1, 1), (7, 1), (7, 3), (6, 3), (64, 100), (1000, 7)):
        expected = [(i, min(i + step, count)) for i in range(0, count, step)]
        assert share(lambda first, last: (first, last), count, step=step) == expected


def test_who_is_free_takes_the_next_stretch(two):
    others_done = threading.Event()
    done_by = {}

    def work(first, last):
        if first == 0:
            assert others_done.wait(10)
        done_by[first] = threading.get_ident()
        if len(done_by) == 9:
            others_done.set()

    share(work, 10, step=1)
    assert all(done_by[i] != done_by[0] for i in range(1, 10))


def test_nothing_to_do(two):
    assert share(lambda first, last: (first, last), 0) == [(0, 0)]
    assert share(lambda first, last: (first, last), 0, step=3) == [(0, 0)]


def test_too_little_work_stays_with_the_caller(two):
    caller = threading.get_ident()
    assert share(lambda *_: threading.get_ident(), 8, parallel=False) == [caller]


def test_the_caller_works_too(two):
    both = threading.Barrier(2, timeout=10)

    def work(*_):
        both.wait()
        return threading.get_ident()

    mine, other = sorted(share(work, 8), key=threading.get_ident().__ne__)
    assert mine == threading.get_ident() != other


def test_a_call_that_is_done_waits_for_nobody(two):
    """Should the worker wake up late, it finds that nothing is left, and that it must not begin."""
    hold, held = threading.Event(), threading.Event()

    def work(first, last):
        if first == 1:
            held.set()
            assert hold.wait(10)

    blocker = threading.Thread(target=share, args=(work, 2))
    blocker.start()
    assert held.wait(10)  # one of the two is busy: the worker, or the thread of the blocker
    assert share(lambda first, last: first, 2) == [0, 1]
    hold.set()
    blocker.join(10)


def test_workers_stay(two):
    share(lambda *_: None, 2)
    before = threading.active_count()
    for _ in range(10):
        share(lambda *_: None, 2)
    assert threading.active_count() == before


def test_another_number_of_threads_leaves_no_crowd():
    for _ in range(20):
        for count in COUNTS:
            set_num_threads(count)
            assert len(share(lambda *_: None, 10)) == count
    set_num_threads(2)
    share(lambda *_: None, 2)
    alive = [t for t in threading.enumerate() if t.name.startswith("minise-worker")]
    assert len(alive) <= max(COUNTS)


@pytest.mark.parametrize("where", [0, 1, 2])
@pytest.mark.parametrize("error", [KeyError("here"), KeyboardInterrupt()])
def test_errors_come_out_in_the_caller(where, error):
    set_num_threads(3)
    running = []
    all_there = threading.Barrier(3, timeout=10)

    def work(first, last):
        all_there.wait()
        if first == where:
            raise error
        running.append(first)
        time.sleep(0.05)
        running.remove(first)

    with pytest.raises(type(error)):
        share(work, 3, blas=True)
    assert running == []  # nobody is still at work
    assert share(lambda first, last: first, 3) == [0, 1, 2]


def test_a_finished_call_keeps_nothing_alive(two):
    import weakref

    class Something:
        pass

    something = Something()
    seen = weakref.ref(something)
    share(lambda *_, s=something: s, 2)
    share(lambda *_: None, 2)  # the worker has come back from the first call
    del something
    assert seen() is None


def test_the_callers_errstate_holds_in_workers(two):
    def divide(first, last):
        numpy.ones(2) / numpy.zeros(2)

    with numpy.errstate(divide="raise"), pytest.raises(FloatingPointError):
        share(divide, 2)
    with numpy.errstate(divide="ignore"):
        share(divide, 2)
    assert share(lambda *_: numpy.geterr()["divide"], 2) == [numpy.geterr()["divide"]] * 2


@pytest.mark.parametrize("parallel", [True, False])
def test_numpys_buffers_are_small_while_workers_compute(two, parallel):
    """The caller's own setting is back afterwards, after an error too."""
    own = numpy.setbufsize(4096)
    try:
        found = threads.share(lambda *_: numpy.getbufsize(), 2, step=1, parallel=parallel)
        assert found == [threads.ROW, threads.ROW]
        assert numpy.getbufsize() == 4096
        with pytest.raises(ZeroDivisionError):
            threads.share(lambda *_: 1 // 0, 2, step=1, parallel=parallel)
        assert numpy.getbufsize() == 4096
    finally:
        numpy.setbufsize(own)


@pytest.mark.parametrize("count", [0, -1, 1.5, "2", None])
def test_impossible_numbers(count):
    before = get_num_threads()
    with pytest.raises(ValueError, match=r"set_num_threads: expected a positive integer, got"):
        set_num_threads(count)
    assert get_num_threads() == before


def test_scratch_belongs_to_its_thread(two):
    barrier = threading.Barrier(2, timeout=10)

    def work(first, last):
        mine = threads.scratch("test", (1000,), "float32")
        mine[:] = first
        barrier.wait()
        return (mine == first).all()

    assert share(work, 2) == [True, True]
    small = threads.scratch("test", (3, 2), "float64")
    assert (small.shape, small.dtype) == ((3, 2), numpy.float64)
    assert threads.scratch("test", (0, 4), "float32").shape == (0, 4)


# --- BLAS -----------------------------------------------------------------------------------------


def blas_threads() -> list[int]:
    pools = ThreadpoolController().select(user_api="blas").info()
    return [pool["num_threads"] for pool in pools]


@pytest.fixture
def two_blas_threads():
    """BLAS with two threads outside of share, whatever the machine has."""
    with ThreadpoolController().limit(limits=2, user_api="blas"):
        if not blas_threads() or set(blas_threads()) != {2}:
            pytest.skip("threadpoolctl cannot limit this BLAS")
        yield


@pytest.mark.parametrize("parallel", [True, False])
def test_blas_is_held_to_one_thread_and_let_go(two, two_blas_threads, parallel):
    seen = share(lambda *_: blas_threads(), 2, blas=True, parallel=parallel)
    assert all(set(counts) == {1} for counts in seen)
    assert set(blas_threads()) == {2}


def test_blas_is_let_go_after_an_error(two, two_blas_threads):
    def work(first, last):
        raise KeyError

    for _ in range(2):
        with pytest.raises(KeyError):
            share(work, 2, blas=True)
        assert set(blas_threads()) == {2}


def test_blas_is_let_go_by_the_last_of_two_calls(two, two_blas_threads):
    inside, leave = threading.Barrier(3, timeout=10), [threading.Event(), threading.Event()]
    counts = []

    def call(i):
        def work(first, last):
            if first == 0:  # in the calling thread
                inside.wait()
                leave[i].wait(10)

        share(work, 2, blas=True)

    callers = [threading.Thread(target=call, args=(i,)) for i in range(2)]
    for caller in callers:
        caller.start()
    inside.wait()
    for i, caller in enumerate(callers):
        leave[i].set()
        caller.join(10)
        counts.append(set(blas_threads()))
    assert counts == [{1}, {2}]


def test_any_thread_may_hold_blas(two, two_blas_threads):
    """threadpoolctl obeys the first thread that asked, as long as it lives."""
    share(lambda *_: None, 2, blas=True)
    with ThreadPoolExecutor(1) as pool:
        seen = pool.submit(share, lambda *_: blas_threads(), 2, blas=True).result()
    assert all(set(counts) == {1} for counts in seen)
    assert set(blas_threads()) == {2}


def test_a_blas_that_is_not_known(monkeypatch):
    """It cannot be held to one thread, so the cores are left to it."""
    unknown = SimpleNamespace(info=list, lib_controllers=[])
    monkeypatch.setattr(threads, "blas_libraries", lambda: unknown)
    monkeypatch.setattr(threads, "_count", None)
    assert get_num_threads() == 1
    assert_right()
    set_num_threads(2)  # the user knows better
    assert_right()


# --- results --------------------------------------------------------------------------------------


def inputs(seed: int = 0) -> list[numpy.ndarray]:
    stream = numpy.random.RandomState(seed)
    shapes = ((9, 20, 16, 15), (24, 20, 3, 3), (24,), (24,))
    return [stream.standard_normal(shape).astype("float32") for shape in shapes]


def step(seed: int = 0) -> list[numpy.ndarray]:
    """A small net's output and gradients, through every kind of kernel."""
    x, w, weight, bias = (Tensor(array, True) for array in inputs(seed))
    u = F.batch_norm_relu(F.conv2d(x, w, padding=1), None, None, weight, bias, training=True)
    y = F.axpy_relu(F.adaptive_avg_pool2d(u, 1), u, u)
    (y * y).sum().backward()
    return [y.numpy(), *(t.grad.numpy() for t in (x, w, weight, bias))]


def plain_step(seed: int = 0) -> list[numpy.ndarray]:
    with backend.plain():
        return step(seed)


def assert_right(found: list[numpy.ndarray] | None = None, seed: int = 0) -> None:
    __tracebackhide__ = True
    for ours, wanted in zip(found or step(seed), plain_step(seed), strict=True):
        assert numpy.abs(ours - wanted).max() < 1e-4 * numpy.abs(wanted).max()


def test_results_are_those_of_the_plain_kernels_for_any_number_of_threads():
    for count in COUNTS:
        set_num_threads(count)
        assert_right()


@pytest.mark.parametrize("count", COUNTS)
def test_results_are_the_same_bits_each_time(count):
    set_num_threads(count)
    first, second = step(), step()
    assert all(a.tobytes() == b.tobytes() for a, b in zip(first, second, strict=True))


def test_use_from_several_threads_at_once(two):
    """Each its own input, all together; the bits are those of a call alone."""
    alone = [step(seed) for seed in range(4)]
    assert_right(alone[3], seed=3)
    barrier = threading.Barrier(4, timeout=10)

    def run(seed):
        barrier.wait()
        return [step(seed) for _ in range(8)]

    with ThreadPoolExecutor(4) as pool:
        for seed, found in enumerate(pool.map(run, range(4))):
            for again in found:
                for a, b in zip(alone[seed], again, strict=True):
                    assert a.tobytes() == b.tobytes()


def test_the_number_may_change_while_others_compute():
    """A call that has begun ends with the workers that it began with."""
    stop = threading.Event()

    def change():
        while not stop.is_set():
            for count in COUNTS:
                set_num_threads(count)

    def compute(seed):
        for _ in range(300):
            assert sum(share(lambda first, last: last - first, 17)) == 17
        assert_right(seed=seed)

    changer = threading.Thread(target=change, daemon=True)
    changer.start()
    callers = [threading.Thread(target=compute, args=(i,), daemon=True) for i in range(3)]
    try:
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join(20)
        assert not any(caller.is_alive() for caller in callers)
    finally:
        stop.set()
        changer.join(10)


# --- processes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"])
def test_one_thread_for_blas_is_one_thread_for_minise(name):
    script = """
import threading
from tests.backend.cpu.test_threads import assert_right, get_num_threads
print(get_num_threads())
assert_right()
print([t.name for t in threading.enumerate()])
"""
    if not blas_threads():
        pytest.skip("threadpoolctl does not know this BLAS")
    assert run_script(script, **{name: "1"}).split("\n") == ["1", "['MainThread']"]


def test_no_thread_is_started_on_import():
    script = "import minise, threading; print(threading.active_count())"
    assert run_script(script) == "1"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_computes():
    """After the parent's workers have started, and while another of its threads is computing."""
    script = """
import os, signal, threading, warnings
from tests.backend.cpu.test_threads import assert_right, set_num_threads, share, step
warnings.simplefilter("ignore", DeprecationWarning)  # a fork with threads around
set_num_threads(2)
assert_right()
started, leave = threading.Event(), threading.Event()

def work(first, last):
    started.set()
    leave.wait(20)

threading.Thread(target=share, args=(work, 2), kwargs={"blas": True}, daemon=True).start()
started.wait(20)
for _ in range(3):
    child = os.fork()
    if child == 0:
        signal.alarm(20)  # a deadlock ends with a signal
        assert_right()
        assert share(lambda first, last: last - first, 4, blas=True) == [2, 2]
        print("child computes", flush=True)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert status == 0, status
leave.set()
assert_right()
print("parent computes")
"""
    assert run_script(script).split("\n") == 3 * ["child computes"] + ["parent computes"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_has_the_threads_of_blas():
    """Even if the parent was holding BLAS to one at that moment."""
    script = """
import os, threading, warnings
from threadpoolctl import ThreadpoolController
from tests.backend.cpu.test_threads import blas_threads, set_num_threads, share
warnings.simplefilter("ignore", DeprecationWarning)
set_num_threads(2)
ThreadpoolController().limit(limits=2, user_api="blas")
started, leave = threading.Event(), threading.Event()

def work(first, last):
    started.set()
    leave.wait(20)

caller = threading.Thread(target=share, args=(work, 2), kwargs={"blas": True})
caller.start()
started.wait(20)
child = os.fork()
if child == 0:
    print(set(blas_threads()), flush=True)
    os._exit(0)
os.waitpid(child, 0)
leave.set()
caller.join()
print(set(blas_threads()))
"""
    if not blas_threads():
        pytest.skip("threadpoolctl does not know this BLAS")
    assert run_script(script).split("\n") == ["{2}", "{2}"]


def test_an_interrupt_leaves_the_pool_usable(two):
    import _thread

    def work(first, last):
        if first:
            _thread.interrupt_main()
        for _ in range(1000):
            time.sleep(0.001)

    if threading.current_thread() is not threading.main_thread():
        pytest.skip("only the main thread is interrupted")
    with pytest.raises(KeyboardInterrupt):
        share(work, 2)
    assert share(lambda first, last: first, 2) == [0, 1]
    assert minise.ones(2).sum().item() == 2
