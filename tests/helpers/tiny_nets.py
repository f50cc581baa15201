"""One network of each family, as small as it can be."""

from __future__ import annotations

from unittest import mock

from minise import models, nn
from minise.models import blocks, resnet, vgg
from minise.models.options import Options


def options(**choices):
    return Options(num_classes=3, se=True, reduction=4, **choices)


# One network of each family, with as few blocks as there can be; side of its pictures.
FAMILIES = {
    "cifar": (lambda: models.create("se_resnet8", 3, 4), 8),
    "cifar, bottlenecks, zero padding": (
        lambda: resnet.CifarResNet(blocks.Bottleneck, 1, options(shortcut="A")), 8,
    ),
    "pre-activation, wide": (
        lambda: resnet.PreActCifarResNet(blocks.PreActBlock, 1, options(), (32, 64, 128)), 8,
    ),
    "imagenet": (lambda: resnet.ResNet(blocks.Bottleneck, (1, 1, 1, 1), options()), 32),
    "imagenet, caffe": (
        lambda: resnet.ResNet(blocks.BasicBlock, (1, 1, 1, 1), options(variant="caffe")), 32,
    ),
    "resnext": (lambda: resnet.ResNet(blocks.ResNeXtBottleneck, (1, 1, 1, 1), options()), 32),
    "senet": (lambda: ShortSENet(options()), 16),
    "vgg": (lambda: narrow_vgg(), 32),
    "bn_inception": (lambda: models.create("se_bn_inception", 3, 4), 32),
    "mobilenet": (lambda: models.create("se_mobilenet", 3, 4), 32),
    "squeeze by max, gate tanh": (
        lambda: models.create("se_resnet8", 3, 4, squeeze="max", gate="tanh"), 8,
    ),
    "with dropout": (lambda: WithDropout(), 8),
}  # fmt: skip


class ShortSENet(resnet.SENet154):
    """Two stages of one block; stem and end are those of SENet-154."""

    def __init__(self, options):
        resnet.ResNet.__init__(self, blocks.SENetBottleneck, (1, 1, 0, 0), options)
        self.dropout, self.fc = nn.Dropout(0.2), nn.Linear(512, options.num_classes)


def narrow_vgg():
    """VGG-16 with 4 or 8 channels in place of 64 to 512, and 16 in place of 4096."""

    def linear(*sizes):
        return nn.Linear(*({512 * 7 * 7: 8 * 7 * 7, 4096: 16}.get(size, size) for size in sizes))

    widths = (4, 4), (4, 4), (8, 8, 8), (8, 8, 8), (8, 8, 8)
    with mock.patch.multiple(vgg, WIDTHS=widths, Linear=linear):
        return vgg.VGG16(options())


class WithDropout(nn.Module):
    """The end of VGG-16, SENet-154."""

    def __init__(self):
        super().__init__()
        self.conv, self.pool = nn.Conv2d(3, 8, 3), nn.MaxPool2d(2)
        self.head = nn.Sequential(nn.Linear(72, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 3))

    def forward(self, x):
        return self.head(self.pool(self.conv(x).relu()).flatten(1))
