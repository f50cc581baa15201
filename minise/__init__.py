"""minise: squeeze-and-excitation networks from scratch, in NumPy and CuPy, to look inside."""

from . import backend, functional
from .autograd import Tensor, backward_steps, is_grad_enabled, no_grad
from .backend import use
from .backend.random import manual_seed
from .creation import arange, full, ones, ones_like, rand, randn, tensor, zeros, zeros_like
from .ops import cat, maximum, minimum, stack, where

__version__ = "0.1.0"

__all__ = [
    "Tensor",
    "arange",
    "backend",
    "backward_steps",
    "cat",
    "full",
    "functional",
    "is_grad_enabled",
    "manual_seed",
    "maximum",
    "minimum",
    "no_grad",
    "ones",
    "ones_like",
    "rand",
    "randn",
    "stack",
    "tensor",
    "use",
    "where",
    "zeros",
    "zeros_like",
]
