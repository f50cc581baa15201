"""One step of SGD for all parameters, a stretch of numbers at a time: see minise.optim.SGD.

Whole arrays would travel through memory for every operation of the formula; here all of them follow
each other on a stretch that is still in the cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy

from ...registry import UpdateKernel
from .. import threads
from .layout import STRETCH
from .parameters import suits

Array = Any


def step(
    weights: Sequence[Array], gradients: Sequence[Array], velocities: Sequence[Array] | None,
    lr: Array, *, momentum: float = 0, dampening: float = 0, weight_decay: float = 0,
    nesterov: bool = False, maximize: bool = False, first: bool = False,
) -> None:  # fmt: skip
    """Move `weights` and `velocities` in place.

    Lists of contiguous arrays, all of one dtype; `velocities` is None without momentum. lr is an
    array of one float64. `first`: the velocities are not set yet.
    """
    rate = float(lr)
    stretches = [
        tuple(None if a is None else a.reshape(-1)[i : i + STRETCH] for a in arrays)
        for arrays in zip(weights, gradients, velocities or [None] * len(weights))
        for i in range(0, arrays[0].size, STRETCH)
    ]

    def move(w: Array, gradient: Array, v: Array | None) -> None:
        g, product = threads.scratch("steps", (2, w.size), w.dtype)
        numpy.multiply(gradient, -1 if maximize else 1, out=g)
        if weight_decay:
            numpy.add(g, numpy.multiply(w, weight_decay, out=product), out=g)
        if v is not None:
            if first:
                v[...] = g
            else:
                numpy.multiply(v, momentum, out=v)
                fresh = numpy.multiply(g, 1 - dampening, out=product) if dampening else g
                numpy.add(v, fresh, out=v)
            if nesterov:
                numpy.add(g, numpy.multiply(v, momentum, out=product), out=g)
            else:
                g = v
        numpy.subtract(w, numpy.multiply(g, rate, out=product), out=w)

    def compute(first: int, last: int) -> None:
        for arrays in stretches[first:last]:
            move(*arrays)

    parallel = sum(w.size for w in weights) > 4 * STRETCH
    threads.share(compute, len(stretches), step=1, parallel=parallel)


UPDATE = UpdateKernel(suits, step)
