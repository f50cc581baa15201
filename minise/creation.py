"""Where tensors come from: values, constants, random numbers."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy

from . import backend as backends
from .ops.arguments import SUPPORTED, check_number, check_tensors, sizes, supported_dtype
from .tensor import Tensor


def tensor(
    values: Any, dtype: Any = None, requires_grad: bool = False, backend: str | None = None
) -> Tensor:
    """A new tensor with a copy of `values`: numbers, nested lists, an array, another tensor.

    dtype    kept from arrays and NumPy numbers; Python floats become float32, ints int64
    backend  "numpy" or "cupy"; else where an array already is, else what `minise.use` set

    Raises TypeError for values that are no numbers, ValueError for ragged lists, RuntimeError if
    requires_grad goes with an integer dtype.
    """
    if isinstance(values, Tensor):
        values = values.data
    home = _home(backend, values)
    if backends.of(values, default=None) is None:
        values, default = _host_array(values)
        dtype = default if dtype is None else dtype
    if values.dtype.kind not in "fiub":
        raise TypeError(f"tensor: expected {SUPPORTED}, got {values.dtype}")
    dtype = values.dtype if dtype is None else supported_dtype("tensor", dtype)
    return Tensor(home.xp.array(home.as_array(values), dtype=dtype, copy=True), requires_grad)


def _host_array(values: Any) -> tuple[numpy.ndarray, numpy.dtype]:
    """Numbers and nested lists as a NumPy array, and the dtype that a tensor of them has."""
    try:
        array = numpy.asarray(values)
    except ValueError as error:
        raise ValueError("tensor: expected lists of equal lengths, got ragged ones") from error
    python_floats = array.dtype == numpy.float64 and not _holds_float64(values)
    return array, numpy.dtype(numpy.float32) if python_floats else array.dtype


def _holds_float64(values: Any) -> bool:
    """Whether nested lists hold NumPy's float64 numbers, besides Python's floats."""
    if isinstance(values, (list, tuple)):
        return any(map(_holds_float64, values))
    return getattr(values, "dtype", None) == numpy.float64


def _shape(name: str, arguments: tuple[Any, ...]) -> tuple[int, ...]:
    shape = sizes(name, arguments)
    if any(n < 0 for n in shape):
        raise RuntimeError(f"{name}: expected lengths >= 0, got shape {shape}")
    return shape


def _home(name: str | None, values: Any = None) -> backends.Backend:
    if name is not None:
        return backends.get(name)
    return backends.of(values, default=None) or backends.current()


def full(
    shape: Any, fill_value: float, *, dtype: Any = None, requires_grad: bool = False,
    backend: str | None = None,
) -> Tensor:  # fmt: skip
    """A tensor of `shape` with one value everywhere; dtype as `tensor(fill_value)` would have."""
    check_number("full", "fill_value", fill_value)
    dtype = tensor(fill_value).dtype if dtype is None else supported_dtype("full", dtype)
    lengths = _shape("full", (shape,))
    return Tensor(_home(backend).xp.full(lengths, fill_value, dtype=dtype), requires_grad)


def zeros(*shape: Any, dtype: Any = numpy.float32, requires_grad: bool = False,
          backend: str | None = None) -> Tensor:  # fmt: skip
    """Zeros: `zeros(2, 3)` or `zeros((2, 3))`."""
    lengths = _shape("zeros", shape)
    return full(lengths, 0, dtype=dtype, requires_grad=requires_grad, backend=backend)


def ones(*shape: Any, dtype: Any = numpy.float32, requires_grad: bool = False,
         backend: str | None = None) -> Tensor:  # fmt: skip
    """Ones: `ones(2, 3)` or `ones((2, 3))`."""
    lengths = _shape("ones", shape)
    return full(lengths, 1, dtype=dtype, requires_grad=requires_grad, backend=backend)


def arange(start: float, end: float | None = None, step: float = 1, *, dtype: Any = None,
           requires_grad: bool = False, backend: str | None = None) -> Tensor:  # fmt: skip
    """start, start + step, ... below `end`; `arange(n)` counts from 0. int64, or float32.

    Raises RuntimeError if step is 0 or leads away from end.
    """
    start, end = (0, start) if end is None else (start, end)
    for argument, value in (("start", start), ("end", end), ("step", step)):
        check_number("arange", argument, value)
    count = (end - start) / step if step else math.inf
    if not 0 <= count < sys.maxsize // 8:  # the bytes that there can be; NaN fails too
        raise RuntimeError(f"arange: a step of {step} does not lead from {start} to {end}")
    values = numpy.arange(start, end, step)
    default = numpy.float32 if values.dtype.kind == "f" else numpy.int64
    return tensor(values, dtype or default, requires_grad, backend)


def randn(*shape: Any, dtype: Any = numpy.float32, requires_grad: bool = False,
          backend: str | None = None) -> Tensor:  # fmt: skip
    """Standard normal numbers, drawn on the host: one seed, one result on every backend."""
    return _draw("randn", "standard_normal", shape, dtype, requires_grad, backend)


def rand(*shape: Any, dtype: Any = numpy.float32, requires_grad: bool = False,
         backend: str | None = None) -> Tensor:  # fmt: skip
    """Uniform numbers from [0, 1), drawn on the host: one seed, one result on every backend."""
    return _draw("rand", "random", shape, dtype, requires_grad, backend)


def _draw(
    name: str, distribution: str, shape: Any, dtype: Any, requires_grad: bool, home: str | None
) -> Tensor:
    if supported_dtype(name, dtype).kind != "f":
        raise NotImplementedError(f"{name}: dtype must be a floating point one, got {dtype}")
    values = getattr(backends.random.generator(), distribution)(_shape(name, shape))
    return tensor(numpy.asarray(values), dtype, requires_grad, home or backends.current().name)


def zeros_like(x: Tensor, *, requires_grad: bool = False) -> Tensor:
    """Zeros in the shape and dtype of `x`, where `x` is. Raises TypeError if it is no tensor."""
    check_tensors("zeros_like", x=x)
    return Tensor(backends.of(x.data).xp.zeros_like(x.data), requires_grad)


def ones_like(x: Tensor, *, requires_grad: bool = False) -> Tensor:
    """Ones in the shape and dtype of `x`, where `x` is. Raises TypeError if it is no tensor."""
    check_tensors("ones_like", x=x)
    return Tensor(backends.of(x.data).xp.ones_like(x.data), requires_grad)
