"""Scale and addition as one op, as in the networks that the paper's authors released."""

from __future__ import annotations

from ..autograd import Function
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
