"""NumPy: always there. Its fast kernels are those of kernels/."""

from __future__ import annotations

import numpy

from ..registry import Backend
from . import kernels


def create() -> Backend:
    """The NumPy backend."""
    return Backend(
        name="numpy",
        xp=numpy,
        array_type=numpy.ndarray,
        to_numpy=numpy.asarray,
        add=kernels.add,
        offers=kernels.KERNELS,
        sgd=kernels.sgd.UPDATE,
        adam=kernels.adam.UPDATE,
    )
