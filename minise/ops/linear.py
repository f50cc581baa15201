"""Products of matrices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..autograd import Array, Function
from .arguments import broadcast_shape, check_tensors, same_dtype
from .broadcast import unbroadcast

if TYPE_CHECKING:
    from ..tensor import Tensor


class MatMul(Function):
    formula = "y = a @ b"
    derivative = "da = dy @ bᵀ,  db = aᵀ @ dy"

    def forward(self, a: Array, b: Array) -> Array:
        self.a, self.b = a, b
        return a @ b  # (..., I, K) @ (..., K, J) -> (..., I, J)

    def backward(self, grad: Array) -> Any:
        # A vector on the left is a row, a vector on the right a column.
        a = self.a if self.a.ndim > 1 else self.a[None, :]  # (..., I, K)
        b = self.b if self.b.ndim > 1 else self.b[:, None]  # (..., K, J)
        if self.b.ndim == 1:
            grad = grad[..., None]
        if self.a.ndim == 1:
            grad = grad[..., None, :]  # (..., I, J)
        da = db = None
        if self.needs[0]:
            da = unbroadcast(grad @ b.swapaxes(-1, -2), a.shape).reshape(self.a.shape)
        if self.needs[1]:
            db = unbroadcast(a.swapaxes(-1, -2) @ grad, b.shape).reshape(self.b.shape)
        return da, db


def matmul(a: Tensor, b: Tensor) -> Tensor:
    """(..., I, K) @ (..., K, J) -> (..., I, J).

    A vector is a row on the left and a column on the right. Raises RuntimeError where the inner
    lengths, the leading axes or the dtypes do not fit.
    """
    check_tensors("matmul", a=a, other=b)
    if a.ndim == 0 or b.ndim == 0:
        raise RuntimeError(f"matmul: expected at least one axis, got {a.shape} and {b.shape}")
    rows = b.shape[-2] if b.ndim > 1 else b.shape[0]
    if a.shape[-1] != rows:
        raise RuntimeError(
            f"matmul: a {a.shape} has {a.shape[-1]} columns, b {b.shape} has {rows} rows"
        )
    same_dtype("matmul", a=a, b=b)
    broadcast_shape("matmul", a.shape[:-2], b.shape[:-2])
    return MatMul()(a, b)


class Linear(Function, kernel="linear"):
    formula = "y = x @ Wᵀ + b"
    derivative = "dx = dy @ W,  dW = dyᵀ @ x,  db = Σ dy"

    def forward(self, x: Array, weight: Array, bias: Array | None = None) -> Array:
        self.x, self.weight = x, weight
        y = x @ weight.T  # (..., K) @ (K, J) -> (..., J)
        return y if bias is None else y + bias

    def backward(self, grad: Array) -> Any:
        J, K = self.weight.shape
        rows = grad.reshape(-1, J)
        dx = grad @ self.weight if self.needs[0] else None
        dweight = rows.T @ self.x.reshape(-1, K) if self.needs[1] else None  # (J, K)
        if len(self.needs) == 2:
            return dx, dweight
        return dx, dweight, unbroadcast(rows, (J,))


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """y = x @ Wᵀ + b: input (..., K), weight (J, K), bias (J,) -> (..., J).

    Raises RuntimeError where shapes or dtypes do not fit each other.
    """
    check_tensors("linear", input=input, weight=weight)
    same_dtype("linear", input=input, weight=weight, bias=bias)
    if weight.ndim != 2 or input.ndim == 0 or input.shape[-1] != weight.shape[1]:
        raise RuntimeError(
            f"linear: input {input.shape} must end in the number of columns of weight "
            f"{weight.shape}"
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise RuntimeError(f"linear: bias must have shape {weight.shape[:1]}, got {bias.shape}")
    return Linear()(input, weight) if bias is None else Linear()(input, weight, bias)
