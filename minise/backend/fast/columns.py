"""The columns of a convolution, a cache-full at a time.

In channels-last memory the S neighbours of a row of a window lie side by side, so a window is copied
in R runs of S·C numbers.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy
from numpy.lib.stride_tricks import as_strided

from .. import threads
from .layout import CACHE

Array = Any
Pair = tuple[int, int]


class Windows(NamedTuple):
    """P × Q windows that slide over an (N, H, W, C)."""

    kernel: Pair
    stride: Pair
    padding: tuple[Pair, Pair]
    dilation: Pair
    count: Pair


class Piece(NamedTuple):
    """Rows `row` to `row + rows` of the output of images `image` to `image + images`.

    Either whole images or rows of a single one, so that its pixels lie side by side in memory.
    """

    image: int
    images: int
    row: int
    rows: int

    def pixels(self, height: int, width: int) -> slice:
        """Where they are among all N · height · width pixels."""
        start = (self.image * height + self.row) * width
        return slice(start, start + self.images * self.rows * width)


def pieces(N: int, P: int, row_bytes: int) -> list[Piece]:
    """The N · P rows in pieces of about CACHE bytes, no piece smaller than a row."""
    rows = max(CACHE // row_bytes, 1)
    if rows >= P:
        step = rows // P
        step -= step % 3 if step > 3 else 0  # then blocks of 96 rows come out even, see `block_of`
        return [Piece(i, min(step, N - i), 0, P) for i in range(0, N, step)]
    bands = -(-P // rows)
    edges = [P * band // bands for band in range(bands + 1)]
    return [
        Piece(i, 1, edges[b], edges[b + 1] - edges[b]) for i in range(N) for b in range(bands)
    ]


class Columns:
    """The windows of x (N, H, W, C) in buffers of this thread, piece by piece, group by group."""

    def __init__(self, x: Array, windows: Windows, pieces: list[Piece], groups: int = 1) -> None:
        self.x, self.w = x, windows
        _, self.H, W, C = x.shape
        (R, S), (step_h, step_w), (dh, dw) = windows.kernel, windows.stride, windows.dilation
        (self.top, _), (self.left, right) = windows.padding
        self.size = C // groups  # channels of a group
        images = max(piece.images for piece in pieces)
        rows = max(piece.rows for piece in pieces)
        Q = windows.count[1]
        self.as_they_are = (
            windows.kernel == windows.stride == (1, 1)
            and windows.padding == ((0, 0), (0, 0))
            and groups == 1
        )
        if self.as_they_are:
            return
        height, width = (rows - 1) * step_h + (R - 1) * dh + 1, self.left + W + right
        self.padded = threads.scratch("padded", (images, height, width, self.size), x.dtype)
        self.padded.fill(0)
        # Whole images overwrite the same place each time, and the border stays as it is.
        self.border_stays = all(piece.rows == windows.count[0] for piece in pieces)
        self.inside = self.padded[:, :, self.left : self.left + W]
        image, h, w, c = self.padded.strides
        # With dilation 1 the taps of a row are neighbours: one run of S·C numbers, not S of C.
        shape, strides = ((S * self.size,), (c,)) if dw == 1 else ((S, self.size), (w * dw, c))
        self.view = as_strided(
            self.padded,
            (images, rows, Q, R, *shape),
            (image, h * step_h, w * step_w, h * dh, *strides),
        )
        self.columns = threads.scratch("columns", self.view.shape, x.dtype)

    def __call__(self, piece: Piece, group: int = 0) -> Array:
        """(images · rows · Q, R·S·C/G): one row per output pixel."""
        i, m, row, rows = piece
        if self.as_they_are:
            return self.x[i : i + m, row : row + rows].reshape(-1, self.size)
        first = row * self.w.stride[0] - self.top  # the first row of x that the windows see
        last = first + (rows - 1) * self.w.stride[0] + (self.w.kernel[0] - 1) * self.w.dilation[0]
        start, stop = max(first, 0), min(last + 1, self.H)
        if not self.border_stays:
            self.padded[:m, : max(start - first, 0)] = 0
            self.padded[:m, max(stop - first, 0) :] = 0
        if stop > start:
            source = self.x[i : i + m, start:stop]
            if self.size != source.shape[3]:
                source = source[..., group * self.size : (group + 1) * self.size]
            self.inside[:m, start - first : stop - first] = source
        columns = self.columns[:m, :rows]
        numpy.copyto(columns, self.view[:m, :rows])
        return columns.reshape(m * rows * self.w.count[1], -1)
