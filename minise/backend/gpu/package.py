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
NO_DEVICE = 100  # cudaErrorNoDevice


class UnusableError(RuntimeError):
    """CuPy cannot be used on this machine.

    state    what is wrong
    remedy   what to install, or to check
    """

    def __init__(self, state: str, remedy: str) -> None:
        super().__init__(f"backend 'cupy': {state}; {remedy}")
        self.state, self.remedy = state, remedy


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


def dotted(version: int) -> str:
    """13010 as "13.1"."""
    return f"{version // 1000}.{version % 1000 // 10}"


def how_to_install(driver: int) -> str:
    """The command that installs the CuPy for this driver."""
    if driver == 0:
        choices = " or ".join(f"{COMMAND.format(major)} (CUDA {major} driver)" for major in MAJORS)
        return f"{choices} installs it, but there is no NVIDIA driver on this machine"
    if driver // 1000 < min(MAJORS):
        return (
            f"update the NVIDIA driver, which knows CUDA {dotted(driver)} only, to CUDA "
            f"{min(MAJORS)} or newer, then `minise doctor` names the CuPy for it"
        )
    major = min(driver // 1000, max(MAJORS))
    return f"{COMMAND.format(major)} installs the one for this driver (CUDA {dotted(driver)})"


def how_to_replace(driver: int) -> str:
    """The commands that put the CuPy for this driver in the place of what is installed."""
    names = " ".join(package.split()[0] for package in installed())
    return f"`pip uninstall {names}`, then {how_to_install(driver)}"


def how_to_complete(built_for: int, driver: int) -> str:
    """The command that installs the parts of CUDA that a CuPy for that version lacks."""
    if built_for // 1000 not in MAJORS:
        return how_to_replace(driver)
    return f"{COMMAND.format(built_for // 1000)} installs what is missing"


def check_packages() -> None:
    """UnusableError if several CuPy packages are there: they overwrite each other's files."""
    found = installed()
    if len(found) > 1:
        raise UnusableError(
            f"several CuPy packages are installed ({', '.join(found)})",
            how_to_replace(driver_version()),
        )


def check_driver(cupy: Any) -> None:
    """UnusableError, saying what helps, unless this CuPy can compile and run kernels here.

    To know that it can, it adds two numbers.
    """
    runtime = cupy.cuda.runtime
    driver, built_for = runtime.driverGetVersion(), runtime.runtimeGetVersion()
    package = f"CuPy {cupy.__version__}"
    if driver == 0:
        raise UnusableError(
            f"{package} is installed, but there is no NVIDIA driver",
            "install one, then `nvidia-smi` lists the GPU",
        )
    if driver // 1000 < built_for // 1000:
        another = f", or {how_to_replace(driver)}" if driver // 1000 >= min(MAJORS) else ""
        raise UnusableError(
            f"{package} is made for CUDA {built_for // 1000}, the NVIDIA driver knows CUDA "
            f"{dotted(driver)}",
            f"update the driver{another}",
        )
    try:
        runtime.getDeviceCount()
    except runtime.CUDARuntimeError as error:
        if error.status == NO_DEVICE:
            raise UnusableError(
                "no CUDA GPU found",
                "check that `nvidia-smi` lists one, and that CUDA_VISIBLE_DEVICES does not hide it",
            ) from error
        raise UnusableError(
            f"{package} is installed, but the CUDA driver does not answer ({error})",
            "check that `nvidia-smi` lists a GPU",
        ) from error
    try:
        cupy.cuda.nvrtc.getVersion()
    except (RuntimeError, ImportError, OSError) as error:
        raise UnusableError(
            f"{package} cannot compile kernels, NVRTC of CUDA {built_for // 1000} is missing",
            how_to_complete(built_for, driver),
        ) from error
    try:
        cupy.add(cupy.zeros(1), 1)
    except MemoryError as error:
        raise UnusableError(
            "the memory of the GPU is full", "`nvidia-smi` lists who uses it"
        ) from error
    except Exception as error:  # CompileException is an Exception, and nothing else
        reason = textwrap.shorten(str(error), 200)
        raise UnusableError(
            f"{package} cannot compile or run a kernel, the headers of CUDA {built_for // 1000} "
            f"may be missing ({reason})",
            how_to_complete(built_for, driver),
        ) from error


def device_name(cupy: Any) -> str:
    """What the GPU in use is called."""
    name: bytes = cupy.cuda.runtime.getDeviceProperties(0)["name"]
    return name.decode()
