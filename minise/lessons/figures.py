"""Pictures of the lessons. Each comes with a text that says what there is to see."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy
from matplotlib import pyplot
from matplotlib.figure import Figure


def show(figure: Figure, alt: str) -> None:
    """Displays a figure in the notebook as a PNG with alternative text, and closes it.

    alt    what the picture shows, for those who cannot see it
    """
    from IPython.display import display

    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=100, bbox_inches="tight", metadata={"Software": None})
    pyplot.close(figure)
    data = {"image/png": file.getvalue(), "text/plain": alt}
    display(data, raw=True, metadata={"image/png": {"alt": alt}})


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
