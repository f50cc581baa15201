"""Adam, and AdamW with its decoupled weight decay."""

from __future__ import annotations

from collections.abc import Iterable

import numpy

from .. import backend
from ..autograd import Array
from ..tensor import Tensor
from .optimizer import Optimizer, Options, State, check_not_negative, kernel_for, number, on_device


class Adam(Optimizer):
    """Steps of about the size of lr, whatever the scale of the gradient.

        g = gradient + weight_decay · w
        m = β1 · m + (1 − β1) · g                    running mean of the gradient
        v = β2 · v + (1 − β2) · g²                   running mean of its square
        w = w − lr · m̂ / (√v̂ + ε)                    m̂ = m / (1 − β1^t),  v̂ = v / (1 − β2^t)

    Both means start at zero; dividing by 1 − β^t after t steps takes that bias out again. With
    amsgrad, the largest v so far takes the place of v in the last line.

    Options, per group: lr, betas, eps, weight_decay, amsgrad, maximize (climb instead of descend).
    Raises ValueError for a negative lr, eps or weight_decay, and for a beta that is not a float in
    [0, 1).

    Source: Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015, algorithm 1;
    amsgrad: Reddi et al., "On the convergence of Adam and beyond", ICLR 2018, algorithm 2.
    """

    decoupled = False  # whether weight decay stays out of the gradient: see AdamW

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[Options],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": tuple(betas),
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def check_options(self, options: Options) -> None:
        check_not_negative(self._name, options, "lr", "eps", "weight_decay")
        betas = options["betas"]
        if len(betas) != 2 or not all(isinstance(b, float) and 0 <= b < 1 for b in betas):
            raise ValueError(f"{self._name}: betas must be two floats in [0, 1), got {betas}")

    def update(self, weights: Array, gradient: Array, state: State, options: Options) -> None:
        xp = backend.of(weights).xp
        lr, eps, weight_decay = options["lr"], float(options["eps"]), float(options["weight_decay"])
        beta1, beta2 = (float(beta) for beta in options["betas"])
        self._start(weights, state, options)

        state["step"] += 1
        bias1 = 1 - beta1 ** state["step"]
        bias2 = 1 - beta2 ** state["step"]

        if weight_decay != 0 and self.decoupled:
            weights *= number(1 - lr * weight_decay, weights)
        elif weight_decay != 0:
            gradient = gradient + weight_decay * weights
        m, v = state["exp_avg"], state["exp_avg_sq"]
        m *= beta1
        m += (1 - beta1) * gradient
        v *= beta2
        v += (1 - beta2) * gradient * gradient
        if options["amsgrad"]:
            v = xp.maximum(state["max_exp_avg_sq"], v, out=state["max_exp_avg_sq"])
        rate, root = number(lr / bias1, weights), number(bias2**0.5, weights)
        weights -= rate * m / (xp.sqrt(v) / root + eps)

    def _start(self, weights: Array, state: State, options: Options) -> None:
        """Fill the state of a parameter that has not moved yet."""
        if not state:
            xp = backend.of(weights).xp
            state["step"] = 0
            for name in _means(options):
                state[name] = xp.zeros_like(weights)

    def update_group(self, gradients: dict[Tensor, Array], options: Options) -> None:
        """All parameters at once where the backend has a kernel; it computes what `update` does."""
        params = [*gradients]
        own = type(self).update is Adam.update  # a subclass may have another rule
        kernel = kernel_for("adam", params) if own else None
        if kernel is None:
            super().update_group(gradients, options)
            return
        xp = backend.of(params[0].data).xp
        states = [self.state.setdefault(param, {}) for param in params]
        for param, state in zip(params, states):
            self._start(param.data, state, options)
            state["step"] = on_device(xp, state["step"], numpy.int64)
            for name in _means(options):  # a loaded one may lie in memory in another order
                state[name] = xp.asarray(state[name], order="C")
        kernel(
            [param.data for param in params],
            [xp.asarray(gradients[param], order="C") for param in params],
            {name: [state[name] for state in states] for name in ("step", *_means(options))},
            on_device(xp, options["lr"], numpy.float64),
            decoupled=self.decoupled,
            **{name: options[name] for name in ("betas", "eps", "weight_decay", "maximize")},
        )


def _means(options: Options) -> tuple[str, ...]:
    """The arrays that a parameter's state holds."""
    return "exp_avg", "exp_avg_sq", *(("max_exp_avg_sq",) if options["amsgrad"] else ())


class AdamW(Adam):
    """Adam with weight decay beside the gradient instead of in it.

        w = w − lr · weight_decay · w                then Adam's step with the plain gradient

    So every weight decays at the same rate, while in `Adam` the decay is divided by √v̂ as well.
    Options and errors as in `Adam`; weight_decay is 0.01 unless given.

    Source: Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019, algorithm 2.
    """

    decoupled = True

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[Options],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize)
