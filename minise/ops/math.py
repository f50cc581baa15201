"""Arithmetic, element by element, and the matrix product.

In `derivative`, dy is the gradient that comes in and da, db, dx are the ones that go out. Operands
may broadcast; their gradients are summed back to their own shapes.
"""

from __future__ import annotations

from ..autograd import Function
from .activation import ThenReLU
from .broadcast import unbroadcast


class Add(Function):
    formula = "y = a + b"
    derivative = "da = dy,  db = dy"

    def forward(self, a, b):
        self.shapes = a.shape, b.shape
        return a + b

    def backward(self, grad):
        a_shape, b_shape = self.shapes
        return unbroadcast(grad, a_shape), unbroadcast(grad, b_shape)


class AddReLU(ThenReLU, Add):
    """An addition and the ReLU behind it as one op: the end of a ResNet block."""

    name = "add_relu"
    formula = "y = max(a + b, 0)"
    derivative = "dv = dy where y > 0, else 0,  da = dv,  db = dv"


class Subtract(Function):
    formula = "y = a - b"
    derivative = "da = dy,  db = -dy"

    def forward(self, a, b):
        self.shapes = a.shape, b.shape
        return a - b

    def backward(self, grad):
        a_shape, b_shape = self.shapes
        return unbroadcast(grad, a_shape), unbroadcast(-grad, b_shape)


class Multiply(Function):
    formula = "y = a · b"
    derivative = "da = dy · b,  db = dy · a"

    def forward(self, a, b):
        self.a, self.b = a, b
        return a * b

    def backward(self, grad):
        a, b = self.a, self.b
        da = unbroadcast(grad * b, a.shape) if self.needs[0] else None
        db = unbroadcast(grad * a, b.shape) if self.needs[1] else None
        return da, db


class Divide(Function):
    formula = "y = a / b"
    derivative = "da = dy / b,  db = -dy · y / b"

    def forward(self, a, b):
        self.a, self.b = a, b
        return a / b

    def backward(self, grad):
        a, b = self.a, self.b
        da = unbroadcast(grad / b, a.shape) if self.needs[0] else None
        db = unbroadcast(-grad * ((a / b) / b), b.shape) if self.needs[1] else None
        return da, db


class Negative(Function):
    formula = "y = -x"
    derivative = "dx = -dy"

    def forward(self, x):
        return -x

    def backward(self, grad):
        return -grad


class Power(Function):
    formula = "y = a^b"
    derivative = "da = dy · b · a^(b-1),  db = dy · y · log a"

    def forward(self, a, b):
        self.a, self.b = a, b
        return a**b

    def backward(self, grad):
        a, b, where = self.a, self.b, self.xp.where
        da = db = None
        if self.needs[0]:  # a^0 is the constant 1, at a = 0 too
            slope = where(b == 0, 0, b * a ** where(b == 0, 1, b - 1))
            da = unbroadcast(grad * slope, a.shape)
        if self.needs[1]:  # 0^b is the constant 0 for every b > 0
            log_a = self.xp.log(where((a == 0) & (b >= 0), 1, a))
            db = unbroadcast(grad * a**b * log_a, b.shape)
        return da, db


class MatMul(Function):
    formula = "y = a @ b"
    derivative = "da = dy @ bᵀ,  db = aᵀ @ dy"

    def forward(self, a, b):
        self.a, self.b = a, b
        return a @ b  # (..., I, K) @ (..., K, J) -> (..., I, J)

    def backward(self, grad):
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


class Linear(Function):
    formula = "y = x @ Wᵀ + b"
    derivative = "dx = dy @ W,  dW = dyᵀ @ x,  db = Σ dy"

    def forward(self, x, weight, bias=None):
        self.x, self.weight = x, weight
        y = x @ weight.T  # (..., K) @ (K, J) -> (..., J)
        return y if bias is None else y + bias

    def backward(self, grad):
        J, K = self.weight.shape
        rows = grad.reshape(-1, J)
        dx = grad @ self.weight if self.needs[0] else None
        dweight = rows.T @ self.x.reshape(-1, K) if self.needs[1] else None  # (J, K)
        if len(self.needs) == 2:
            return dx, dweight
        return dx, dweight, unbroadcast(rows, (J,))


class Exp(Function):
    formula = "y = e^x"
    derivative = "dx = dy · y"

    def forward(self, x):
        self.y = self.xp.exp(x)
        return self.y

    def backward(self, grad):
        return grad * self.y


class Log(Function):
    formula = "y = log x"
    derivative = "dx = dy / x"

    def forward(self, x):
        self.x = x
        return self.xp.log(x)

    def backward(self, grad):
        return grad / self.x


class Sqrt(Function):
    formula = "y = √x"
    derivative = "dx = dy / (2y)"

    def forward(self, x):
        self.y = self.xp.sqrt(x)
        return self.y

    def backward(self, grad):
        return grad / (2 * self.y)


class Abs(Function):
    formula = "y = |x|"
    derivative = "dx = dy · sign(x)"

    def forward(self, x):
        self.x = x
        return self.xp.abs(x)

    def backward(self, grad):
        sign = self.xp.where(self.x > 0, 1, self.xp.where(self.x < 0, -1, 0))  # 0 for a NaN too
        return grad * sign.astype(grad.dtype)


class Clamp(Function):
    """`low` or `high` may be None: no bound on that side."""

    formula = "y = min(max(x, low), high)"
    derivative = "dx = dy where low <= x <= high, else 0"

    def __init__(self, low=None, high=None):
        self.low, self.high = low, high

    def forward(self, x):
        y = x
        self.inside = self.xp.ones(x.shape, dtype=bool)
        if self.low is not None:
            self.inside = x >= self.low
            y = self.xp.maximum(y, self.low)
        if self.high is not None:
            self.inside = self.inside & (x <= self.high)
            y = self.xp.minimum(y, self.high)
        return y

    def backward(self, grad):
        return grad * self.inside


class Maximum(Function):
    """Where a = b each gets half of the gradient; where one is NaN, both get all of it."""

    formula = "y = max(a, b)"
    derivative = "da = dy where a > b,  db = dy where b > a"

    def forward(self, a, b):
        self.a, self.b = a, b
        return self.xp.maximum(a, b)

    def backward(self, grad):
        a, b = self.a, self.b
        shared = self.xp.where(a == b, grad / 2, grad)
        da = unbroadcast(self.xp.where(a < b, 0, shared), a.shape)
        db = unbroadcast(self.xp.where(b < a, 0, shared), b.shape)
        return da, db


class Minimum(Function):
    """Where a = b each gets half of the gradient; where one is NaN, both get all of it."""

    formula = "y = min(a, b)"
    derivative = "da = dy where a < b,  db = dy where b < a"

    def forward(self, a, b):
        self.a, self.b = a, b
        return self.xp.minimum(a, b)

    def backward(self, grad):
        a, b = self.a, self.b
        shared = self.xp.where(a == b, grad / 2, grad)
        da = unbroadcast(self.xp.where(a > b, 0, shared), a.shape)
        db = unbroadcast(self.xp.where(b > a, 0, shared), b.shape)
        return da, db


class Where(Function):
    formula = "y = a where condition, else b"
    derivative = "da = dy where condition,  db = dy where not condition"

    def forward(self, condition, a, b):
        self.condition, self.shapes = condition, (a.shape, b.shape)
        return self.xp.where(condition, a, b)

    def backward(self, grad):
        a_shape, b_shape = self.shapes
        da = unbroadcast(self.xp.where(self.condition, grad, 0), a_shape)
        db = unbroadcast(self.xp.where(self.condition, 0, grad), b_shape)
        return None, da, db
