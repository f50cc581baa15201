"""SE's squeeze and scale, and the scale with the addition (and the ReLU) behind it: see se.cu."""

from __future__ import annotations

from typing import Any

from ...registry import Kernel
from .launch import are_supported, launch
from .layout import channels_first, channels_last, grid

Array = Any


def squeeze_suits(op: Any, x: Array) -> bool:
    """To one number per channel."""
    return op.output_size == (1, 1) and are_supported(x)


def squeeze(op: Any, x: Array) -> Array:
    """The mean of each channel: adaptive_avg_pool2d to 1 × 1."""
    op.shape = x.shape
    N, C, H, W = x.shape
    z = op.xp.empty((N, C, 1, 1), dtype=x.dtype)
    launch("se_squeeze", x.dtype, grid(C, N), channels_last(op.xp, x), z, N, C, H * W)
    return z


def squeeze_backward(op: Any, grad: Array) -> Array:
    """The same share for every pixel: nothing is written out, the sum of gradients reads it."""
    H, W = op.shape[2:]
    return op.xp.broadcast_to(grad / (H * W), op.shape)


def axpy_suits(op: Any, scale: Array, u: Array, shortcut: Array) -> bool:
    """Arrays that the kernels support."""
    return are_supported(scale, u, shortcut)


def axpy(op: Any, scale: Array, u: Array, shortcut: Array) -> Array:
    """See minise.ops.fused.Axpy and AxpyReLU."""
    op.scale, op.u = channels_last(op.xp, scale), channels_last(op.xp, u)
    y = scaled(op.xp, op.scale, op.u, channels_last(op.xp, shortcut), op.rectifies)
    op.y = y if op.rectifies else None
    return channels_first(y)


def axpy_backward(op: Any, grad: Array) -> tuple[Array, Array, Array]:
    dy = channels_last(op.xp, grad)
    dshortcut = dy if op.y is None else op.xp.empty(dy.shape, dtype=dy.dtype)
    dscale, du = scaled_backward(
        op.xp, dy, op.scale, op.u, op.y, None if op.y is None else dshortcut
    )
    return channels_first(dscale), channels_first(du), channels_first(dshortcut)


def multiply_suits(op: Any, a: Array, b: Array) -> bool:
    """Images (N, C, H, W) times gates (N, C, 1, 1)."""
    return a.ndim == 4 and b.shape == (*a.shape[:2], 1, 1) and are_supported(a, b)


def multiply(op: Any, a: Array, b: Array) -> Array:
    """a (N, C, H, W) times gates b (N, C, 1, 1)."""
    op.a, op.b = channels_last(op.xp, a), channels_last(op.xp, b)
    return channels_first(scaled(op.xp, op.b, op.a, None, False))


def multiply_backward(op: Any, grad: Array) -> tuple[Array, Array]:
    db, da = scaled_backward(op.xp, channels_last(op.xp, grad), op.b, op.a, None, None)
    return channels_first(da), channels_first(db)


# --- on contiguous arrays: scale (N, 1, 1, C), the others (N, H, W, C) ----------------------------


def scaled(xp: Any, scale: Array, u: Array, shortcut: Array | None, rectified: bool) -> Array:
    """y = scale · u + shortcut, and ReLU; without a shortcut the product alone."""
    N, H, W, C = u.shape
    y = xp.empty(u.shape, dtype=u.dtype)
    launch(
        "se_axpy", u.dtype, grid(C, N, H * W),
        scale, u, shortcut, y, N, C, H * W, rectified,
    )  # fmt: skip
    return y


def scaled_backward(
    xp: Any, dy: Array, scale: Array, u: Array, y: Array | None, dshortcut: Array | None
) -> tuple[Array, Array]:
    """(dscale, du); writes dshortcut."""
    N, H, W, C = u.shape
    dscale, du = (xp.empty(array.shape, dtype=dy.dtype) for array in (scale, u))
    launch(
        "se_axpy_backward", dy.dtype, grid(C, N),
        dy, scale, u, y, dscale, du, dshortcut, N, C, H * W,
    )  # fmt: skip
    return dscale, du


KERNELS = {
    "adaptive_avg_pool2d": Kernel(squeeze_suits, squeeze, squeeze_backward),
    "multiply": Kernel(multiply_suits, multiply, multiply_backward),
    "axpy": Kernel(axpy_suits, axpy, axpy_backward),
    "axpy_relu": Kernel(axpy_suits, axpy, axpy_backward),
}
