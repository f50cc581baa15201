"""One step of SGD for all parameters in a few launches: see sgd.cu."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy

from .launch import THREADS, address, blocks_for, launch

Array = Any

MOST = 64  # parameters of one launch
EACH = 4  # numbers that a thread works on, of the largest parameter

# The struct Parameters of sgd.cu.
PARAMETERS = numpy.dtype(
    [
        ("weights", numpy.uintp, MOST),
        ("gradients", numpy.uintp, MOST),
        ("velocities", numpy.uintp, MOST),
        ("counts", numpy.int32, MOST),
    ]
)


def step(
    weights: Sequence[Array], gradients: Sequence[Array], velocities: Sequence[Array] | None,
    lr: Array, *, momentum: float = 0, dampening: float = 0, weight_decay: float = 0,
    nesterov: bool = False, maximize: bool = False, first: bool = False,
) -> None:  # fmt: skip
    """Move `weights` and `velocities` in place; see minise.optim.SGD.

    Lists of contiguous arrays, all of one dtype; `velocities` is None without momentum. lr is an
    array of one float64 on the GPU. `first`: the velocities are not set yet.
    """
    for start in range(0, len(weights), MOST):
        part = slice(start, start + MOST)
        parameters = numpy.zeros((), PARAMETERS)
        named = {"weights": weights, "gradients": gradients, "velocities": velocities or ()}
        for name, arrays in named.items():
            addresses = [address(array) for array in arrays[part]]
            parameters[name][: len(addresses)] = addresses
        counts = [array.size for array in weights[part]]
        parameters["counts"][: len(counts)] = counts
        launch(
            "sgd_step", weights[start].dtype,
            (blocks_for(max(counts), EACH * THREADS), len(counts)),
            parameters, lr, float(momentum), float(dampening), float(weight_decay), nesterov,
            maximize, first,
        )  # fmt: skip
