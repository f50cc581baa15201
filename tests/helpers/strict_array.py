"""A stand-in for CuPy on machines without a GPU: NumPy that refuses what CuPy refuses.

Nearly everything that works in NumPy and breaks on a GPU breaks in one of a few ways. Operating on
a `StrictArray` through the namespace `strict` makes these ways visible on any machine:

- NumPy arrays do not mix in: as operands, as indices, as values to assign, as `out`;
- an array never turns into a NumPy array by itself, nor into an index or a shape;
- names, methods and keywords that CuPy lacks (snapshot in cupy_names.json) are not there;
- reductions and single elements are 0-d arrays, with no axis to reduce, and reading them on the
  host is counted as a synchronisation in `strict.sync_count`, as is everything whose result's shape
  depends on values;
- `empty` is full of NaN, integer index arrays wrap round, results of arithmetic are in C order,
  arrays moved from the host are copies, whatever order their memory had;
- writes whose result would depend on the order of threads (`add.at`, scatters, a repeated index,
  overlapping memory, weights of `bincount`) raise. CuPy runs them; minise promises
  the same numbers for the same seed;
- what cannot be recorded as a CUDA graph raises while `strict.tape` records (strict_recorder.py).

What it cannot catch: rounding (sums run in NumPy's order), speed, memory use, the asynchronous
order of streams, limits of a kernel launch, CUDA sources, and bugs of CuPy itself. It is stricter
than CuPy where CuPy accepts something that minise has no business to do: `numpy.exp(array)`,
NumPy index arrays, a NumPy array as the value of `a[:] = value`.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from types import SimpleNamespace
from typing import Any

import cupy_namespace
import numpy as np

from minise.backend import Backend
from minise.backend.gpu.kernels.index import KERNELS

NAMES = cupy_namespace.load()
VERSION = NAMES["cupy"]["__version__"]
signature = lru_cache(maxsize=None)(cupy_namespace.signature)

# Arguments by the names that CuPy gives them. These take an array or a number, and no list:
ARRAYS = {
    "A", "B", "a", "ar", "args", "arr", "array", "ary", "b", "condition", "m", "prototype", "v",
    "x", "x1", "x2", "y", "z",
}  # fmt: skip
# ... and these are read on the host before anything is launched, so no array fits:
HOST = {
    "M", "N", "axes", "axis", "axis1", "axis2", "ddof", "decimals", "destination", "dims",
    "dimensions", "dtype", "indices_or_sections", "k", "keepdims", "minlength", "mode", "n",
    "newshape", "num", "offset", "order", "pad_width", "repeats", "reps", "shape", "shift",
    "source", "start", "step", "stop", "strides", "window_shape",
}  # fmt: skip
# Functions that move host data to the device, and functions that also take a plain number.
CONVERTERS = {"array", "asanyarray", "asarray", "ascontiguousarray", "asfortranarray"}
TAKE_NUMBERS = {"allclose", "broadcast_to", "isclose", "ndim", "shape", "size"}
# The host waits for these: they hand values to it, or it needs values to know the result's shape.
SYNCHRONISING = {
    "argwhere", "asnumpy", "bincount", "compress", "extract", "flatnonzero", "item", "nonzero",
    "tobytes", "tolist", "unique",
}  # fmt: skip
# Where the snapshot says too little: `**kwargs`.
NARROWER = {"einsum": "(*operands, dtype=, optimize=)"}
FLAGS = ("c_contiguous", "f_contiguous", "owndata", "fnc", "forc")
NOT_IMITATED = {"cstruct", "data", "device", "flat", "scatter_add", "scatter_max", "scatter_min"}


class StrictArray:
    """A NumPy array that can be reached only as a CuPy array can."""

    __slots__ = ("__weakref__", "_array")
    __array_ufunc__ = None  # `numpy_array + this` and `numpy.exp(this)` raise TypeError
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, array: np.ndarray) -> None:
        if not isinstance(array, np.ndarray):
            raise TypeError(f"StrictArray: expected a numpy.ndarray, got {type(array).__name__}")
        self._array = array

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("implicit conversion to a NumPy array: CuPy wants array.get()")

    def __array_function__(self, function: Any, *args: Any) -> Any:
        raise TypeError(f"numpy.{function.__name__} got an array of the GPU: call it through xp")

    def __getattr__(self, name: str) -> Any:
        described = NAMES["cupy.ndarray"].get(name)
        if described is None:
            raise AttributeError(f"CuPy {VERSION}: ndarray has no attribute {name!r}")
        if name in NOT_IMITATED or not hasattr(self._array, name):
            raise AttributeError(f"strict array: ndarray.{name} is not for code shared with NumPy")
        value = getattr(self._array, name)
        if name == "flags":
            return SimpleNamespace(**{flag: getattr(value, flag) for flag in FLAGS})
        if name == "base":
            return StrictArray(value) if isinstance(value, np.ndarray) else None
        if described == "attribute":
            return _wrap(value, {})
        method = partial(REPLACED[name], self._array) if name in REPLACED else value
        return partial(_call, name, described, method, self)

    def get(self) -> np.ndarray:
        """A copy on the host, in C order as CuPy makes it."""
        _count_synchronisation()
        return np.array(self._array, order="C")

    def __getitem__(self, index: Any) -> StrictArray:
        index, _, reads_mask = _checked_index(index, self.shape)
        if reads_mask:
            _count_synchronisation()
        return StrictArray(self._array[index])

    def __setitem__(self, index: Any, value: Any) -> None:
        index, takes_integers, reads_mask = _checked_index(index, self.shape)
        value = _unwrap(_operand("[]=", value), {})
        several = np.size(value) > 1
        if reads_mask and several:
            _count_synchronisation()
        if takes_integers and several:
            places = np.arange(self.size).reshape(self.shape)[index]
            if len(np.unique(places)) < places.size:
                raise RuntimeError("[]=: a repeated index; which value stays is chance on a GPU")
        _refuse_overlap("[]=", self._array[index])
        if strict.tape:
            strict.tape.before_writing(self._array)
            strict.tape.note(self._array.__setitem__, (index, value), {}, None, self)
        self._array[index] = value

    def __len__(self) -> int:
        return len(self._array)

    def __iter__(self) -> Iterator[StrictArray]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        return f"strict {self._array!r}"

    def __format__(self, spec: str) -> str:
        return format(self.get(), spec)

    def __bool__(self) -> bool:
        return bool(self.get())

    def __int__(self) -> int:
        return int(self.get())

    def __float__(self) -> float:
        return float(self.get())


def _operators() -> Iterator[tuple[str, Callable[..., Any]]]:
    """The special methods of Python's operators, each a call of the function of that name."""
    unary = {"abs": "absolute", "invert": "invert", "neg": "negative", "pos": "positive"}
    comparing = {
        "eq": "equal", "ne": "not_equal", "lt": "less", "le": "less_equal", "gt": "greater",
        "ge": "greater_equal",
    }  # fmt: skip
    binary = {
        "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "true_divide",
        "floordiv": "floor_divide", "mod": "remainder", "pow": "power", "matmul": "matmul",
        "and": "bitwise_and", "or": "bitwise_or", "xor": "bitwise_xor", "lshift": "left_shift",
        "rshift": "right_shift", "divmod": "divmod",
    }  # fmt: skip
    for short, name in (unary | comparing | binary).items():
        yield f"__{short}__", lambda *operands, name=name: getattr(strict, name)(*operands)
    for short, name in binary.items():
        yield f"__r{short}__", lambda x, y, name=name: getattr(strict, name)(y, x)
        if short not in ("matmul", "divmod"):  # `a @= b` makes a new array in CuPy
            yield f"__i{short}__", lambda x, y, name=name: getattr(strict, name)(x, y, out=x)


for _name, _operator in _operators():
    setattr(StrictArray, _name, _operator)


class _Function:
    """A function or ufunc of the namespace."""

    def __init__(self, name: str, described: str, function: Callable[..., Any]) -> None:
        self._name, self._described, self._function = name, described, function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return _call(self._name, self._described, self._function, None, *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        described = NAMES["cupy.ufunc"].get(name)
        if not self._described.startswith("ufunc") or described is None:
            raise AttributeError(f"CuPy {VERSION}: {self._name} has no attribute {name!r}")
        if name in ("at", "reduceat"):
            raise AttributeError(f"{self._name}.{name}: its order of adding is chance on a GPU")
        if name in ("reduce", "accumulate") and self._name not in ("add", "multiply"):
            raise AttributeError(f"CuPy {VERSION}: {self._name}.{name} is not written")
        if described == "attribute":
            return getattr(self._function, name)
        return _Function(f"{self._name}.{name}", described, getattr(self._function, name))


class _Namespace:
    """What ops see as `xp`: the names of CuPy, run by NumPy."""

    sync_count = 0  # how often the host waited for the device; tests read it and set it to 0
    tape: Any = None  # what is recording at the moment

    def __init__(self, path: str, module: Any) -> None:
        self._path, self._module = path, module

    def __getattr__(self, name: str) -> Any:
        described = NAMES[self._path].get(name)
        if described is None:
            raise AttributeError(f"CuPy {VERSION} has no {self._path}.{name}")
        if name == "ndarray":
            return StrictArray
        path = f"{self._path}.{name}"
        if described == "module" and path not in NAMES:
            raise AttributeError(
                f"strict array: {path} is not for ops (random numbers come from NumPy's Generator)"
            )
        if name not in REPLACED and not hasattr(self._module, name):
            raise AttributeError(f"{path} is in CuPy and not in NumPy {np.__version__}")
        value = REPLACED.get(name) or getattr(self._module, name)
        if described == "module":
            return _Namespace(path, value)
        if described in ("type", "constant"):
            return value
        return _Function(name, NARROWER.get(name, described), value)


strict = _Namespace("cupy", np)


def _count_synchronisation() -> None:
    if strict.tape:
        raise RuntimeError("operation not permitted when stream is capturing")
    strict.sync_count += 1


def _call(
    name: str,
    described: str,
    function: Callable[..., Any],
    owner: Any,
    /,
    *args: Any,
    **kwargs: Any,
) -> Any:
    """Check a call against CuPy's signature and rules, let NumPy run it, wrap what comes out."""
    is_ufunc = described.startswith("ufunc")
    checked = signature(described[described.index("(") :])
    try:
        bound = checked.bind(*args, **kwargs).arguments
    except TypeError as error:
        raise TypeError(f"CuPy {VERSION}: {name}: {error}") from None
    for index, (parameter, value) in enumerate(bound.items()):
        values = value if checked.parameters[parameter].kind.name == "VAR_POSITIONAL" else (value,)
        if parameter in HOST and _holds_array(values):
            raise TypeError(f"{name}: {parameter} is read on the host, it cannot be a GPU array")
        if parameter in ARRAYS and value is not None and name not in CONVERTERS:
            only_arrays = index == 0 and not (is_ufunc or owner is not None or name in TAKE_NUMBERS)
            for operand in values:
                _operand(name, operand, only_arrays)
        if parameter == "tup" and isinstance(value, (list, tuple)):
            for operand in value:
                _operand(name, operand, only_arrays=True)
    if "keepdims" in checked.parameters and bound.get("axis") not in (None, ()):
        reduced = bound["a"] if owner is None else owner
        if reduced.ndim == 0:
            raise np.exceptions.AxisError(f"{name}: CuPy finds no axis in an array without axes")
    if name in SYNCHRONISING or (name == "where" and len(bound) == 1):
        _count_synchronisation()

    known = {} if owner is None else {id(owner._array): owner}
    moves = name in CONVERTERS
    host_args, host_kwargs = _unwrap(args, known, moves), _unwrap(kwargs, known, moves)
    if isinstance(host_kwargs.get("out"), np.ndarray):
        _refuse_overlap(name, host_kwargs["out"])
    if strict.tape:
        strict.tape.before(name, owner, args, kwargs)
    result = function(*host_args, **host_kwargs)
    if name == "asnumpy":
        return result
    if is_ufunc or name in ("clip", "where") or "keepdims" in checked.parameters:
        result = _in_c_order(result, known)  # CuPy does not keep the order of the operands
    elif name in ("allclose", "array_equal", "array_equiv"):
        result = np.asarray(result)
    wrapped = _wrap(result, known)
    if strict.tape:
        strict.tape.note(function, host_args, host_kwargs, wrapped, owner)
    return wrapped


def _operand(name: str, value: Any, only_arrays: bool = False) -> Any:
    """`value`, or TypeError if CuPy could not compute with it."""
    fits = StrictArray if only_arrays else (StrictArray, numbers.Number, np.generic)
    if not isinstance(value, fits):
        raise TypeError(f"{name}: Unsupported type {type(value)}")
    return value


def _holds_array(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return any(map(_holds_array, value))
    return isinstance(value, StrictArray)


def _unwrap(value: Any, known: dict[int, StrictArray], moves: bool = False) -> Any:
    """The NumPy arrays inside; `known` notes whose they are. Only converters take NumPy arrays."""
    if isinstance(value, StrictArray):
        known[id(value._array)] = value
        return value._array
    if isinstance(value, np.ndarray):
        if not moves:
            raise TypeError(f"Unsupported type {type(value)}")
        return value.copy(order="K")
    if isinstance(value, (list, tuple)):
        return type(value)(_unwrap(item, known, moves) for item in value)
    if isinstance(value, dict):
        return {key: _unwrap(item, known, moves) for key, item in value.items()}
    return value


def _wrap(result: Any, known: dict[int, StrictArray]) -> Any:
    """Arrays and NumPy scalars as StrictArrays; an operand that came back is that operand."""
    if isinstance(result, (np.ndarray, np.generic)):
        return known[id(result)] if id(result) in known else StrictArray(np.asarray(result))
    if isinstance(result, (list, tuple)):
        kind = list if isinstance(result, list) else tuple
        return kind(_wrap(item, known) for item in result)
    return result


def _in_c_order(result: Any, known: dict[int, StrictArray]) -> Any:
    if isinstance(result, tuple):
        return tuple(_in_c_order(item, known) for item in result)
    return result if id(result) in known else np.asarray(result, order="C")


def _refuse_overlap(name: str, target: np.ndarray) -> None:
    """A view that holds some element twice must not be written to."""
    low, high = np.lib.array_utils.byte_bounds(target)
    if target.size and high - low < target.nbytes:
        raise RuntimeError(f"{name}: writes to overlapping memory; the result is chance on a GPU")


def _checked_index(index: Any, shape: tuple[int, ...]) -> tuple[tuple[Any, ...], bool, bool]:
    """The index for NumPy; whether it has integer arrays; whether it has a boolean mask."""
    items = [_index_item(item) for item in (index if isinstance(index, tuple) else (index,))]
    if not any(item is Ellipsis for item in items):
        items.append(Ellipsis)  # then an element is a 0-d view, as in CuPy
    masks = [item for item in items if isinstance(item, np.ndarray) and item.dtype == bool]
    used = [_axes_used(item) for item in items]
    takes_integers, axis = False, 0
    for i, item in enumerate(items):
        if isinstance(item, np.ndarray) and item.dtype.kind in "iu" and axis < len(shape):
            items[i] = item % max(shape[axis], 1)  # out of bounds wraps round, unnoticed
            takes_integers = True
        axis += len(shape) - sum(used) if item is Ellipsis else used[i]
    return tuple(items), takes_integers, bool(masks)


def _index_item(item: Any) -> Any:
    if isinstance(item, StrictArray):
        return item._array
    if isinstance(item, list):
        return np.asarray(item, dtype=None if item else int)
    parts = (item.start, item.stop, item.step) if isinstance(item, slice) else (item,)
    for part in parts:
        if isinstance(part, (np.ndarray, StrictArray)):
            raise TypeError(f"index: Unsupported type {type(part)}")
    return item


def _axes_used(item: Any) -> int:
    if item is None or item is Ellipsis:
        return 0
    return item.ndim if isinstance(item, np.ndarray) and item.dtype == bool else 1


def _with_garbage(function: Callable[..., np.ndarray], *args: Any, **kwargs: Any) -> np.ndarray:
    """What `empty` may find in memory, at its worst."""
    array = function(*args, **kwargs)
    array.fill(np.iinfo(array.dtype).max // 3 if array.dtype.kind in "iu" else np.nan)
    return array


def _take_along_axis(a: np.ndarray, indices: np.ndarray, axis: int | None) -> np.ndarray:
    length = a.size if axis is None else a.shape[axis]
    return np.take_along_axis(a, indices % max(length, 1), axis)


def _bincount(x: np.ndarray, weights: Any = None, minlength: int | None = None) -> np.ndarray:
    if weights is not None:
        raise RuntimeError("bincount: the order of adding weights is chance on a GPU")
    return np.bincount(x, minlength=minlength or 0)


# What CuPy does differently (and `asnumpy`, which NumPy does not have).
REPLACED: dict[str, Callable[..., Any]] = {
    "asnumpy": partial(np.array, order="C"),
    "bincount": _bincount,
    "empty": partial(_with_garbage, np.empty),
    "empty_like": partial(_with_garbage, np.empty_like),
    "take": partial(np.take, mode="wrap"),
    "take_along_axis": _take_along_axis,
}


def to_strict(array: Any) -> StrictArray:
    """A copy of `array` (anything that NumPy can make an array of) on the pretended device."""
    return StrictArray(np.array(array))


def from_strict(array: StrictArray) -> np.ndarray:
    """A copy on the host; the host waits for it."""
    return array.get()


def strict_backend() -> Backend:
    """The backend "strict", for `minise.backend.register`."""
    from strict_recorder import StandIn

    return Backend(
        name="strict",
        xp=strict,
        array_type=StrictArray,
        to_numpy=from_strict,
        offers=KERNELS,  # of the GPU's kernels the one that is array code
        recorder=StandIn,
        is_recording=lambda: strict.tape is not None,
    )
