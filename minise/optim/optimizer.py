"""What all update rules share: parameter groups, the loop over parameters, saving and loading.

An optimizer holds groups of parameters. A group is a dict: the list under "params" and the options
(learning rate, momentum, ...) that hold for them. A subclass says how one parameter moves, in
`update`; what it has to remember from step to step it keeps in that parameter's `state`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy

from .. import backend
from ..autograd import Array
from ..tensor import Tensor

Options = dict[str, Any]
State = dict[str, Any]
Gradients = dict[Tensor, Array]  # of the parameters of one group


class Optimizer:
    """Base of all update rules.

    params     parameters, or dicts {"params": parameters, option: value, ...} whose options
               take precedence over the defaults
    defaults   the options for groups that do not set their own

    Raises TypeError if `params` is a single Tensor or contains something else than Tensors,
    ValueError if there are none, if one appears twice, or if one was computed by an op.
    """

    def __init__(self, params: Iterable[Tensor] | Iterable[Options], defaults: Options) -> None:
        if isinstance(params, Tensor):
            raise TypeError(
                f"{self._name}: params must be an iterable of Tensors or dicts, got a Tensor"
            )
        self.check_options(defaults)
        self.defaults = defaults
        self.param_groups: list[Options] = []
        self.state: dict[Tensor, State] = {}
        self.has_stepped = False  # lets a schedule notice that it was stepped too early

        entries: list[Any] = list(params)
        if not entries:
            raise ValueError(f"{self._name}: params is an empty list, expected parameters")
        if not isinstance(entries[0], dict):
            entries = [{"params": entries}]
        for group in entries:
            self.add_param_group(group)

    @property
    def _name(self) -> str:
        return type(self).__name__

    def check_options(self, options: Options) -> None:
        """Raise ValueError for an option that the update rule cannot work with."""

    def update(self, weights: Array, gradient: Array, state: State, options: Options) -> None:
        """Move the `weights` of one parameter in place.

        gradient   of the same shape and dtype; belongs to somebody else and must not be changed
        state      what the rule remembers of this parameter; empty at its first step
        options    of its group; Python's own numbers, which promote no array

        A rule that has `lr` and a counter state["step"] works in a captured step too if it reads
        them from here each time, and puts what it computes from them through `scalar`.
        """
        raise NotImplementedError(f"{self._name}: update is not written")

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient, once.

        closure   computes the loss and its gradients anew; what it returns is returned

        Raises RuntimeError if a gradient does not have the shape, dtype and backend of its
        parameter.
        """
        loss = None if closure is None else closure()
        move_group = GROUP_UPDATES.get(type(self), one_by_one)
        for group in self.param_groups:
            gradients = {p: p.grad.data for p in group["params"] if p.grad is not None}
            for param, gradient in gradients.items():
                self._check_gradient(param.data, gradient)
            move_group(self, gradients, _with_python_numbers(group))
        self.has_stepped = True
        return loss

    def _check_gradient(self, weights: Array, gradient: Array) -> None:
        # A gradient of another shape could broadcast, one of another dtype could be rounded, and
        # training would go wrong without a word.
        same_kind = type(gradient) is type(weights) and gradient.dtype == weights.dtype
        if not same_kind or gradient.shape != weights.shape:
            expected, actual = (
                f"{array.dtype} {array.shape} on {backend.of(array).name}"
                for array in (weights, gradient)
            )
            raise RuntimeError(f"{self._name}.step: parameter is {expected}, its grad is {actual}")

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients; with set_to_none=False those that exist become zeros instead.

        A parameter whose gradient is None is left out by `step`, one whose gradient is zero is
        not: weight decay and momentum still move it.
        """
        for param in self._params():
            if set_to_none:
                param.grad = None
            elif param.grad is not None:
                # A new array, because another tensor's gradient may live in the old one.
                param.grad = Tensor(backend.of(param.data).xp.zeros_like(param.data))

    def add_param_group(self, param_group: Options) -> None:
        """Add {"params": parameters, option: value, ...}; missing options get the defaults.

        Raises as the constructor does, and KeyError without "params".
        """
        if not isinstance(param_group, dict):
            raise TypeError(
                f"{self._name}: param_group must be a dict, got {type(param_group).__name__}"
            )
        if "params" not in param_group:
            raise KeyError(f"{self._name}: a parameter group needs the key 'params'")
        params = param_group["params"]
        if isinstance(params, set):
            raise TypeError(
                f"{self._name}: parameters must come in an order that is the same in every run, "
                "got a set; use a list"
            )
        params = [params] if isinstance(params, Tensor) else list(params)
        self._check_params(params)
        options = {**self.defaults, **param_group}
        options = _with_python_numbers(options)
        self.check_options(options)
        self.param_groups.append({**options, "params": params})

    def _check_params(self, params: list[Any]) -> None:
        seen = {id(param) for param in self._params()}
        for position, param in enumerate(params):
            if not isinstance(param, Tensor):
                raise TypeError(
                    f"{self._name}: can only optimize Tensors, but params[{position}] is a "
                    f"{type(param).__name__}"
                )
            if param.op is not None and not param.retains_grad:
                raise ValueError(
                    f"{self._name}: can't optimize a non-leaf Tensor: params[{position}], shape "
                    f"{param.shape}, is the output of {param.op.name}"
                )
            if id(param) in seen:
                raise ValueError(
                    f"{self._name}: expected every parameter once, params[{position}] of shape "
                    f"{param.shape} appears again or in more than one parameter group"
                )
            seen.add(id(param))

    def _params(self) -> list[Tensor]:
        """All parameters, in order of their groups."""
        return [param for group in self.param_groups for param in group["params"]]

    def state_dict(self) -> dict[str, Any]:
        """A snapshot: {"state": {index: {name: value}}, "param_groups": [options]}.

        Parameters are numbered in order of their groups; each group lists its numbers under
        "params". The values under "state" are arrays (copies, on the parameter's backend) and
        integers, so an array file holds them all; "param_groups" can be written as JSON.
        """
        number = {param: index for index, param in enumerate(self._params())}
        return {
            "state": {
                number[param]: {name: _saved(name, value, param) for name, value in state.items()}
                for param, state in self.state.items()
                if state
            },
            "param_groups": [
                {**group, "params": [number[param] for param in group["params"]]}
                for group in self.param_groups
            ],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over state and options from `state_dict()` of an optimizer of the same shape.

        Arrays are copied to the backend and dtype of their parameters. Parameters are matched by
        their position, not by name.

        Raises ValueError, before anything has changed, if the number of groups, of parameters in
        a group, or the shape of an array differs.
        """
        saved_groups = state_dict["param_groups"]
        if len(saved_groups) != len(self.param_groups):
            raise ValueError(
                f"{self._name}.load_state_dict: expected {len(self.param_groups)} parameter "
                f"groups, got {len(saved_groups)}"
            )
        groups: list[Options] = []
        param_of: dict[Any, Tensor] = {}
        for index, (group, saved) in enumerate(zip(self.param_groups, saved_groups)):
            params, numbers = group["params"], saved["params"]
            if len(numbers) != len(params):
                raise ValueError(
                    f"{self._name}.load_state_dict: parameter group {index} has {len(params)} "
                    f"parameters, the saved one {len(numbers)}"
                )
            param_of.update(zip(numbers, params))
            options = {**self.defaults, **saved}
            # JSON knows no tuples.
            options = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
            self.check_options(options)
            groups.append({**options, "params": params})

        states = {}
        for number, saved in state_dict["state"].items():
            if number not in param_of:
                raise ValueError(
                    f"{self._name}.load_state_dict: state of parameter {number!r}, which is in no "
                    "parameter group"
                )
            states[param_of[number]] = self._loaded(saved, number, param_of[number])
        self.param_groups, self.state = groups, states

    def _loaded(self, saved: State, number: Any, param: Tensor) -> State:
        """A copy of one parameter's saved state, for use with `param`."""
        state: State = {}
        for name, value in saved.items():
            if name == "step":
                state[name] = int(value)  # comes back from an array file as an array
                continue
            if value.shape != param.shape:
                raise ValueError(
                    f"{self._name}.load_state_dict: {name} of parameter {number!r} must have shape "
                    f"{param.shape}, got {tuple(value.shape)}"
                )
            value = backend.of(param.data).as_array(value, dtype=param.dtype)
            state[name] = backend.of(param.data).xp.array(value)
        return state

    def __repr__(self) -> str:
        lines = [f"{self._name}("]
        for index, group in enumerate(self.param_groups):
            lines.append(f"  group {index}: {len(group['params'])} parameters")
            lines += [f"    {k}: {v}" for k, v in sorted(group.items()) if k != "params"]
        return "\n".join([*lines, ")"])


def one_by_one(optimizer: Optimizer, gradients: Gradients, options: Options) -> None:
    """Move the parameters of one group, each by the optimizer's own `update`."""
    for param, gradient in gradients.items():
        if options.get("maximize"):
            gradient = -gradient
        optimizer.update(param.data, gradient, optimizer.state.setdefault(param, {}), options)


# What stands in for `one_by_one`, by the exact class of the optimizer: a subclass may have a rule
# of its own, which must not be passed over. See fused.py.
GROUP_UPDATES: dict[type[Optimizer], Callable[[Any, Gradients, Options], None]] = {}


def scalar(value: Any, like: Array) -> Any:
    """`value`, ready for arithmetic with the array `like`, which keeps its dtype.

    A Python number is ready. In a captured step it is an array without axes: that is cast to the
    dtype of `like`, or float64 would spread.
    """
    return value.astype(like.dtype) if hasattr(value, "astype") else value


def _with_python_numbers(options: Options) -> Options:
    """Without NumPy's scalars: these would promote float32, and JSON does not know them."""
    return {name: _python_number(value) for name, value in options.items()}


def _python_number(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_python_number, value))
    return value.item() if isinstance(value, numpy.generic) else value


def _saved(name: str, value: Any, param: Tensor) -> Any:
    """An entry of a parameter's state for `state_dict`: the counter as an integer, else a copy."""
    return int(value) if name == "step" else backend.of(param.data).xp.array(value)


def check_not_negative(name: str, options: Options, *arguments: str) -> None:
    """Raise ValueError unless each of these options is a number >= 0."""
    for argument in arguments:
        if not options[argument] >= 0:  # this way round, not-a-number is refused too
            raise ValueError(f"{name}: {argument} must be >= 0, got {options[argument]}")
