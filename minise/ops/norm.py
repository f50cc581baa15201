"""Batch normalisation (Ioffe, Szegedy 2015, Algorithm 1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import backend
from ..autograd import Array, Function
from .arguments import check_floats, check_number, same_dtype
from .broadcast import sum_in_double

if TYPE_CHECKING:
    from ..tensor import Tensor


class BatchNorm(Function, kernel="batch_norm"):
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

    rectifies = False
    mean: Array
    var: Array

    def __init__(
        self, eps: float = 1e-5, mean: Array | None = None, var: Array | None = None,
        running: tuple[Array, Array, float] | None = None,
    ) -> None:  # fmt: skip
        self.eps, self.mean, self.var, self.running = eps, mean, var, running
        self.from_batch = mean is None

    def forward(self, x: Array, weight: Array, bias: Array) -> Array:
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

    def backward(self, grad: Array) -> Any:
        dbias = sum_in_double(grad, self.axes)  # (C,)
        dweight = sum_in_double(grad * self.normalised, self.axes)  # (C,)
        dx = grad
        if self.from_batch:  # mean and var depend on x too
            dx = dx - self.per_channel(dbias / self.count, grad)
            dx = dx - self.normalised * self.per_channel(dweight / self.count, grad)
        dx = dx * self.per_channel(self.weight * self.inverse_std, grad)
        return dx, dweight, dbias

    def update_running(self) -> None:
        """Move the running statistics towards those of the batch, in place."""
        if self.running is None:
            return
        mean, var, momentum = self.running
        unbiased = self.var * (self.count / (self.count - 1))
        for running, batch in ((mean, self.mean), (var, unbiased)):
            running *= 1 - momentum
            running += momentum * batch

    @staticmethod
    def per_channel(values: Array, x: Array) -> Array:
        """(C,) with the axes of x, to broadcast: (1, C, 1, ...)."""
        return values.reshape(1, -1, *[1] * (x.ndim - 2))


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """y = γ · (x - mean) / √(var + ε) + β, per channel of input (N, C, ...).

    In training mean and var are those of the batch, and the running statistics move towards them
    in place: running = (1 - momentum) · running + momentum · batch, with the variance divided by
    count - 1. In evaluation the running statistics are used.

    Raises ValueError if training has only one value per channel, RuntimeError for wrong shapes or
    dtypes.
    """
    arguments = (input, running_mean, running_var, weight, bias, training, momentum, eps)
    return normalise(BatchNorm, *arguments)


def normalise(
    kind: type[BatchNorm], input: Tensor, running_mean: Tensor | None, running_var: Tensor | None,
    weight: Tensor | None, bias: Tensor | None, training: bool, momentum: float, eps: float,
) -> Tensor:  # fmt: skip
    """`batch_norm` by this class of ops."""
    check_floats("batch_norm", input=input)
    check_number("batch_norm", "eps", eps)
    check_number("batch_norm", "momentum", momentum)
    if eps < 0:
        raise ValueError(f"batch_norm: eps must be >= 0, got {eps}")
    if input.ndim < 2:
        raise RuntimeError(f"batch_norm: input must be (N, C, ...), got shape {input.shape}")
    channels = input.shape[1]
    parameters = {
        "running_mean": running_mean, "running_var": running_var, "weight": weight, "bias": bias
    }  # fmt: skip
    same_dtype("batch_norm", input=input, **parameters)
    for name, tensor in parameters.items():
        if tensor is not None and tensor.shape != (channels,):
            raise RuntimeError(
                f"batch_norm: {name} must have shape ({channels},) for input {input.shape}, "
                f"got {tensor.shape}"
            )
    xp = backend.of(input.data).xp
    gamma = input.new(xp.ones(channels, dtype=input.dtype)) if weight is None else weight
    beta = input.new(xp.zeros(channels, dtype=input.dtype)) if bias is None else bias
    if not training:
        if running_mean is None or running_var is None:
            raise RuntimeError("batch_norm: evaluation needs running_mean and running_var")
        return kind(eps, running_mean.data, running_var.data)(input, gamma, beta)

    if (running_mean is None) != (running_var is None):
        raise ValueError("batch_norm: expected both running_mean and running_var, or neither")
    count = input.size // channels if channels else 0
    if count == 1:
        raise ValueError(
            f"batch_norm: training needs more than one value per channel, got input {input.shape}"
        )
    running = None
    if running_mean is not None and running_var is not None:
        running = running_mean.data, running_var.data, momentum
    return kind(eps, running=running)(input, gamma, beta)
