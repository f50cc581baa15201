"""The windows of a convolution, without writing any number out once for every window it is in.

In channels-last memory the S neighbours that a window sees in one row lie side by side. A *strip*
holds them for one column of the output and all rows of the picture, one below the other:

    strip (rows, S·C)        the window of output row p  =  its rows p to p + R

So a window is R·S·C numbers in a row, and shares their memory with the windows above and below. A
matrix product does not mind: its rows are the windows of the same p in neighbouring columns or
images, which lie one strip or one image apart. Against the usual matrix of columns ("im2col") a
3x3 kernel writes a third as much, and three times as many images fit into a cache.
"""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

from numpy.lib.stride_tricks import as_strided

from .. import threads
from .layout import CACHE

Array = Any


class Strip(NamedTuple):
    """How strips lie on a picture, and windows in them."""

    number: int  # of strips: columns of the output, or groups of `pixels` of them
    taps: int  # pixels that a strip sees of a row
    step: int  # pixels from one strip to the next
    left: int  # zeros before the first pixel
    top: int  # and before the first row
    down: int  # rows from one window to the next
    reach: int  # rows that windows of one output row see
    rows: int  # output rows


class Piece(NamedTuple):
    """Output rows `row` to `row + rows` of images `image` to `image + images`.

    Either whole images or a band of a single one.
    """

    image: int
    images: int
    row: int
    rows: int

    @property
    def here(self) -> tuple[slice, slice]:
        """Where they are in an (N, P, ...)."""
        return slice(self.image, self.image + self.images), slice(self.row, self.row + self.rows)


class Plan:
    """N images of P rows in pieces that need about CACHE bytes each, at `row_bytes` a row.

    `count` units, images or bands, are shared out, `step` at a time (0: equally among the workers);
    `pieces` says how to take some of them. A piece has at most `images` images and `rows` rows.
    """

    def __init__(self, N: int, P: int, row_bytes: int, most: int, stretches: int) -> None:
        rows = max(CACHE // row_bytes, 1)
        self.P, self.bands = P, -(-P // rows)
        self.count = N * self.bands
        self.rows = -(-P // self.bands)
        images = max(min(rows // P, most, N), 1)
        self.step = -(-self.count // stretches) if stretches else 0
        if self.step:  # all pieces alike, or one worker would end late
            images = -(-self.step // -(-self.step // images))
        elif images > 6:
            images -= images % 6  # OpenBLAS's AVX-512 kernel takes six rows at a time
        self.images = images

    def pieces(self, first: int, last: int) -> list[Piece]:
        """What the units of work from `first` to `last` are: bands of an image, or images."""
        if self.bands == 1:
            starts = range(first, last, self.images)
            return [Piece(i, min(self.images, last - i), 0, self.P) for i in starts]
        edges = [self.P * band // self.bands for band in range(self.bands + 1)]
        units = [divmod(unit, self.bands) for unit in range(first, last)]
        return [Piece(image, 1, edges[b], edges[b + 1] - edges[b]) for image, b in units]


class Strips:
    """Strips of x (N, H, W, C) in a buffer of this thread, for one piece of `plan` at a time.

    size    channels that go in: those of one group
    """

    def __init__(self, x: Array, strip: Strip, plan: Plan, size: int) -> None:
        N, self.H, W, C = x.shape
        count, taps, step, left, top, down, reach, P = strip
        self.x, self.strip = x, strip
        self.whole = plan.bands == 1
        height = (plan.rows - 1) * down + reach
        if self.whole:  # the zeros above a strip are those below the one before it
            height = max(top + self.H, height - top)
        self.height = -(-height // down) * down
        flat = plan.images * count * self.height
        # Windows of the last strip may end behind it.
        memory = threads.scratch("strips", (flat + max(2 * reach, top), taps * size), x.dtype)
        memory.fill(0)  # the border of whole images is never written to
        self.buffer = memory[:flat].reshape(plan.images, count, self.height, taps, size)
        self.views: dict[Any, Any] = {}  # of the buffer: they are the same for every piece

        begins = range(-left, -left + count * step, step)
        inner = [q for q, w in enumerate(begins) if w >= 0 and w + taps <= W]
        self.inner = slice(inner[0], inner[-1] + 1) if inner else slice(0, 0)
        self.edges = [
            (q, slice(max(-w, 0), min(W - w, taps)), slice(max(w, 0), min(w + taps, W)))
            for q, w in enumerate(begins)
            if -taps < w < W and not (w >= 0 and w + taps <= W)
        ]
        if inner:
            image, h, w, c = x.strides
            shape = (N, len(inner), self.H, taps, C)
            self.runs = as_strided(x[:, :, begins[inner[0]] :], shape, (image, step * w, h, w, c))

    def fill(self, piece: Piece, group: int = 0) -> None:
        """Puts the strips of a piece and a group of channels into the buffer."""
        first = piece.row * self.strip.down - self.strip.top  # the row of x that comes first
        start, stop = max(first, 0), min(first + self.height, self.H)
        buffer = self.buffer[: piece.images]
        if not self.whole:
            buffer[:, :, : max(start - first, 0)] = 0
            buffer[:, :, max(stop - first, 0) :] = 0
        if stop <= start:
            return
        inside = buffer[:, :, start - first : stop - first]
        images, rows = slice(piece.image, piece.image + piece.images), slice(start, stop)
        channels = slice(group * buffer.shape[4], (group + 1) * buffer.shape[4])
        if self.inner.stop:
            inside[:, self.inner] = self.runs[images, :, rows, :, channels]
        for q, taps, columns in self.edges:
            inside[:, q, :, taps] = self.x[images, rows, columns, channels]

    def windows(self, start: int, R: int, rows: int) -> Array:
        """(images, number, rows, R·taps·C): R rows of each strip, the first from row `start` on."""
        view = self.views.get((start, R, rows))
        if view is None:
            image, strip, row, _, item = self.buffer.strides
            shape = (*self.buffer.shape[:2], rows, R * row // item)
            strides = (image, strip, self.strip.down * row, item)
            view = as_strided(self.buffer[:, :, start:], shape, strides)
            self.views[start, R, rows] = view
        return view

    # Slots: a window at every `down`-th row of all strips taken as one long strip. Those that begin
    # below a strip's last window see two strips at once; what they give is not used.

    @property
    def slots_high(self) -> int:
        """How many slots a strip has."""
        return self.height // self.strip.down

    def slots(self, start: int, R: int, images: int) -> Array:
        """(slots, R, taps·C)"""
        row, item = self.buffer.strides[2], self.buffer.itemsize
        slots = images * self.strip.number * self.slots_high
        shape, strides = (slots, R, row // item), (self.strip.down * row, row, item)
        return as_strided(self.buffer[:, :, start:], shape, strides)

    def interleaved(self, start: int, R: int, images: int) -> Array:
        """The slots as k matrices (k, M, R·taps·C): the first, second, ... of every k slots.

        k is the least for which no two windows of a matrix share a row: then they lie apart as the
        rows of a matrix do. M · k may be more than there are slots.
        """
        k = -(-R // self.strip.down)
        row, item = self.buffer.strides[2], self.buffer.itemsize
        slots = images * self.strip.number * self.slots_high
        shape = (k, -(-slots // k), R * row // item)
        strides = (self.strip.down * row, k * self.strip.down * row, item)
        return as_strided(self.buffer[:, :, start:], shape, strides)

    def upright(self, slots: Array, images: int) -> Array:
        """A row per slot (·, O), by image and strip: (images, number, slots_high, O)."""
        shape = (images, self.strip.number, self.slots_high)
        return slots[: prod(shape)].reshape(*shape, slots.shape[1])
