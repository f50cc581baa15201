"""3x3 convolutions with two thirds of the multiplications: Winograd's minimal filtering F(2, 3).

Two outputs one below the other, y0 and y1, see four rows d0 to d3 through three taps g0 to g2.
That is six products. Four suffice (Lavin and Gray, "Fast Algorithms for Convolutional Neural
Networks", CVPR 2016, section 4.1), with additions on either side of them:

    y0 = d0 g0 + d1 g1 + d2 g2 = m0 + m1 + m2      m0 = (d0 - d2) g0
    y1 = d1 g0 + d2 g1 + d3 g2 = m1 - m2 + m3      m1 = (d1 + d2) (g0 + g1 + g2) / 2
                                                   m2 = (d2 - d1) (g0 - g1 + g2) / 2
                                                   m3 = (d3 - d1) g2

Here d0 to d3 are rows of an image. Along the row a tap is still a window of three neighbouring
pixels with all their channels, so each of the four products is a product of matrices:

    m_i (pixels, O) = windows of a sum or difference of two rows (pixels, 3·C) @ U_i (3·C, O)

The transformed rows lie one behind the other with a zero between them, and a window is three pixels
in a row: nothing is written out once for every window. Windows overlap, but every third window does
not overlap the next third one, so they make three plain matrices as they lie.

dx is the same convolution of dy with the kernel turned by 180°. Its weight gradient comes from the
same transformed rows: dU_i is the product of the windows with what arrives at m_i, which is dy0,
dy0 + dy1, dy0 - dy1 or dy1.

No factor here is larger than 1, so rounding is that of the usual sum. With float32, for 16 / 32 /
64 channels of a CIFAR net, it takes 0.9 / 0.9 / 0.8 of the time that products over all nine taps
take on AVX2, and 0.7 / 0.8 / 0.9 on AVX-512 (AMD). (Infinities that a window sees arrive as NaN:
inf - inf.)
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy

from .. import memory, threads
from .layout import SMALL
from .products import small_product

Array = Any

NARROWEST = 16  # channels on either side, or the products are too narrow for their BLAS
FEWEST = 48  # rows of a small product; with fewer the usual ones are faster
PIECE = 3 << 20  # bytes of rows and products at a time: more than an L2 cache, but calls cost too
LEAST_PIECE = 1 << 19  # bytes; with less the products are too short for their BLAS
STRETCHES = 8  # or a multiple, that the workers take as they get free
SUMS = 1 << 25  # bytes that sums for dW may take in all; beyond, each worker has one stretch


def pays(op: Any) -> bool:
    """Whether these are 3x3 windows at every pixel, and whether fewer multiplications pay."""
    O, C, R, S = op.weight.shape
    return (
        (R, S, *op.stride, op.groups) == (3, 3, 1, 1, 1)
        and op.padding == ((1, 1), (1, 1))
        and op.x.shape[2] % 2 == 0
        and min(O, C) >= NARROWEST
    )


def convolve(x: Array, weight: Array, finish: Callable[[Array], None] | None) -> Array:
    """x (N, H, W, C), weight (O, C, 3, 3) -> y (N, H, W, O)."""
    y = memory.empty((*x.shape[:3], len(weight)), x.dtype)
    multiply_all(x, weight.transpose(2, 3, 1, 0), y, None, finish)
    return y


def collect(x: Array, weight: Array, dy: Array, needs: Any) -> tuple[Array | None, Array | None]:
    """dx (N, H, W, C) and dW (O, C, 3, 3)."""
    dx = memory.empty(x.shape, x.dtype) if needs[0] else None
    turned = weight[:, :, ::-1, ::-1].transpose(2, 3, 0, 1)
    dturned = multiply_all(dy, turned, dx, x if needs[1] else None)
    return dx, None if dturned is None else dturned.transpose(2, 3, 0, 1)[:, :, ::-1, ::-1]


def multiply_all(
    x: Array,
    kernel: Array,
    y: Array | None,
    dy: Array | None,
    finish: Callable[[Array], None] | None = None,
) -> Array | None:
    """Fills y (N, H, W, O) with the convolution of x (N, H, W, C) and kernel (3, 3, C, O).

    Returns the gradient of the kernel if dy, like y, is what flows back.
    """
    (N, H, W, C), O = x.shape, kernel.shape[3]
    needed = 2 * x.nbytes // C * (C + O)
    pieces = STRETCHES * -(-needed // (STRETCHES * PIECE))
    pieces = max(min(pieces, needed // LEAST_PIECE), 1)
    images = -(-N // pieces)
    U = transformed(kernel) if y is not None else None
    few = dy is None or 4 * kernel.nbytes * pieces < 3 * SUMS  # dU has four matrices
    kept = threading.local()  # one buffer for all stretches of a thread

    def run(first: int, last: int) -> Array:
        if not hasattr(kept, "rows"):
            kept.rows = Rows(images, H // 2, W, C, O, x.dtype)
        total = numpy.zeros((4, O, 3 * C) if dy is not None else 0, x.dtype)
        for i in range(first, last, images):
            part = slice(i, min(i + images, last))
            kept.rows.fill(x[part])
            if y is not None:
                kept.rows.multiply(U, y[part])
                if finish:
                    finish(y[part])
            if dy is not None:
                kept.rows.add_gradient(dy[part], total)
        return total

    totals = threads.share(run, N, step=images if few else 0, parallel=x.size > SMALL, blas=True)
    return None if dy is None else transformed_back(sum(totals)).reshape(kernel.shape)


def transformed(kernel: Array) -> Array:
    """(3, S, C, O) -> U (4, S·C, O)."""
    g0, g1, g2 = kernel.reshape(3, -1, kernel.shape[3])
    U = memory.aligned((4, *g0.shape), kernel.dtype)
    outer = (g0 + g2) / 2
    U[0], U[1], U[2], U[3] = g0, outer + g1 / 2, outer - g1 / 2, g2
    return U


def transformed_back(dU: Array) -> Array:
    """dUᵀ (4, O, S·C) -> the gradient of the kernel, (3, S·C, O)."""
    outer = (dU[1] + dU[2]) / 2
    dg = numpy.stack([dU[0] + outer, (dU[1] - dU[2]) / 2, outer + dU[3]])
    return dg.transpose(0, 2, 1)


class Rows:
    """Sums and differences of rows of a few images, and what belongs to their windows.

    pixels     for each product i the transformed rows, with a zero pixel before each and one behind
               all of them: (4, ·, C)
    beside     a row of O numbers for each pixel: what the window around it gives, (4, ·, O)
    """

    def __init__(self, images: int, pairs: int, W: int, C: int, O: int, dtype: Any) -> None:
        self.shape = images, pairs, W + 1
        count = images * pairs * (W + 1)
        thirds = -(-count // 3)
        most = small_product() // (3 * C * O)  # rows that a BLAS with small products takes at once
        blocks = -(-thirds // most) if most >= FEWEST else 1
        block = -(-thirds // blocks)
        thirds = blocks * block
        self.pixels = threads.scratch("pixels", (4, 3 * thirds + 2, C), dtype)
        self.beside = threads.scratch("beside", (4, 3 * thirds, O), dtype)
        self.upright = self.pixels[:, :count].reshape(4, *self.shape, C)
        self.upright[..., 0, :] = 0
        self.upright_beside = self.beside[:, :count].reshape(4, *self.shape, O)

        # Every third window: rows of 3·C numbers that do not overlap
        i, pixel, item = self.pixels.strides
        shape, strides = (blocks, block, 3 * C), (3 * block * pixel, 3 * pixel, item)
        self.windows = numpy.ndarray((4, 3, *shape), dtype, self.pixels, 0, (i, pixel, *strides))
        self.in_turn = self.beside.reshape(4, blocks, block, 3, O).transpose(0, 3, 1, 2, 4)

    def count(self, images: int) -> int:
        """How many pixels so many images have."""
        return images * self.shape[1] * self.shape[2]

    def fill(self, x: Array) -> None:
        """x (n, H, W, C) -> pixels; a pair of rows of x is d1 and d2."""
        d1, d2 = x[:, ::2], x[:, 1::2]
        V0, V1, V2, V3 = self.upright[:, : len(x), :, 1:]
        numpy.subtract(d2[:, :-1], d2[:, 1:], out=V0[:, 1:])  # d0 is d2 of the pair above
        numpy.negative(d2[:, 0], out=V0[:, 0])
        numpy.add(d1, d2, out=V1)
        numpy.subtract(d2, d1, out=V2)
        numpy.subtract(d1[:, 1:], d1[:, :-1], out=V3[:, :-1])  # d3 is d1 of the pair below
        numpy.negative(d1[:, -1], out=V3[:, -1])
        self.pixels[:, self.count(len(x)) :] = 0

    def multiply(self, U: Array, y: Array) -> None:
        """y (n, H, W, O) from pixels, U (4, 3·C, O)."""
        numpy.matmul(self.windows, U[:, None, None], out=self.in_turn)
        m0, m1, m2, m3 = self.upright_beside[:, : len(y), :, :-1]
        y0, y1 = y[:, ::2], y[:, 1::2]
        numpy.add(m0, m1, out=y0)
        numpy.add(y0, m2, out=y0)
        numpy.subtract(m1, m2, out=y1)
        numpy.add(y1, m3, out=y1)

    def add_gradient(self, dy: Array, total: Array) -> None:
        """total (4, O, 3·C) += dUᵀ, from pixels and dy (n, H, W, O)."""
        dm = self.upright_beside[:, : len(dy)]
        dy0, dy1 = dy[:, ::2], dy[:, 1::2]
        dm[0, :, :, :-1] = dy0
        numpy.add(dy0, dy1, out=dm[1, :, :, :-1])
        numpy.subtract(dy0, dy1, out=dm[2, :, :, :-1])
        dm[3, :, :, :-1] = dy1
        dm[..., -1, :] = 0  # the window around a zero between two rows is none

        self.beside[:, self.count(len(dy)) :] = 0
        shape = *self.windows.shape[:3], *total.shape[1:]
        sums = threads.scratch("sums", shape, total.dtype)
        numpy.matmul(self.in_turn.transpose(0, 1, 2, 4, 3), self.windows, out=sums)
        total += numpy.add.reduce(sums, axis=(1, 2))
