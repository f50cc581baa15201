"""Residual networks: for CIFAR (32×32), for ImageNet (224×224), and their relatives."""

from __future__ import annotations

from .. import functional as F
from ..nn import BatchNorm2d, Dropout, Linear, Module, Sequential
from ..tensor import Tensor
from .blocks import (
    BasicBlock,
    Bottleneck,
    PreActBlock,
    PreActBottleneck,
    ResidualBlock,
    ResNeXtBottleneck,
    SENetBottleneck,
)
from .fusion import bn_relu, conv_bn_relu
from .layers import classify, conv, init_weights
from .options import Options


def make_stage(
    block: type[ResidualBlock], in_channels: int, planes: int, blocks: int, stride: int,
    stage: int, options: Options,
) -> Sequential:  # fmt: skip
    """`blocks` blocks, the first with the stride; `stage` counts from 1."""
    layers: list[ResidualBlock] = []
    for index in range(blocks):
        layers.append(
            block(in_channels, planes, stride if index == 0 else 1, stage, options)
        )
        in_channels = layers[-1].out_channels
    return Sequential(*layers)


def finish(net: Module, options: Options) -> None:
    """Initial weights, once all layers are there."""
    init_weights(net)
    if options.zero_init_residual:
        for module in net.modules():
            if isinstance(module, ResidualBlock):
                module.silence()


class CifarResNet(Module):
    """He et al. (2016), section 4.2: three stages of `blocks` blocks on 32×32, 16×16 and 8×8.

    (N, 3, 32, 32) -> (N, classes). With n basic blocks a stage the depth is 6n + 2, with n
    bottlenecks 9n + 2.
    """

    se_stages = (1, 2, 3)

    def __init__(
        self, block: type[ResidualBlock], blocks: int, options: Options,
        planes: tuple[int, int, int] = (16, 32, 64),
    ) -> None:  # fmt: skip
        super().__init__()
        channels = [16, *(n * block.expansion for n in planes)]
        self.conv1 = conv(3, 16, 3)
        self.bn1 = BatchNorm2d(16)
        self.layer1 = make_stage(block, channels[0], planes[0], blocks, 1, 1, options)
        self.layer2 = make_stage(block, channels[1], planes[1], blocks, 2, 2, options)
        self.layer3 = make_stage(block, channels[2], planes[2], blocks, 2, 3, options)
        self.fc = Linear(channels[3], options.num_classes)
        finish(self, options)

    def forward(self, x: Tensor) -> Tensor:
        x = conv_bn_relu(self.conv1, self.bn1, x)
        x = self.layer3(self.layer2(self.layer1(x)))
        return classify(x, self.fc)


class PreActCifarResNet(Module):
    """He et al. (2016b): as CifarResNet, of pre-activation blocks, with a last BatchNorm + ReLU.

    With wide planes it is a wide residual network (Zagoruyko, Komodakis 2016) of depth 6n + 4.
    """

    se_stages = (1, 2, 3)

    def __init__(
        self, block: type[PreActBlock], blocks: int, options: Options,
        planes: tuple[int, int, int] = (16, 32, 64),
    ) -> None:  # fmt: skip
        super().__init__()
        channels = [16, *(n * block.expansion for n in planes)]
        self.conv1 = conv(3, 16, 3)
        self.layer1 = make_stage(block, channels[0], planes[0], blocks, 1, 1, options)
        self.layer2 = make_stage(block, channels[1], planes[1], blocks, 2, 2, options)
        self.layer3 = make_stage(block, channels[2], planes[2], blocks, 2, 3, options)
        self.bn = BatchNorm2d(channels[3])
        self.fc = Linear(channels[3], options.num_classes)
        finish(self, options)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer3(self.layer2(self.layer1(self.conv1(x))))
        return classify(bn_relu(self.bn, x), self.fc)


class ResNet(Module):
    """He et al. (2016), table 1: a 7×7 stem and four stages. (N, 3, 224, 224) -> (N, classes).

    variant "torch" pools the stem with a border of 1, "caffe" without one and with ceil_mode.
    """

    se_stages = (1, 2, 3, 4)

    def __init__(
        self, block: type[ResidualBlock], blocks: tuple[int, int, int, int], options: Options
    ) -> None:
        super().__init__()
        self.variant = options.variant
        channels = self.make_stem()
        for stage, (count, planes) in enumerate(zip(blocks, (64, 128, 256, 512)), start=1):
            stride = 1 if stage == 1 else 2
            layer = make_stage(block, channels, planes, count, stride, stage, options)
            setattr(self, f"layer{stage}", layer)
            channels = planes * block.expansion
        self.fc = Linear(channels, options.num_classes)
        finish(self, options)

    def make_stem(self) -> int:
        """The layers before the first stage; returns their output channels."""
        self.conv1 = conv(3, 64, 7, stride=2)
        self.bn1 = BatchNorm2d(64)
        return 64

    def stem(self, x: Tensor) -> Tensor:
        """All that comes before the first pooling."""
        return conv_bn_relu(self.conv1, self.bn1, x)

    def features(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, C, H/32, W/32)"""
        x = self.stem(x)
        if self.variant == "caffe":
            x = F.max_pool2d(x, 3, stride=2, ceil_mode=True)
        else:
            x = F.max_pool2d(x, 3, stride=2, padding=1)
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))

    def forward(self, x: Tensor) -> Tensor:
        return classify(self.features(x), self.fc)


class SENet154(ResNet):
    """The authors' winning net of 2017 (appendix of the paper): three 3×3 in the stem, dropout."""

    def __init__(self, options: Options) -> None:
        super().__init__(SENetBottleneck, (3, 8, 36, 3), options)
        self.dropout = Dropout(0.2)

    def make_stem(self) -> int:
        self.conv1 = conv(3, 64, 3, stride=2)
        self.bn1 = BatchNorm2d(64)
        self.conv2 = conv(64, 64, 3)
        self.bn2 = BatchNorm2d(64)
        self.conv3 = conv(64, 128, 3)
        self.bn3 = BatchNorm2d(128)
        return 128

    def stem(self, x: Tensor) -> Tensor:
        x = conv_bn_relu(self.conv1, self.bn1, x)
        x = conv_bn_relu(self.conv2, self.bn2, x)
        return conv_bn_relu(self.conv3, self.bn3, x)

    def forward(self, x: Tensor) -> Tensor:
        x = F.adaptive_avg_pool2d(self.features(x), 1).flatten(1)
        return self.fc(self.dropout(x))


# name -> what builds it; `se_` + name builds it with SE (senet154 has it always)
CIFAR_NETS = {
    "resnet8": lambda options: CifarResNet(BasicBlock, 1, options),
    "resnet20": lambda options: CifarResNet(BasicBlock, 3, options),
    "resnet32": lambda options: CifarResNet(BasicBlock, 5, options),
    "resnet44": lambda options: CifarResNet(BasicBlock, 7, options),
    "resnet56": lambda options: CifarResNet(BasicBlock, 9, options),
    "resnet110": lambda options: CifarResNet(BasicBlock, 18, options),
    "resnet164": lambda options: CifarResNet(Bottleneck, 18, options),
    "preact_resnet110": lambda options: PreActCifarResNet(PreActBlock, 18, options),
    "preact_resnet164": lambda options: PreActCifarResNet(PreActBottleneck, 18, options),
    "wrn_16_8": lambda options: PreActCifarResNet(PreActBlock, 2, options, (128, 256, 512)),
}
IMAGENET_NETS = {
    "resnet18": lambda options: ResNet(BasicBlock, (2, 2, 2, 2), options),
    "resnet34": lambda options: ResNet(BasicBlock, (3, 4, 6, 3), options),
    "resnet50": lambda options: ResNet(Bottleneck, (3, 4, 6, 3), options),
    "resnet101": lambda options: ResNet(Bottleneck, (3, 4, 23, 3), options),
    "resnet152": lambda options: ResNet(Bottleneck, (3, 8, 36, 3), options),
    "resnext50_32x4d": lambda options: ResNet(ResNeXtBottleneck, (3, 4, 6, 3), options),
    "resnext101_32x4d": lambda options: ResNet(ResNeXtBottleneck, (3, 4, 23, 3), options),
    "senet154": SENet154,
}
