"""One step of Adam or AdamW for all parameters, a stretch of numbers at a time: see sgd.py.

Small parameters, of which a network has many, are copied into one array, moved there together and
copied back: to call NumPy for each of them would take most of the time.
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

SMALL = 1 << 11  # numbers: a parameter of fewer is moved together with others


def step(
    weights: Sequence[Array], gradients: Sequence[Array], states: dict[str, Sequence[Array]],
    lr: Array, *, betas: tuple[float, float], eps: float, weight_decay: float = 0,
    decoupled: bool = False, maximize: bool = False,
) -> None:  # fmt: skip
    """Move `weights` and `states` in place; see minise.optim.Adam.

    Lists of contiguous arrays, all of one dtype. `states` has them by the names of the optimizer's
    state: "step" (arrays of one int64), "exp_avg", "exp_avg_sq", and with amsgrad "max_exp_avg_sq".
    lr is an array of one float64. `decoupled`: weight decay as in AdamW.

    Whatever the plain rule rounds is rounded here too, so that both give the same bits.
    """
    learning_rate, epsilon, decay = float(lr), float(eps), float(weight_decay)
    beta1, beta2 = map(float, betas)

    def move(t: int, g: Array, w: Array, m: Array, v: Array, largest: Array | None = None) -> None:
        """Step t of the numbers w, all (n,)."""
        product, other = threads.scratch("steps", (2, w.size), w.dtype)
        if maximize:
            g = numpy.negative(g, out=other)
        if decay and decoupled:
            numpy.multiply(w, 1 - learning_rate * decay, out=w)
        elif decay:
            g = numpy.add(g, numpy.multiply(w, decay, out=product), out=other)
        numpy.multiply(m, beta1, out=m)
        numpy.add(m, numpy.multiply(g, 1 - beta1, out=product), out=m)
        numpy.multiply(v, beta2, out=v)
        numpy.multiply(numpy.multiply(g, 1 - beta2, out=product), g, out=product)
        numpy.add(v, product, out=v)
        if largest is not None:
            v = numpy.maximum(largest, v, out=largest)
        # Of Python's numbers: NumPy's power may differ from Python's in the last bit.
        rate, root = learning_rate / (1 - beta1**t), (1 - beta2**t) ** 0.5
        numpy.divide(numpy.sqrt(v, out=other), root, out=other)
        numpy.add(other, epsilon, out=other)
        numpy.divide(numpy.multiply(m, rate, out=product), other, out=product)
        numpy.subtract(w, product, out=w)

    moments = [states[k] for k in ("exp_avg", "exp_avg_sq", "max_exp_avg_sq") if k in states]
    large: list[tuple[int, list[Array]]] = []
    small: dict[int, list[list[Array]]] = {}  # by t, which all that move together share
    for count, *arrays in zip(states["step"], gradients, weights, *moments):
        count += 1
        t, flat = int(count), [array.reshape(-1) for array in arrays]
        if flat[0].size < SMALL:
            small.setdefault(t, []).append(flat)
        else:
            large.append((t, flat))
    together = {t: [numpy.concatenate(a) for a in zip(*several)] for t, several in small.items()}
    stretches = [
        (t, *(array[i : i + STRETCH] for array in flat))
        for t, flat in [*large, *together.items()]
        for i in range(0, flat[0].size, STRETCH)
    ]

    def compute(first: int, last: int) -> None:
        for stretch in stretches[first:last]:
            move(*stretch)

    parallel = sum(w.size for w in weights) > 4 * STRETCH
    threads.share(compute, len(stretches), step=1, parallel=parallel)
    for t, several in small.items():
        for whole, parts in [*zip(together[t], zip(*several))][1:]:  # all but the gradients
            take_apart(whole, parts)


def take_apart(whole: Array, parts: Sequence[Array]) -> None:
    """Copy the numbers of `whole` back to the arrays that were concatenated."""
    start = 0
    for part in parts:
        part[...] = whole[start : start + part.size]
        start += part.size


UPDATE = UpdateKernel(suits, step)
