"""Stochastic gradient descent, with momentum."""

from __future__ import annotations

from collections.abc import Iterable

import numpy

from .. import backend
from ..autograd import Array
from ..tensor import Tensor
from .optimizer import Optimizer, Options, State, check_not_negative, kernel_for, number, on_device


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
        check_not_negative(self._name, options, "lr", "momentum", "weight_decay")
        momentum, dampening = options["momentum"], options["dampening"]
        if options["nesterov"] and (momentum <= 0 or dampening != 0):
            raise ValueError(
                f"{self._name}: nesterov needs momentum > 0 and dampening = 0, "
                f"got momentum={momentum}, dampening={dampening}"
            )

    def update(self, weights: Array, gradient: Array, state: State, options: Options) -> None:
        lr, momentum = number(options["lr"], weights), float(options["momentum"])
        dampening, weight_decay = float(options["dampening"]), float(options["weight_decay"])

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
        weights -= lr * gradient

    def update_group(self, gradients: dict[Tensor, Array], options: Options) -> None:
        """All parameters in one kernel where the backend has one; it computes what `update` does.

        A network has a hundred parameters, most of them small: to ask a GPU for each takes longer
        than the work.
        """
        params = [*gradients]
        own = type(self).update is SGD.update  # a subclass may have another rule
        kernel = kernel_for("sgd", params) if own else None
        if kernel is None:
            super().update_group(gradients, options)
            return
        xp = backend.of(params[0].data).xp
        lr = on_device(xp, options["lr"], numpy.float64)
        names = ("momentum", "dampening", "weight_decay", "nesterov", "maximize")
        numbers = {name: options[name] for name in names}
        is_new = {param: "momentum_buffer" not in self.state.get(param, {}) for param in params}
        for first in (False, True):
            chosen = [param for param in params if is_new[param] == first]
            if not chosen:
                continue
            velocities = None
            if options["momentum"] != 0:
                for param in chosen if first else ():
                    self.state[param] = {"momentum_buffer": xp.zeros_like(param.data)}
                states = [self.state[param] for param in chosen]
                for state in states:  # a loaded one may lie in memory in another order
                    state["momentum_buffer"] = xp.asarray(state["momentum_buffer"], order="C")
                velocities = [state["momentum_buffer"] for state in states]
            kernel(
                [param.data for param in chosen],
                [xp.asarray(gradients[param], order="C") for param in chosen],
                velocities, lr, first=first, **numbers,
            )  # fmt: skip
