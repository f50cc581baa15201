"""Convolution without a matrix of all columns.

The plain kernel writes out the columns of the whole batch, reads them back for the product, and
spends its time waiting for memory. Here each worker takes a few images at a time, writes their
windows into a buffer that stays in its cache (strips.py), and multiplies them straight into the
output (window_products.py). Three products:

    y = windows(x) @ W          dx = windows(dy) @ W'          dW' = windows(dy)ᵀ @ x

For dx, a pixel collects what its uses send back. With stride 1 that is a convolution of dy with the
kernel turned by 180°. With stride 2, pixels with even and odd coordinates were seen by different
taps: there are four such convolutions, with the taps shared out among them.

Most 3x3 convolutions with stride 1 take another way, which multiplies less: winograd.py.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy

from ...registry import Kernel
from .. import memory
from . import winograd
from .elementwise import rectify, relu_backward
from .layout import channels_first, channels_last, per_pixel
from .pointwise import pointwise, pointwise_backward
from .strips import Strip
from .window_products import Product, multiply_all

Array = Any

NARROW = 16  # with at most so many output channels, two pixels share a row of the product


def suits(op: Any, x: Array, *parameters: Array) -> bool:
    """Float32 or float64 images, not empty, without dilation."""
    return x.dtype.itemsize >= 4 and x.size > 0 and op.dilation == (1, 1)


def forward(op: Any, x: Array, weight: Array, bias: Array | None = None) -> Array:
    """See minise.ops.conv.Conv2d; y is channels-last in memory."""
    op.x, op.weight = x, weight
    finish = Finish(bias, op.rectifies) if op.rectifies or bias is not None else None
    if is_pointwise(op):
        y = pointwise(channels_last(x), weight[:, :, 0, 0], op.stride, finish)
    else:
        y = convolve(op, channels_last(x), weight, finish)
    op.y = channels_first(y) if op.rectifies else None
    return channels_first(y)


def backward(op: Any, grad: Array) -> tuple[Array | None, ...]:
    if op.y is not None:
        grad = relu_backward(op, grad)
    x, dy = channels_last(op.x), channels_last(grad)
    if is_pointwise(op):
        dx, dweight = pointwise_backward(x, op.weight[:, :, 0, 0], dy, op.stride, op.needs)
        dweight = None if dweight is None else dweight[:, :, None, None]
    else:
        dx, dweight = collect(op, x, dy)
    dx = None if dx is None else channels_first(dx)
    if len(op.needs) == 2:
        return dx, dweight
    return dx, dweight, dy.sum(axis=(0, 1, 2), dtype=numpy.float64).astype(dy.dtype)


class Finish:
    """Adds the bias to images or a part of one (n, P, Q, O), still in the cache; applies ReLU."""

    def __init__(self, bias: Array | None, rectified: bool) -> None:
        self.bias, self.rectified = bias, rectified
        self.row: Array | None = None  # the bias, along a row of pixels

    def __call__(self, y: Array) -> None:
        rows = y.reshape(-1, y.shape[2] * y.shape[3])
        if self.bias is not None:
            if self.row is None:
                self.row = per_pixel(self.bias, rows)
            numpy.add(rows, self.row, out=rows)
        if self.rectified:
            rectify(rows, rows)


def is_pointwise(op: Any) -> bool:
    """Whether a window is a single pixel: then the pixels are the rows of a matrix already."""
    return (
        op.weight.shape[2:] == (1, 1) and op.groups == 1 and op.padding == ((0, 0), (0, 0))
    )


def convolve(op: Any, x: Array, weight: Array, finish: Finish | None) -> Array:
    """x (N, H, W, C) -> y (N, P, Q, O)."""
    if winograd.pays(op):
        return winograd.convolve(x, weight, finish)
    strip, pixels = strips_of(op)
    kernel = kernels(weight, op.groups)  # (G, R, S, C/G, O/G)
    if pixels == 2:
        kernel = paired(kernel)
    G, R, _, _, per_group = kernel.shape
    y = memory.empty((len(x), strip.rows, strip.number * pixels, len(weight)), x.dtype)
    output = y.reshape(len(x), strip.rows, strip.number, G * per_group)
    product = Product(0, R, kernel.reshape(G, -1, per_group), output, None)
    multiply_all(x, strip, [product], finish)
    return y


def collect(op: Any, x: Array, dy: Array) -> tuple[Array | None, Array | None]:
    """dx (N, H, W, C) and dW (O, C/G, R, S), from the same windows of dy (N, P, Q, O)."""
    if not any(op.needs[:2]):
        return None, None
    if winograd.pays(op):
        return winograd.collect(x, op.weight, dy, op.needs)
    if not op.needs[0]:
        return None, weight_gradient(op, x, dy)
    G, (O, size, R, S) = op.groups, op.weight.shape
    weight = op.weight.reshape(G, O // G, size, R, S)
    dx = memory.empty(x.shape, x.dtype) if op.needs[0] else None
    strip, sources = sources_of(op)
    products = []
    for source in sources:
        matrix = memory.aligned((G, source.R, strip.taps, O // G, source.together, size), x.dtype)
        matrix.fill(0)
        for i, j, k, r, s in source.taps:
            matrix[:, i, j, :, k] = weight[:, :, :, r, s]
        matrices = matrix.reshape(G, source.R * strip.taps * (O // G), source.together * size)
        output = None if dx is None else source.of(dx)
        partner = source.of(x) if op.needs[1] else None
        products.append(Product(source.start, source.R, matrices, output, partner))
    found = multiply_all(dy, strip, products)
    if not op.needs[1]:
        return dx, None
    dweight = numpy.zeros_like(weight)
    for source, totals in zip(sources, zip(*found)):
        total = sum(totals).reshape(G, source.R, strip.taps, O // G, source.together, size)
        for i, j, k, r, s in source.taps:
            dweight[:, :, :, r, s] += total[:, i, j, :, k]
    return dx, dweight.reshape(op.weight.shape)


def weight_gradient(op: Any, x: Array, dy: Array) -> Array:
    """dW (O, C/G, R, S) from the windows of x: at a network's input, which has few channels and
    needs no gradient, in two thirds of the time.
    """
    strip, pixels = strips_of(op)
    G, (O, size, R, S) = op.groups, op.weight.shape
    matrices = numpy.empty((G, R * strip.taps * size, pixels * O // G), x.dtype)  # their shape only
    partner = dy.reshape(len(dy), strip.rows, strip.number, pixels * O)
    found = multiply_all(x, strip, [Product(0, R, matrices, None, partner)])
    total = sum(sums for [sums] in found).reshape(G, R, strip.taps, size, pixels, O // G)
    dkernel = sum(total[:, :, k : k + S, :, k] for k in range(pixels))  # see `paired`
    return dkernel.transpose(0, 4, 3, 1, 2).reshape(op.weight.shape)


# --- which windows, and which weights -----------------------------------------------------------


def strips_of(op: Any) -> tuple[Strip, int]:
    """The strips of x, and how many pixels of y share one."""
    O, _, R, S = op.weight.shape
    (down, step), ((top, _), (left, _)) = op.stride, op.padding
    P, Q = op.output_size(op.x.shape, op.weight.shape)
    pixels = 2 if can_pair(op, O, Q) else 1
    return Strip(Q // pixels, S + pixels - 1, pixels * step, left, top, down, R, P), pixels


def kernels(weight: Array, groups: int) -> Array:
    """(O, C/G, R, S) -> (G, R, S, C/G, O/G): for each group a matrix that windows multiply."""
    O, size, R, S = weight.shape
    split = weight.reshape(groups, O // groups, size, R, S)
    matrices = memory.aligned((groups, R, S, size, O // groups), weight.dtype)
    matrices[...] = split.transpose(0, 3, 4, 2, 1)
    return matrices


def paired(kernel: Array) -> Array:
    """Kernels for two neighbouring pixels at once: (1, R, S, C, O) -> (1, R, S + 1, C, 2·O).

    The second half is the kernel moved one tap to the right, the rest is zero. A product with 16
    columns leaves half of a processor's vector registers idle; with 32 it does a third more
    multiplications in less time. (A NaN or infinity that only one pixel of the pair sees reaches
    the other too, as 0 · inf.)
    """
    _, R, S, C, O = kernel.shape
    pair = memory.aligned((1, R, S + 1, C, 2, O), kernel.dtype)
    pair.fill(0)
    pair[:, :, :S, :, 0] = kernel
    pair[:, :, 1:, :, 1] = kernel
    return pair.reshape(1, R, S + 1, C, 2 * O)


class Source(NamedTuple):
    """Pixels (down · i + a, step · j + b + k) of x, 0 <= k < together, and the windows of dy that
    saw them.
    """

    start: int  # row of a strip of dy
    R: int  # rows of it
    taps: list[tuple[int, int, int, int, int]]  # row i, pixel j of the strip saw k at tap (r, s)
    a: slice
    b: slice
    together: int

    def of(self, x: Array) -> Array:
        """These pixels of x (N, H, W, C): (N, ·, ·, together·C)."""
        pixels = x[:, self.a, self.b]
        return pixels.reshape(*pixels.shape[:2], -1, self.together * x.shape[3])


def sources_of(op: Any) -> tuple[Strip, list[Source]]:
    """The strips of dy in which the pixels of x find the windows that saw them.

    The window (p, q) saw pixel (h, w) at its tap (r, s) if h = p·down + r - top and
    w = q·step + s - left. So at which taps a pixel was seen depends on h mod down and w mod step:

        h = down · i + a:    r = (a + top) mod down + down · k,    p = i + ⌊(a + top) / down⌋ - k

    and likewise for columns. Neighbours of a row share one row of a product, with zeros where one
    of them was not seen, if rows have an even number of them.
    """
    (N, C, H, W), (O, _, R, S) = op.x.shape, op.weight.shape
    (down, step), ((top, _), (left, _)) = op.stride, op.padding
    period = 2 if can_pair(op, C, W) else step
    together = period if W % period == 0 and op.groups == 1 else 1

    lowest = -((S - 1 - left) // step)  # of q - step · w over all taps and pixels of a period
    taps = (period - 1 + left) // step - lowest + 1
    rows = [range((a + top) % down, R, down)[::-1] for a in range(down)]  # r, as p grows
    first = [(a + top) // down - len(rows[a]) + 1 for a in range(down)]  # p - i
    above = max(-min(first), 0)
    reach = max(above + first[a] + len(rows[a]) for a in range(down))
    sources = []
    for a in range(min(down, H)):
        for b in range(0, min(period, W), together):
            seen = [
                (i, j, k, r, b + k + left - step * (lowest + j))
                for k in range(together)
                for j in range(taps)
                for i, r in enumerate(rows[a])
                if 0 <= b + k + left - step * (lowest + j) < S
            ]
            every = slice(b, None, period if together == 1 else 1)
            sources.append(
                Source(above + first[a], len(rows[a]), seen, slice(a, None, down), every, together)
            )
    strip = Strip(-(-W // period), taps, period // step, -lowest, above, 1, reach, -(-H // down))
    return strip, sources


def can_pair(op: Any, channels: int, width: int) -> bool:
    """Whether two neighbours in rows of `width` share a row of the product."""
    return (
        op.groups == 1
        and channels <= NARROW
        and op.weight.shape[3] > 1
        and op.stride[1] == 1
        and width % 2 == 0
    )


KERNELS = {name: Kernel(suits, forward, backward) for name in ("conv2d", "conv2d_relu")}
