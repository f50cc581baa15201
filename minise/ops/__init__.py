"""The operations: one class per op, its forward directly above its backward, on raw arrays."""

from . import tensor_methods
from .tensor_methods import cat, maximum, minimum, stack, where

__all__ = ["cat", "maximum", "minimum", "stack", "tensor_methods", "where"]
