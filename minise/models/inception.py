"""BN-Inception (Ioffe, Szegedy 2015, figure 5), with SE on the output of each module."""

from __future__ import annotations

from collections.abc import Sequence

from .. import functional as F
from ..nn import Linear, Module, Sequential
from ..ops.shape import cat
from ..tensor import Tensor
from .layers import ConvBN, classify, init_weights
from .options import Options


class InceptionModule(Module):
    """Four branches side by side, joined along the channels.

    one      width of the 1×1 branch (0: no such branch)
    three    (reduction, width) of the 3×3 branch
    double   (reduction, width) of the branch of two 3×3
    pooled   width of the 1×1 behind the pool; 0: the pool passes its input on, with stride 2,
             and the other branches stride too
    pool     "avg" or "max"
    """

    def __init__(
        self, in_channels: int, one: int, three: Sequence[int], double: Sequence[int], pooled: int,
        pool: str, stage: int, options: Options,
    ) -> None:  # fmt: skip
        super().__init__()
        self.stride = 1 if pooled else 2
        self.pool = pool
        self.one = ConvBN(in_channels, one, 1) if one else None
        self.three = Sequential(
            ConvBN(in_channels, three[0], 1), ConvBN(three[0], three[1], 3, self.stride)
        )
        self.two_threes = Sequential(
            ConvBN(in_channels, double[0], 1),
            ConvBN(double[0], double[1], 3),
            ConvBN(double[1], double[1], 3, self.stride),
        )
        self.project = ConvBN(in_channels, pooled, 1) if pooled else None
        self.out_channels = one + three[1] + double[1] + (pooled or in_channels)
        self.se = options.se_block(self.out_channels) if options.se_at(stage) else None

    def forward(self, x: Tensor) -> Tensor:
        branches = [] if self.one is None else [self.one(x)]
        branches += [self.three(x), self.two_threes(x)]
        if self.project is None:
            branches.append(F.max_pool2d(x, 3, stride=2, ceil_mode=True))
        elif self.pool == "max":
            branches.append(self.project(F.max_pool2d(x, 3, stride=1, padding=1)))
        else:
            branches.append(self.project(F.avg_pool2d(x, 3, stride=1, padding=1)))
        y = cat(branches, 1)
        return y if self.se is None else self.se(y)


# name: 1×1, (3×3 reduction, 3×3), (double 3×3 reduction, double 3×3), pool projection, pool
MODULES = {
    "3a": (64, (64, 64), (64, 96), 32, "avg"),
    "3b": (64, (64, 96), (64, 96), 64, "avg"),
    "3c": (0, (128, 160), (64, 96), 0, "max"),
    "4a": (224, (64, 96), (96, 128), 128, "avg"),
    "4b": (192, (96, 128), (96, 128), 128, "avg"),
    "4c": (160, (128, 160), (128, 160), 128, "avg"),
    "4d": (96, (128, 192), (160, 192), 128, "avg"),
    "4e": (0, (128, 192), (192, 256), 0, "max"),
    "5a": (352, (192, 320), (160, 224), 128, "avg"),
    "5b": (352, (192, 320), (192, 224), 128, "max"),
}


class BNInception(Module):
    """(N, 3, 224, 224) -> (N, classes). SE stages are 3, 4 and 5, as the modules are named."""

    se_stages = (3, 4, 5)

    def __init__(self, options: Options) -> None:
        super().__init__()
        self.conv1 = ConvBN(3, 64, 7, stride=2)
        self.conv2_reduce = ConvBN(64, 64, 1)
        self.conv2 = ConvBN(64, 192, 3)
        channels = 192
        for name, (one, three, double, pooled, pool) in MODULES.items():
            module = InceptionModule(
                channels, one, three, double, pooled, pool, int(name[0]), options
            )
            setattr(self, f"inception_{name}", module)
            channels = module.out_channels
        self.fc = Linear(channels, options.num_classes)
        init_weights(self)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(self.conv1(x), 3, stride=2, ceil_mode=True)
        x = F.max_pool2d(self.conv2(self.conv2_reduce(x)), 3, stride=2, ceil_mode=True)
        for name in MODULES:
            x = getattr(self, f"inception_{name}")(x)
        return classify(x, self.fc)
