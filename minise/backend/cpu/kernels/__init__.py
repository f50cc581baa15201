"""The fast kernels of the CPU: what the plain ops of minise.ops compute, in less time.

`KERNELS` names them by op: (forward, backward), called with the op in place of `self`. A kernel
that has nothing to gain (an unusual dtype or memory order) hands back to the plain methods.

All of them think in channels-last memory: a row of C numbers per pixel. The matrix product of a
convolution reads and writes such rows, and a value per channel is then a value per column.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import adam, conv, elementwise, loss, norm, pool, se, sgd
from .elementwise import add

KERNELS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "conv2d": (conv.forward, conv.backward),
    "conv2d_relu": (conv.forward, conv.backward),
    "batch_norm": (norm.forward, norm.backward),
    "batch_norm_relu": (norm.forward, norm.backward),
    "adaptive_avg_pool2d": (se.squeeze, se.squeeze_backward),
    "max_pool2d": (pool.max_pool, pool.max_pool_backward),
    "avg_pool2d": (pool.avg_pool, pool.avg_pool_backward),
    "multiply": (se.scale, se.scale_backward),
    "axpy": (se.axpy, se.axpy_backward),
    "axpy_relu": (se.axpy, se.axpy_backward),
    "add_relu": (elementwise.add_relu, elementwise.add_relu_backward),
    "log_softmax": (loss.log_softmax, loss.log_softmax_backward),
    "nll_loss": (loss.nll_loss, loss.nll_loss_backward),
    "relu": (elementwise.relu, elementwise.relu_backward),
}
