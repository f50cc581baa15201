"""NumPy: always there. The fast kernels of the CPU are registered here, by op name."""

from __future__ import annotations

import numpy

from ..registry import Backend
from . import kernels as fast


def create() -> Backend:
    """The NumPy backend."""
    return Backend(
        name="numpy",
        xp=numpy,
        array_type=numpy.ndarray,
        to_numpy=numpy.asarray,
        add=fast.add,
        fast=dict(fast.KERNELS),
        sgd=fast.sgd.UPDATE,
        adam=fast.adam.UPDATE,
    )
