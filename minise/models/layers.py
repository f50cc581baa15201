"""Pieces that several networks share."""

from __future__ import annotations

from .. import backend
from .. import functional as F
from ..autograd import Tensor, is_grad_enabled
from ..nn import BatchNorm2d, Conv2d, Linear, Module, Sequential, init


def conv(
    in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1
) -> Conv2d:
    """A convolution that keeps H and W at stride 1, without bias: BatchNorm has one."""
    return Conv2d(
        in_channels, out_channels, kernel, stride, padding=kernel // 2, groups=groups, bias=False
    )


def conv_bn(conv: Conv2d, norm: BatchNorm2d, x: Tensor, relu: bool = False) -> Tensor:
    """norm(conv(x)), and ReLU if asked for.

    In evaluation BatchNorm multiplies each channel by a constant and adds another one. Where nobody
    wants a gradient or has a hook on the two, the convolution's weights and bias do that, and y is
    not read and written once more: 5 to 10 % of an evaluation.
    """
    if not can_fold(conv, norm, x):
        return norm(conv(x), relu=relu)
    weight, bias = folded(conv, norm)
    return F.conv2d(
        x, weight, bias, conv.stride, conv.padding, conv.dilation, conv.groups, relu=relu
    )


def can_fold(conv: Conv2d, norm: BatchNorm2d, x: Tensor) -> bool:
    """Whether one convolution may do the work of both, unseen, and is faster."""
    return (
        not is_grad_enabled()
        and not norm.training
        and norm.running_mean is not None
        and F.is_fusing()
        and backend.using_fast_kernels()
        and "conv2d_relu" in backend.get(conv.weight.backend).fast
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


class ConvBN(Module):
    """Convolution, BatchNorm, ReLU."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1,
        bias: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.conv = Conv2d(
            in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=bias
        )
        self.bn = BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return conv_bn(self.conv, self.bn, x, relu=True)


def projection(in_channels: int, out_channels: int, stride: int, kernel: int = 1) -> Sequential:
    """Shortcut B: a convolution and BatchNorm bring the shortcut to the branch's shape."""
    return Sequential(conv(in_channels, out_channels, kernel, stride), BatchNorm2d(out_channels))


class ZeroPad(Module):
    """Shortcut A: every `stride`-th pixel, and zeros for the new channels; no parameters."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.added, self.stride = out_channels - in_channels, stride

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, :, :: self.stride, :: self.stride]
        return F.pad(x, (0, 0, 0, 0, 0, self.added))


def init_weights(net: Module) -> None:
    """He et al. (2015): normal weights of variance 2 / fan-out for convolutions; γ = 1, β = 0.

    Linear layers keep PyTorch's default.
    """
    for module in net.modules():
        if isinstance(module, Conv2d):
            init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                init.zeros_(module.bias)


def classify(x: Tensor, fc: Linear) -> Tensor:
    """Global mean of each channel, then the classifier: (N, C, H, W) -> (N, classes)."""
    return fc(F.adaptive_avg_pool2d(x, 1).flatten(1))
