"""Stochastic gradient descent, with momentum."""

from __future__ import annotations

from collections.abc import Iterable

from .. import backend
from ..autograd import Array
from ..tensor import Tensor
from .optimizer import Optimizer, Options, State, check_not_negative, scalar


class SGD(Optimizer):
    """Gradient descent with momentum, Nesterov momentum and weight decay.

        g = gradient + weight_decay · w
        b = momentum · b + (1 − dampening) · g       (b = g at the first step)
        g = g + momentum · b  if nesterov else  b
        w = w − lr · g

    The learning rate multiplies the velocity b; Sutskever et al. put it inside, b = momentum · b +
    lr · g, which is the same as long as lr does not change.

    Options, per group: lr, momentum, dampening, weight_decay, nesterov, maximize (climb instead of
    descend). Raises ValueError for a negative lr, momentum or weight_decay, and for nesterov
    without momentum or with dampening.

    Source: Polyak, "Some methods of speeding up the convergence of iteration methods", 1964;
    Sutskever et al., "On the importance of initialization and momentum in deep learning", ICML
    2013, section 2.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[Options],
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def check_options(self, options: Options) -> None:
        """Raise ValueError for options that do not go together or are out of range."""
        check_not_negative(self._name, options, "lr", "momentum", "weight_decay")
        momentum, dampening = options["momentum"], options["dampening"]
        if options["nesterov"] and (momentum <= 0 or dampening != 0):
            raise ValueError(
                f"{self._name}: nesterov needs momentum > 0 and dampening = 0, "
                f"got momentum={momentum}, dampening={dampening}"
            )

    def update(self, weights: Array, gradient: Array, state: State, options: Options) -> None:
        """The formula above, for one parameter; b is state["momentum_buffer"]."""
        lr, momentum = options["lr"], options["momentum"]
        dampening, weight_decay = options["dampening"], options["weight_decay"]

        if weight_decay != 0:
            gradient = gradient + weight_decay * weights
        if momentum != 0:
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = backend.of(weights).xp.array(gradient)  # a copy
            else:
                velocity = state["momentum_buffer"]
                velocity *= momentum
                velocity += gradient if dampening == 0 else (1 - dampening) * gradient
            velocity = state["momentum_buffer"]
            gradient = gradient + momentum * velocity if options["nesterov"] else velocity
        weights -= scalar(lr, weights) * gradient
