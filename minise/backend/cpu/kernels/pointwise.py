"""1x1 convolutions: the pixels are the rows of a matrix already."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy

from .. import memory, threads
from .layout import CACHE, SMALL
from .products import add_product, multiply

Array = Any

LARGE = 1 << 17  # bytes of a matrix: to turn it takes NumPy longer than the BLAS, which copies it


def pointwise(
    x: Array, weight: Array, stride: tuple[int, int], finish: Callable[[Array], None] | None
) -> Array:
    """x (N, H, W, C), weight (O, C) -> y (N, P, Q, O): y = x @ Wᵀ at every `stride`-th pixel.

    `finish`, if any, is called with each part of y when it is complete.
    """
    seen = x[:, :: stride[0], :: stride[1]]
    N, P, Q, C = seen.shape
    matrix = ready(weight.T)
    y = memory.empty((N, P, Q, len(weight)), x.dtype)

    def compute(first: int, last: int) -> None:
        for part in images_of(seen, first, last):
            multiply(seen[part].reshape(-1, C), matrix, y[part].reshape(-1, len(weight)))
            if finish:
                finish(y[part])

    threads.share(compute, N, parallel=y.size > SMALL, blas=True)
    return y


def pointwise_backward(
    x: Array, weight: Array, dy: Array, stride: tuple[int, int], needs: Any
) -> tuple[Array | None, Array | None]:
    """dx = dy @ W where x was seen, and 0 elsewhere; dW = dyᵀ @ x."""
    seen = x[:, :: stride[0], :: stride[1]]
    (N, P, Q, C), O = seen.shape, len(weight)
    dx = memory.empty(x.shape, x.dtype) if needs[0] else None
    matrix = ready(weight)

    def compute(first: int, last: int) -> Array:
        total = numpy.zeros((O, C), dtype=x.dtype)
        for part in images_of(seen, first, last):
            grads = dy[part].reshape(-1, O)
            if needs[1]:
                add_product(grads, seen[part].reshape(-1, C), total)
            if dx is None:
                continue
            if stride == (1, 1):
                multiply(grads, matrix, dx[part].reshape(-1, C))
            else:
                product = threads.scratch("product", seen[part].shape, x.dtype)
                multiply(grads, matrix, product.reshape(-1, C))
                dx[part] = 0
                dx[part, :: stride[0], :: stride[1]] = product
        return total

    totals = threads.share(compute, N, parallel=dy.size > SMALL, blas=True)
    return dx, sum(totals) if needs[1] else None


def ready(matrix: Array) -> Array:
    """A small matrix laid out as products like it best; a large one, which they copy, as it is."""
    if matrix.nbytes > LARGE:
        return matrix
    laid_out = memory.aligned(matrix.shape, matrix.dtype)
    laid_out[...] = matrix
    return laid_out


def images_of(x: Array, first: int, last: int) -> list[slice]:
    """Images `first` to `last` in slices of about CACHE bytes."""
    step = max(CACHE // (x[0].size * x.itemsize), 1)
    return [slice(i, min(i + step, last)) for i in range(first, last, step)]
