"""The devices that a test runs on: the strict array everywhere, a real GPU with `pytest -m gpu`.

    @devices.every
    def test_something(device):
        x = minise.ones(2, backend=device)
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import strict_recorder
from strict_array import strict

from minise import backend

GPU = pytest.param("cupy", marks=pytest.mark.gpu)
every = pytest.mark.parametrize("device", ["strict", GPU], indirect=True)
gpu_only = pytest.mark.parametrize("device", [GPU], indirect=True)


def require(name: str) -> backend.Backend:
    """The backend of that name; skips the test where it does not work."""
    try:
        return backend.get(name)
    except RuntimeError as error:
        pytest.skip(str(error))


@contextmanager
def own_kernels() -> Iterator[None]:
    """Inside, matrix products on the strict array can be recorded; on a GPU they always can."""
    kernels = backend.get("strict").kernels
    before = dict(kernels)
    kernels.update(strict_recorder.own_kernels())
    try:
        yield
    finally:
        kernels.clear()
        kernels.update(before)


def never_waits(device: str, work: Callable[[], Any]) -> None:
    """Call `work`; AssertionError if the program waited for the device meanwhile."""
    if device == "strict":
        strict.sync_count = 0
        work()
        assert strict.sync_count == 0
        return
    import cupyx

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated: it does not see waiting outside of CuPy
        with cupyx.allow_synchronize(False):
            work()
