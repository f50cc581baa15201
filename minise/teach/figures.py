"""Pictures for notebooks. Each comes with a text that says what there is to see."""

from __future__ import annotations

import html
import io
from base64 import b64encode
from collections.abc import Mapping

import numpy
from matplotlib import pyplot
from matplotlib.figure import Figure
from PIL import Image


def show(figure: Figure, alt: str) -> None:
    """Displays a figure in the notebook with alternative text, and closes it.

    As HTML, because JupyterLab and nbconvert leave an image/png without its `alt`; as image/png for
    what shows no HTML, such as a PDF; and as plain text.

    alt    what the picture shows, for those who cannot see it
    """
    from IPython.display import display

    file, small = io.BytesIO(), io.BytesIO()
    figure.savefig(file, format="png", dpi=100, bbox_inches="tight")
    pyplot.close(figure)
    # 256 colours are enough for a plot, and take a third of the bytes.
    Image.open(file).convert("RGB").quantize(dither=Image.Dither.NONE).save(small, "png")
    png = b64encode(small.getvalue()).decode()
    image = f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{png}">'
    display({"text/html": image, "image/png": png, "text/plain": alt}, raw=True)


def heatmaps(panels: Mapping[str, numpy.ndarray], alt: str) -> None:
    """Shows small matrices side by side, with their numbers: blue is positive, red is negative.

    panels    title -> array (H, W); a title may begin with "+ " or "= "
    """
    limit = max(numpy.abs(array).max() for array in panels.values())
    figure, axes = pyplot.subplots(1, len(panels), figsize=(2.6 * len(panels), 2.9), squeeze=False)
    for axis, (title, array) in zip(axes[0], panels.items()):
        axis.imshow(array, cmap="RdBu", vmin=-limit, vmax=limit)
        for (row, column), value in numpy.ndenumerate(array):
            colour = "white" if abs(value) > 0.6 * limit else "black"
            axis.text(column, row, f"{value:+.2f}", ha="center", va="center", color=colour)
        axis.set(title=title, xticks=[], yticks=[])
    show(figure, alt)
