"""What is installed, what works, and what to do about what does not."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass
from importlib import metadata

import numpy

from .backend import registry
from .backend.gpu import package as cupy_package

NEEDED = ("numpy", "pillow", "safetensors", "tqdm", "threadpoolctl", "matplotlib")


@dataclass(frozen=True)
class Finding:
    """One line of the report; `remedy` says what to do, "" where nothing is to be done."""

    subject: str
    state: str
    remedy: str = ""


def examine() -> list[Finding]:
    """Python, packages, BLAS and its threads, CuPy, GPU, driver."""
    return [
        Finding("Python", f"{platform.python_version()} ({sys.executable})"),
        Finding("machine", f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs"),
        *(_package(name) for name in NEEDED),
        *_blas(),
        Finding("backend numpy", "works"),
        *_cupy(),
    ]


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _package(name: str) -> Finding:
    version = _version(name)
    if version is None:
        return Finding(name, "missing", f"pip install {name}")
    if name == "numpy" and int(version.split(".")[0]) < 2:
        return Finding(name, f"{version}, too old", "pip install --upgrade 'numpy>=2.0'")
    return Finding(name, version)


def _blas() -> list[Finding]:
    try:
        import threadpoolctl
    except ImportError:  # reported above; the doctor has to go on
        return []
    numpy.ones((2, 2)) @ numpy.ones((2, 2))  # BLAS is loaded by now
    found = [
        Finding(
            "BLAS",
            f"{pool['internal_api']} {pool['version']}, {pool['num_threads']} threads"
            + (f", {pool['architecture']}" if pool.get("architecture") else ""),
        )
        for pool in threadpoolctl.threadpool_info()
        if pool["user_api"] == "blas"
    ]
    return found or [
        Finding("BLAS", "not recognised: threads cannot be limited; results are not affected")
    ]


def _cupy() -> list[Finding]:
    driver = cupy_package.driver_version()
    found = [
        Finding("NVIDIA driver", f"for CUDA {cupy_package.readable(driver)}" if driver else "none")
    ]
    if wheels := cupy_package.installed():
        found.append(Finding("CuPy", ", ".join(wheels)))
    try:
        cupy = registry.get("cupy").xp
    except RuntimeError as error:
        state, _, remedy = str(error).removeprefix("backend 'cupy': ").partition("; ")
        return [*found, Finding("backend cupy", f"not available: {state}", remedy)]
    properties = cupy.cuda.runtime.getDeviceProperties(0)
    free, total = cupy.cuda.runtime.memGetInfo()
    return [
        *found,
        Finding("backend cupy", "works"),
        Finding(
            "GPU",
            f"{properties['name'].decode()}, {free / 2**30:.1f} of {total / 2**30:.1f} GiB free",
        ),
    ]
