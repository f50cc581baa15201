"""Pooling: one number for every window of a channel."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ..autograd import Array, Function
from .arguments import IntPair, as_batch, check_floats, pair, unbatch, whole
from .broadcast import sum_in_double
from .windows import Pair, output_length, tap

if TYPE_CHECKING:
    from ..tensor import Tensor

Shape = tuple[int, ...]


class Pool2d(Function):
    """x (N, C, H, W) -> y (N, C, P, Q). `padding` is the same on both sides of an axis."""

    def __init__(
        self, kernel_size: Pair, stride: Pair, padding: Pair = (0, 0), dilation: Pair = (1, 1),
        ceil_mode: bool = False,
    ) -> None:  # fmt: skip
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding
        self.dilation, self.ceil_mode = dilation, ceil_mode

    def output_size(self, shape: Shape) -> Pair:
        """(P, Q) for x of that shape; below 1 where the window does not fit."""
        axes = zip(
            shape[2:], self.kernel_size, self.stride, self.padding, self.dilation, strict=True
        )
        P, Q = (
            output_length(n, kernel, stride, (pad, pad), dilation, self.ceil_mode)
            for n, kernel, stride, pad, dilation in axes
        )
        return P, Q

    def border(self, shape: Shape) -> tuple[Pair, Pair]:
        """(before, after) for H and W, wide enough for windows that hang over the end."""
        sizes = zip(
            shape[2:], self.output_size(shape), self.kernel_size, self.stride, self.padding,
            self.dilation, strict=True,
        )  # fmt: skip
        height, width = (
            (pad, max((count - 1) * stride + dilation * (kernel - 1) + 1 - n - pad, 0))
            for n, count, kernel, stride, pad, dilation in sizes
        )
        return height, width

    def padded(self, x: Array, value: float) -> Array:
        """x with its border, filled with `value`."""
        return self.xp.pad(
            x, ((0, 0), (0, 0), *self.border(x.shape)), mode="constant", constant_values=value
        )

    def taps(self, shape: Shape) -> list[tuple[slice, slice]]:
        """For each place (r, s) in the window: the slices of the padded H and W that it reads."""
        count = self.output_size(shape)
        return [
            tap(r, s, self.stride, self.dilation, count)
            for r in range(self.kernel_size[0])
            for s in range(self.kernel_size[1])
        ]

    def gather(self, parts: Iterable[Array], shape: Shape, dtype: Any) -> Array:
        """Add parts[k] to the pixels that tap k read; returns the gradient of x."""
        N, C, H, W = shape
        (top, bottom), (left, right) = self.border(shape)
        padded = self.xp.zeros((N, C, H + top + bottom, W + left + right), dtype=dtype)
        for (h, w), part in zip(self.taps(shape), parts, strict=True):
            padded[:, :, h, w] += part
        return padded[:, :, top : top + H, left : left + W]


def checked(op: Pool2d, x: Tensor) -> Pool2d:
    """`op`; RuntimeError unless its windows fit into x, as PyTorch checks it."""
    if any(pad > k // 2 for pad, k in zip(op.padding, op.kernel_size, strict=True)):
        raise RuntimeError(
            f"{op.name}: padding must be at most half of kernel_size {op.kernel_size}, "
            f"got {op.padding}"
        )
    if min(op.output_size(x.shape)) < 1:
        raise RuntimeError(
            f"{op.name}: kernel_size {op.kernel_size} with dilation {op.dilation} does not fit "
            f"into input {x.shape} with padding {op.padding}"
        )
    return op


class MaxPool2d(Pool2d, kernel="max_pool2d"):
    """The first of equal values wins, a NaN wins over every number (and a later NaN over it)."""

    name = "max_pool2d"
    formula = "y = max of the window"
    derivative = "dx = dy at the maximum of the window, else 0"

    def forward(self, x: Array) -> Array:
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

    def backward(self, grad: Array) -> Any:
        taps = range(len(self.taps(self.shape)))
        parts = (self.xp.where(self.winner == k, grad, 0) for k in taps)  # NaN stays where it is
        return self.gather(parts, self.shape, grad.dtype)


def max_pool2d(
    input: Tensor,
    kernel_size: IntPair,
    stride: IntPair | None = None,
    padding: IntPair = 0,
    dilation: IntPair = 1,
    ceil_mode: bool = False,
) -> Tensor:
    """The largest value of every window: (N, C, H, W) -> (N, C, P, Q), or without N.

    stride defaults to kernel_size; with ceil_mode the last window may hang over the end. Of equal
    values the first gets the gradient. Raises RuntimeError where the options do not fit.
    """
    check_floats("max_pool2d", input=input)
    x, batched = as_batch("max_pool2d", input)
    kernel = pair("max_pool2d", "kernel_size", kernel_size, 1)
    op = MaxPool2d(
        kernel,
        kernel if stride is None else pair("max_pool2d", "stride", stride, 1),
        pair("max_pool2d", "padding", padding, 0),
        pair("max_pool2d", "dilation", dilation, 1),
        ceil_mode,
    )
    return unbatch(checked(op, x)(x), batched)


class AvgPool2d(Pool2d, kernel="avg_pool2d"):
    """`divisor` replaces the count of the window; else padding counts if `count_padding`."""

    name = "avg_pool2d"
    formula = "y = Σ window / count"
    derivative = "dx = Σ dy / count over the windows that the pixel was in"

    def __init__(
        self, kernel_size: Pair, stride: Pair, padding: Pair = (0, 0), ceil_mode: bool = False,
        count_padding: bool = True, divisor: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__(kernel_size, stride, padding, ceil_mode=ceil_mode)
        self.count_padding, self.divisor = count_padding, divisor

    def forward(self, x: Array) -> Array:
        self.shape = x.shape
        padded = self.padded(x, 0)
        total = sum(padded[:, :, h, w] for h, w in self.taps(x.shape))
        return total / self.counts(x.dtype)  # (N, C, P, Q)

    def backward(self, grad: Array) -> Any:
        part = grad / self.counts(grad.dtype)
        return self.gather([part] * len(self.taps(self.shape)), self.shape, grad.dtype)

    def counts(self, dtype: Any) -> Array:
        """What each window is divided by: (P, Q), or one number."""
        if self.divisor is not None:
            return self.divisor
        lengths = []
        axes = zip(
            self.shape[2:], self.output_size(self.shape), self.kernel_size, self.stride,
            self.padding, strict=True,
        )  # fmt: skip
        for n, count, kernel, stride, pad in axes:
            first, last = (-pad, n + pad) if self.count_padding else (0, n)
            starts = [p * stride - pad for p in range(count)]
            lengths.append([min(i + kernel, last) - max(i, first) for i in starts])
        heights, widths = (self.xp.asarray(length, dtype=dtype) for length in lengths)
        return heights[:, None] * widths[None, :]


def avg_pool2d(
    input: Tensor,
    kernel_size: IntPair,
    stride: IntPair | None = None,
    padding: IntPair = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of every window: (N, C, H, W) -> (N, C, P, Q), or without N.

    count_include_pad  whether zeros of the padding count in the mean
    divisor_override   divide every sum by this number instead of a count

    Raises RuntimeError where the options do not fit.
    """
    check_floats("avg_pool2d", input=input)
    divisor = divisor_override
    if divisor is not None and whole("avg_pool2d", "divisor_override", divisor) == 0:
        raise RuntimeError("avg_pool2d: divisor_override must not be 0, got 0")
    x, batched = as_batch("avg_pool2d", input)
    kernel = pair("avg_pool2d", "kernel_size", kernel_size, 1)
    op = AvgPool2d(
        kernel,
        kernel if stride is None else pair("avg_pool2d", "stride", stride, 1),
        pair("avg_pool2d", "padding", padding, 0),
        ceil_mode,
        count_include_pad,
        divisor,
    )
    return unbatch(checked(op, x)(x), batched)


class AdaptivePool2d(Function):
    """x (N, C, H, W) -> y (N, C, P, Q): the input is cut into P × Q bins, which may overlap.

    Bin i of an axis of length n reaches from ⌊i·n/P⌋ to ⌈(i+1)·n/P⌉.
    """

    def __init__(self, output_size: Pair) -> None:
        self.output_size = output_size

    def bins(self, shape: Shape) -> list[tuple[Pair, slice, slice]]:
        """((i, j), rows of H, columns of W) for every output pixel."""
        rows, columns = (
            [slice(i * n // count, -(-(i + 1) * n // count)) for i in range(count)]
            for n, count in zip(shape[2:], self.output_size, strict=True)
        )
        return [((i, j), h, w) for i, h in enumerate(rows) for j, w in enumerate(columns)]


def adaptive_size(name: str, x: Tensor, output_size: int | Sequence[int | None]) -> Pair:
    """(P, Q); RuntimeError if `output_size` is neither a length nor two."""
    given = output_size
    if not isinstance(given, (tuple, list)):
        given = [whole(name, "output_size", given)] * 2
    if len(given) == 2:
        P, Q = (
            n if count is None else whole(name, "output_size", count)
            for count, n in zip(given, x.shape[2:])
        )
        if P >= 0 and Q >= 0:
            return P, Q
    raise RuntimeError(f"{name}: output_size must be one or two integers >= 0, got {given}")


class AdaptiveAvgPool2d(AdaptivePool2d, kernel="adaptive_avg_pool2d"):
    name = "adaptive_avg_pool2d"
    formula = "y = Σ bin / count"
    derivative = "dx = Σ dy / count over the bins that the pixel is in"

    def forward(self, x: Array) -> Array:
        self.shape = x.shape
        y = self.xp.empty((*x.shape[:2], *self.output_size), dtype=x.dtype)
        for (i, j), h, w in self.bins(x.shape):
            bin_ = x[:, :, h, w]
            y[:, :, i, j] = sum_in_double(bin_, axis=(2, 3)) / (bin_.shape[2] * bin_.shape[3])
        return y

    def backward(self, grad: Array) -> Any:
        dx = self.xp.zeros(self.shape, dtype=grad.dtype)
        for (i, j), h, w in self.bins(self.shape):
            bin_ = dx[:, :, h, w]  # a view: adding to it adds to dx
            bin_ += grad[:, :, i, j, None, None] / (bin_.shape[2] * bin_.shape[3])
        return dx


def adaptive_avg_pool2d(input: Tensor, output_size: int | Sequence[int | None]) -> Tensor:
    """The mean of each of P × Q bins: (N, C, H, W) -> (N, C, P, Q); None keeps a length."""
    check_floats("adaptive_avg_pool2d", input=input)
    x, batched = as_batch("adaptive_avg_pool2d", input)
    size = adaptive_size("adaptive_avg_pool2d", x, output_size)
    return unbatch(AdaptiveAvgPool2d(size)(x), batched)


class AdaptiveMaxPool2d(AdaptivePool2d):
    """As in MaxPool2d, the first of equal values wins, and the last NaN over everything."""

    name = "adaptive_max_pool2d"
    formula = "y = max of the bin"
    derivative = "dx = dy at the maximum of the bin, else 0"

    def forward(self, x: Array) -> Array:
        self.x = x
        y = self.xp.empty((*x.shape[:2], *self.output_size), dtype=x.dtype)
        for (i, j), h, w in self.bins(x.shape):
            y[:, :, i, j] = x[:, :, h, w].max(axis=(2, 3))
        return y

    def backward(self, grad: Array) -> Any:
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


def adaptive_max_pool2d(input: Tensor, output_size: int | Sequence[int | None]) -> Tensor:
    """The maximum of each of P × Q bins: (N, C, H, W) -> (N, C, P, Q); None keeps a length."""
    check_floats("adaptive_max_pool2d", input=input)
    x, batched = as_batch("adaptive_max_pool2d", input)
    size = adaptive_size("adaptive_max_pool2d", x, output_size)
    return unbatch(AdaptiveMaxPool2d(size)(x), batched)
