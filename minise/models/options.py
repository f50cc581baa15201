"""The choices that every network offers, checked in one place."""

from __future__ import annotations

from dataclasses import dataclass

from ..nn import SEBlock
from ..nn.se import GATES, SQUEEZES

PLACEMENTS = ("standard", "pre", "post", "identity", "inside")
VARIANTS = ("torch", "caffe")
WIDTH_RULES = ("paper", "timm")


@dataclass(frozen=True)
class Options:
    """How a network is to be built; see `models.create` for the meaning of each."""

    num_classes: int = 1000
    se: bool = False
    reduction: int = 16
    se_bias: bool = True
    se_width: str = "paper"
    squeeze: str = "avg"
    gate: str = "sigmoid"
    placement: str = "standard"
    stages: tuple[int, ...] | None = None
    shortcut: str = "B"
    variant: str = "torch"
    zero_init_residual: bool = False

    def __post_init__(self) -> None:
        if self.num_classes < 1:
            raise ValueError(f"create: num_classes must be positive, got {self.num_classes}")
        if self.reduction < 1:
            raise ValueError(f"create: reduction must be positive, got {self.reduction}")
        for argument, known in (
            ("placement", PLACEMENTS),
            ("variant", VARIANTS),
            ("shortcut", ("A", "B")),
            ("squeeze", tuple(SQUEEZES)),
            ("gate", tuple(GATES)),
            ("se_width", WIDTH_RULES),
        ):
            if getattr(self, argument) not in known:
                raise ValueError(
                    f"create: {argument} must be one of {known}, got {getattr(self, argument)!r}"
                )

    def se_at(self, stage: int) -> bool:
        """Whether the blocks of this stage (counted from 1) get SE."""
        return self.se and (self.stages is None or stage in self.stages)

    def se_block(self, channels: int) -> SEBlock:
        """An SE block for that many channels, as the options say."""
        hidden = None
        if self.se_width == "timm":
            hidden = round_to_eight(channels / self.reduction)
        return SEBlock(
            channels, self.reduction, hidden=hidden, bias=self.se_bias,
            squeeze=self.squeeze, gate=self.gate,
        )  # fmt: skip


def round_to_eight(width: float) -> int:
    """timm's hidden width: the nearest multiple of 8, at least 8, not more than a tenth below."""
    rounded = max(8, int(width + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * width else rounded + 8
