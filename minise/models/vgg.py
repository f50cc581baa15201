"""VGG-16 with BatchNorm (Simonyan, Zisserman 2015, column D), SE behind every nonlinearity."""

from __future__ import annotations

from .. import functional as F
from ..nn import Dropout, Linear, Module, ReLU, Sequential
from ..tensor import Tensor
from .layers import ConvBN, init_weights
from .options import Options

WIDTHS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


class VGG16(Module):
    """(N, 3, 224, 224) -> (N, classes); other sizes are pooled to 7×7 before the classifier."""

    se_stages = (1, 2, 3, 4, 5)

    def __init__(self, options: Options) -> None:
        super().__init__()
        channels = 3
        for stage, widths in enumerate(WIDTHS, start=1):
            layers: list[Module] = []
            for width in widths:
                layers.append(ConvBN(channels, width, 3, bias=True))
                if options.se_at(stage):
                    layers.append(options.se_block(width))
                channels = width
            setattr(self, f"layer{stage}", Sequential(*layers))
        self.classifier = Sequential(
            Linear(512 * 7 * 7, 4096), ReLU(), Dropout(0.5),
            Linear(4096, 4096), ReLU(), Dropout(0.5),
            Linear(4096, options.num_classes),
        )  # fmt: skip
        init_weights(self)

    def forward(self, x: Tensor) -> Tensor:
        for stage in range(1, len(WIDTHS) + 1):
            x = F.max_pool2d(getattr(self, f"layer{stage}")(x), 2)
        return self.classifier(F.adaptive_avg_pool2d(x, 7).flatten(1))
