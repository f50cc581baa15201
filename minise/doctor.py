"""What is installed, what works, and what to do about what does not."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass
from importlib import metadata

from .backend import registry
from .backend.cpu import threads
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
        libraries = threads.blas_in_use()
    except ImportError:  # threadpoolctl is missing, as reported above; the doctor goes on
        return []
    return [
        Finding(
            "BLAS",
            f"{blas.name} {blas.version}, {blas.threads} threads"
            + (f", {blas.architecture}" if blas.architecture else ""),
        )
        for blas in libraries
    ] or [Finding("BLAS", "not recognised: threads cannot be limited; results are not affected")]


def _cupy() -> list[Finding]:
    driver = cupy_package.driver_version()
    found = [
        Finding("NVIDIA driver", f"for CUDA {cupy_package.dotted(driver)}" if driver else "none")
    ]
    if wheels := cupy_package.installed():
        found.append(Finding("CuPy", ", ".join(wheels)))
    try:
        device = registry.get("cupy")
    except cupy_package.UnusableError as error:
        return [*found, Finding("backend cupy", f"not available: {error.state}", error.remedy)]
    assert device.memory is not None
    used, free = device.memory()
    gib = f"{free / 2**30:.1f} of {(used + free) / 2**30:.1f} GiB free"
    return [
        *found,
        Finding("backend cupy", "works"),
        Finding("GPU", f"{cupy_package.device_name(device.xp)}, {gib}"),
    ]
