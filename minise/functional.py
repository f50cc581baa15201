"""The functions a learner calls, named and argued as in torch.nn.functional.

They are handed on from minise/ops, where each stands under the op that does its work. Images are
(N, C, H, W); where PyTorch takes a single (C, H, W) image, so do these.
"""

from __future__ import annotations

from .ops.activation import (
    dropout,
    elu,
    hardsigmoid,
    hardswish,
    leaky_relu,
    log_softmax,
    relu,
    sigmoid,
    silu,
    softmax,
    tanh,
)
from .ops.conv import conv2d
from .ops.fused import (
    add_relu,
    axpy,
    axpy_relu,
    batch_norm_relu,
    conv2d_relu,
    is_fusing,
    unfused,
)
from .ops.linear import linear
from .ops.loss import cross_entropy, nll_loss
from .ops.norm import batch_norm
from .ops.pool import adaptive_avg_pool2d, adaptive_max_pool2d, avg_pool2d, max_pool2d
from .ops.shape import pad

__all__ = [
    "adaptive_avg_pool2d",
    "adaptive_max_pool2d",
    "add_relu",
    "avg_pool2d",
    "axpy",
    "axpy_relu",
    "batch_norm",
    "batch_norm_relu",
    "conv2d",
    "conv2d_relu",
    "cross_entropy",
    "dropout",
    "elu",
    "hardsigmoid",
    "hardswish",
    "is_fusing",
    "leaky_relu",
    "linear",
    "log_softmax",
    "max_pool2d",
    "nll_loss",
    "pad",
    "relu",
    "sigmoid",
    "silu",
    "softmax",
    "tanh",
    "unfused",
]
