"""Residual blocks, with SE in one of five places (figures 3 and 5 of the journal version).

    placement   y =
    none        ReLU(branch(x) + shortcut(x))
    standard    ReLU(SE(branch(x)) + shortcut(x))
    pre         ReLU(branch(SE(x)) + shortcut(x))
    post        SE(ReLU(branch(x) + shortcut(x)))
    identity    ReLU(branch(x) + SE(shortcut(x)))
    inside      as none, with SE behind the (first) 3×3 convolution and its BatchNorm

A block's SE is one child, `se`, whichever place it has.
"""

from __future__ import annotations

from .. import functional as F
from ..nn import BatchNorm2d, Conv2d, Identity, Module, SEBlock, init
from ..tensor import Tensor
from .fusion import bn_relu, conv_bn, conv_bn_relu, se_add, se_add_relu
from .layers import ZeroPad, conv, projection
from .options import Options


class ResidualBlock(Module):
    """What all blocks share: `branch` (written by the kinds below), the shortcut, and SE's place.

    `expansion` is the ratio of a block's output channels to its `planes`.
    """

    se: SEBlock
    expansion = 1
    last_norm = "bn2"  # the one that zero_init_residual silences

    def __init__(
        self, in_channels: int, planes: int, stride: int, stage: int, options: Options
    ) -> None:
        super().__init__()
        self.out_channels = planes * self.expansion
        self.placement = options.placement if options.se_at(stage) else None
        self.build(in_channels, planes, stride, stage, options)
        self.downsample = self.shortcut(in_channels, stride, stage, options)
        if self.placement is not None:
            channels = {"pre": in_channels, "inside": self.inside_channels()}
            self.se = options.se_block(channels.get(self.placement, self.out_channels))

    def build(
        self, in_channels: int, planes: int, stride: int, stage: int, options: Options
    ) -> None:
        """Makes the layers of the branch."""
        raise NotImplementedError

    def branch(self, x: Tensor) -> Tensor:
        """What the block adds to its shortcut: (N, C, H, W) -> (N, out_channels, P, Q)."""
        raise NotImplementedError

    def inside_channels(self) -> int:
        """Channels behind the 3×3 convolution that `inside` gates."""
        raise NotImplementedError

    def shortcut(self, in_channels: int, stride: int, stage: int, options: Options) -> Module:
        """The way around the branch: x itself where its shape fits, else option A or B."""
        if stride == 1 and in_channels == self.out_channels:
            return Identity()
        if options.shortcut == "A":
            return ZeroPad(in_channels, self.out_channels, stride)
        return projection(in_channels, self.out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        match self.placement:
            case "standard":
                return se_add_relu(self.se, self.branch(x), self.downsample(x))
            case "pre":
                return F.add_relu(self.branch(self.se(x)), self.downsample(x))
            case "post":
                return self.se(F.add_relu(self.branch(x), self.downsample(x)))
            case "identity":
                return se_add_relu(self.se, self.downsample(x), self.branch(x))
            case _:  # none, or inside the branch
                return F.add_relu(self.branch(x), self.downsample(x))

    def gated_3x3(self, conv: Conv2d, norm: BatchNorm2d, x: Tensor) -> Tensor:
        """ReLU(BatchNorm(conv(x))), with SE ahead of the ReLU where the placement is "inside"."""
        if self.placement == "inside":
            return F.relu(self.se(conv_bn(conv, norm, x)))
        return conv_bn_relu(conv, norm, x)

    def silence(self) -> None:
        """zero_init_residual: γ = 0 in the last BatchNorm, so the block starts as its shortcut."""
        init.zeros_(getattr(self, self.last_norm).weight)


class BasicBlock(ResidualBlock):
    """Two 3×3 convolutions (He et al. 2016, fig. 5 left)."""

    def build(self, in_channels, planes, stride, stage, options):
        self.conv1 = conv(in_channels, planes, 3, stride)
        self.bn1 = BatchNorm2d(planes)
        self.conv2 = conv(planes, planes, 3)
        self.bn2 = BatchNorm2d(planes)

    def inside_channels(self):
        return self.conv1.out_channels

    def branch(self, x):
        x = self.gated_3x3(self.conv1, self.bn1, x)
        return conv_bn(self.conv2, self.bn2, x)


class Bottleneck(ResidualBlock):
    """1×1, 3×3, 1×1 (He et al. 2016, fig. 5 right), the 3×3 in groups for ResNeXt and SENet.

    variant "torch" strides in the 3×3, "caffe" in the first 1×1, as the paper's nets do.
    """

    expansion = 4
    last_norm = "bn3"
    groups = 1
    strides_in_3x3 = False  # whatever the variant

    def widths(self, planes):
        """Channels behind the first 1×1 and behind the 3×3."""
        return planes, planes

    def build(self, in_channels, planes, stride, stage, options):
        first, second = self.widths(planes)
        in_1x1 = options.variant == "caffe" and not self.strides_in_3x3
        self.conv1 = conv(in_channels, first, 1, stride if in_1x1 else 1)
        self.bn1 = BatchNorm2d(first)
        self.conv2 = conv(first, second, 3, 1 if in_1x1 else stride, self.groups)
        self.bn2 = BatchNorm2d(second)
        self.conv3 = conv(second, self.out_channels, 1)
        self.bn3 = BatchNorm2d(self.out_channels)

    def inside_channels(self):
        return self.conv2.out_channels

    def branch(self, x):
        x = conv_bn_relu(self.conv1, self.bn1, x)
        x = self.gated_3x3(self.conv2, self.bn2, x)
        return conv_bn(self.conv3, self.bn3, x)


class ResNeXtBottleneck(Bottleneck):
    """32 groups of 4 channels at the first stage: the 3×3 is twice as wide as in ResNet."""

    groups = 32
    strides_in_3x3 = True

    def widths(self, planes):
        return 2 * planes, 2 * planes


class SENetBottleneck(Bottleneck):
    """64 groups; the 3×3 as wide as the output, the first 1×1 half of that (SENet-154)."""

    groups = 64
    strides_in_3x3 = True

    def widths(self, planes):
        return 2 * planes, 4 * planes

    def shortcut(self, in_channels, stride, stage, options):
        if stage == 1:
            return super().shortcut(in_channels, stride, stage, options)
        if stride == 1 and in_channels == self.out_channels:
            return Identity()
        return projection(in_channels, self.out_channels, stride, kernel=3)


class PreActBlock(ResidualBlock):
    """BatchNorm and ReLU before each convolution (He et al. 2016b, "Identity Mappings").

    A shortcut that changes shape starts behind the first BatchNorm and ReLU, one that does not
    carries x untouched, so the sum is never cut by a ReLU. `pre` gates what the branch's first
    convolution sees.
    """

    last_norm = "bn2"

    def build(self, in_channels, planes, stride, stage, options):
        self.bn1 = BatchNorm2d(in_channels)
        self.conv1 = conv(in_channels, planes, 3, stride)
        self.bn2 = BatchNorm2d(planes)
        self.conv2 = conv(planes, planes, 3)

    def shortcut(self, in_channels, stride, stage, options):
        if stride == 1 and in_channels == self.out_channels:
            return Identity()
        if options.shortcut == "A":
            return ZeroPad(in_channels, self.out_channels, stride)
        return conv(in_channels, self.out_channels, 1, stride)

    def inside_channels(self):
        return self.conv1.out_channels

    def branch(self, x):
        return self.conv2(bn_relu(self.bn2, self.gated(self.conv1(x))))

    def gated(self, x: Tensor) -> Tensor:
        """Called by `branch` where "inside" has its SE: here it is ahead of the BatchNorm."""
        return self.se(x) if self.placement == "inside" else x

    def forward(self, x):
        active = bn_relu(self.bn1, x)
        shortcut = x if isinstance(self.downsample, Identity) else self.downsample(active)
        match self.placement:
            case "standard":
                return se_add(self.se, self.branch(active), shortcut)
            case "pre":
                return self.branch(self.se(active)) + shortcut
            case "post":
                return self.se(self.branch(active) + shortcut)
            case "identity":
                return se_add(self.se, shortcut, self.branch(active))
            case _:  # none, or inside the branch
                return self.branch(active) + shortcut


class PreActBottleneck(PreActBlock):
    """1×1, 3×3, 1×1, each behind a BatchNorm and a ReLU (He et al. 2016b)."""

    expansion = 4
    last_norm = "bn3"

    def build(self, in_channels, planes, stride, stage, options):
        self.bn1 = BatchNorm2d(in_channels)
        self.conv1 = conv(in_channels, planes, 1)
        self.bn2 = BatchNorm2d(planes)
        self.conv2 = conv(planes, planes, 3, stride)
        self.bn3 = BatchNorm2d(planes)
        self.conv3 = conv(planes, self.out_channels, 1)

    def inside_channels(self):
        return self.conv2.out_channels

    def branch(self, x):
        x = self.gated(self.conv2(conv_bn_relu(self.conv1, self.bn2, x)))
        return self.conv3(bn_relu(self.bn3, x))
