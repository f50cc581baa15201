"""Pieces that several networks share."""

from __future__ import annotations

from .. import functional as F
from ..nn import BatchNorm2d, Conv2d, Linear, Module, Sequential, init
from ..tensor import Tensor
from .fusion import conv_bn_relu


def conv(
    in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1
) -> Conv2d:
    """A convolution that keeps H and W at stride 1, without bias: BatchNorm has one."""
    return Conv2d(
        in_channels, out_channels, kernel, stride, padding=kernel // 2, groups=groups, bias=False
    )


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
        return conv_bn_relu(self.conv, self.bn, x)


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
