"""The fast kernels of the GPU: what the plain ops of minise.ops compute, in CUDA C++.

`KERNELS` names them by op: (forward, backward), called with the op in place of `self`. A kernel
that does not cover what it is given (an unusual dtype, an axis, an empty array) hands back to the
plain methods. The .cu files hold the kernels, the .py files of the same name launch them, and
launch.py compiles them.

Memory is (N, C, H, W) in C order throughout, unlike on the CPU, where channels come last:

- whatever CuPy computes itself comes out in C order. Images with channels last would lose their
  order at every op that has no kernel here, and be copied back at the next that has one;
- the pixels of a channel lie side by side: reading them is coalesced, a value per channel (of
  BatchNorm, or SE's gates) is one value per row, and the sums over a channel run along memory;
- a convolution's tile has pixels side by side too, and weights (O, C, R, S) are its other matrix
  as they lie in memory: nothing is transposed, neither before nor after.

What channels last would give is reads of four channels at once. float32 is computed as float32; in
a block of `backend.tf32()`, convolutions and linear layers go to the tensor cores, from the same
layout.

No kernel waits for the GPU, none calls cuBLAS: all of them can be captured in a CUDA graph. No sum
of floats depends on the order of blocks: the same inputs give the same bits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import adam, conv, elementwise, loss, norm, pool, se, sgd
from .loss import LabelCheck

KERNELS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "conv2d": (conv.forward, conv.backward),
    "linear": (conv.linear, conv.linear_backward),
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
