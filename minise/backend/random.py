"""One stream of random numbers for weights, dropout and augmentation.

It is always NumPy's, on the host, so the same seed gives the same net on every backend.
"""

from __future__ import annotations

import numpy

_generator = numpy.random.default_rng(0)


def manual_seed(seed: int) -> None:
    """Start the stream again from `seed` (a non-negative integer)."""
    global _generator
    if not isinstance(seed, (int, numpy.integer)) or seed < 0:
        raise ValueError(f"manual_seed: expected an integer >= 0, got {seed!r}")
    _generator = numpy.random.default_rng(seed)


def generator() -> numpy.random.Generator:
    """The generator that everything in minise draws from."""
    return _generator
