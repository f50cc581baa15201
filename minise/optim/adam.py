"""Adam, and AdamW with its decoupled weight decay."""

from __future__ import annotations

from collections.abc import Iterable

from .. import backend
from ..autograd import Array
from ..tensor import Tensor
from .optimizer import Optimizer, Options, State, check_not_negative, scalar


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
        """Raise ValueError for an option that is out of range."""
        check_not_negative(self._name, options, "lr", "eps", "weight_decay")
        betas = options["betas"]
        if len(betas) != 2 or not all(isinstance(b, float) and 0 <= b < 1 for b in betas):
            raise ValueError(f"{self._name}: betas must be two floats in [0, 1), got {betas}")

    def update(self, weights: Array, gradient: Array, state: State, options: Options) -> None:
        """The formula above, for one parameter; m, v and t are kept in `state`."""
        xp = backend.of(weights).xp
        lr, (beta1, beta2), eps = options["lr"], options["betas"], options["eps"]
        if not state:
            state.update(first_state(weights, options))

        state["step"] += 1
        t, m, v = state["step"], state["exp_avg"], state["exp_avg_sq"]
        if options["weight_decay"] != 0:
            gradient = gradient + options["weight_decay"] * weights
        m *= beta1
        m += (1 - beta1) * gradient
        v *= beta2
        v += (1 - beta2) * gradient * gradient
        if options["amsgrad"]:
            v = xp.maximum(state["max_exp_avg_sq"], v, out=state["max_exp_avg_sq"])
        # lr · m̂ / (√v̂ + ε), with both bias corrections taken out of the arrays
        rate, root = scalar(lr / (1 - beta1**t), weights), scalar((1 - beta2**t) ** 0.5, weights)
        weights -= rate * m / (xp.sqrt(v) / root + eps)


def moments(options: Options) -> tuple[str, ...]:
    """The names of m, v and, with amsgrad, the largest v in a parameter's state."""
    return ("exp_avg", "exp_avg_sq", *(("max_exp_avg_sq",) if options["amsgrad"] else ()))


def first_state(weights: Array, options: Options) -> State:
    """The state of a parameter that has not moved yet: no steps, and moments of zero."""
    xp = backend.of(weights).xp
    return {"step": 0, **{name: xp.zeros_like(weights) for name in moments(options)}}


class AdamW(Adam):
    """Adam with weight decay beside the gradient instead of in it.

        w = w − lr · weight_decay · w                then Adam's step with the plain gradient

    So every weight decays at the same rate, while in `Adam` the decay is divided by √v̂ as well.
    Options and errors as in `Adam`; weight_decay is 0.01 unless given.

    Source: Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019, algorithm 2.
    """

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

    def update(self, weights: Array, gradient: Array, state: State, options: Options) -> None:
        """The decay, then Adam's step without one."""
        if options["weight_decay"] != 0:
            weights *= scalar(1 - options["lr"] * options["weight_decay"], weights)
        super().update(weights, gradient, state, {**options, "weight_decay": 0})
