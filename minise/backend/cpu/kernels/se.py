"""SE's squeeze and scale, and the scale with the addition (and the ReLU) that follows it."""

from __future__ import annotations

from typing import Any

import numpy

from ...registry import Kernel
from .. import threads
from .elementwise import pass_where_positive, rectify
from .layout import (
    SMALL,
    along_rows,
    are_channels_last,
    as_channels_last,
    by_image,
    like,
    pixels_together,
    stretch_of_images,
)

Array = Any


def squeeze_suits(op: Any, x: Array) -> bool:
    """Channels-last images, to one number per channel."""
    return op.output_size == (1, 1) and are_channels_last(x)


def squeeze(op: Any, x: Array) -> Array:
    """The mean of each channel: adaptive_avg_pool2d to 1 × 1."""
    op.shape = x.shape
    N, C, H, W = x.shape
    rows = by_image(x)
    z = numpy.empty((N, C, 1, 1), dtype=x.dtype)

    def compute(first: int, last: int) -> None:
        sums = numpy.add.reduce(rows[first:last], axis=1)  # (n, k·C)
        z[first:last, :, 0, 0] = pixels_together(sums, C) / (H * W)

    threads.share(compute, N, parallel=x.size > SMALL)
    return z


def squeeze_backward(op: Any, grad: Array) -> Array:
    """The same share for every pixel: nothing is written out, the sum of gradients reads it."""
    H, W = op.shape[2:]
    return numpy.broadcast_to(grad / (H * W), op.shape)


def scale_suits(op: Any, u: Array, gates: Array) -> bool:
    """Channels-last images (N, C, H, W) and gates (N, C, 1, 1) of their dtype."""
    return (
        gates.shape[2:] == (1, 1)
        and gates.shape[:2] == u.shape[:2]
        and gates.dtype == u.dtype
        and are_channels_last(u)
    )


def scale(op: Any, u: Array, gates: Array) -> Array:
    """u (N, C, H, W) times one gate per channel (N, C, 1, 1): the multiply of SE without a sum."""
    op.a, op.b = u, gates
    y = like(u)
    U, out = by_image(u), by_image(y)
    S = along_rows(gates, U.shape[2])

    def compute(first: int, last: int) -> None:
        numpy.multiply(U[first:last], S[first:last], out=out[first:last])

    threads.share(compute, len(u), step=stretch_of_images(u), parallel=u.size > SMALL)
    return y


def scale_backward(op: Any, grad: Array) -> tuple[Array, Array]:
    grad = as_channels_last(grad)
    N, C = grad.shape[:2]
    dgates, du = numpy.empty((N, C, 1, 1), dtype=grad.dtype), like(grad)
    dy, U, dU = by_image(grad), by_image(op.a), by_image(du)
    S = along_rows(op.b, U.shape[2])

    def compute(first: int, last: int) -> None:
        part = slice(first, last)
        sums = numpy.einsum("nij,nij->nj", dy[part], U[part])
        numpy.multiply(dy[part], S[part], out=dU[part])
        dgates[part, :, 0, 0] = pixels_together(sums, C)

    threads.share(compute, N, step=stretch_of_images(grad), parallel=grad.size > SMALL)
    return du, dgates


def axpy_suits(op: Any, scale: Array, u: Array, shortcut: Array) -> bool:
    """Branch and shortcut in channels-last memory."""
    return are_channels_last(u, shortcut)


def axpy(op: Any, scale: Array, u: Array, shortcut: Array) -> Array:
    """See minise.ops.fused.Axpy and AxpyReLU."""
    op.scale, op.u = scale, u
    y = like(u)
    U, X, out = by_image(u), by_image(shortcut), by_image(y)
    S = along_rows(scale, U.shape[2])

    def compute(first: int, last: int) -> None:
        part = slice(first, last)
        numpy.multiply(U[part], S[part], out=out[part])
        numpy.add(out[part], X[part], out=out[part])
        if op.rectifies:
            rectify(out[part], out[part])

    threads.share(compute, len(u), step=stretch_of_images(u), parallel=u.size > SMALL)
    op.y = y if op.rectifies else None
    return y


def axpy_backward(op: Any, grad: Array) -> tuple[Array, Array, Array]:
    grad = as_channels_last(grad)
    N, C = grad.shape[:2]
    dscale = numpy.empty((N, C, 1, 1), dtype=grad.dtype)
    du = like(grad)
    dshortcut = grad if op.y is None else like(grad)
    dy, U, dU, dX = by_image(grad), by_image(op.u), by_image(du), by_image(dshortcut)
    Y = None if op.y is None else by_image(op.y)
    S = along_rows(op.scale, U.shape[2])

    def compute(first: int, last: int) -> None:
        part = slice(first, last)
        if Y is not None:
            pass_where_positive(dy[part], Y[part], dX[part])
        sums = numpy.einsum("nij,nij->nj", dX[part], U[part])
        numpy.multiply(dX[part], S[part], out=dU[part])
        dscale[part, :, 0, 0] = pixels_together(sums, C)

    threads.share(compute, N, step=stretch_of_images(grad), parallel=grad.size > SMALL)
    return dscale, du, dshortcut


KERNELS = {
    "adaptive_avg_pool2d": Kernel(squeeze_suits, squeeze, squeeze_backward),
    "multiply": Kernel(scale_suits, scale, scale_backward),
    "axpy": Kernel(axpy_suits, axpy, axpy_backward),
    "axpy_relu": Kernel(axpy_suits, axpy, axpy_backward),
}
