"""Where tensors come from: values, constants, random numbers."""

from __future__ import annotations

from typing import Any

import numpy

from . import backend as backends
from .autograd import Tensor
from .ops.arguments import sizes

SUPPORTED = "float16, float32, float64, bool and integers"


def tensor(
    values: Any, dtype: Any = None, requires_grad: bool = False, backend: str | None = None
) -> Tensor:
    """A new tensor with a copy of `values`: numbers, nested lists, an array, another tensor.

    dtype    kept from an array; Python floats become float32, ints int64
    backend  "numpy" or "cupy"; else where an array already is, else what `minise.use` set

    Raises TypeError for values that are no numbers, ValueError for ragged lists, RuntimeError if
    requires_grad goes with an integer dtype.
    """
    if isinstance(values, Tensor):
        values = values.data
    home = _home(backend, values)
    if _is_array(values) or isinstance(values, numpy.generic):
        array = home.as_array(values)
    else:
        values = numpy.asarray(values)
        made_of_floats = values.dtype == numpy.float64 and dtype is None
        array = home.as_array(values, dtype=numpy.float32 if made_of_floats else None)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"tensor: expected {SUPPORTED}, got {array.dtype}")
    return Tensor(home.xp.array(array, dtype=dtype, copy=True), requires_grad)


def _is_array(values: Any) -> bool:
    return backends.of(values, default=None) is not None


def _home(name: str | None, values: Any = None) -> backends.Backend:
    if name is not None:
        return backends.get(name)
    return backends.of(values, default=None) or backends.current()


def full(
    shape: Any, fill_value: float, *, dtype: Any = None, requires_grad: bool = False,
    backend: str | None = None,
) -> Tensor:  # fmt: skip
    """A tensor of `shape` with one value everywhere; dtype as `tensor(fill_value)` would have."""
    dtype = tensor(fill_value).dtype if dtype is None else dtype
    return Tensor(_home(backend).xp.full(sizes((shape,)), fill_value, dtype=dtype), requires_grad)


def zeros(*shape: Any, dtype: Any = numpy.float32, requires_grad: bool = False,
          backend: str | None = None) -> Tensor:  # fmt: skip
    """Zeros: `zeros(2, 3)` or `zeros((2, 3))`."""
    return full(sizes(shape), 0, dtype=dtype, requires_grad=requires_grad, backend=backend)


def ones(*shape: Any, dtype: Any = numpy.float32, requires_grad: bool = False,
         backend: str | None = None) -> Tensor:  # fmt: skip
    """Ones: `ones(2, 3)` or `ones((2, 3))`."""
    return full(sizes(shape), 1, dtype=dtype, requires_grad=requires_grad, backend=backend)


def arange(start: float, end: float | None = None, step: float = 1, *, dtype: Any = None,
           requires_grad: bool = False, backend: str | None = None) -> Tensor:  # fmt: skip
    """start, start + step, ... below `end`; `arange(n)` counts from 0. int64, or float32."""
    start, end = (0, start) if end is None else (start, end)
    values = numpy.arange(start, end, step)
    return tensor(values, dtype or tensor(values.tolist()).dtype, requires_grad, backend)


def randn(*shape: Any, dtype: Any = numpy.float32, requires_grad: bool = False,
          backend: str | None = None) -> Tensor:  # fmt: skip
    """Standard normal numbers, drawn on the host: one seed, one result on every backend."""
    return _draw("standard_normal", shape, dtype, requires_grad, backend)


def rand(*shape: Any, dtype: Any = numpy.float32, requires_grad: bool = False,
         backend: str | None = None) -> Tensor:  # fmt: skip
    """Uniform numbers from [0, 1), drawn on the host: one seed, one result on every backend."""
    return _draw("random", shape, dtype, requires_grad, backend)


def _draw(
    distribution: str, shape: Any, dtype: Any, requires_grad: bool, name: str | None
) -> Tensor:
    values = getattr(backends.random.generator(), distribution)(sizes(shape))
    return tensor(numpy.asarray(values), dtype, requires_grad, name or backends.current().name)


def zeros_like(x: Tensor, *, requires_grad: bool = False) -> Tensor:
    return Tensor(backends.of(x.data).xp.zeros_like(x.data), requires_grad)


def ones_like(x: Tensor, *, requires_grad: bool = False) -> Tensor:
    return Tensor(backends.of(x.data).xp.ones_like(x.data), requires_grad)
