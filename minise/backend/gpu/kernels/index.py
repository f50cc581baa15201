"""The scatter-add of an index's gradient in a fixed order.

On a GPU the order in which `add.at` adds is chance, and with it the last bits of the sum.
"""

from __future__ import annotations

from typing import Any

from ...registry import Kernel

Array = Any


def suits(op: Any, x: Array) -> bool:
    """Keys with arrays of integers, which may pick an element twice."""
    parts = op.key if isinstance(op.key, tuple) else (op.key,)
    return any(hasattr(part, "dtype") and part.dtype.kind in "iu" for part in parts)


def forward(op: Any, x: Array) -> Array:
    """See minise.ops.index.Index."""
    op.shape = x.shape
    return x[op.key]


def backward(op: Any, grad: Array) -> Array:
    """What goes to one place is added up two by two: the same inputs give the same bits."""
    xp = op.xp
    dx = xp.zeros(op.shape, dtype=grad.dtype)
    places = xp.arange(dx.size).reshape(op.shape)[op.key].reshape(-1)
    order = xp.argsort(places, kind="stable")
    places, parts = places[order], grad.reshape(-1)[order]
    while True:
        rank = xp.arange(places.size) - xp.searchsorted(places, places)
        second = rank % 2 == 1  # the 2nd, 4th, ... of equal places
        if not second.any():
            break
        at = xp.flatnonzero(second)
        parts[at - 1] += parts[at]
        places, parts = places[~second], parts[~second]
    dx.reshape(-1)[places] = parts
    return dx


KERNELS = {"index": Kernel(suits, forward, backward)}
