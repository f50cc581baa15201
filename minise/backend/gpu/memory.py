"""What to say when something does not fit into the memory of a device."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from ..registry import Backend


@contextmanager
def naming_memory(home: Backend, what: str) -> Iterator[None]:
    """Inside this block a MemoryError of the device says how much `what` asked for, and what to do.

    The system's own memory (home.memory is None) is left to the system.
    """
    try:
        yield
    except MemoryError as error:
        if home.memory is None:
            raise
        figures = sentence(error, home.memory(), what)
        advice = "close what else uses the device, or compute on the CPU (backend numpy)"
        raise MemoryError(f"{figures}; {advice}") from None


def sentence(error: MemoryError, memory: tuple[int, int], what: str) -> str:
    """What was asked for, as the library's error says, and the (used, free) bytes of the device."""
    used, free = memory
    size = requested_bytes(error)
    more = "more memory" if size is None else f"{in_units(size)} more"
    return (
        f"out of memory: {what} asked for {more}; "
        f"{in_units(used)} are in use, {in_units(free)} free"
    )


def requested_bytes(error: MemoryError) -> int | None:
    """How many bytes did not fit; None where the error does not say.

    CuPy's OutOfMemoryError has no public attribute for it and names the number in its message only:
    "Out of memory allocating 1,024 bytes (allocated so far: ...)". It is for show; nothing is
    decided by it.
    """
    found = re.search(r"([\d,]+) bytes", str(error))
    return int(found[1].replace(",", "")) if found else None


def in_units(size: int) -> str:
    """Bytes as GiB or MiB."""
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"
