"""Lesson 04: a convolution as loops, as a matrix product, and backward.

In the lesson's letters, for one image x (C, H, W) whose border of zeros is already there:

    window(p, q) = x[:, p·stride : p·stride + R, q·stride : q·stride + S]     (C, R, S)
    columns      one row per output pixel: its window, flattened              (P·Q, C·R·S)
    rows         the output, one row per pixel                                (P·Q, O)

What is expected is computed by minise's own convolution. The columns are too: a convolution whose
kernels pick one value of the window each. A test holds all of it against PyTorch.
"""

from __future__ import annotations

import numpy
from numpy.lib.stride_tricks import sliding_window_view

from minise import Tensor
from minise import functional as F
from minise.teach import Check, Exercise, Mistake, Point

Array = numpy.ndarray


def columns_of(x: Array, R: int, S: int, stride: int) -> Array:
    """The windows of x (C, H, W) as rows: (P·Q, C·R·S)."""
    size = len(x) * R * S
    pickers = numpy.eye(size, dtype=x.dtype).reshape(size, len(x), R, S)
    picked = F.conv2d(Tensor(x[None]), Tensor(pickers), stride=stride)  # (1, C·R·S, P, Q)
    return numpy.array(picked.numpy().reshape(size, -1).T)


def point(
    x_shape: tuple[int, ...], w_shape: tuple[int, ...], stride: int, p: int, q: int, seed: int
) -> Point:
    """Random x, w and upstream gradient, and all that the lesson computes of them, in float64."""
    draw = numpy.random.RandomState(seed).standard_normal
    x, w = Tensor(draw(x_shape), requires_grad=True), Tensor(draw(w_shape), requires_grad=True)
    y = F.conv2d(x.reshape(1, *x_shape), w, stride=stride)  # (1, O, P, Q)
    dy = draw(y.shape)
    y.backward(Tensor(dy))
    O = w_shape[0]
    drows = numpy.array(dy.reshape(O, -1).T)
    return {
        "x": x.numpy(),
        "w": w.numpy(),
        "stride": stride,
        "p": p,
        "q": q,
        "y": y.numpy()[0, :, p, q].copy(),
        "columns": columns_of(x.numpy(), w_shape[2], w_shape[3], stride),
        "rows": numpy.array(y.numpy().reshape(O, -1).T),
        "drows": drows,
        "dw": w.grad.numpy(),  # type: ignore[union-attr]
        "dcolumns": drows @ w.numpy().reshape(O, -1),
        "dx": x.grad.numpy(),  # type: ignore[union-attr]
    }


# --- the mistakes -------------------------------------------------------------------------------


def windows(x: Array, w: Array, stride: int) -> Array:
    """(P, Q, C, R, S)"""
    every = sliding_window_view(x, w.shape[2:], axis=(1, 2))  # (C, H - R + 1, W - S + 1, R, S)
    return every[:, ::stride, ::stride].transpose(1, 2, 0, 3, 4)


def close_windows(x: Array, w: Array, stride: int) -> Array:
    """As many windows, but one pixel apart whatever the stride."""
    P, Q = windows(x, w, stride).shape[:2]
    return windows(x, w, 1)[:P, :Q]


def gather(
    dwindows: Array, x: Array, w: Array, stride: int, overwrite: bool = False
) -> tuple[Array, Array]:
    """dx, and how many windows every value of x was in."""
    P, Q, _, R, S = dwindows.shape
    dx, count = numpy.zeros_like(x), numpy.zeros_like(x)
    for p in range(P):
        for q in range(Q):
            here = numpy.s_[:, p * stride : p * stride + R, q * stride : q * stride + S]
            dx[here] = dwindows[p, q] + (0 if overwrite else dx[here])
            count[here] += 1
    return dx, count


def in_windows(dcolumns: Array, x: Array, w: Array, stride: int) -> Array:
    """dcolumns as (P, Q, C, R, S)."""
    return dcolumns.reshape(windows(x, w, stride).shape)


def channels_last(dcolumns: Array, x: Array, w: Array, stride: int) -> Array:
    """dcolumns as if a row were in the order R, S, C."""
    P, Q, C, R, S = windows(x, w, stride).shape
    return dcolumns.reshape(P, Q, R, S, C).transpose(0, 1, 4, 2, 3)


STRIDE = (
    "The stride is lost: output pixel (p, q) looks at the window that starts at row p · stride, "
    "column q · stride."
)

ONE_OUTPUT = [
    Mistake(
        STRIDE,
        lambda x, w, p, q, stride: (w * windows(x, w, 1)[p, q]).sum(axis=(1, 2, 3)),
    ),
    Mistake(
        "The kernel is flipped. That is the convolution of mathematics; neural networks do not "
        "flip, and still call it convolution.",
        lambda x, w, p, q, stride: (w[:, :, ::-1, ::-1] * windows(x, w, stride)[p, q]).sum(
            axis=(1, 2, 3)
        ),
    ),
    Mistake(
        "Σ over the channels is missing: an output channel adds up what it finds in all C input "
        "channels.",
        lambda x, w, p, q, stride: (w * windows(x, w, stride)[p, q]).sum(axis=(2, 3)),
    ),
    Mistake(
        "The output channels are added up too. Every kernel w[o] gives a value of its own: sum "
        "over C, R and S only, axes 1, 2 and 3.",
        lambda x, w, p, q, stride: (w * windows(x, w, stride)[p, q]).sum(),
    ),
    Mistake(
        "This is a mean over the window. A convolution adds up; any 1/n is up to the weights.",
        lambda x, w, p, q, stride: (w * windows(x, w, stride)[p, q]).mean(axis=(1, 2, 3)),
    ),
    Mistake(
        "Rows and columns are exchanged: p counts rows, along H; q counts columns, along W.",
        lambda x, w, p, q, stride: (w * windows(x, w, stride)[q, p]).sum(axis=(1, 2, 3)),
    ),
]

IM2COL = [
    Mistake(
        STRIDE,
        lambda x, w, stride: close_windows(x, w, stride).reshape(-1, w[0].size),
    ),
    Mistake(
        "The windows come in the wrong order: all q of row p = 0 first, then row 1, as the "
        "output pixels lie in memory.",
        lambda x, w, stride: windows(x, w, stride).swapaxes(0, 1).reshape(-1, w[0].size),
    ),
    Mistake(
        "A row holds the right values in another order than a kernel: flatten the window "
        "(C, R, S) as it is, since w.reshape(O, -1) does the same to w[o].",
        lambda x, w, stride: windows(x, w, stride).transpose(0, 1, 3, 4, 2).reshape(-1, w[0].size),
    ),
    Mistake(
        "The windows are right; now flatten each, so that it is one row: .ravel().",
        lambda x, w, stride: windows(x, w, stride).reshape(-1, *w.shape[1:]),
    ),
    Mistake(
        "The windows are right; put the rows of all output pixels below each other: "
        "(P·Q, C·R·S), not (P, Q, C·R·S).",
        lambda x, w, stride: windows(x, w, stride).reshape(
            *windows(x, w, stride).shape[:2], w[0].size
        ),
    ),
]

SCRAMBLED = (
    "w.reshape(-1, O) keeps the order of the numbers in memory, and so cuts the kernels to pieces. "
    "Make every kernel a row first, w.reshape(O, -1), and then transpose."
)

CONV_ROWS = [
    Mistake(SCRAMBLED, lambda columns, w: columns @ w.reshape(-1, len(w))),
    Mistake(
        "w.T reverses all four axes, and with them the order of the numbers in each kernel. Make "
        "every kernel a row first, w.reshape(O, -1), and then transpose.",
        lambda columns, w: columns @ w.T.reshape(-1, len(w)),
    ),
    Mistake(
        "Both matrices have C·R·S columns. To multiply row by row, transpose the second.",
        lambda columns, w: columns @ w.reshape(len(w), -1),
    ),
    Mistake(
        "This is the sum over all output channels. Keep them apart: one column for each kernel.",
        lambda columns, w: columns @ w.reshape(len(w), -1).sum(axis=0),
    ),
]

GRAD_W = [
    Mistake(
        "The numbers are right, but dw must have the shape of w: reshape(w.shape).",
        lambda drows, columns, w: drows.T @ columns,
    ),
    Mistake(
        "The product is the transposed one, and reshape has cut it to pieces. Row o of the result "
        "belongs to kernel o, so drows comes first: drows.T @ …",
        lambda drows, columns, w: (columns.T @ drows).reshape(w.shape),
    ),
    Mistake(
        "This is the mean over the output pixels. All of them used the same kernel, so their "
        "contributions add.",
        lambda drows, columns, w: (drows.T @ columns).reshape(w.shape) / len(drows),
    ),
    Mistake(
        "Only the last output pixel is left: it has overwritten the others. All of them used the "
        "same kernel, so their contributions add.",
        lambda drows, columns, w: numpy.outer(drows[-1], columns[-1]).reshape(w.shape),
    ),
    Mistake(
        "The factor columns is missing: each weight was multiplied by a value of each window.",
        lambda drows, columns, w: (drows.T @ numpy.ones_like(columns)).reshape(w.shape),
    ),
]

COL2IM = [
    Mistake(
        "A window has overwritten the windows before it. A pixel that was copied to several rows "
        "receives the gradient of every copy: += instead of =. (With an array of indices even "
        "+= keeps only the last.)",
        lambda dcolumns, x, w, stride: gather(
            in_windows(dcolumns, x, w, stride), x, w, stride, overwrite=True
        )[0],
    ),
    Mistake(
        STRIDE,
        lambda dcolumns, x, w, stride: gather(in_windows(dcolumns, x, w, stride), x, w, 1)[0],
    ),
    Mistake(
        "This is the mean over the copies. It would make col2im undo im2col, but what the copies "
        "send back adds up.",
        lambda dcolumns, x, w, stride: numpy.divide(
            *gather(in_windows(dcolumns, x, w, stride), x, w, stride)
        ),
    ),
    Mistake(
        "The numbers of a row are in the order C, R, S, as im2col has put them there.",
        lambda dcolumns, x, w, stride: gather(channels_last(dcolumns, x, w, stride), x, w, stride)[
            0
        ],
    ),
    Mistake(
        "Rows of dcolumns are taken for columns: row number p · Q + q belongs to output pixel "
        "(p, q).",
        lambda dcolumns, x, w, stride: gather(
            dcolumns.reshape(
                *windows(x, w, stride).shape[1::-1], *windows(x, w, stride).shape[2:]
            ).swapaxes(0, 1),
            x,
            w,
            stride,
        )[0],
    ),
]

check = Check(
    {
        "x (2, 5, 6), w (3, 2, 3, 3), stride 1": point(
            (2, 5, 6), (3, 2, 3, 3), stride=1, p=1, q=2, seed=401
        ),
        "x (3, 7, 9), w (4, 3, 3, 2), stride 2": point(
            (3, 7, 9), (4, 3, 3, 2), stride=2, p=2, q=1, seed=402
        ),
    },
    [
        Exercise("one_output", "x w p q stride", "y", ONE_OUTPUT),
        Exercise("im2col", "x w stride", "columns", IM2COL),
        Exercise("conv_rows", "columns w", "rows", CONV_ROWS),
        Exercise("grad_w", "drows columns w", "dw", GRAD_W),
        Exercise("col2im", "dcolumns x w stride", "dx", COL2IM),
    ],
)
