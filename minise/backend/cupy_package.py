"""Which CuPy is installed, which one the NVIDIA driver wants, and what to do where they differ."""

from __future__ import annotations

import ctypes
import sys
import textwrap
from importlib import metadata
from typing import Any

WHEELS = ("cupy", "cupy-cuda11x", "cupy-cuda12x", "cupy-cuda13x")
MAJORS = (12, 13)  # versions of CUDA that CuPy 14 has wheels for: see requirements-cuda*.txt
COMMAND = "`pip install -r requirements-cuda{}.txt`"


def installed() -> list[str]:
    """The CuPy packages that are installed, as "cupy-cuda13x 14.2.0"."""
    found = []
    for name in WHEELS:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    return found


def driver_version() -> int:
    """The newest CUDA that the NVIDIA driver knows, 13010 for 13.1; 0 without a driver.

    Asks the driver itself, so it needs no CuPy.
    """
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    version = ctypes.c_int(0)
    try:
        ctypes.CDLL(name).cuDriverGetVersion(ctypes.byref(version))
    except (OSError, AttributeError):
        return 0
    return version.value


def readable(version: int) -> str:
    """13010 as "13.1"."""
    return f"{version // 1000}.{version % 1000 // 10}"


def how_to_install(driver: int) -> str:
    """The command that installs the CuPy for this driver."""
    if driver == 0:
        choices = " or ".join(f"{COMMAND.format(major)} (CUDA {major} driver)" for major in MAJORS)
        return f"{choices} installs it, but there is no NVIDIA driver on this machine"
    if driver // 1000 < min(MAJORS):
        return (
            f"the NVIDIA driver knows CUDA {readable(driver)} only; update it to CUDA {MAJORS[0]} "
            f"or newer first, then {COMMAND.format(MAJORS[-1])}"
        )
    major = min(driver // 1000, max(MAJORS))
    return f"{COMMAND.format(major)} installs the one for this driver (CUDA {readable(driver)})"


def check_packages() -> None:
    """RuntimeError if several CuPy packages are there: they overwrite each other's files."""
    found = installed()
    if len(found) > 1:
        names = " ".join(package.split()[0] for package in found)
        raise RuntimeError(
            f"backend 'cupy': several CuPy packages are installed ({', '.join(found)}); "
            f"`pip uninstall {names}`, then {how_to_install(driver_version())}"
        )


def check_driver(cupy: Any) -> None:
    """RuntimeError, saying what helps, unless this CuPy can compile and run kernels here.

    To know that it can, it adds two numbers.
    """
    runtime = cupy.cuda.runtime
    driver, built_for = runtime.driverGetVersion(), runtime.runtimeGetVersion()
    package = f"backend 'cupy': CuPy {cupy.__version__}"
    if driver == 0:
        raise RuntimeError(
            f"{package} is installed, but there is no NVIDIA driver; install one, "
            "then `nvidia-smi` lists the GPU"
        )
    if driver // 1000 < built_for // 1000:
        names = " ".join(name.split()[0] for name in installed())
        raise RuntimeError(
            f"{package} is made for CUDA {built_for // 1000}, the NVIDIA driver knows CUDA "
            f"{readable(driver)}; update the driver, or `pip uninstall {names}`, then "
            f"{how_to_install(driver)}"
        )
    try:
        devices = runtime.getDeviceCount()
    except runtime.CUDARuntimeError as error:
        raise RuntimeError(
            f"{package} is installed, but the CUDA driver does not answer ({error}); "
            "check that `nvidia-smi` lists a GPU"
        ) from error
    if devices == 0:
        raise RuntimeError("backend 'cupy': no CUDA GPU found; check that `nvidia-smi` lists one")
    try:
        cupy.cuda.nvrtc.getVersion()
    except (RuntimeError, ImportError, OSError) as error:
        raise RuntimeError(
            f"{package} cannot compile kernels, NVRTC of CUDA {built_for // 1000} is missing; "
            f"{COMMAND.format(built_for // 1000)} installs it"
        ) from error
    try:
        cupy.add(cupy.zeros(1), 1)
    except MemoryError as error:
        raise RuntimeError(
            "backend 'cupy': the memory of the GPU is full; `nvidia-smi` lists who uses it"
        ) from error
    except Exception as error:  # CompileException is an Exception, and nothing else
        reason = textwrap.shorten(str(error), 200)
        raise RuntimeError(
            f"{package} cannot compile or run a kernel, the headers of CUDA {built_for // 1000} "
            f"may be missing ({reason}); {COMMAND.format(built_for // 1000)} installs them"
        ) from error
