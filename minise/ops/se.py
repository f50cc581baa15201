"""Scale and addition as one op, as in the networks that the paper's authors released."""

from __future__ import annotations

from ..autograd import Function
from .activation import ThenReLU
from .broadcast import unbroadcast


class Axpy(Function):
    """scale s (N, C, 1, 1), branch u (N, C, H, W), shortcut x (N, C, H, W) -> y (N, C, H, W)."""

    formula = "y = s · u + x"
    derivative = "ds = Σ_hw dy · u,  du = dy · s,  dx = dy"

    def forward(self, scale, u, shortcut):
        self.scale, self.u = scale, u
        return scale * u + shortcut

    def backward(self, grad):
        dscale = unbroadcast(grad * self.u, self.scale.shape)
        return dscale, grad * self.scale, grad


class AxpyReLU(ThenReLU, Axpy):
    """Scale, addition and the ReLU behind them as one op: the end of an SE-ResNet block."""

    name = "axpy_relu"
    formula = "y = max(s · u + x, 0)"
    derivative = "dv = dy where y > 0, else 0,  ds = Σ_hw dv · u,  du = dv · s,  dx = dv"
