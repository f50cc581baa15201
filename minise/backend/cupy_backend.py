"""CuPy: NumPy's interface on a CUDA GPU. Imported only when somebody asks for it."""

from __future__ import annotations

from typing import Any

import numpy

from . import cuda
from .registry import Backend


def create() -> Backend:
    """The CuPy backend; RuntimeError with the command or the check that helps if it cannot run."""
    try:
        import cupy
    except ModuleNotFoundError as error:
        raise RuntimeError(
            "backend 'cupy': CuPy is not installed; "
            "`pip install -r requirements-cuda13.txt` (CUDA 13 driver) "
            "or `pip install -r requirements-cuda12.txt` (CUDA 12 driver) installs it"
        ) from error
    except ImportError as error:  # a CUDA library is missing, or another CuPy is in the way
        reason = " ".join(str(error).split())
        raise RuntimeError(
            f"backend 'cupy': CuPy is installed, but cannot be imported ({reason}); "
            "`minise doctor` looks for the cause"
        ) from error
    try:
        devices = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise RuntimeError(
            f"backend 'cupy': CuPy {cupy.__version__} is installed, but the CUDA driver does not "
            f"answer ({error}); check that `nvidia-smi` lists a GPU"
        ) from error
    if devices == 0:
        raise RuntimeError("backend 'cupy': no CUDA GPU found; check that `nvidia-smi` lists one")

    labels = cuda.LabelCheck(cupy, cupy.asnumpy)

    def to_numpy(array: Any) -> numpy.ndarray:
        labels.raise_if_wrong()
        return cupy.asnumpy(array)

    def synchronize() -> None:
        cupy.cuda.get_current_stream().synchronize()
        labels.raise_if_wrong()

    return Backend(
        name="cupy",
        xp=cupy,
        array_type=cupy.ndarray,
        to_numpy=to_numpy,
        synchronize=synchronize,
        fast=dict(cuda.KERNELS),
        check_labels=labels.check,
    )
