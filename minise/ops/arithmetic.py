"""Arithmetic, element by element, and what chooses between two operands.

In `derivative`, dy is the gradient that comes in and da, db, dx are the ones that go out. Operands
may broadcast; their gradients are summed back to their own shapes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..autograd import Array, Function, Variable
from .arguments import broadcast_shape, check_number, check_tensors, refuse_booleans
from .broadcast import unbroadcast
from .promotion import constant, floating_operands, operands, signed_operands

if TYPE_CHECKING:
    from ..tensor import Tensor


class Add(Function):
    formula = "y = a + b"
    derivative = "da = dy,  db = dy"

    def forward(self, a: Array, b: Array) -> Array:
        self.shapes = a.shape, b.shape
        return a + b

    def backward(self, grad: Array) -> Any:
        a_shape, b_shape = self.shapes
        return unbroadcast(grad, a_shape), unbroadcast(grad, b_shape)


def add(a: Any, b: Any) -> Tensor:
    """a + b; numbers and tensors, broadcast against each other.

    Raises TypeError for other operands, RuntimeError for shapes that do not broadcast; so do all
    functions of two operands here.
    """
    return Add()(*operands("add", a, b))


class Subtract(Function):
    formula = "y = a - b"
    derivative = "da = dy,  db = -dy"

    def forward(self, a: Array, b: Array) -> Array:
        self.shapes = a.shape, b.shape
        return a - b

    def backward(self, grad: Array) -> Any:
        a_shape, b_shape = self.shapes
        return unbroadcast(grad, a_shape), unbroadcast(-grad, b_shape)


def subtract(a: Any, b: Any) -> Tensor:
    """a - b. RuntimeError for booleans, which have no difference."""
    return Subtract()(*signed_operands("subtract", a, b))


class Multiply(Function, kernel="multiply"):
    formula = "y = a · b"
    derivative = "da = dy · b,  db = dy · a"

    def forward(self, a: Array, b: Array) -> Array:
        self.a, self.b = a, b
        return a * b

    def backward(self, grad: Array) -> Any:
        a, b = self.a, self.b
        da = unbroadcast(grad * b, a.shape) if self.needs[0] else None
        db = unbroadcast(grad * a, b.shape) if self.needs[1] else None
        return da, db


def multiply(a: Any, b: Any) -> Tensor:
    """a · b, element by element."""
    return Multiply()(*operands("multiply", a, b))


class Divide(Function):
    formula = "y = a / b"
    derivative = "da = dy / b,  db = -dy · y / b"

    def forward(self, a: Array, b: Array) -> Array:
        self.a, self.b = a, b
        return a / b

    def backward(self, grad: Array) -> Any:
        a, b = self.a, self.b
        da = unbroadcast(grad / b, a.shape) if self.needs[0] else None
        db = unbroadcast(-grad * ((a / b) / b), b.shape) if self.needs[1] else None
        return da, db


def divide(a: Any, b: Any) -> Tensor:
    """a / b; of integers too a fraction, in float32."""
    return Divide()(*floating_operands("divide", a, b))


class Negative(Function):
    formula = "y = -x"
    derivative = "dx = -dy"

    def forward(self, x: Array) -> Array:
        return -x

    def backward(self, grad: Array) -> Any:
        return -grad


def negative(x: Tensor) -> Tensor:
    """-x. RuntimeError for booleans."""
    refuse_booleans("negative", x)
    return Negative()(x)


class Power(Function):
    formula = "y = a^b"
    derivative = "da = dy · b · a^(b-1),  db = dy · y · log a"

    def forward(self, a: Array, b: Array) -> Array:
        self.a, self.b = a, b
        return a**b

    def backward(self, grad: Array) -> Any:
        a, b, where = self.a, self.b, self.xp.where
        da = db = None
        if self.needs[0]:  # a^0 is the constant 1, at a = 0 too
            slope = where(b == 0, 0, b * a ** where(b == 0, 1, b - 1))
            da = unbroadcast(grad * slope, a.shape)
        if self.needs[1]:  # 0^b is the constant 0 for every b > 0
            log_a = self.xp.log(where((a == 0) & (b >= 0), 1, a))
            db = unbroadcast(grad * a**b * log_a, b.shape)
        return da, db


def power(a: Any, b: Any) -> Tensor:
    """a to the power of b. RuntimeError for integers with a negative exponent: a fraction."""
    a, b = operands("power", a, b)
    if b.dtype.kind == "i" and bool((b.data < 0).any()):
        raise RuntimeError("power: integers take powers >= 0 only, got a negative exponent")
    return Power()(a, b)


class Maximum(Function):
    """Where a = b each gets half of the gradient; where one is NaN, both get all of it."""

    formula = "y = max(a, b)"
    derivative = "da = dy where a > b,  db = dy where b > a"

    def forward(self, a: Array, b: Array) -> Array:
        self.a, self.b = a, b
        return self.xp.maximum(a, b)

    def backward(self, grad: Array) -> Any:
        a, b = self.a, self.b
        shared = self.xp.where(a == b, grad / 2, grad)
        da = unbroadcast(self.xp.where(a < b, 0, shared), a.shape)
        db = unbroadcast(self.xp.where(b < a, 0, shared), b.shape)
        return da, db


def maximum(a: Tensor, b: Tensor) -> Tensor:
    """The larger of a and b, element by element; where they tie each gets half the gradient."""
    return Maximum()(*operands("maximum", a, b))


class Minimum(Function):
    """Where a = b each gets half of the gradient; where one is NaN, both get all of it."""

    formula = "y = min(a, b)"
    derivative = "da = dy where a < b,  db = dy where b < a"

    def forward(self, a: Array, b: Array) -> Array:
        self.a, self.b = a, b
        return self.xp.minimum(a, b)

    def backward(self, grad: Array) -> Any:
        a, b = self.a, self.b
        shared = self.xp.where(a == b, grad / 2, grad)
        da = unbroadcast(self.xp.where(a > b, 0, shared), a.shape)
        db = unbroadcast(self.xp.where(b > a, 0, shared), b.shape)
        return da, db


def minimum(a: Tensor, b: Tensor) -> Tensor:
    """The smaller of a and b, element by element; where they tie each gets half the gradient."""
    return Minimum()(*operands("minimum", a, b))


class Where(Function):
    formula = "y = a where condition, else b"
    derivative = "da = dy where condition,  db = dy where not condition"

    def forward(self, condition: Array, a: Array, b: Array) -> Array:
        self.condition, self.shapes = condition, (a.shape, b.shape)
        return self.xp.where(condition, a, b)

    def backward(self, grad: Array) -> Any:
        a_shape, b_shape = self.shapes
        da = unbroadcast(self.xp.where(self.condition, grad, 0), a_shape)
        db = unbroadcast(self.xp.where(self.condition, 0, grad), b_shape)
        return None, da, db


def where(condition: Tensor, a: Any, b: Any) -> Tensor:
    """a where the condition holds, else b; all three broadcast, a and b may be numbers.

    Raises TypeError or RuntimeError for a condition that is no tensor of booleans.
    """
    check_tensors("where", condition=condition)
    if condition.dtype.kind != "b":
        raise RuntimeError(f"where: condition must be boolean, got {condition.dtype}")
    if not isinstance(a, Variable) and not isinstance(b, Variable):
        check_number("where", "a", a)
        a = constant("where", a, like=condition)
    a, b = operands("where", a, b)
    broadcast_shape("where", condition.shape, a.shape, b.shape)
    return Where()(condition, a, b)


# --- comparisons: tensors of booleans, without a gradient ---------------------------------------


def compare(comparison: Callable[[Any, Any], Any], a: Any, b: Any) -> Tensor:
    """`comparison`, one of the functions of Python's `operator` ("lt", "eq"), of all elements."""
    x, y = operands(comparison.__name__, a, b)
    return x.new(comparison(x.data, y.data))
