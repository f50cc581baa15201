"""A recorded graph that can show itself: as text, in a notebook, and as a page of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import stepper
from .graph import RecordedGraph
from .text import text


@dataclass(frozen=True, repr=False)
class Trace(RecordedGraph):
    """What `minise.trace` returns. `print` it, show it in a notebook, or `save` it as a page.

    Its fields and how to look things up in it are those of `RecordedGraph`.
    """

    def save(self, path: str | Path) -> None:
        """Write one HTML page that needs nothing else: no network, no Python, no other file.

        Raises ValueError for a graph that is too big to draw, OSError where the page cannot be
        written.
        """
        stepper.save(self, Path(path))

    def __str__(self) -> str:
        return text(self)

    __repr__ = __str__

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]:
        try:
            return {"text/html": stepper.fragment(self), "text/plain": str(self)}
        except ValueError as error:  # too big to draw
            return {"text/plain": f"{self}\n\n{error}"}
