"""Broadcasting copies values in the forward pass, so its backward adds the copies' gradients up."""

from __future__ import annotations

from typing import Any

import numpy


def sum_in_double(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Σ x over `axis`. Floats accumulate in float64, so that long sums keep float32's digits."""
    if x.dtype.kind != "f":
        return x.sum(axis=axis, keepdims=keepdims)
    return x.sum(axis=axis, keepdims=keepdims, dtype=numpy.float64).astype(x.dtype)


def unbroadcast(grad: Any, shape: tuple[int, ...]) -> Any:
    """The adjoint of broadcasting an array of `shape` to `grad.shape`: sum over every copy."""
    if grad.shape == shape:
        return grad
    added = grad.ndim - len(shape)  # axes that broadcasting put in front
    stretched = [added + i for i, n in enumerate(shape) if n == 1 and grad.shape[added + i] != 1]
    return sum_in_double(grad, axis=(*range(added), *stretched)).reshape(shape)
