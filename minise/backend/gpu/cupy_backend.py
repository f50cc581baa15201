"""CuPy: NumPy's interface on a CUDA GPU. Imported only when somebody asks for it."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

import numpy

from ..capture import Recorder
from ..registry import Backend
from . import kernels, package


def create() -> Backend:
    """The CuPy backend; `package.UnusableError`, which says what helps, if it cannot run here."""
    package.check_packages()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # `check_driver` says it in one line
            import cupy
    except ModuleNotFoundError as error:
        remedy = package.how_to_install(package.driver_version())
        raise package.UnusableError("CuPy is not installed", remedy) from error
    except ImportError as error:  # a CUDA library is missing, or another CuPy is in the way
        reason = " ".join(str(error).split())
        raise package.UnusableError(
            f"CuPy is installed, but cannot be imported ({reason})",
            "`minise doctor` looks for the cause",
        ) from error
    package.check_driver(cupy)

    labels = kernels.LabelCheck(cupy, cupy.asnumpy)

    def to_numpy(array: Any) -> numpy.ndarray:
        labels.raise_if_wrong()
        return cupy.asnumpy(array)

    def synchronize() -> None:
        cupy.cuda.get_current_stream().synchronize()
        labels.raise_if_wrong()

    def memory() -> tuple[int, int]:
        free, total = cupy.cuda.runtime.memGetInfo()
        return total - free, free

    def check_tf32() -> None:
        kernels.launch.check_has_tf32(cupy.cuda.Device().compute_capability)

    return Backend(
        name="cupy",
        xp=cupy,
        array_type=cupy.ndarray,
        to_numpy=to_numpy,
        synchronize=synchronize,
        add=kernels.add,
        copies=partial(kernels.copies, cupy),
        offers=kernels.KERNELS,
        check_labels=labels.check,
        sgd=kernels.sgd.UPDATE,
        adam=kernels.adam.UPDATE,
        recorder=new_recorder,
        is_recording=lambda: cupy.cuda.get_current_stream().is_capturing(),
        check_tf32=check_tf32,
        memory=memory,
    )


def new_recorder() -> Recorder:
    """A CUDA graph; its module imports CuPy."""
    from .graph import CudaGraph

    return CudaGraph()
