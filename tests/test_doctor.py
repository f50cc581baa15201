"""The doctor: what it finds on machines of all kinds, most of them simulated."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy
import pytest

import minise
from minise import doctor
from minise.backend import registry
from minise.backend.cpu import threads
from minise.backend.gpu import package as cupy_package


@pytest.fixture
def versions(monkeypatch):
    """Says which packages are installed: `versions["pillow"] = None` removes one."""
    changed = dict.fromkeys(cupy_package.WHEELS)
    real = metadata.version

    def version(name):
        found = changed[name] if name in changed else real(name)
        if found is None:
            raise metadata.PackageNotFoundError(name)
        return found

    monkeypatch.setattr(metadata, "version", version)
    return changed


@pytest.fixture(autouse=True)
def driver(monkeypatch):
    """driver(12080): the NVIDIA driver knows CUDA 12.8; 0: there is none."""

    def know(version):
        monkeypatch.setattr(cupy_package, "driver_version", lambda: version)
        if "cupy" in sys.modules and hasattr(sys.modules["cupy"], "cuda"):
            runtime = sys.modules["cupy"].cuda.runtime
            monkeypatch.setattr(runtime, "driverGetVersion", lambda: version)

    return know


class CUDARuntimeError(RuntimeError):
    def __init__(self, message, status):
        super().__init__(message)
        self.status = status


@pytest.fixture
def cupy(monkeypatch, versions, driver):
    """A CuPy 14.2.0 for CUDA 13 that works, on a GPU that does not exist."""
    runtime = SimpleNamespace(
        CUDARuntimeError=CUDARuntimeError,
        getDeviceCount=lambda: 1,
        getDeviceProperties=lambda device: {"name": b"Imaginary 9000"},
        memGetInfo=lambda: (3 * 2**30, 8 * 2**30),
        driverGetVersion=None,
        runtimeGetVersion=lambda: 13000,
    )
    nvrtc = SimpleNamespace(getVersion=lambda: (13, 0))
    module = ModuleType("cupy")
    vars(module).update(
        __version__="14.2.0", ndarray=type("ndarray", (), {}), asnumpy=None,
        zeros=numpy.zeros, add=numpy.add,
        cuda=SimpleNamespace(runtime=runtime, nvrtc=nvrtc),
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "cupy", module)
    driver(13010)
    monkeypatch.setattr(registry, "_by_name", {"numpy": registry.get("numpy")})
    monkeypatch.setattr(registry, "_by_type", dict(registry._by_type))
    versions["cupy-cuda13x"] = "14.2.0"
    return module


def findings(subject):
    return [finding for finding in doctor.examine() if finding.subject == subject]


def finding(subject):
    (only,) = findings(subject)
    return only


def test_this_machine():
    report = {finding.subject: finding for finding in doctor.examine()}
    assert report["Python"].state.startswith(f"{sys.version_info.major}.{sys.version_info.minor}")
    for package in doctor.NEEDED:
        assert report[package].state[0].isdigit()
        assert report[package].remedy == ""
    assert "threads" in report["BLAS"].state
    assert report["backend numpy"].state == "works"
    assert "backend cupy" in report or "CuPy" in report


def test_a_missing_package(versions):
    versions["pillow"] = None
    assert finding("pillow") == doctor.Finding("pillow", "missing", "pip install pillow")


@pytest.mark.parametrize("version", ["1.26.4", "0.9"])
def test_an_old_numpy(versions, version):
    versions["numpy"] = version
    assert finding("numpy").state == f"{version}, too old"
    assert finding("numpy").remedy == "pip install --upgrade 'numpy>=2.0'"


def test_without_threadpoolctl(versions, monkeypatch):
    versions["threadpoolctl"] = None
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    monkeypatch.setattr(threads, "blas_libraries", threads.blas_libraries.__wrapped__)  # no cache
    assert finding("threadpoolctl").remedy == "pip install threadpoolctl"
    assert findings("BLAS") == []


def test_a_blas_that_nobody_knows(monkeypatch):
    monkeypatch.setattr(threads, "blas_libraries", lambda: SimpleNamespace(info=list))
    assert finding("BLAS").state.startswith("not recognised")


# --- the GPU: one sentence for everything that can be wrong ------------------------------------


@pytest.fixture
def complaint():
    """The state and the remedy for the backend, the same from the doctor and from `minise.use`."""

    def ask():
        with pytest.raises(RuntimeError) as caught:
            minise.use("cupy")
        message = str(caught.value)
        assert message.count("\n") == 0
        found = finding("backend cupy")
        assert message == f"backend 'cupy': {found.state.removeprefix('not available: ')}; " + (
            found.remedy
        )
        return found.state.removeprefix("not available: "), found.remedy

    return ask


@pytest.mark.parametrize(
    ("version", "remedy"),
    [
        (13010, "`pip install -r requirements-cuda13.txt` installs the one for this driver "
                "(CUDA 13.1)"),
        (12080, "`pip install -r requirements-cuda12.txt` installs the one for this driver "
                "(CUDA 12.8)"),
        (14000, "`pip install -r requirements-cuda13.txt` installs the one for this driver "
                "(CUDA 14.0)"),
        (11080, "update the NVIDIA driver, which knows CUDA 11.8 only, to CUDA 12 or newer, then "
                "`minise doctor` names the CuPy for it"),
        (0, "`pip install -r requirements-cuda12.txt` (CUDA 12 driver) or "
            "`pip install -r requirements-cuda13.txt` (CUDA 13 driver) installs it, "
            "but there is no NVIDIA driver on this machine"),
    ],
)  # fmt: skip
def test_no_cupy(versions, monkeypatch, driver, complaint, version, remedy):
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.delitem(registry._by_name, "cupy", raising=False)
    driver(version)
    assert complaint() == ("CuPy is not installed", remedy)
    assert finding("NVIDIA driver").state == (
        f"for CUDA {cupy_package.dotted(version)}" if version else "none"
    )


def test_the_files_to_install_from_exist():
    root = Path(__file__).parents[1]
    for major in cupy_package.MAJORS:
        assert f"cupy-cuda{major}x" in (root / f"requirements-cuda{major}.txt").read_text()
        assert f"cupy-cuda{major}x" in cupy_package.WHEELS


def test_two_cupy_wheels(cupy, versions, complaint, driver):
    versions["cupy-cuda12x"] = "14.0.1"
    driver(12080)
    assert finding("CuPy").state == "cupy-cuda12x 14.0.1, cupy-cuda13x 14.2.0"
    assert complaint() == (
        "several CuPy packages are installed (cupy-cuda12x 14.0.1, cupy-cuda13x 14.2.0)",
        "`pip uninstall cupy-cuda12x cupy-cuda13x`, then `pip install -r requirements-cuda12.txt` "
        "installs the one for this driver (CUDA 12.8)",
    )


def test_two_cupy_wheels_and_a_driver_that_is_too_old(cupy, versions, complaint, driver):
    versions["cupy-cuda12x"] = "14.0.1"
    driver(11080)
    assert complaint()[1] == (
        "`pip uninstall cupy-cuda12x cupy-cuda13x`, then update the NVIDIA driver, which knows "
        "CUDA 11.8 only, to CUDA 12 or newer, then `minise doctor` names the CuPy for it"
    )


def test_cupy_without_a_driver(cupy, driver, complaint):
    driver(0)
    assert complaint() == (
        "CuPy 14.2.0 is installed, but there is no NVIDIA driver",
        "install one, then `nvidia-smi` lists the GPU",
    )


def test_cupy_for_a_newer_cuda_than_the_driver(cupy, driver, complaint):
    driver(12080)
    assert complaint() == (
        "CuPy 14.2.0 is made for CUDA 13, the NVIDIA driver knows CUDA 12.8",
        "update the driver, or `pip uninstall cupy-cuda13x`, then "
        "`pip install -r requirements-cuda12.txt` installs the one for this driver (CUDA 12.8)",
    )


def test_a_driver_that_is_too_old_for_every_cupy(cupy, driver, complaint):
    driver(11080)
    assert complaint() == (
        "CuPy 14.2.0 is made for CUDA 13, the NVIDIA driver knows CUDA 11.8", "update the driver"
    )  # fmt: skip


def test_cupy_for_an_older_cuda_than_the_driver_works(cupy, driver):
    driver(14020)
    assert finding("backend cupy").state == "works"


def test_a_driver_that_does_not_answer(cupy, complaint):
    def fail():
        raise CUDARuntimeError("cudaErrorUnknown: unknown error", 999)

    cupy.cuda.runtime.getDeviceCount = fail
    assert complaint() == (
        "CuPy 14.2.0 is installed, but the CUDA driver does not answer "
        "(cudaErrorUnknown: unknown error)",
        "check that `nvidia-smi` lists a GPU",
    )


def test_cupy_without_a_gpu(cupy, complaint):
    def fail():
        raise CUDARuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected", 100)

    cupy.cuda.runtime.getDeviceCount = fail
    assert complaint() == (
        "no CUDA GPU found",
        "check that `nvidia-smi` lists one, and that CUDA_VISIBLE_DEVICES does not hide it",
    )


def test_cupy_without_the_compiler(cupy, complaint):
    def fail():
        raise RuntimeError("Failure finding libnvrtc.so.13")

    cupy.cuda.nvrtc.getVersion = fail
    assert complaint() == (
        "CuPy 14.2.0 cannot compile kernels, NVRTC of CUDA 13 is missing",
        "`pip install -r requirements-cuda13.txt` installs what is missing",
    )


def test_cupy_for_an_old_cuda_without_the_compiler(cupy, versions, complaint):
    """There is no requirements-cuda11.txt: CuPy 14 has no wheels for it."""

    def fail():
        raise RuntimeError("Failure finding libnvrtc.so.11.2")

    cupy.cuda.nvrtc.getVersion = fail
    cupy.cuda.runtime.runtimeGetVersion = lambda: 11080
    versions["cupy-cuda11x"], versions["cupy-cuda13x"] = "13.6.0", None
    assert complaint() == (
        "CuPy 14.2.0 cannot compile kernels, NVRTC of CUDA 11 is missing",
        "`pip uninstall cupy-cuda11x`, then `pip install -r requirements-cuda13.txt` installs the "
        "one for this driver (CUDA 13.1)",
    )


def test_cupy_without_the_headers(cupy, complaint):
    class CompileException(Exception):  # as in cupy.cuda.compiler
        pass

    def fail(*operands):
        raise CompileException(
            '/usr/cupy/complex.cuh(94):\ncatastrophic error: cannot open source file "cuda_fp16.h"'
        )

    cupy.add = fail
    assert complaint() == (
        "CuPy 14.2.0 cannot compile or run a kernel, the headers of CUDA 13 may be missing "
        '(/usr/cupy/complex.cuh(94): catastrophic error: cannot open source file "cuda_fp16.h")',
        "`pip install -r requirements-cuda13.txt` installs what is missing",
    )


def test_cupy_on_a_gpu_that_is_full(cupy, complaint):
    def fail(*operands):
        raise MemoryError("Out of memory allocating 512 bytes")

    cupy.add = fail
    assert complaint() == ("the memory of the GPU is full", "`nvidia-smi` lists who uses it")


def test_cupy_that_cannot_be_imported(versions, monkeypatch, tmp_path, complaint):
    (tmp_path / "cupy.py").write_text("raise ImportError('libnvrtc.so.13:\\n cannot open')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    monkeypatch.delitem(registry._by_name, "cupy", raising=False)
    assert complaint() == (
        "CuPy is installed, but cannot be imported (libnvrtc.so.13: cannot open)",
        "`minise doctor` looks for the cause",
    )


def test_cupy_that_works(cupy):
    assert finding("NVIDIA driver").state == "for CUDA 13.1"
    assert finding("CuPy").state == "cupy-cuda13x 14.2.0"
    assert finding("backend cupy").state == "works"
    assert finding("GPU").state == "Imaginary 9000, 3.0 of 8.0 GiB free"


def test_no_text_of_an_error_is_taken_apart(monkeypatch):
    """What is wrong may contain whatever separates the parts of the message."""

    def fail(name):
        raise cupy_package.UnusableError("broken; badly: 'cupy': twice", "look; think")

    monkeypatch.setattr(registry, "get", fail)
    assert finding("backend cupy") == doctor.Finding(
        "backend cupy", "not available: broken; badly: 'cupy': twice", "look; think"
    )


def test_the_driver_is_asked_without_cupy(monkeypatch):
    monkeypatch.undo()  # the real function
    asked = []

    class Library:
        def __init__(self, name):
            asked.append(name)

        @staticmethod
        def cuDriverGetVersion(pointer):
            pointer._obj.value = 12080

    monkeypatch.setattr(cupy_package.ctypes, "CDLL", Library)
    assert cupy_package.driver_version() == 12080
    assert asked == ["nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"]

    def missing(name):
        raise OSError(name)

    monkeypatch.setattr(cupy_package.ctypes, "CDLL", missing)
    assert cupy_package.driver_version() == 0
