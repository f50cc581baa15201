"""Sliding windows: what convolution and pooling share."""

from __future__ import annotations

import math
from typing import Any

Pair = tuple[int, int]


def output_length(
    n: int, kernel: int, stride: int, padding: Pair, dilation: int, ceil_mode: bool = False
) -> int:
    """How many windows of `kernel` taps fit along an axis of length `n`.

    With ceil_mode a last window may hang over the end, but must start inside the input or the
    padding before it.
    """
    span = dilation * (kernel - 1) + 1
    room = n + sum(padding) - span
    if not ceil_mode:
        return room // stride + 1
    length = math.ceil(room / stride) + 1
    return length - 1 if (length - 1) * stride >= n + padding[0] else length


def windows(x: Any, kernel: Pair, stride: Pair, dilation: Pair, count: Pair, xp: Any) -> Any:
    """All windows of x (N, C, H, W) as a view (N, C, P, Q, R, S): no value is copied."""
    (R, S), (P, Q) = kernel, count
    n, c, h, w = x.strides
    return xp.lib.stride_tricks.as_strided(
        x,
        shape=(*x.shape[:2], P, Q, R, S),
        strides=(n, c, h * stride[0], w * stride[1], h * dilation[0], w * dilation[1]),
    )


def tap(r: int, s: int, stride: Pair, dilation: Pair, count: Pair) -> tuple[slice, slice]:
    """Where tap (r, s) of every window lies in the padded input: slices of H and W.

    The slices pick no element twice, so adding to them is the adjoint of taking windows.
    """
    top, left = r * dilation[0], s * dilation[1]
    return (
        slice(top, top + (count[0] - 1) * stride[0] + 1, stride[0]),
        slice(left, left + (count[1] - 1) * stride[1] + 1, stride[1]),
    )
