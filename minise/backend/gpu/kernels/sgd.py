"""One step of SGD for all parameters in a few launches: see sgd.cu."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy

from ...registry import UpdateKernel
from .launch import launch
from .parameters import ADDRESS, blocks, parts, struct, suit_an_update, table

Array = Any

# The struct Parameters of sgd.cu.
PARAMETERS = struct(weights=ADDRESS, gradients=ADDRESS, velocities=ADDRESS, counts=numpy.int32)


def step(
    weights: Sequence[Array], gradients: Sequence[Array], velocities: Sequence[Array] | None,
    lr: Array, *, momentum: float = 0, dampening: float = 0, weight_decay: float = 0,
    nesterov: bool = False, maximize: bool = False, first: bool = False,
) -> None:  # fmt: skip
    """Move `weights` and `velocities` in place; see minise.optim.SGD.

    Lists of contiguous arrays, all of one dtype; `velocities` is None without momentum. lr is an
    array of one float64 on the GPU. `first`: the velocities are not set yet.
    """
    for part in parts(len(weights)):
        counts = [array.size for array in weights[part]]
        parameters = table(
            PARAMETERS, weights=weights[part], gradients=gradients[part],
            velocities=(velocities or ())[part], counts=counts,
        )  # fmt: skip
        launch(
            "sgd_step", weights[0].dtype, blocks(counts),
            parameters, lr, float(momentum), float(dampening), float(weight_decay), nesterov,
            maximize, first,
        )  # fmt: skip


UPDATE = UpdateKernel(suit_an_update, step)
