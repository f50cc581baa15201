"""Which dtype tensors and numbers meet in, by PyTorch's rules, and the op that casts them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy

from .. import backend
from ..autograd import Array, Function, Variable
from .arguments import NUMBERS, broadcast_shape, check_tensors, refuse_booleans

if TYPE_CHECKING:
    from ..tensor import Tensor


class Cast(Function):
    formula = "y = x in another dtype"
    derivative = "dx = dy in the dtype of x"

    def __init__(self, dtype: Any) -> None:
        self.new_dtype = dtype

    def forward(self, x: Array) -> Array:
        self.dtype = x.dtype
        return x.astype(self.new_dtype)

    def backward(self, grad: Array) -> Array:
        return grad.astype(self.dtype)


def cast(x: Tensor, dtype: Any) -> Tensor:
    """x in another dtype; x itself if it has that dtype."""
    return x if x.dtype == dtype else Cast(numpy.dtype(dtype))(x)


def floating(x: Tensor) -> Tensor:
    """Functions with fractional values make floats of integers, as PyTorch does."""
    return x if x.dtype.kind == "f" else cast(x, numpy.float32)


def category(dtype: numpy.dtype[Any]) -> int:
    """Booleans, integers, floats: a higher category wins over a lower one, as in PyTorch."""
    return {"b": 0, "f": 2}.get(dtype.kind, 1)


def common_dtype(tensors: Sequence[Tensor]) -> numpy.dtype[Any]:
    """The dtype that tensors meet in; one without axes counts like a number, as in PyTorch."""
    highest = max(category(tensor.dtype) for tensor in tensors)
    strong = [tensor for tensor in tensors if category(tensor.dtype) == highest]
    with_axes = [tensor for tensor in strong if tensor.ndim > 0]
    return numpy.result_type(*(tensor.dtype for tensor in with_axes or strong))


def constant(name: str, value: Any, like: Tensor) -> Tensor:
    """A Python or NumPy number as a tensor on `like`'s backend; it promotes no dtype in vain."""
    own = category(numpy.asarray(value).dtype)
    fits = own <= category(like.dtype)
    dtype = like.dtype if fits else (numpy.int64, numpy.float32)[own - 1]
    try:
        return like.new(backend.of(like.data).as_array(value, dtype=dtype))
    except OverflowError:
        raise OverflowError(f"{name}: the number {value} does not fit into {dtype}") from None


def operands(name: str, a: Any, b: Any) -> tuple[Tensor, Tensor]:
    """Both as tensors of one dtype whose shapes broadcast; TypeError or RuntimeError if not."""
    for value in (a, b):
        if not isinstance(value, (Variable, *NUMBERS)):
            raise TypeError(
                f"{name}: expected a Tensor or a number, got {type(value).__name__}; "
                "make a tensor with minise.tensor(...)"
            )
    if not isinstance(a, Variable):
        check_tensors(name, b=b)
        a = constant(name, a, like=b)
    elif not isinstance(b, Variable):
        b = constant(name, b, like=a)  # type: ignore[arg-type]  # every Variable is a Tensor
    elif type(a.data) is not type(b.data) and a.backend != b.backend:
        raise RuntimeError(
            f"{name}: expected all operands on one backend, got {a.backend} {a.data.shape}, "
            f"{b.backend} {b.data.shape}; move them with .to(name)"
        )
    if a.dtype != b.dtype:
        dtype = common_dtype((a, b))
        a, b = cast(a, dtype), cast(b, dtype)
    if a.shape != b.shape:
        broadcast_shape(name, a.shape, b.shape)
    return a, b


def floating_operands(name: str, a: Any, b: Any) -> tuple[Tensor, Tensor]:
    """As `operands`, with integers as floats."""
    a, b = operands(name, a, b)
    return floating(a), floating(b)


def signed_operands(name: str, a: Any, b: Any) -> tuple[Tensor, Tensor]:
    """As `operands`, without booleans, which have no difference."""
    refuse_booleans(name, a, b)
    return operands(name, a, b)
