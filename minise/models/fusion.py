"""What the blocks of networks call, so that neighbouring layers become one op where that is faster.

Each function is what its last line says, for the same numbers: `conv_bn_relu(conv, bn, x)` is
relu(bn(conv(x))). It is a function that a block calls and not a pass that rewrites a finished
model, because the block then says what runs: one reads it like the figure in the paper, and nothing
is changed behind its back. Hooks on a layer and `unfused()` bring the layers back one by one.
"""

from __future__ import annotations

from .. import backend
from .. import functional as F
from ..autograd import is_grad_enabled
from ..nn import BatchNorm2d, Conv2d, SEBlock
from ..ops.fused import Conv2dReLU
from ..tensor import Tensor


def bn_relu(bn: BatchNorm2d, x: Tensor) -> Tensor:
    """ReLU(BatchNorm(x)) as one op."""
    if F.is_fusing() and not bn.has_hooks:
        return bn.call(bn.normalise, F.batch_norm_relu, x)
    return F.relu(bn(x))


def conv_bn(conv: Conv2d, bn: BatchNorm2d, x: Tensor) -> Tensor:
    """BatchNorm(conv(x)); in evaluation one convolution with other weights, see `can_fold`."""
    if can_fold(conv, bn, x):
        weight, bias = folded(conv, bn)
        return F.conv2d(x, weight, bias, conv.stride, conv.padding, conv.dilation, conv.groups)
    return bn(conv(x))


def conv_bn_relu(conv: Conv2d, bn: BatchNorm2d, x: Tensor) -> Tensor:
    """ReLU(BatchNorm(conv(x))); in evaluation one convolution, in training two ops."""
    if can_fold(conv, bn, x):
        weight, bias = folded(conv, bn)
        return F.conv2d_relu(
            x, weight, bias, conv.stride, conv.padding, conv.dilation, conv.groups
        )
    return bn_relu(bn, conv(x))


def se_add(se: SEBlock, u: Tensor, shortcut: Tensor) -> Tensor:
    """SE(u) + shortcut, scale and addition as one op."""
    if F.is_fusing() and not se.has_hooks:
        return se.call(lambda: F.axpy(se.gates(u), u, shortcut))
    return se(u) + shortcut


def se_add_relu(se: SEBlock, u: Tensor, shortcut: Tensor) -> Tensor:
    """ReLU(SE(u) + shortcut), all behind the gates as one op: the end of an SE-ResNet block."""
    if F.is_fusing() and not se.has_hooks:
        return se.call(lambda: F.axpy_relu(se.gates(u), u, shortcut))
    return F.add_relu(se(u), shortcut)


# --- BatchNorm by the weights of a convolution --------------------------------------------------


def can_fold(conv: Conv2d, norm: BatchNorm2d, x: Tensor) -> bool:
    """Whether the convolution's weights can do BatchNorm's work.

    In evaluation BatchNorm multiplies each channel by a constant and adds another one. Where nobody
    wants a gradient or has a hook on the two, y is then not read and written once more.
    """
    return (
        not is_grad_enabled()
        and not norm.training
        and norm.running_mean is not None
        and F.is_fusing()
        and backend.using_fast_kernels()
        and Conv2dReLU in backend.get(conv.weight.backend).kernels
        and not (conv.has_hooks or norm.has_hooks)
        # A wrong x is refused by the convolution itself, which knows its own name.
        and isinstance(x, Tensor)
        and x.backend == conv.weight.backend
        and x.ndim == 4
        and x.shape[1] == conv.in_channels
        and x.dtype == conv.weight.dtype == norm.running_mean.dtype
        and conv.weight.size <= x.size  # else changing the weights takes longer than it saves
    )


def folded(conv: Conv2d, norm: BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution that does conv's and norm's work.

    With g = γ / √(var + ε):    g · (w * x + b - mean) + β  =  (g · w) * x + g · (b - mean) + β
    """
    assert norm.running_mean is not None
    assert norm.running_var is not None
    g = 1 / (norm.running_var.data + norm.eps) ** 0.5  # (O,)
    if norm.weight is not None:
        g = g * norm.weight.data
    bias = g * ((0 if conv.bias is None else conv.bias.data) - norm.running_mean.data)
    if norm.bias is not None:
        bias = bias + norm.bias.data
    return Tensor(conv.weight.data * g[:, None, None, None]), Tensor(bias)
