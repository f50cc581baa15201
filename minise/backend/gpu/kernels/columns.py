"""The products of a convolution, with its windows written out as columns: see columns.cu.

The step between the plain op and conv.py, to be read before that. It takes what conv.py does not
cover, and costs memory: columns are R·S times as large as x. So they are not kept, but built again
for the gradient of the weights.

The matrix products are conv.py's. Unlike those of cuBLAS they can be captured in a CUDA graph, and
give the same bits every time.
"""

from __future__ import annotations

from typing import Any

from . import conv
from .conv import Convolution
from .launch import MOST, THREADS, blocks_for, launch
from .layout import channels_first

Array = Any


def matrices(c: Convolution) -> Convolution:
    """The product: a 1 × 1 convolution of N·P·Q pictures of one pixel, with R·S·C channels."""
    return Convolution(c.N * c.P * c.Q, c.R * c.S * c.C, 1, 1, c.O, 1, 1, 1, 1, c.G)


def covers(c: Convolution) -> bool:
    """Whether the columns are small enough for the indices, and the product for its kernels."""
    product = matrices(c)
    return product.N * product.C < MOST and conv.covers(product)


# --- three products, as in conv.py ----------------------------------------------------------------
# x (N, H, W, C), weight (O, R, S, C/G), dy (N, P, Q, O): contiguous.


def output(xp: Any, c: Convolution, x: Array, weight: Array, bias: Array | None) -> Array:
    """y (N, P, Q, O)."""
    y = conv.output(xp, matrices(c), im2col(xp, c, x), weight, bias)
    return y.reshape(c.N, c.P, c.Q, c.O)


def input_gradient(xp: Any, c: Convolution, dy: Array, weight: Array) -> Array:
    """dx (N, H, W, C)."""
    return col2im(xp, c, conv.input_gradient(xp, matrices(c), dy, weight))


def weight_gradient(xp: Any, c: Convolution, x: Array, dy: Array) -> Array:
    """dw (O, C/G, R, S), in C order like the weights of the model."""
    dweight = conv.weight_gradient(xp, matrices(c), im2col(xp, c, x), dy)
    return xp.ascontiguousarray(channels_first(dweight.reshape(c.O, c.R, c.S, c.C // c.G)))


# --- and the kernels ------------------------------------------------------------------------------


def im2col(xp: Any, c: Convolution, x: Array) -> Array:
    """x (N, H, W, C) -> columns (N·P·Q, G, R, S, C/G)."""
    columns = xp.empty((c.N * c.P * c.Q, c.G, c.R, c.S, c.C // c.G), dtype=x.dtype)
    launch("im2col", x.dtype, (blocks_for(columns.size, THREADS),), c.struct(), x, columns)
    return columns


def col2im(xp: Any, c: Convolution, dcolumns: Array) -> Array:
    """dcolumns (N·P·Q, G, R, S, C/G) -> dx (N, H, W, C)."""
    dx = xp.empty((c.N, c.H, c.W, c.C), dtype=dcolumns.dtype)
    launch("col2im", dx.dtype, (blocks_for(dx.size, THREADS),), c.struct(), dcolumns, dx)
    return dx
