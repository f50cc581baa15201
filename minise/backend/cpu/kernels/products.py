"""Matrix products in blocks that suit the BLAS."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy

from .. import threads

Array = Any

AVX512 = {"SkylakeX", "Cooperlake", "SapphireRapids"}  # as threadpoolctl names OpenBLAS's kernels


@cache
def small_product() -> int:
    """Multiply-adds up to which this BLAS multiplies its operands as they lie; 0: it never does.

    A BLAS copies them into an order of its own first, which does not pay where few columns use what
    was copied. For AVX-512, OpenBLAS has kernels without that copy: on this kind of matrix they run
    at 200 GFLOP/s a core instead of 110 to 150.
    """
    kernels = {library.get("architecture") for library in threads.blas_libraries().info()}
    return 1_000_000 if kernels and kernels <= AVX512 else 0


@cache
def block_of(M: int, per_row: int) -> int:
    """How many of M rows go into one product, at `per_row` multiply-adds a row: a divisor of M.

    As many as a small product has room for, if these are a fair number; else the cache decides.
    """
    most = small_product() // per_row if 48 * per_row <= small_product() else 512
    return next((block for block in range(min(most, M), 15, -1) if M % block == 0), M)


def multiply(rows: Array, matrix: Array, output: Array) -> None:
    """output (M, O) = rows (M, K) @ matrix (K, O), in blocks of rows."""
    (M, K), O = rows.shape, matrix.shape[1]
    block = block_of(M, K * O)
    numpy.matmul(rows.reshape(-1, block, K), matrix, out=output.reshape(-1, block, O))


def add_product(left: Array, right: Array, total: Array) -> None:
    """total (K, O) += left (M, K)ᵀ @ right (M, O), in blocks of rows with a sum each."""
    (M, K), O = left.shape, right.shape[1]
    block = block_of(M, K * O)
    left, right = left.reshape(-1, block, K), right.reshape(-1, block, O)
    sums = threads.scratch("sums", (len(left) + 1, K, O), total.dtype)
    sums[0] = total
    numpy.matmul(left.transpose(0, 2, 1), right, out=sums[1:])
    numpy.add.reduce(sums, axis=0, out=total)
