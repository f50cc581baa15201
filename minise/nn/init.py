"""How weights start. Every function fills its tensor in place and returns it.

The numbers come from NumPy's generator on the host (minise.manual_seed), so one seed gives the
same weights on every backend.

A weight is (O, C/groups, R, S) or (O, C). Each output sums up fan_in = C/groups · R · S products;
in the backward pass each input collects fan_out = O · R · S. Weights of variance gain² / fan keep
the variance of what passes through; the gain makes up for what the nonlinearity takes away.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from .. import backend
from ..tensor import Tensor


def constant_(tensor: Tensor, val: float) -> Tensor:
    """`val` everywhere."""
    tensor.data[...] = val
    return tensor


def zeros_(tensor: Tensor) -> Tensor:
    """0 everywhere."""
    return constant_(tensor, 0)


def ones_(tensor: Tensor) -> Tensor:
    """1 everywhere."""
    return constant_(tensor, 1)


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0) -> Tensor:
    """Uniform between a and b."""
    return _fill(tensor, backend.random.generator().random, b - a, a)


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """Normal with that mean and standard deviation."""
    return _fill(tensor, backend.random.generator().standard_normal, std, mean)


def xavier_uniform_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """Uniform with variance gain² · 2 / (fan_in + fan_out): for both directions at once.

    Source: Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural
    networks", AISTATS 2010, equation 16.
    """
    bound = math.sqrt(3) * _xavier_std(tensor, gain)
    return uniform_(tensor, -bound, bound)


def xavier_normal_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """Normal with variance gain² · 2 / (fan_in + fan_out); see `xavier_uniform_`."""
    return normal_(tensor, 0.0, _xavier_std(tensor, gain))


def kaiming_uniform_(
    tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> Tensor:
    """Uniform with variance gain² / fan.

    a      slope of the leaky ReLU that follows, used only for that nonlinearity
    mode   "fan_in" keeps the variance in the forward pass, "fan_out" in the backward pass

    Raises ValueError for an unknown mode or nonlinearity, or a tensor of fewer than two axes.
    Source: He et al., "Delving deep into rectifiers", ICCV 2015, section 2.2.
    """
    bound = math.sqrt(3) * _kaiming_std(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound)


def kaiming_normal_(
    tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> Tensor:
    """Normal with variance gain² / fan; see `kaiming_uniform_`."""
    return normal_(tensor, 0.0, _kaiming_std(tensor, a, mode, nonlinearity))


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """By how much the standard deviation of weights has to grow ahead of this nonlinearity.

    param   the negative slope of "leaky_relu" (0.01)

    Raises ValueError for an unknown nonlinearity or a slope that is no number.
    """
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        if isinstance(slope, bool) or not isinstance(slope, (int, float)):
            raise ValueError(f"calculate_gain: the negative slope must be a number, got {slope!r}")
        return math.sqrt(2 / (1 + slope**2))
    if nonlinearity not in GAINS:
        known = ", ".join([*GAINS, "leaky_relu"])
        raise ValueError(
            f"calculate_gain: nonlinearity must be one of {known}; got {nonlinearity!r}"
        )
    return GAINS[nonlinearity]


GAINS = {
    "linear": 1.0,
    "conv2d": 1.0,
    "sigmoid": 1.0,
    "tanh": 5 / 3,
    "relu": math.sqrt(2),
    "selu": 3 / 4,
}


def fans(tensor: Tensor) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight; ValueError if it has fewer than two axes."""
    if tensor.ndim < 2:
        raise ValueError(f"fans: a weight needs two axes or more, got shape {tensor.shape}")
    O, C, *kernel = tensor.shape
    return C * math.prod(kernel), O * math.prod(kernel)


def _xavier_std(tensor: Tensor, gain: float) -> float:
    return gain * math.sqrt(2 / sum(fans(tensor)))


def _kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    modes = ("fan_in", "fan_out")
    if mode not in modes:
        raise ValueError(f"kaiming: mode must be 'fan_in' or 'fan_out', got {mode!r}")
    fan = fans(tensor)[modes.index(mode)]
    gain = calculate_gain(nonlinearity, a)
    return gain / math.sqrt(fan) if fan else 0.0  # a fan of 0: there is nothing to fill


def _fill(tensor: Tensor, draw: Callable[..., Any], scale: float, shift: float) -> Tensor:
    """scale · random numbers + shift, drawn in the precision of `tensor`: float32 is faster."""
    values = draw(tensor.shape, dtype="float32" if tensor.dtype == "float32" else "float64")
    values = values * scale + shift
    tensor.data[...] = backend.of(tensor.data).as_array(values, dtype=tensor.dtype)
    return tensor
