"""The squeeze-and-excitation block (Hu, Shen, Sun, CVPR 2018, section 3)."""

from __future__ import annotations

from .. import functional as F
from ..ops.arguments import whole
from ..tensor import Tensor
from .layers import Linear
from .module import Module

SQUEEZES = {"avg": F.adaptive_avg_pool2d, "max": F.adaptive_max_pool2d}
GATES = {
    "sigmoid": F.sigmoid,
    "tanh": F.tanh,
    "relu": F.relu,
    "hardsigmoid": F.hardsigmoid,
}


class SEBlock(Module):
    """Weighs each channel of each image by a gate that sees the whole image.

        squeeze     z = mean of u over H and W           (N, C)
        excitation  s = σ(W2 · ReLU(W1 · z + b1) + b2)   (N, C)      W1 (C/r, C), W2 (C, C/r)
        scale       y = s · u                            (N, C, H, W)

    u reaches y on two paths, so its gradient is a sum of two terms. With dy = ∂L/∂y:

        scale path    ∂y/∂u with s held fixed: every pixel is multiplied by its channel's gate,
                      so it receives  dy · s
        gate path     s itself depends on u:  ds = Σ_hw dy · u   goes back through σ, W2, ReLU
                      and W1 and arrives at z as dz; each of the H·W pixels had a share of 1/(H·W)
                      in the mean, so it receives  dz / (H·W), the same value at every pixel

        du = dy · s + dz / (H·W)

    channels   C
    reduction  r: the excitation has C // r hidden units; `hidden` overrides that number
    bias       whether the two fully connected layers have biases (the paper's ablations have none,
               the released nets do)
    squeeze    "avg" or "max"
    gate       "sigmoid", "tanh", "relu" or "hardsigmoid"

    After a forward, `gate` holds the last gates (N, C, 1, 1), for looking at.
    Raises ValueError for a ratio that leaves no hidden unit and for unknown names, TypeError for
    numbers that are no integers.
    """

    gate: Tensor | None

    def __init__(
        self,
        channels: int,
        reduction: int = 16,
        *,
        hidden: int | None = None,
        bias: bool = True,
        squeeze: str = "avg",
        gate: str = "sigmoid",
    ) -> None:
        super().__init__()
        channels = whole("SEBlock", "channels", channels)
        reduction = whole("SEBlock", "reduction", reduction)
        if hidden is None:
            if not 1 <= reduction <= channels:
                raise ValueError(
                    f"SEBlock: reduction must lie between 1 and the {channels} channels, "
                    f"got {reduction}"
                )
            hidden = channels // reduction
        if channels < 1 or hidden < 1:
            raise ValueError(
                f"SEBlock: channels and hidden must be positive, got {channels} and {hidden}"
            )
        for argument, name, known in (("squeeze", squeeze, SQUEEZES), ("gate", gate, GATES)):
            if name not in known:
                raise ValueError(f"SEBlock: {argument} must be one of {[*known]}, got {name!r}")
        self.squeeze_name, self.gate_name = squeeze, gate
        self.fc1 = Linear(channels, hidden, bias=bias)
        self.fc2 = Linear(hidden, channels, bias=bias)
        self.gate = None

    def forward(self, u: Tensor) -> Tensor:
        return u * self.gates(u)

    def gates(self, u: Tensor) -> Tensor:
        """s, one gate per channel of each image: (N, C, H, W) -> (N, C, 1, 1)."""
        return self.excite(self.squeeze(u))

    def squeeze(self, u: Tensor) -> Tensor:
        """One number per channel: (N, C, H, W) -> (N, C)."""
        return SQUEEZES[self.squeeze_name](u, 1).flatten(1)

    def excite(self, z: Tensor) -> Tensor:
        """The gates: (N, C) -> (N, C, 1, 1)."""
        h = F.relu(self.fc1(z))  # (N, C/r)
        s = GATES[self.gate_name](self.fc2(h))  # (N, C)
        s = s.reshape(*s.shape, 1, 1)
        self.gate = s.detach()  # without its history, which would keep the whole graph alive
        return s

    def extra_repr(self) -> str:
        return f"squeeze={self.squeeze_name}, gate={self.gate_name}"
