"""One step of Adam or AdamW for all parameters in a few launches: see adam.cu."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy

from ... import registry
from .launch import launch
from .parameters import ADDRESS, blocks, parts, struct, suit_an_update, table

Array = Any

# The structs of adam.cu.
COUNTERS = struct(steps=ADDRESS)
MOMENTS = struct(
    weights=ADDRESS, gradients=ADDRESS, means=ADDRESS, squares=ADDRESS, largest=ADDRESS,
    counts=numpy.int32,
)  # fmt: skip


def step(
    weights: Sequence[Array], gradients: Sequence[Array], states: dict[str, Sequence[Array]],
    lr: Array, *, betas: tuple[float, float], eps: float, weight_decay: float = 0,
    decoupled: bool = False, maximize: bool = False,
) -> None:  # fmt: skip
    """Move `weights` and `states` in place; see minise.optim.Adam.

    Lists of contiguous arrays, all of one dtype. `states` has them by the names of the optimizer's
    state: "step" (arrays of one int64), "exp_avg", "exp_avg_sq", and with amsgrad "max_exp_avg_sq".
    lr is an array of one float64 on the GPU. `decoupled`: weight decay as in AdamW.
    """
    xp = registry.of(weights[0]).xp
    beta1, beta2 = map(float, betas)
    dtype, largest = weights[0].dtype, states.get("max_exp_avg_sq", ())
    for part in parts(len(weights)):
        counts = [array.size for array in weights[part]]
        bias = xp.empty((len(counts), 2), dtype=numpy.float64)
        counters = table(COUNTERS, steps=states["step"][part])
        launch("adam_count", dtype, (1,), counters, bias, len(counts), beta1, beta2)
        moments = table(
            MOMENTS, weights=weights[part], gradients=gradients[part],
            means=states["exp_avg"][part], squares=states["exp_avg_sq"][part],
            largest=largest[part], counts=counts,
        )  # fmt: skip
        launch(
            "adam_step", dtype, blocks(counts),
            moments, bias, lr, beta1, beta2, float(eps), float(weight_decay), decoupled, maximize,
        )  # fmt: skip


UPDATE = registry.UpdateKernel(suit_an_update, step)
