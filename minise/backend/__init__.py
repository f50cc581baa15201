"""The array backends: the only room of minise that knows which library holds the numbers.

Every array belongs to one backend, found by `of(array)`; nothing global changes what code that is
already running does. `use(name)` only says where *new* tensors are made.

NumPy is always there. CuPy is imported the first time somebody asks for it, never before.
"""

from __future__ import annotations

from . import random
from .capture import CaptureError, Recorder
from .registry import (
    Backend,
    Kernel,
    available,
    current,
    get,
    of,
    open_to_kernels,
    plain,
    register,
    synchronize,
    tf32,
    use,
    using_fast_kernels,
    using_tf32,
)

__all__ = [
    "Backend",
    "CaptureError",
    "Kernel",
    "Recorder",
    "available",
    "current",
    "get",
    "of",
    "open_to_kernels",
    "plain",
    "random",
    "register",
    "synchronize",
    "tf32",
    "use",
    "using_fast_kernels",
    "using_tf32",
]
