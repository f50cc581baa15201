"""On which machine and with what a figure was measured."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import numpy
import threadpoolctl
import torch

import minise
from minise.backend.cpu import threads


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor() -> str:
    """The CPU's name where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def blas() -> str:
    """NumPy's BLAS, which kernels it chose, and the threads it would use by itself."""
    numpy.ones((2, 2)) @ numpy.ones((2, 2))  # BLAS is loaded by now
    return ", ".join(
        f"{pool['internal_api']} {pool['version']} "
        f"({pool.get('architecture', '?')}, {pool['num_threads']} threads)"
        for pool in threadpoolctl.threadpool_info()
        if pool["user_api"] == "blas"
    )


def describe() -> str:
    """One line."""
    return (
        f"{processor()}, {cores()} cores, {platform.system()}, Python {platform.python_version()}, "
        f"minise {minise.__version__}, numpy {numpy.__version__}, torch {torch.__version__}, "
        f"{blas()}, minise {threads.get_num_threads()} threads, "
        f"PyTorch {torch.get_num_threads()} threads"
    )
