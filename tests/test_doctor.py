"""The doctor: what it finds on machines of all kinds, most of them simulated."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest

from minise.backend import doctor, registry


@pytest.fixture
def versions(monkeypatch):
    """Says which packages are installed: `versions["cupy"] = None` removes one."""
    changed = {}
    real = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: changed.get(name, real(name)))
    changed.update(dict.fromkeys(doctor.CUPY_WHEELS))
    return changed


class CUDARuntimeError(RuntimeError):
    pass


@pytest.fixture
def cupy(monkeypatch, versions):
    """A CuPy that works, on a GPU that does not exist."""
    runtime = SimpleNamespace(
        CUDARuntimeError=CUDARuntimeError,
        getDeviceCount=lambda: 1,
        getDeviceProperties=lambda device: {"name": b"Imaginary 9000"},
        memGetInfo=lambda: (3 * 2**30, 8 * 2**30),
        driverGetVersion=lambda: 13010,
    )
    module = ModuleType("cupy")
    vars(module).update(
        __version__="14.2.0", ndarray=type("ndarray", (), {}), asnumpy=None,
        cuda=SimpleNamespace(runtime=runtime),
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "cupy", module)
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
    assert finding("threadpoolctl").remedy == "pip install threadpoolctl"
    assert findings("BLAS") == []


def test_a_blas_that_nobody_knows(monkeypatch):
    monkeypatch.setattr("threadpoolctl.threadpool_info", list)
    assert finding("BLAS").state.startswith("not recognised")


def test_no_cupy(versions, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.delitem(registry._by_name, "cupy", raising=False)
    assert finding("backend cupy").state == "not available: CuPy is not installed"
    assert "pip install -r requirements-cuda13.txt" in finding("backend cupy").remedy


def test_two_cupy_wheels(versions):
    versions.update({"cupy-cuda12x": "14.0.1", "cupy-cuda13x": "14.2.0"})
    found = finding("CuPy")
    assert found.state == "several packages at once: cupy-cuda12x 14.0.1, cupy-cuda13x 14.2.0"
    assert found.remedy.startswith("pip uninstall")


def test_cupy_without_a_driver(cupy):
    def fail():
        raise CUDARuntimeError("cudaErrorInsufficientDriver: driver version is insufficient")

    cupy.cuda.runtime.getDeviceCount = fail
    found = finding("backend cupy")
    assert "CuPy 14.2.0 is installed, but the CUDA driver does not answer" in found.state
    assert "cudaErrorInsufficientDriver" in found.state
    assert found.remedy == "check that `nvidia-smi` lists a GPU"


def test_cupy_without_a_gpu(cupy):
    cupy.cuda.runtime.getDeviceCount = lambda: 0
    assert finding("backend cupy").state == "not available: no CUDA GPU found"
    assert "nvidia-smi" in finding("backend cupy").remedy


def test_cupy_that_cannot_be_imported(versions, monkeypatch, tmp_path):
    (tmp_path / "cupy.py").write_text("raise ImportError('libnvrtc.so.13:\\n cannot open')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    monkeypatch.delitem(registry._by_name, "cupy", raising=False)
    state = finding("backend cupy").state
    assert "CuPy is installed, but cannot be imported (libnvrtc.so.13: cannot open)" in state


def test_cupy_that_works(cupy):
    assert finding("backend cupy").state == "works: cupy-cuda13x 14.2.0, driver for CUDA 13"
    assert finding("GPU").state == "Imaginary 9000, 3.0 of 8.0 GiB free"
