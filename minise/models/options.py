"""The choices that every network offers, declared and checked in one place."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from ..nn import SEBlock
from ..nn.se import GATES, SQUEEZES


def option(default: Any, help: str, choices: tuple[str, ...] = (), **flag: Any) -> Any:
    """A field of `Choices`.

    help     one line for the command line
    choices  the values that it may have; empty: checked elsewhere
    flag     what `argparse` needs besides for the flag of that name, such as type=int
    """
    return field(default=default, metadata={"choices": choices, "flag": {"help": help, **flag}})


@dataclass(frozen=True)
class Choices:
    """What may be chosen about any network. To add a choice, add a field here: `models.create`
    takes these as its arguments, in this order; `train.Config` inherits them, with config.json; and
    the command line makes a flag of each.

    Their meaning is told in `models.create`.
    """

    reduction: int = option(16, "SE's r, default 16", type=int, metavar="R")
    se_bias: bool = option(True, "SE without biases")
    squeeze: str = option("avg", "avg or max", tuple(SQUEEZES))
    gate: str = option("sigmoid", ", ".join(GATES), tuple(GATES))
    placement: str = option(
        "standard", "where SE sits in a block: standard, pre, post, identity, inside",
        ("standard", "pre", "post", "identity", "inside"),
    )  # fmt: skip
    stages: tuple[int, ...] | None = option(
        None, "stages that get SE, default all", type=int, nargs="+", metavar="N"
    )
    shortcut: str = option("B", "B (projection) or A (zero padding)", ("A", "B"))
    variant: str = option("torch", "torch or caffe", ("torch", "caffe"))
    zero_init_residual: bool = option(False, "branches start at zero")
    se_width: str = option("paper", "paper or timm", ("paper", "timm"), metavar="RULE")

    def check_choices(self) -> None:
        """Raises ValueError, naming the argument, for what no network offers."""
        if self.reduction < 1:
            raise ValueError(f"create: reduction must be positive, got {self.reduction}")
        for choice in fields(Choices):
            known, value = choice.metadata["choices"], getattr(self, choice.name)
            if known and value not in known:
                raise ValueError(f"create: {choice.name} must be one of {known}, got {value!r}")

    def choices(self) -> dict[str, Any]:
        """Each choice by its name."""
        return {choice.name: getattr(self, choice.name) for choice in fields(Choices)}


@dataclass(frozen=True)
class Options(Choices):
    """How a network is to be built: the choices, the number of classes, and whether it has SE."""

    num_classes: int = 1000
    se: bool = False

    def __post_init__(self) -> None:
        if self.num_classes < 1:
            raise ValueError(f"create: num_classes must be positive, got {self.num_classes}")
        self.check_choices()

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
