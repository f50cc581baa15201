"""Convolution without a matrix of all columns.

The plain kernel writes out the columns of the whole batch, reads them back for the product, and
spends its time waiting for memory: the columns are R·S times as large as the picture. Here each
worker builds the columns of a few images in a buffer that stays in its cache and multiplies them
straight into the output.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy

from .. import memory, threads
from .columns import Columns, Piece, Windows, pieces
from .layout import SMALL, channels_first, channels_last

Array = Any

BLAS_SMALL = 1_000_000  # multiply-adds up to which OpenBLAS multiplies without copying
NARROW = 16  # with at most so many output channels, two pixels share a row of the product


def forward(op: Any, x: Array, weight: Array, bias: Array | None = None) -> Array:
    """See minise.ops.conv.Conv2d; y is channels-last in memory."""
    if x.dtype.kind != "f" or x.dtype.itemsize < 4 or x.size == 0:
        op.fast_backward = None
        return op.forward(x, weight) if bias is None else op.forward(x, weight, bias)
    op.x, op.weight = x, weight
    y = convolve(channels_last(x), kernels(weight, op.groups), windows_of(op))
    if bias is not None:
        y += bias
    return channels_first(y)


def backward(op: Any, grad: Array) -> tuple[Array | None, ...]:
    x, dy = channels_last(op.x), channels_last(grad)
    spare = [d * (k - 1) for d, k in zip(op.dilation, op.weight.shape[2:])]
    fits = all(n >= max(pads) for n, pads in zip(spare, op.padding))
    if op.stride == (1, 1) and fits and op.needs[0]:
        dx, dweight = backward_from_dy(op, x, dy, spare)
    else:
        dx, dweight = backward_from_x(op, x, dy)
    dx = None if dx is None else channels_first(dx)
    if len(op.needs) == 2:
        return dx, dweight
    return dx, dweight, dy.sum(axis=(0, 1, 2), dtype=numpy.float64).astype(dy.dtype)


def windows_of(op: Any) -> Windows:
    H, W = op.x.shape[2:]
    (R, S), (dh, dw), ((top, bottom), (left, right)) = op.weight.shape[2:], op.dilation, op.padding
    P = (H + top + bottom - dh * (R - 1) - 1) // op.stride[0] + 1
    Q = (W + left + right - dw * (S - 1) - 1) // op.stride[1] + 1
    return Windows((R, S), op.stride, op.padding, op.dilation, (P, Q))


def kernels(weight: Array, groups: int) -> Array:
    """(O, C/G, R, S) -> (G, R, S, C/G, O/G): for each group a matrix that columns multiply."""
    O, size, R, S = weight.shape
    split = weight.reshape(groups, O // groups, size, R, S)
    return numpy.ascontiguousarray(split.transpose(0, 3, 4, 2, 1))


def convolve(x: Array, kernel: Array, windows: Windows) -> Array:
    """x (N, H, W, C) with kernels (G, R, S, C/G, O/G) -> (N, P, Q, O)."""
    N, (P, Q) = x.shape[0], windows.outputs
    G, R, S, size, per_group = kernel.shape
    O = G * per_group
    if can_pair(windows, G, O):
        return convolve(x, paired(kernel), in_pairs(windows)).reshape(N, P, Q, O)
    matrices = kernel.reshape(G, R * S * size, per_group)
    y = memory.empty((N, P, Q, O), x.dtype)
    rows = y.reshape(N * P * Q, O)
    work = pieces(N, P, Q * R * S * size * x.itemsize)

    def compute(first: int, last: int) -> None:
        columns = Columns(x, windows, work[first:last], G)
        for piece in work[first:last]:
            output = rows[piece.pixels(P, Q)]
            for g in range(G):
                part = output if G == 1 else output[:, g * per_group : (g + 1) * per_group]
                multiply(columns(piece, g), matrices[g], part)

    threads.share(compute, len(work), parallel=y.size * R * S > SMALL, blas=True)
    return y


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


@cache
def block_of(M: int, per_row: int) -> int:
    """How many of M rows go into one product, at `per_row` multiply-adds a row: a divisor of M.

    A BLAS copies its operands into an order of its own first, which does not pay where few columns
    use what was copied. OpenBLAS has kernels without that copy for products of up to a million
    multiply-adds: on this kind of matrix they run at 200 GFLOP/s a core instead of 110 to 150.
    They want a fair number of rows; where only few would fit, the cache decides.
    """
    most = BLAS_SMALL // per_row if per_row <= BLAS_SMALL // 48 else 512
    return next((block for block in range(min(most, M), 15, -1) if M % block == 0), M)


def can_pair(windows: Windows, groups: int, channels: int) -> bool:
    """Whether two pixels may share a row of the product; for `channels` output channels."""
    (_, S), (_, Q) = windows.kernel, windows.outputs
    steps = windows.stride[1], windows.dilation[1]
    return groups == 1 and channels <= NARROW and S > 1 and Q % 2 == 0 and steps == (1, 1)


def paired(kernel: Array) -> Array:
    """Kernels for two neighbouring pixels at once: (1, R, S, C, O) -> (1, R, S + 1, C, 2·O).

    The second half is the kernel moved one tap to the right, the rest is zero. A product with 16
    columns leaves half of a processor's vector registers idle; with 32 it does a third more
    multiplications in less time, from a third fewer columns. (A NaN or infinity that only one pixel
    of the pair sees reaches the other too, as 0 · inf.)
    """
    _, R, S, C, O = kernel.shape
    pair = numpy.zeros((1, R, S + 1, C, 2, O), dtype=kernel.dtype)
    pair[:, :, :S, :, 0] = kernel
    pair[:, :, 1:, :, 1] = kernel
    return pair.reshape(1, R, S + 1, C, 2 * O)


def in_pairs(windows: Windows) -> Windows:
    (R, S), (P, Q) = windows.kernel, windows.outputs
    return windows._replace(kernel=(R, S + 1), stride=(windows.stride[0], 2), outputs=(P, Q // 2))


def backward_from_dy(op: Any, x: Array, dy: Array, spare: list[int]) -> tuple[Array, Array]:
    """Stride 1: dx is a convolution too, of dy with the kernels turned by 180°, and its columns

        dx = columns(dy) @ W_turned,     dW_turned = xᵀ @ columns(dy)

    serve both products: each is built once and used twice while it is in the cache.
    """
    (N, H, W, C), (O, size, R, S), G = x.shape, op.weight.shape, op.groups
    (top, bottom), (left, right) = op.padding
    pads = (spare[0] - top, spare[0] - bottom), (spare[1] - left, spare[1] - right)
    windows = Windows((R, S), (1, 1), pads, op.dilation, (H, W))
    turned = op.weight[:, :, ::-1, ::-1].reshape(G, O // G, size, R, S)
    kernel = numpy.ascontiguousarray(turned.transpose(0, 3, 4, 1, 2))  # (G, R, S, O/G, C/G)
    pixels = 1  # that share a row
    if can_pair(windows, G, C):
        kernel, windows, pixels = paired(kernel), in_pairs(windows), 2
    matrices = kernel.reshape(G, -1, kernel.shape[-1])  # (G, R·S·O/G, C/G)
    height, width = windows.outputs
    dx = memory.empty((N, H, W, C), x.dtype)
    x_rows, dx_rows = (a.reshape(N * height * width, pixels * C) for a in (x, dx))
    work = pieces(N, height, width * matrices.shape[1] * x.itemsize)

    def compute(first: int, last: int) -> Array:
        columns = Columns(dy, windows, work[first:last], G)
        total = numpy.zeros((G, pixels * size, matrices.shape[1]), dtype=x.dtype)
        for piece in work[first:last]:
            here = piece.pixels(height, width)
            for g in range(G):
                channels = slice(g * size, (g + 1) * size) if G > 1 else slice(None)
                rows = columns(piece, g)
                multiply(rows, matrices[g], dx_rows[here, channels])
                if op.needs[1]:
                    add_product(x_rows[here, channels], rows, total[g])
        return total

    totals = threads.share(compute, len(work), parallel=dx.size * R * S > SMALL, blas=True)
    dkernel = sum(totals).reshape(G, pixels, size, *kernel.shape[1:4])  # (G, ·, C/G, R, S, O/G)
    dturned = sum(dkernel[:, k, :, :, k : k + S] for k in range(pixels))
    dweight = dturned[:, :, ::-1, ::-1].transpose(0, 4, 1, 2, 3)  # (G, O/G, C/G, R, S)
    return dx, dweight.reshape(op.weight.shape)


def backward_from_x(op: Any, x: Array, dy: Array) -> tuple[Array | None, Array]:
    """Any stride: dW = columns(x)ᵀ @ dy, and dy @ Wᵀ is added up where its columns came from."""
    (N, H, W, C), (O, size, R, S), G = x.shape, op.weight.shape, op.groups
    windows = windows_of(op)
    (P, Q), ((top, bottom), (left, right)) = windows.outputs, op.padding
    matrices = kernels(op.weight, G).reshape(G, R * S * size, O // G)
    transposed = numpy.ascontiguousarray(matrices.transpose(0, 2, 1))
    dy_rows = dy.reshape(N * P * Q, O)
    dx = memory.empty((N, H, W, C), x.dtype) if op.needs[0] else None
    work = pieces(N, P, (Q * R * S * size + W * C) * x.itemsize)
    if dx is not None:  # neighbouring rows of an image add to the same pixels: whole images
        work = whole_images(work, N, P)

    def compute(first: int, last: int) -> Array:
        columns = Columns(x, windows, work[first:last], G)
        total = numpy.zeros_like(matrices)
        for piece in work[first:last]:
            images = piece.images
            if dx is not None:
                padded = threads.scratch(
                    "dpadded", (images, H + top + bottom, W + left + right, C), x.dtype
                )
                padded.fill(0)
            for g in range(G):
                grads = dy_rows[piece.pixels(P, Q), g * O // G : (g + 1) * O // G]
                if op.needs[1]:
                    add_product(columns(piece, g), grads, total[g])
                if dx is not None:
                    dcolumns = threads.scratch("dcolumns", (len(grads), R * S * size), x.dtype)
                    multiply(grads, transposed[g], dcolumns)
                    add_windows(
                        dcolumns.reshape(images, P, Q, R, S, size),
                        padded[..., g * size : (g + 1) * size],
                        windows,
                    )
            if dx is not None:
                inside = padded[:, top : top + H, left : left + W]
                dx[piece.image : piece.image + images] = inside
        return total

    totals = threads.share(compute, len(work), parallel=dy.size * R * S > SMALL, blas=True)
    dkernel = sum(totals).reshape(G, R, S, size, O // G)
    return dx, dkernel.transpose(0, 4, 3, 1, 2).reshape(op.weight.shape)


def whole_images(work: list[Piece], N: int, P: int) -> list[Piece]:
    """The same pieces, none smaller than an image."""
    return work if work[0].rows == P else [Piece(i, 1, 0, P) for i in range(N)]


def add_windows(dcolumns: Array, padded: Array, windows: Windows) -> None:
    """Each pixel of padded (N, H, W, C) collects from every window (N, P, Q, R, S, C) it was in."""
    (step_h, step_w), (dh, dw), (P, Q) = windows.stride, windows.dilation, windows.outputs
    for r in range(windows.kernel[0]):
        for s in range(windows.kernel[1]):
            h = slice(r * dh, r * dh + (P - 1) * step_h + 1, step_h)
            w = slice(s * dw, s * dw + (Q - 1) * step_w + 1, step_w)
            padded[:, h, w] += dcolumns[:, :, :, r, s]
