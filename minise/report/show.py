"""How numbers and pictures are written on a page."""

from __future__ import annotations

import base64
import io
from math import isfinite

import numpy
from PIL import Image

LARGEST = 128  # side of a picture in a page, in its own pixels


def percent(share: float, digits: int = 2) -> str:
    """0.1234 as "12.34 %", with a space that does not break; NaN as "–"."""
    return f"{100 * share:.{digits}f}\N{NO-BREAK SPACE}%" if isfinite(share) else "–"


def number(value: float, digits: int = 0) -> str:
    """1234.5 as "1,234"; NaN as "–"."""
    return f"{value:,.{digits}f}" if isfinite(value) else "–"


def address(pixels: numpy.ndarray) -> str:
    """The `src` of a picture, uint8 (3, H, W), that lies inside the page itself."""
    picture = Image.fromarray(numpy.ascontiguousarray(pixels.transpose(1, 2, 0)))
    picture.thumbnail((LARGEST, LARGEST))
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
