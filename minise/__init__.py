"""minise: squeeze-and-excitation networks from scratch, in NumPy and CuPy, to look inside."""

from . import backend, data, functional, nn
from .autograd import Tensor, backward_steps, is_grad_enabled, no_grad
from .backend import use
from .backend.random import manual_seed
from .creation import arange, full, ones, ones_like, rand, randn, tensor, zeros, zeros_like
from .gradcheck import GradcheckError, gradcheck
from .ops import cat, maximum, minimum, stack, where

__version__ = "0.1.0"

__all__ = [
    "GradcheckError",
    "Tensor",
    "arange",
    "backend",
    "backward_steps",
    "cat",
    "data",
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
    "rand",
    "randn",
    "stack",
    "tensor",
    "use",
    "where",
    "zeros",
    "zeros_like",
]
