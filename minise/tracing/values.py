"""What is kept of an array: all of it where it is small, a corner and three numbers where not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy

from .. import backend
from ..autograd import Array

WHOLE = 144  # arrays of up to so many elements are kept whole
CORNER = (1, 1, 5, 5)  # of larger ones: so many entries along the last four axes, one along others
ROW = 16  # ... and so many of a vector


@dataclass(frozen=True, eq=False)
class Values:
    """An array that was copied when it was seen, so that what happens to it later does not show.

    shape, dtype  of the array
    shown         the array itself, or its first corner, of the same number of axes
    minimum, maximum  over the finite elements; None if there are none
    norm          √Σ x² over the finite elements
    nonfinite     how many elements are NaN or infinite
    """

    shape: tuple[int, ...]
    dtype: str
    shown: numpy.ndarray
    minimum: float | None
    maximum: float | None
    norm: float
    nonfinite: int

    @staticmethod
    def of(array: Array) -> Values:
        """What is kept of an array of any backend."""
        if isinstance(array, numpy.generic):  # NumPy hands 0-d results out as scalars
            array = numpy.asarray(array)
        host = backend.of(array).to_numpy(array)
        finite = host.ravel(order="K")  # in the order of its memory: no copy
        if finite.size and not numpy.isfinite([finite.min(), finite.max()]).all():
            finite = finite[numpy.isfinite(finite)]
        squares = numpy.einsum("i,i->", finite, finite, dtype=numpy.float64, casting="unsafe")
        return Values(
            shape=host.shape,
            dtype=host.dtype.name,
            shown=host[corner(host.shape)].copy(),
            minimum=finite.min().item() if finite.size else None,
            maximum=finite.max().item() if finite.size else None,
            norm=float(numpy.sqrt(squares)),
            nonfinite=host.size - finite.size,
        )

    @property
    def whole(self) -> bool:
        """Whether every element was kept."""
        return self.shown.shape == self.shape


def corner(shape: tuple[int, ...]) -> tuple[slice, ...]:
    """The part of an array of that shape that is kept."""
    if numpy.prod(shape, dtype=int) <= WHOLE:
        return tuple(slice(None) for _ in shape)
    if len(shape) == 1:
        return (slice(ROW),)
    lengths = ((1,) * len(shape) + CORNER)[-len(shape) :]
    return tuple(slice(length) for length in lengths)
