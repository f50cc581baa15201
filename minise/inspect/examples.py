"""What `minise step` shows: an SE block alone, or a whole network with its loss."""

from __future__ import annotations

from .. import backend, models
from .. import functional as F
from ..autograd import Tensor
from ..backend import random
from ..creation import randn, tensor
from ..nn import Module, SEBlock
from .trace import Trace, trace

SE_TITLE = "Backprop through an SE block: why does u receive two gradients?"
SE_LEAD = (
    "y = s · u. The input u is used twice: the last op scales it (scale path), and the gate s was "
    "computed from it (squeeze path). Each use sends back a gradient of its own, and u.grad is "
    "their sum. Step backward and watch the ledger of u fill."
)


class Block(Module):
    """An SE block that keeps its inner tensors, so that they can be called by the paper's names."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.se = SEBlock(channels, reduction=2)
        self.tensors: dict[str, Tensor] = {}
        self.se.fc1.register_forward_hook(self.remember("z"))

    def forward(self, u: Tensor) -> Tensor:
        return self.se(u)
