"""Which backend arrays belong to, where new ones are made, and which kernels run."""

import sys
import threading
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from strict_array import StrictArray, strict_backend, to_strict

import minise
from minise import Tensor, backend
from minise.backend import Kernel, registry
from minise.backend.gpu import cupy_backend
from minise.ops.activation import Tanh


@pytest.fixture(autouse=True)
def as_before(monkeypatch):
    """Backends that a test registers, and `use`, end with the test."""
    monkeypatch.setattr(registry, "_by_name", dict(registry._by_name))
    monkeypatch.setattr(registry, "_by_type", dict(registry._by_type))
    yield
    backend.use("numpy")


@pytest.fixture
def strict():
    return backend.register(strict_backend())


@pytest.fixture
def no_cupy(monkeypatch):
    """As on a machine where CuPy was never asked for."""
    monkeypatch.setattr(registry, "_by_name", {"numpy": backend.get("numpy")})
    monkeypatch.setattr(registry, "_by_type", {np.ndarray: backend.get("numpy")})
    return lambda module: monkeypatch.setitem(sys.modules, "cupy", module)


# --- names, arrays, registration ----------------------------------------------------------------


def test_numpy_is_always_there():
    home = backend.get("numpy")
    assert (home.name, home.xp, home.array_type) == ("numpy", np, np.ndarray)
    assert backend.of(np.ones(2)) is home is backend.current()
    assert "numpy" in backend.available()
    backend.synchronize()


def test_unknown_names():
    expected = "backend: unknown name 'jax', expected one of: cupy, numpy"
    for ask in (backend.get, backend.use, minise.use, minise.ones(1).to):
        with pytest.raises(ValueError, match=expected):
            ask("jax")
    with pytest.raises(ValueError, match=expected):
        minise.zeros(2, backend="jax")


def test_of_what_is_no_array():
    for value in (1.0, [1.0], None, np.float32(1), minise.ones(1)):
        with pytest.raises(TypeError, match=r"backend\.of: expected an array, got"):
            backend.of(value)
    assert backend.of("text", default=None) is None


def test_of_subclasses(tmp_path):
    mapped = np.memmap(tmp_path / "array", dtype=np.float32, mode="w+", shape=(2,))
    assert backend.of(mapped).name == "numpy"
    assert (Tensor(mapped) + 1).numpy().tolist() == [1, 1]


def test_registered_backends_are_found(strict):
    assert backend.get("strict") is strict is backend.of(to_strict(np.ones(2)))
    assert "strict" in backend.available()
    with pytest.raises(ValueError, match="expected one of: cupy, numpy, strict"):
        backend.get("jax")


def test_as_array_moves_whatever_it_gets(strict):
    there = to_strict(np.float32([1, 2]))
    assert isinstance(backend.get("numpy").as_array(there), np.ndarray)
    assert isinstance(strict.as_array(np.float32([1, 2])), StrictArray)
    assert strict.as_array(there) is there
    assert strict.as_array(3, dtype=np.float64).dtype == np.float64


def test_synchronize_waits_for_every_backend():
    waited = []
    for name, kind in (("first", set), ("second", dict)):
        backend.register(
            backend.Backend(name, np, kind, np.asarray, lambda n=name: waited.append(n))
        )
    backend.synchronize()
    assert waited == ["first", "second"]


# --- where new tensors go -----------------------------------------------------------------------


def test_use_concerns_new_tensors_only(strict):
    before = minise.ones(2)
    backend.use("strict")
    assert backend.current() is strict
    assert minise.ones(2).backend == "strict"
    assert before.backend == (before * 2).backend == "numpy"


def test_use_of_what_does_not_work_changes_nothing(strict):
    backend.use("strict")
    with pytest.raises(ValueError, match="unknown name"):
        backend.use("jax")
    assert backend.current() is strict


def test_settings_belong_to_their_thread(strict):
    seen = []
    backend.use("strict")
    with backend.plain():
        thread = threading.Thread(
            target=lambda: seen.append((backend.current().name, backend.using_fast_kernels()))
        )
        thread.start()
        thread.join()
        seen.append((backend.current().name, backend.using_fast_kernels()))
    assert seen == [("numpy", True), ("strict", False)]


# --- CuPy: only when asked for, and with advice where it does not work --------------------------


def test_cupy_that_is_not_installed(no_cupy):
    no_cupy(None)
    for ask in (backend.get, backend.use, minise.ones(1).to):
        with pytest.raises(RuntimeError, match=r"CuPy is not installed; `pip install -r require"):
            ask("cupy")
    assert backend.available() == ["numpy"]
    assert backend.current().name == "numpy"


def fake_cupy(refusal=None):
    """A `cupy` module as far as it is asked before arrays are made.

    refusal   the error, text and number, that it answers the question for GPUs with; None: one GPU
    """
    cupy = ModuleType("cupy")
    cupy.__version__ = "14.0.0"
    cupy.ndarray, cupy.asnumpy = type("ndarray", (), {}), np.asarray
    cupy.zeros, cupy.add = np.zeros, np.add
    error = type("CUDARuntimeError", (RuntimeError,), {})

    def get_device_count():
        if refusal is not None:
            failure = error(refusal[0])
            failure.status = refusal[1]
            raise failure
        return 1

    runtime = SimpleNamespace(
        CUDARuntimeError=error, getDeviceCount=get_device_count,
        driverGetVersion=lambda: 13000, runtimeGetVersion=lambda: 13000,
    )  # fmt: skip
    nvrtc = SimpleNamespace(getVersion=lambda: (13, 0))
    waits = SimpleNamespace(synchronize=lambda: cupy.waited.append(True))
    cupy.waited = []
    cupy.cuda = SimpleNamespace(
        runtime=runtime, nvrtc=nvrtc, get_current_stream=lambda: waits
    )
    return cupy


@pytest.mark.parametrize(
    ("refusal", "advice"),
    [
        (
            ("cudaErrorInsufficientDriver: driver is too old", 35),
            r"CuPy 14.0.0 is installed, but the CUDA driver .*too old.*`nvidia-smi`",
        ),
        (
            ("cudaErrorNoDevice: no CUDA-capable device is detected", 100),
            "no CUDA GPU found; check that `nvidia-smi` lists one",
        ),
    ],
    ids=["no driver", "no GPU"],
)
def test_cupy_that_finds_no_gpu(no_cupy, refusal, advice):
    no_cupy(fake_cupy(refusal))
    with pytest.raises(RuntimeError, match=advice):
        backend.use("cupy")
    assert backend.available() == ["numpy"]


def test_cupy_that_works(no_cupy):
    cupy = fake_cupy()
    no_cupy(cupy)
    made = cupy_backend.create()
    assert (made.name, made.xp, made.array_type) == ("cupy", cupy, cupy.ndarray)
    made.synchronize()
    assert cupy.waited == [True]
    cupy.cuda.Device = lambda: SimpleNamespace(compute_capability="80")
    made.check_tf32()
    cupy.cuda.Device = lambda: SimpleNamespace(compute_capability="75")
    with pytest.raises(RuntimeError, match=r"^tf32: expected a GPU of .* this one has 7\.5$"):
        made.check_tf32()


# --- plain and fast kernels ---------------------------------------------------------------------


@pytest.fixture
def fast_tanh(monkeypatch):
    """A fast kernel for tanh that leaves a trace: it returns constants nobody could mistake."""
    kernel = Kernel(
        lambda op, x: True,
        lambda op, x: np.full_like(x, 10),
        lambda op, grad: np.full_like(grad, 100),
    )
    monkeypatch.setitem(backend.get("numpy").kernels, Tanh, kernel)


def zero():
    return minise.zeros(2, requires_grad=True)


def test_fast_kernels_replace_forward_and_backward(fast_tanh):
    x = zero()
    y = x.tanh()
    y.sum().backward()
    assert y.numpy().tolist() == [10, 10]
    assert x.grad.numpy().tolist() == [100, 100]


def test_plain_switches_fast_kernels_off(fast_tanh):
    assert backend.using_fast_kernels()
    x = zero()
    with backend.plain():
        assert not backend.using_fast_kernels()
        y = x.tanh()
        y.sum().backward()
    assert backend.using_fast_kernels()
    assert y.numpy().tolist() == [0, 0]
    assert x.grad.numpy().tolist() == [1, 1]


def test_backward_follows_the_forward_that_ran(fast_tanh):
    """What one kernel saved, only its own backward can read: plain() in between changes nothing."""
    fast, plain = zero(), zero()
    ran_fast = fast.tanh().sum()
    with backend.plain():
        ran_plain = plain.tanh().sum()
        ran_fast.backward()
    ran_plain.backward()
    assert fast.grad.numpy().tolist() == [100, 100]
    assert plain.grad.numpy().tolist() == [1, 1]


def test_fast_backward_is_checked_like_the_plain_one(monkeypatch):
    kernel = Kernel(lambda op, x: True, lambda op, x: x, lambda op, grad: grad[:1])
    monkeypatch.setitem(backend.get("numpy").kernels, Tanh, kernel)
    with pytest.raises(RuntimeError, match=r"tanh\.backward: the gradient of input 0 must have"):
        zero().tanh().sum().backward()


def test_fast_kernels_are_those_of_the_arrays_backend(fast_tanh, strict):
    assert Tensor(to_strict(np.zeros(2))).tanh().numpy().tolist() == [0, 0]


def test_plain_nests_and_survives_errors():
    with backend.plain():
        with pytest.raises(KeyError), backend.plain():
            raise KeyError
        assert not backend.using_fast_kernels()
    assert backend.using_fast_kernels()


def test_plain_as_a_decorator(fast_tanh):
    @backend.plain()
    def slowly(x):
        return x.tanh()

    assert slowly(zero()).numpy().tolist() == [0, 0]
    assert zero().tanh().numpy().tolist() == [10, 10]
