"""The fast kernels of the GPU: what the plain ops of minise.ops compute, in CUDA C++.

`KERNELS` names them by op: (forward, backward), called with the op in place of `self`. A kernel
that does not cover what it is given (an unusual dtype, an axis, an empty array) hands back to the
plain methods. The .cu files hold the kernels, the .py files of the same name launch them, and
launch.py compiles them.

Convolutions come in three ways, best read in this order: the plain op, im2col and a matrix product
(columns.cu), that product without the matrix (conv.cu). The last computes nearly all of them; where
it does not cover one, with a stride and a dilation at once, columns.cu does: see layers.py.

Images (N, C, H, W) lie in channels-last memory, (N, H, W, C), as on the CPU. A pixel under a tap of
a convolution is then a row of C numbers: one instruction reads four channels, and one check for the
border, one address does for the four. BatchNorm sees a matrix of pixels and channels.

- Kernels get contiguous (N, H, W, C), ops return the view (N, C, H, W) of what they made: see
  layout.py. What is in another order is copied once: the first batch, and what CuPy itself computes
  in between, which comes out in C order. For sums of gradients there is `add`.
- A convolution's weights (O, C, R, S) are copied to (O, R, S, C), unless they are 1 × 1; their
  gradient is written as (O, C, R, S), as the optimiser wants it.

float32 is computed as float32; in a block of `backend.tf32()`, convolutions and linear layers go to
the tensor cores, from the same layout.

No kernel waits for the GPU, none calls cuBLAS: all of them can be captured in a CUDA graph. No sum
of floats depends on the order of blocks: the same inputs give the same bits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import adam, conv, elementwise, layers, loss, norm, pool, se, sgd
from .layout import add
from .loss import LabelCheck
from .parameters import copies

KERNELS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "conv2d": (layers.conv2d, layers.conv2d_backward),
    "linear": (layers.linear, layers.linear_backward),
    "batch_norm": (norm.forward, norm.backward),
    "batch_norm_relu": (norm.forward, norm.backward),
    "adaptive_avg_pool2d": (se.squeeze, se.squeeze_backward),
    "axpy": (se.axpy, se.axpy_backward),
    "axpy_relu": (se.axpy, se.axpy_backward),
    "multiply": (se.multiply, se.multiply_backward),
    "relu": (elementwise.relu, elementwise.relu_backward),
    "add_relu": (elementwise.add_relu, elementwise.add_relu_backward),
    "sigmoid": (elementwise.sigmoid, elementwise.sigmoid_backward),
    "max_pool2d": (pool.max_pool, pool.max_pool_backward),
    "avg_pool2d": (pool.avg_pool, pool.avg_pool_backward),
    "log_softmax": (loss.log_softmax, loss.log_softmax_backward),
    "nll_loss": (loss.nll_loss, loss.nll_loss_backward),
}
