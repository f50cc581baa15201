"""Batch normalisation (Ioffe, Szegedy 2015, Algorithm 1)."""

from __future__ import annotations

from ..autograd import Function
from .activation import ThenReLU
from .broadcast import sum_in_double


class BatchNorm(Function):
    """x (N, C, ...), weight γ (C,), bias β (C,) -> y (N, C, ...), normalised per channel.

    With `mean` and `var` given (C,) these constants are used (evaluation); otherwise those of the
    batch, which stay on the op as `mean` and `var` (divided by the count, not count - 1).

    `running`: mean (C,), variance (C,) and momentum of the statistics that move towards the batch.
    """

    name = "batch_norm"
    formula = "x̂ = (x - mean) / √(var + ε),  y = γ · x̂ + β"
    derivative = (
        "dβ = Σ dy,  dγ = Σ dy · x̂,  "
        "dx = γ / √(var + ε) · (dy - mean(dy) - x̂ · mean(dy · x̂))"
    )

    def __init__(self, eps=1e-5, mean=None, var=None, running=None):
        self.eps, self.mean, self.var, self.running = eps, mean, var, running
        self.from_batch = mean is None

    def forward(self, x, weight, bias):
        self.axes = (0, *range(2, x.ndim))
        self.count = x.size // x.shape[1]
        if self.from_batch:
            self.mean = sum_in_double(x, self.axes) / self.count  # (C,)
            centred = x - self.per_channel(self.mean, x)
            self.var = sum_in_double(centred * centred, self.axes) / self.count  # (C,)
            self.update_running()
        else:
            centred = x - self.per_channel(self.mean, x)
        self.weight = weight
        self.inverse_std = 1 / self.xp.sqrt(self.var + self.eps)  # (C,)
        self.normalised = centred * self.per_channel(self.inverse_std, x)  # x̂
        return self.normalised * self.per_channel(weight, x) + self.per_channel(bias, x)

    def backward(self, grad):
        dbias = sum_in_double(grad, self.axes)  # (C,)
        dweight = sum_in_double(grad * self.normalised, self.axes)  # (C,)
        dx = grad
        if self.from_batch:  # mean and var depend on x too
            dx = dx - self.per_channel(dbias / self.count, grad)
            dx = dx - self.normalised * self.per_channel(dweight / self.count, grad)
        dx = dx * self.per_channel(self.weight * self.inverse_std, grad)
        return dx, dweight, dbias

    def update_running(self):
        """Move the running statistics towards those of the batch, in place."""
        if self.running is None:
            return
        mean, var, momentum = self.running
        unbiased = self.var * (self.count / (self.count - 1))
        for running, batch in ((mean, self.mean), (var, unbiased)):
            running *= 1 - momentum
            running += momentum * batch

    @staticmethod
    def per_channel(values, x):
        """(C,) with the axes of x, to broadcast: (1, C, 1, ...)."""
        return values.reshape(1, -1, *[1] * (x.ndim - 2))


class BatchNormReLU(ThenReLU, BatchNorm):
    """BatchNorm and the ReLU behind it as one op."""

    name = "batch_norm_relu"
    formula = "x̂ = (x - mean) / √(var + ε),  y = max(γ · x̂ + β, 0)"
    derivative = (
        "dv = dy where y > 0, else 0,  dβ = Σ dv,  dγ = Σ dv · x̂,  "
        "dx = γ / √(var + ε) · (dv - mean(dv) - x̂ · mean(dv · x̂))"
    )
