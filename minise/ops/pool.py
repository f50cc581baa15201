"""Pooling: one number for every window of a channel."""

from __future__ import annotations

from typing import Any

from ..autograd import Function
from .broadcast import sum_in_double
from .windows import output_length, tap


class Pool2d(Function):
    """x (N, C, H, W) -> y (N, C, P, Q). `padding` is the same on both sides of an axis."""

    def __init__(self, kernel, stride, padding=(0, 0), dilation=(1, 1), ceil_mode=False):
        self.kernel, self.stride, self.padding = kernel, stride, padding
        self.dilation, self.ceil_mode = dilation, ceil_mode

    def output_size(self, shape):
        """(P, Q)"""
        axes = zip(
            shape[2:], self.kernel, self.stride, self.padding, self.dilation, strict=True
        )
        return tuple(
            output_length(n, kernel, stride, (pad, pad), dilation, self.ceil_mode)
            for n, kernel, stride, pad, dilation in axes
        )

    def border(self, shape):
        """(before, after) for H and W, wide enough for windows that hang over the end."""
        sizes = zip(
            shape[2:], self.output_size(shape), self.kernel, self.stride, self.padding,
            self.dilation, strict=True,
        )  # fmt: skip
        return tuple(
            (pad, max((count - 1) * stride + dilation * (kernel - 1) + 1 - n - pad, 0))
            for n, count, kernel, stride, pad, dilation in sizes
        )

    def padded(self, x, value):
        return self.xp.pad(
            x, ((0, 0), (0, 0), *self.border(x.shape)), mode="constant", constant_values=value
        )

    def taps(self, shape):
        """For each place (r, s) in the window: the slices of the padded H and W that it reads."""
        count = self.output_size(shape)
        return [
            tap(r, s, self.stride, self.dilation, count)
            for r in range(self.kernel[0])
            for s in range(self.kernel[1])
        ]

    def gather(self, parts, shape, dtype):
        """Add parts[k] to the pixels that tap k read; returns the gradient of x."""
        N, C, H, W = shape
        (top, bottom), (left, right) = self.border(shape)
        padded = self.xp.zeros((N, C, H + top + bottom, W + left + right), dtype=dtype)
        for (h, w), part in zip(self.taps(shape), parts, strict=True):
            padded[:, :, h, w] += part
        return padded[:, :, top : top + H, left : left + W]


class MaxPool2d(Pool2d):
    """The first of equal values wins, a NaN wins over every number (and a later NaN over it)."""

    name = "max_pool2d"
    formula = "y = max of the window"
    derivative = "dx = dy at the maximum of the window, else 0"

    def forward(self, x):
        self.shape = x.shape
        padded = self.padded(x, -self.xp.inf)
        best: Any = None
        for k, (h, w) in enumerate(self.taps(x.shape)):  # a running maximum over the window
            values = padded[:, :, h, w]  # (N, C, P, Q)
            if best is None:
                best, self.winner = values, self.xp.zeros(values.shape, dtype="int32")
            else:
                better = (values > best) | (values != values)  # a NaN differs from itself
                best = self.xp.where(better, values, best)
                self.winner = self.xp.where(better, k, self.winner)
        return best.copy() if len(self.taps(x.shape)) == 1 else best

    def backward(self, grad):
        taps = range(len(self.taps(self.shape)))
        parts = (self.xp.where(self.winner == k, grad, 0) for k in taps)  # NaN stays where it is
        return self.gather(parts, self.shape, grad.dtype)


class AvgPool2d(Pool2d):
    """`divisor` replaces the count of the window; else padding counts if `count_padding`."""

    name = "avg_pool2d"
    formula = "y = Σ window / count"
    derivative = "dx = Σ dy / count over the windows that the pixel was in"

    def __init__(
        self, kernel, stride, padding=(0, 0), ceil_mode=False, count_padding=True, divisor=None
    ):
        super().__init__(kernel, stride, padding, ceil_mode=ceil_mode)
        self.count_padding, self.divisor = count_padding, divisor

    def forward(self, x):
        self.shape = x.shape
        padded = self.padded(x, 0)
        total = sum(padded[:, :, h, w] for h, w in self.taps(x.shape))
        return total / self.counts(x.dtype)  # (N, C, P, Q)

    def backward(self, grad):
        part = grad / self.counts(grad.dtype)
        return self.gather([part] * len(self.taps(self.shape)), self.shape, grad.dtype)

    def counts(self, dtype):
        """What each window is divided by: (P, Q), or one number."""
        if self.divisor is not None:
            return self.divisor
        lengths = []
        axes = zip(
            self.shape[2:], self.output_size(self.shape), self.kernel, self.stride, self.padding,
            strict=True,
        )  # fmt: skip
        for n, count, kernel, stride, pad in axes:
            first, last = (-pad, n + pad) if self.count_padding else (0, n)
            starts = [p * stride - pad for p in range(count)]
            lengths.append([min(i + kernel, last) - max(i, first) for i in starts])
        heights, widths = (self.xp.asarray(length, dtype=dtype) for length in lengths)
        return heights[:, None] * widths[None, :]


class AdaptivePool2d(Function):
    """x (N, C, H, W) -> y (N, C, P, Q): the input is cut into P × Q bins, which may overlap.

    Bin i of an axis of length n reaches from ⌊i·n/P⌋ to ⌈(i+1)·n/P⌉.
    """

    def __init__(self, output_size):
        self.output_size = output_size

    def bins(self, shape):
        """((i, j), rows of H, columns of W) for every output pixel."""
        rows, columns = (
            [slice(i * n // count, -(-(i + 1) * n // count)) for i in range(count)]
            for n, count in zip(shape[2:], self.output_size, strict=True)
        )
        return [((i, j), h, w) for i, h in enumerate(rows) for j, w in enumerate(columns)]


class AdaptiveAvgPool2d(AdaptivePool2d):
    name = "adaptive_avg_pool2d"
    formula = "y = Σ bin / count"
    derivative = "dx = Σ dy / count over the bins that the pixel is in"

    def forward(self, x):
        self.shape = x.shape
        y = self.xp.empty((*x.shape[:2], *self.output_size), dtype=x.dtype)
        for (i, j), h, w in self.bins(x.shape):
            bin_ = x[:, :, h, w]
            y[:, :, i, j] = sum_in_double(bin_, axis=(2, 3)) / (bin_.shape[2] * bin_.shape[3])
        return y

    def backward(self, grad):
        dx = self.xp.zeros(self.shape, dtype=grad.dtype)
        for (i, j), h, w in self.bins(self.shape):
            bin_ = dx[:, :, h, w]  # a view: adding to it adds to dx
            bin_ += grad[:, :, i, j, None, None] / (bin_.shape[2] * bin_.shape[3])
        return dx


class AdaptiveMaxPool2d(AdaptivePool2d):
    """As in MaxPool2d, the first of equal values wins, and the last NaN over everything."""

    name = "adaptive_max_pool2d"
    formula = "y = max of the bin"
    derivative = "dx = dy at the maximum of the bin, else 0"

    def forward(self, x):
        self.x = x
        y = self.xp.empty((*x.shape[:2], *self.output_size), dtype=x.dtype)
        for (i, j), h, w in self.bins(x.shape):
            y[:, :, i, j] = x[:, :, h, w].max(axis=(2, 3))
        return y

    def backward(self, grad):
        dx = self.xp.zeros(self.x.shape, dtype=grad.dtype)
        for (i, j), h, w in self.bins(self.x.shape):
            bin_ = dx[:, :, h, w]  # a view: adding to it adds to dx
            N, C, height, width = bin_.shape
            values = self.x[:, :, h, w].reshape(N, C, height * width)
            places = self.xp.arange(height * width)
            last_nan = self.xp.where(values != values, places, -1).max(axis=2)
            winner = self.xp.where(last_nan >= 0, last_nan, values.argmax(axis=2))
            part = grad[:, :, i, j, None] * (places == winner[:, :, None])  # (N, C, height*width)
            bin_ += part.reshape(bin_.shape)
        return dx
