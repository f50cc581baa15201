"""What a backend is, which ones exist, and which one new tensors go to."""

from __future__ import annotations

import operator
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, NamedTuple

from .capture import CaptureError, Recorder


class Kernel(NamedTuple):
    """A fast twin of an op's plain `forward` and `backward`; called with the op in place of self.

    suits     suits(op, *arrays): whether it computes this call (a dtype, a memory order, an option)
    forward   forward(op, *arrays) -> array; keeps on the op what its backward will need
    backward  backward(op, grad) -> array or tuple, as the op's own
    """

    suits: Callable[..., bool]
    forward: Callable[..., Any]
    backward: Callable[..., Any]


def _copies(arrays: Sequence[Any]) -> list[Any]:
    return [array.copy(order="K") for array in arrays]


class UpdateKernel(NamedTuple):
    """A kernel that moves many parameters at once, as an optimizer's `update` moves one.

    suits   whether it can move these weights together: called with arrays of this backend
    step    moves them; see `step` in kernels/sgd.py and kernels/adam.py for the arguments
    """

    suits: Callable[[Sequence[Any]], bool]
    step: Callable[..., None]


@dataclass(frozen=True)
class Backend:
    """One array library behind a small interface.

    name         "numpy", "cupy", or the name of a backend that a test registers
    xp           the module that has the array functions (`xp.exp`, `xp.matmul`, ...)
    array_type   the class of its arrays
    to_numpy     copies an array of this backend to the host
    synchronize  waits until everything that was asked of the device is done
    add          a + b as a new array, for the gradients of a tensor with several uses
    copies       of some arrays, in memory of their own: what backward leaves in the leaves' .grad
    offers       fast kernels by name; a class of ops that is open to one takes it
    kernels      the table that follows from it: the kernel of exactly this class of ops
    check_labels called with (function name, labels, number of classes, ignored label): looks at the
                 labels without waiting for them, and raises IndexError for a wrong one when a value
                 is read from the device; None: the caller looks at once
    sgd, adam    a step of `optim.SGD`, or of `optim.Adam` and `optim.AdamW`, for many parameters at
                 once; None: there is no kernel for it
    recorder     makes a Recorder (see capture.py); None: computations cannot be recorded
    is_recording whether what this thread asks of the device is being recorded right now
    check_tf32   raises RuntimeError, saying what is needed, where the device has no TF32
    memory       bytes of the device that are in use, and free; None where there is no device
    """

    name: str
    xp: Any
    array_type: type
    to_numpy: Callable[[Any], Any]
    synchronize: Callable[[], None] = lambda: None
    add: Callable[[Any, Any], Any] = operator.add
    copies: Callable[[Sequence[Any]], list[Any]] = _copies
    offers: dict[str, Kernel] = field(default_factory=dict)
    kernels: dict[type, Kernel] = field(default_factory=dict)
    check_labels: Callable[[str, Any, int, int], None] | None = None
    sgd: UpdateKernel | None = None
    adam: UpdateKernel | None = None
    recorder: Callable[[], Recorder] | None = None
    is_recording: Callable[[], bool] = lambda: False
    check_tf32: Callable[[], None] = lambda: None
    memory: Callable[[], tuple[int, int]] | None = None

    def kernel_for(self, op: Any, arrays: Sequence[Any]) -> Kernel | None:
        """The fast kernel that computes this call of `op`; None: its own methods do."""
        kernel = self.kernels.get(type(op))
        if kernel is None or _settings.plain_kernels or not kernel.suits(op, *arrays):
            return None
        return kernel

    def as_array(self, value: Any, dtype: Any = None) -> Any:
        """`value` (a host array, a number, or an array of any backend) as an array of this one.

        Raises CaptureError for a host array with axes while a computation is being recorded: its
        values would be recorded, and be the same ones in every replay.
        """
        if not isinstance(value, self.array_type):
            home = of(value, default=None)
            value = value if home is None else home.to_numpy(value)
            if getattr(value, "ndim", 0) and self.is_recording():
                raise CaptureError(f"an array of shape {value.shape} comes from the host")
        return self.xp.asarray(value, dtype=dtype)


class _Settings(threading.local):
    """Per-thread switches: one thread timing the plain kernels must not slow another down."""

    plain_kernels = False
    tf32 = False
    default = "numpy"


_settings = _Settings()
_by_name: dict[str, Backend] = {}
_by_type: dict[type, Backend] = {}
_op_classes: dict[str, type] = {}  # the one class of ops that takes the kernels of a name
# Where each backend that ships with minise is built; imported only when asked for.
_shipped = {"numpy": ".cpu.numpy_backend", "cupy": ".gpu.cupy_backend"}


def register(backend: Backend) -> Backend:
    """Add a backend, so that `get(name)` and `of(array)` find it."""
    _by_name[backend.name] = backend
    _by_type[backend.array_type] = backend
    for name, op_class in _op_classes.items():
        _fill_table(backend, name, op_class)
    return backend


def open_to_kernels(op_class: type, name: str) -> None:
    """From now on ops of exactly this class are computed by the backends' kernels of that name.

    Raises ValueError if the kernels of that name belong to another class: nobody's op may be
    computed by code that was written for somebody else's.
    """
    owner = _op_classes.setdefault(name, op_class)
    if (owner.__module__, owner.__qualname__) != (op_class.__module__, op_class.__qualname__):
        raise ValueError(
            f"{op_class.__qualname__}: the kernels {name!r} belong to "
            f"{owner.__module__}.{owner.__qualname__}; for a kernel of your own, write it into "
            "minise.backend.get(...).kernels"
        )
    _op_classes[name] = op_class  # a module that was loaded again brings its class anew
    for backend in _by_name.values():
        _fill_table(backend, name, op_class)


def _fill_table(backend: Backend, name: str, op_class: type) -> None:
    if name in backend.offers:
        backend.kernels[op_class] = backend.offers[name]


def get(name: str) -> Backend:
    """The backend of that name.

    Raises ValueError for an unknown name, RuntimeError when it cannot run on this machine
    (the message says what to install or check).
    """
    if name not in _by_name:
        if name not in _shipped:
            known = ", ".join(sorted({*_shipped, *_by_name}))
            raise ValueError(f"backend: unknown name {name!r}, expected one of: {known}")
        register(import_module(_shipped[name], __package__).create())
    return _by_name[name]


_MISSING = object()


def of(array: Any, default: Any = _MISSING) -> Any:
    """The backend that `array` belongs to; TypeError (or `default`) if it is no array."""
    found = _by_type.get(type(array))
    if found is None:  # subclasses of an array type (np.memmap, ...)
        found = next((b for kind, b in _by_type.items() if isinstance(array, kind)), None)
    if found is not None:
        return found
    if default is not _MISSING:
        return default
    raise TypeError(f"backend.of: expected an array, got {type(array).__name__}")


def use(name: str) -> None:
    """From now on new tensors of this thread are made on backend `name`.

    Tensors that exist stay where they are: move them with `tensor.to(name)`.
    Raises like `get`.
    """
    _settings.default = get(name).name


def current() -> Backend:
    """The backend on which new tensors are made."""
    return get(_settings.default)


def available() -> list[str]:
    """Names of the backends that work on this machine, right now."""
    names = list(_by_name)
    for name in _shipped:
        if name not in names:
            try:
                get(name)
            except RuntimeError:
                continue
            names.append(name)
    return names


def synchronize() -> None:
    """Wait until every backend in use has finished its work (a GPU runs behind the program)."""
    for backend in _by_name.values():
        backend.synchronize()


@contextmanager
def plain() -> Iterator[None]:
    """Inside this block ops run their plain kernels: slower, and the specification itself."""
    before = _settings.plain_kernels
    _settings.plain_kernels = True
    try:
        yield
    finally:
        _settings.plain_kernels = before


def using_fast_kernels() -> bool:
    """False inside `plain()`."""
    return not _settings.plain_kernels


@contextmanager
def tf32() -> Iterator[None]:
    """Inside this block a GPU's tensor cores compute float32 convolutions and linear layers.

    They read TF32: inputs and weights are rounded to 10 bits behind the point, instead of 23, so
    that results are off by about 1e-3 of their size; sums are float32. Without this block nothing
    is rounded. float64, other ops and the CPU are not affected, nor are products of matrices (`@`):
    these are cuBLAS's, and follow CuPy's own CUPY_TF32.

    Holds for ops that run in the block, backward as well as forward. On a GPU older than Ampere
    (compute capability 8.0) they raise RuntimeError.
    """
    before = _settings.tf32
    _settings.tf32 = True
    try:
        yield
    finally:
        _settings.tf32 = before


def using_tf32() -> bool:
    """True inside `tf32()`."""
    return _settings.tf32


get("numpy")
