"""A page of HTML that needs nothing but itself: style, pictures and text in one file."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

import numpy
from PIL import Image

STYLE = Path(__file__).with_name("page.css")
LARGEST = 128  # side of a picture in a page, in its own pixels


def text(value: Any) -> str:
    """Anything as the text of a page."""
    return html.escape(str(value))


def percent(share: float, digits: int = 2) -> str:
    return f"{100 * share:.{digits}f}\N{NO-BREAK SPACE}%" if isfinite(share) else "–"


def number(value: float, digits: int = 0) -> str:
    return f"{value:,.{digits}f}" if isfinite(value) else "–"


def paragraph(content: str, kind: str = "") -> str:
    return f'<p class="{kind}">{content}</p>' if kind else f"<p>{content}</p>"


def section(title: str, *content: str) -> str:
    return "\n".join(["<section>", f"<h2>{text(title)}</h2>", *content, "</section>"])


def row(items: Iterable[str], kind: str) -> str:
    """Things beside each other, as many as there is room for: "cards", "plots" or "samples"."""
    return f'<div class="{kind}">\n' + "\n".join(items) + "\n</div>"


def framed(content: str, caption: str, kind: str = "") -> str:
    """Something to look at, in a frame, with its caption."""
    kind = f' class="{kind}"' if kind else ""
    return f"<figure{kind}>{content}<figcaption>{caption}</figcaption></figure>"


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """The first cell of each row says what the row is."""
    lines = ['<div class="wide">', "<table>", f"<caption>{text(caption)}</caption>", "<thead><tr>"]
    lines += [f'<th scope="col">{text(cell)}</th>' for cell in head]
    lines += ["</tr></thead>", "<tbody>"]
    for first, *others in rows:
        cells = "".join(f"<td>{text(cell)}</td>" for cell in others)
        lines.append(f'<tr><th scope="row">{text(first)}</th>{cells}</tr>')
    return "\n".join([*lines, "</tbody>", "</table>", "</div>"])


def image(pixels: numpy.ndarray, alt: str) -> str:
    """A picture, uint8 (3, H, W), inside the page itself."""
    picture = Image.fromarray(numpy.ascontiguousarray(pixels.transpose(1, 2, 0)))
    picture.thumbnail((LARGEST, LARGEST))
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    data = base64.b64encode(file.getvalue()).decode()
    return f'<img src="data:image/png;base64,{data}" alt="{text(alt)}">'


def page(title: str, *content: str) -> str:
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            f"<title>{text(title)}</title>",
            f"<style>\n{STYLE.read_text(encoding='utf-8')}</style>",
            "</head>",
            "<body>",
            *content,
            "</body>",
            "</html>\n",
        ]
    )
