"""MobileNet (Howard et al. 2017, table 1), with SE behind each separable convolution."""

from __future__ import annotations

from ..nn import Linear, Module, Sequential
from ..tensor import Tensor
from .layers import ConvBN, classify, init_weights
from .options import Options

# (output channels, stride) of each separable convolution; a stage per resolution
STAGES = (
    ((64, 1),),
    ((128, 2), (128, 1)),
    ((256, 2), (256, 1)),
    ((512, 2), (512, 1), (512, 1), (512, 1), (512, 1), (512, 1)),
    ((1024, 2), (1024, 1)),
)


class MobileNet(Module):
    """(N, 3, 224, 224) -> (N, classes).

    A separable convolution is a 3×3 on each channel by itself (as many groups as channels), then a
    1×1 that mixes the channels.
    """

    se_stages = (1, 2, 3, 4, 5)

    def __init__(self, options: Options) -> None:
        super().__init__()
        self.conv1 = ConvBN(3, 32, 3, stride=2)
        channels = 32
        for stage, blocks in enumerate(STAGES, start=1):
            layers: list[Module] = []
            for width, stride in blocks:
                layers.append(ConvBN(channels, channels, 3, stride, groups=channels))
                layers.append(ConvBN(channels, width, 1))
                if options.se_at(stage):
                    layers.append(options.se_block(width))
                channels = width
            setattr(self, f"layer{stage}", Sequential(*layers))
        self.fc = Linear(channels, options.num_classes)
        init_weights(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        for stage in range(1, len(STAGES) + 1):
            x = getattr(self, f"layer{stage}")(x)
        return classify(x, self.fc)
