"""minise: squeeze-and-excitation networks from scratch, in NumPy and CuPy, to look inside."""

from importlib import import_module
from typing import Any

from . import backend, functional, nn, optim
from .autograd import Function, backward_steps, is_grad_enabled, no_grad
from .backend import use
from .backend.random import manual_seed
from .creation import arange, full, ones, ones_like, rand, randn, tensor, zeros, zeros_like
from .gradcheck import GradcheckError, gradcheck
from .ops.arithmetic import maximum, minimum, where
from .ops.fused import unfused
from .ops.shape import cat, stack
from .tensor import Tensor

__version__ = "0.1.0"

# Imported when first used: they take longer.
_ON_DEMAND = ("data", "gates", "models", "teach", "tracing")

__all__ = [
    "Function",
    "GradcheckError",
    "Tensor",
    "arange",
    "backend",
    "backward_steps",
    "cat",
    "full",
    "functional",
    "gradcheck",
    "is_grad_enabled",
    "manual_seed",
    "maximum",
    "minimum",
    "nn",
    "no_grad",
    "ones",
    "ones_like",
    "optim",
    "rand",
    "randn",
    "stack",
    "tensor",
    "trace",
    "unfused",
    "use",
    "where",
    "zeros",
    "zeros_like",
]


def __getattr__(name: str) -> Any:
    if name == "trace":
        return import_module(".tracing", __name__).trace
    if name in _ON_DEMAND:
        return import_module(f".{name}", __name__)
    raise AttributeError(f"module 'minise' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_ON_DEMAND, "trace"})
