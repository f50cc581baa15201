"""Which parameters a kernel of the CPU can move together: see sgd.py and adam.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy

Array = Any


def suits(weights: Sequence[Array]) -> bool:
    """Whether all are contiguous, and all float32 or all float64: then each is a flat stretch."""
    dtype = weights[0].dtype
    return dtype in (numpy.float32, numpy.float64) and all(
        array.dtype == dtype and array.flags.c_contiguous for array in weights
    )
