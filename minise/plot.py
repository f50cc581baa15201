"""Pictures by matplotlib, for files and for pages, without touching its global state.

A page has a light and a dark look, so text and lines of a picture inside it take its colours.
"""

from __future__ import annotations

import html
import io
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import files

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, FAINT = "#1f2329", "#8b939e"  # in a page: var(--ink), var(--faint)

# These stand out from white and from near-black alike.
RED, GREEN, BLUE, ORANGE, PURPLE = "#e0353f", "#16a34a", "#3b7bf6", "#d97706", "#a45cf0"

STYLE = {
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": "medium",
    "font.size": 9,
    "legend.frameon": False,
    "svg.fonttype": "none",  # text stays text: small, selectable, read aloud
    "svg.hashsalt": "minise",  # the same picture gives the same file
    "text.parse_math": False,  # a class may be called "$"
    "text.color": INK,
    "xtick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.color": FAINT,
    "ytick.labelcolor": INK,
}
ENDINGS = {".png": {}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}


@contextmanager
def style() -> Iterator[None]:
    """matplotlib's own defaults and ours, whatever the user has set, and only in this `with`."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


def new(width: float, height: float, rows: int = 1, columns: int = 1) -> tuple[Figure, Any]:
    """An empty picture, sizes in inches, and its plots: an array (rows, columns) of Axes."""
    from matplotlib.figure import Figure  # not pyplot, which would keep every picture and a window

    with style():
        figure = Figure(figsize=(width, height), layout="constrained")
        return figure, figure.subplots(rows, columns, squeeze=False)


def ending_of(path: str | os.PathLike[str]) -> str:
    """ ".png", ".svg" or ".pdf"; ValueError if the file's name has no such ending."""
    ending = Path(path).suffix.lower()
    if ending not in ENDINGS:
        raise ValueError(f"{path}: a picture's name must end in {', '.join(ENDINGS)}")
    return ending


def render(figure: Figure, ending: str, transparent: bool = False) -> bytes:
    """The picture as a file of the kind ".png", ".svg" or ".pdf"; undated, so it never differs."""
    file = io.BytesIO()
    with style(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a page's fonts may well have it
        figure.savefig(
            file, format=ending[1:], dpi=150, metadata=ENDINGS[ending], transparent=transparent
        )
    return file.getvalue()


def save(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write the picture to `path`, in the format that its ending names.

    Raises ValueError for an unknown ending, OSError where the file cannot be written.
    """
    files.write(path, render(figure, ending_of(path)))


def inline(figure: Figure, name: str, alt: str) -> str:
    """The picture as an <svg> element to put into a page, in the colours of the page.

    name  unique on the page: ids in the picture start with it
    alt   says what the picture shows to those who cannot see it
    """
    svg = render(figure, ".svg", transparent=True).decode()
    box = re.search(r'viewBox="[^"]*"', svg)
    body = svg[svg.index("</metadata>") + len("</metadata>") :]
    body = re.sub(r"<style.*?</style>", "", body, flags=re.DOTALL)  # it would rule the whole page
    body = re.sub(r"font-family: [^;]*; ", "", body)  # the page's font instead
    used = set(re.findall(r"[(\"]#(\w+)", body))
    body = re.sub(r' id="([^"]*)"', lambda m: m[0] if m[1] in used else "", body)
    body = re.sub(r'( id="|[("]#)', rf"\1{name}-", body).replace("xlink:href", "href")
    body = body.replace(INK, "var(--ink)").replace(FAINT, "var(--faint)")
    return f'<svg role="img" aria-label="{html.escape(alt)}" {box[0] if box else ""}>{body}'
