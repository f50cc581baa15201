"""Matrix products whose rows are the windows of a convolution.

Windows share memory (strips.py), and a BLAS has its own wishes. There are three ways, all with the
same result:

    where they are   for a BLAS that multiplies small products without copying: windows of one row
    interleaved      every k-th window of a strip overlaps no other: k matrices, as they lie
    written out      one after the other, which pays where many columns use what was copied
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy

from .. import threads
from .layout import SMALL
from .products import add_product, block_of, multiply, small_product
from .strips import Piece, Plan, Strip, Strips

Array = Any

FEW = 64  # output channels up to which writing windows out takes longer than it saves
STRETCHES = 16  # that the workers take as they get free
SUMS = 1 << 22  # bytes that sums for dW may take in all; beyond, each worker has one stretch


class Product(NamedTuple):
    """R rows of each strip, the first from row `start` on, are the rows of a matrix `windows`.

    output     None, or where windows @ matrices goes; matrices (G, K, O), output (N, P, Q, G·O)
    partner    None, or what windowsᵀ is to be multiplied by; of output's shape
    """

    start: int
    R: int
    matrices: Array
    output: Array | None
    partner: Array | None


def multiply_all(
    x: Array,
    strip: Strip,
    products: list[Product],
    finish: Callable[[Array], None] | None = None,
) -> list[list[Array]]:
    """Fills all outputs from the strips of x (N, H, W, C); calls `finish` with each piece of them.

    Returns, for each stretch of the images, the sum of windowsᵀ @ partner for each product:
    (G, K, O).
    """
    G, size = len(products[0].matrices), x.shape[3] // len(products[0].matrices)
    plan = plan_of(x, strip, size, products)
    kept = threading.local()  # one buffer for all stretches of a thread

    def run(first: int, last: int) -> list[Array]:
        if not hasattr(kept, "strips"):
            kept.strips = Strips(x, strip, plan, size)
        totals = [numpy.zeros_like(product.matrices) for product in products]
        for piece in plan.pieces(first, last):
            for g in range(G):
                kept.strips.fill(piece, g)
                for product, total in zip(products, totals):
                    multiply_piece(kept.strips, piece, g, product, total[g])
            for product in products:
                if finish and product.output is not None:
                    finish(product.output[piece.here])
        return totals

    work = x.size * sum(product.R * strip.taps for product in products)
    return threads.share(run, plan.count, step=plan.step, parallel=work > SMALL, blas=True)


def plan_of(x: Array, strip: Strip, size: int, products: list[Product]) -> Plan:
    """Pieces that fill a cache with strips, and with what else a way needs."""
    N, P = len(x), strip.rows
    row = max(strip.number * strip.taps * size * x.itemsize, 1)  # bytes
    K, O = max(product.matrices.shape[1:] for product in products)
    way = way_of(K, O)
    if way is where_they_are:
        return Plan(N, P, row * strip.down, small_product() // max(K * O, 1), 0)
    others = strip.reach if way is written_out else 0
    sums = sum(product.matrices.nbytes for product in products)
    stretches = STRETCHES if STRETCHES * sums < SUMS else 0
    return Plan(N, P, row * (strip.down + others), N, stretches)


def multiply_piece(strips: Strips, piece: Piece, g: int, product: Product, total: Array) -> None:
    """One product of one group for the images or the band of a piece."""
    start, R, matrices, *arrays = product
    K, O = total.shape
    output, partner = (
        None if array is None else array[piece.here][..., g * O : (g + 1) * O] for array in arrays
    )
    if K > 0:
        way_of(K, O)(strips, start, R, matrices[g], output, partner, total)
    elif output is not None:  # a stride larger than the kernel: no window saw these pixels
        output[...] = 0


def way_of(K: int, O: int) -> Any:
    """How windows of K numbers are best multiplied by a (K, O).

    All ways take the strips, which of their rows, the matrix, output and partner (n, P, Q, O), and
    total (K, O). They fill output = windows @ matrix, and add windowsᵀ @ partner to total.
    """
    if small_product() >= 16 * K * O:
        return where_they_are
    return interleaved if O <= FEW and not small_product() else written_out


# --- where they are -----------------------------------------------------------------------------


def where_they_are(
    strips: Strips, start: int, R: int, matrix: Array,
    output: Array | None, partner: Array | None, total: Array,
) -> None:  # fmt: skip
    """The product with windows read from the strips, not copied."""
    if partner is not None and strips.slots_high < partner.shape[1]:
        written_out(strips, start, R, matrix, output, partner, total)  # see `interleaved`
        return
    if output is not None:
        n, P, Q, _ = output.shape
        multiply_windows(strips.windows(start, R, P)[:n, :Q], matrix, output)
    if partner is not None:
        add_slots(strips, start, R, partner, total.reshape(R, -1, total.shape[1]))


def multiply_windows(windows: Array, matrix: Array, output: Array) -> None:
    """output (n, P, Q, O) = windows (n, Q, P, K) @ matrix (K, O), where they are."""
    (n, Q, P, K), O = windows.shape, matrix.shape[1]
    if n >= 6:  # the rows of a product are images
        numpy.matmul(windows.transpose(1, 2, 0, 3), matrix, out=output.transpose(2, 1, 0, 3))
    else:  # or neighbours
        block = block_of(Q, K * O)
        windows = windows.transpose(0, 2, 1, 3).reshape(n, P, Q // block, block, K)
        numpy.matmul(windows, matrix, out=output.reshape(n, P, Q // block, block, O))


def add_slots(strips: Strips, start: int, R: int, partner: Array, total: Array) -> None:
    """total (R, taps·C, O) += Σ windowᵀ @ its partner; partner (n, P, Q, O).

    Each row of the strips, times the partner of the window that has this row at tap r.
    """
    n, P, Q, O = partner.shape
    slots = strips.slots(start, R, n)  # (slots, R, taps·C)
    beside = threads.scratch("beside", (len(slots), O), partner.dtype)
    beside.fill(0)
    strips.upright(beside, n)[:, :Q, :P] = partner.transpose(0, 2, 1, 3)
    block = block_of(len(slots), total[0].size)
    left = slots.reshape(-1, block, *slots.shape[1:]).transpose(0, 2, 3, 1)
    sums = threads.scratch("sums", (len(left) + 1, *total.shape), total.dtype)
    sums[0] = total
    numpy.matmul(left, beside.reshape(-1, 1, block, O), out=sums[1:])
    numpy.add.reduce(sums, axis=0, out=total)


# --- interleaved --------------------------------------------------------------------------------


def interleaved(
    strips: Strips, start: int, R: int, matrix: Array,
    output: Array | None, partner: Array | None, total: Array,
) -> None:  # fmt: skip
    """Against `written_out`, a fifth less time forward and a tenth less backward with 16 to 32
    channels (AVX2).
    """
    n, P, Q, O = (partner if output is None else output).shape  # type: ignore[union-attr]
    if strips.slots_high < P:  # windows begin in the next strip's zeros
        written_out(strips, start, R, matrix, output, partner, total)
        return
    key = start, R, n, O
    if key not in strips.views:
        strips.views[key] = Interleaved(strips, *key)
    slots = strips.views[key]
    if output is not None:
        numpy.matmul(slots.windows, matrix, out=slots.in_turn)
        output[...] = slots.upright[:, :Q, :P].transpose(0, 2, 1, 3)
    if partner is not None:
        slots.upright[:, :Q, :P] = partner.transpose(0, 2, 1, 3)
        slots.upright[:, :, P:] = 0
        slots.upright[:, Q:] = 0
        slots.rest[...] = 0
        numpy.matmul(slots.windows.transpose(0, 2, 1), slots.in_turn, out=slots.sums)
        total += numpy.add.reduce(slots.sums, axis=0)


class Interleaved:
    """The windows in a buffer of strips, and memory for a row of O numbers beside each of them.

    windows    k matrices (k, M, K)
    in_turn    the rows beside their windows: (k, M, O)
    upright    the same rows, by image and strip: (images, number, slots_high, O)
    rest       those that belong to no slot
    """

    def __init__(self, strips: Strips, start: int, R: int, images: int, O: int) -> None:
        self.windows = strips.interleaved(start, R, images)
        k, M, K = self.windows.shape
        rows = threads.scratch("beside", (M * k, O), self.windows.dtype)
        self.sums = threads.scratch("sums", (k, K, O), self.windows.dtype)
        self.in_turn = rows.reshape(M, k, O).transpose(1, 0, 2)
        self.upright = strips.upright(rows, images)
        self.rest = rows[self.upright.size // O :]


# --- written out --------------------------------------------------------------------------------


def written_out(
    strips: Strips, start: int, R: int, matrix: Array,
    output: Array | None, partner: Array | None, total: Array,
) -> None:  # fmt: skip
    """The product with windows copied into an im2col panel."""
    n, P, Q, O = (partner if output is None else output).shape  # type: ignore[union-attr]
    windows = strips.windows(start, R, P)[:n, :Q]  # (n, Q, P, K)
    columns = threads.scratch("columns", (n, P, Q, len(matrix)), matrix.dtype)
    numpy.copyto(columns, windows.transpose(0, 2, 1, 3))
    rows = columns.reshape(-1, len(matrix))
    if output is not None:
        multiply_rows(rows, matrix, output)
    if partner is not None:
        add_product(rows, partner.reshape(-1, O), total)


def multiply_rows(rows: Array, matrix: Array, output: Array) -> None:
    """output (n, P, Q, O) = rows (n·P·Q, K) @ matrix (K, O)."""
    if output.flags.c_contiguous:
        multiply(rows, matrix, output.reshape(len(rows), -1))
    else:
        product = threads.scratch("product", output.shape, output.dtype)
        multiply(rows, matrix, product.reshape(len(rows), -1))
        output[...] = product
