"""A step of SGD, Adam or AdamW for all parameters of a group at once, by a kernel of their backend.

A network has a hundred parameters, most of them small: to ask a device for each of them would be
most of the work. What a kernel computes is what `update` of the optimizer says, which moves the
parameters where there is no kernel, where it does not suit them, and inside `backend.plain()`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy

from .. import backend
from ..autograd import Array
from ..backend.registry import UpdateKernel
from ..tensor import Tensor
from .adam import Adam, AdamW, first_state, moments
from .optimizer import GROUP_UPDATES, Gradients, Optimizer, Options, one_by_one
from .sgd import SGD


def update_sgd(optimizer: Optimizer, gradients: Gradients, options: Options) -> None:
    """Move the parameters of one group as SGD does."""
    kernel = kernel_for("sgd", gradients)
    if kernel is None:
        one_by_one(optimizer, gradients, options)
        return
    xp = backend.of(next(iter(gradients)).data).xp
    lr = on_device(xp, options["lr"], numpy.float64)
    names = ("momentum", "dampening", "weight_decay", "nesterov", "maximize")
    numbers = {name: options[name] for name in names}
    is_new = {p: "momentum_buffer" not in optimizer.state.get(p, {}) for p in gradients}
    for first in (False, True):
        params = [param for param in gradients if is_new[param] == first]
        if not params:
            continue
        velocities = None
        if options["momentum"] != 0:
            for param in params if first else ():
                optimizer.state[param] = {"momentum_buffer": xp.zeros_like(param.data)}
            states = [optimizer.state[param] for param in params]
            for state in states:  # a loaded one may lie in memory in another order
                state["momentum_buffer"] = xp.asarray(state["momentum_buffer"], order="C")
            velocities = [state["momentum_buffer"] for state in states]
        kernel.step(
            [param.data for param in params],
            [xp.asarray(gradients[param], order="C") for param in params],
            velocities, lr, first=first, **numbers,
        )  # fmt: skip


def update_adam(optimizer: Optimizer, gradients: Gradients, options: Options) -> None:
    """Move the parameters of one group as Adam or AdamW does."""
    kernel = kernel_for("adam", gradients)
    if kernel is None:
        one_by_one(optimizer, gradients, options)
        return
    xp = backend.of(next(iter(gradients)).data).xp
    for param in gradients:
        state = optimizer.state.setdefault(param, {})
        if not state:
            state.update(first_state(param.data, options))
        state["step"] = on_device(xp, state["step"], numpy.int64)
        for name in moments(options):  # a loaded one may lie in memory in another order
            state[name] = xp.asarray(state[name], order="C")
    states = [optimizer.state[param] for param in gradients]
    kernel.step(
        [param.data for param in gradients],
        [xp.asarray(gradient, order="C") for gradient in gradients.values()],
        {name: [state[name] for state in states] for name in ("step", *moments(options))},
        on_device(xp, options["lr"], numpy.float64),
        decoupled=isinstance(optimizer, AdamW),
        **{name: options[name] for name in ("betas", "eps", "weight_decay", "maximize")},
    )


def kernel_for(name: str, params: Iterable[Tensor]) -> UpdateKernel | None:
    """The kernel `name` of the parameters' backend; None where it cannot move all of them."""
    weights = [param.data for param in params]
    if not weights or not backend.using_fast_kernels():
        return None
    kernel: UpdateKernel | None = getattr(backend.of(weights[0]), name)
    one_backend = all(type(array) is type(weights[0]) for array in weights)
    return kernel if kernel is not None and one_backend and kernel.suits(weights) else None


def on_device(xp: Any, value: Any, dtype: Any) -> Array:
    """A number as an array without axes. An array of the device is not copied."""
    return value if isinstance(value, xp.ndarray) else xp.full((), value, dtype=dtype)


GROUP_UPDATES.update({SGD: update_sgd, Adam: update_adam, AdamW: update_adam})
