"""The pictures of a report: learning curves and the confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy

from .. import plot as figure
from .outcome import Outcome

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = (figure.BLUE, figure.ORANGE)  # of the first network of a report, and of the second
NUMBERS = 20  # classes up to which the cells of a confusion matrix show their numbers


@figure.style()
def draw_curves(axes: Axes, outcomes: Sequence[Outcome], name: str, scale: float = 1) -> None:
    """train_`name` (dashed) and test_`name` of each run, epoch by epoch, times `scale`."""
    from matplotlib.ticker import MaxNLocator

    for outcome, colour in zip(outcomes, COLOURS):
        epochs = outcome.column("epoch")
        marker = "o" if len(epochs) == 1 else None  # a single point makes no line
        for part, line in (("train", "--"), ("test", "-")):
            values = scale * outcome.column(f"{part}_{name}")
            axes.plot(epochs, values, ls=line, color=colour, marker=marker)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epoch")


def confusion(labels: numpy.ndarray, predictions: numpy.ndarray, classes: int) -> numpy.ndarray:
    """(classes, classes) how often class i (row) was taken for class j (column)."""
    return numpy.bincount(labels * classes + predictions, minlength=classes**2).reshape(
        classes, classes
    )


@figure.style()
def draw_confusion(axes: Axes, counts: numpy.ndarray, classes: Sequence[str]) -> None:
    """Blue cells are right, red ones are mistakes; the stronger, the larger a share of the row."""
    from matplotlib.patches import Rectangle

    share = counts / numpy.maximum(counts.sum(axis=1, keepdims=True), 1)  # (classes, classes)
    for i, j in numpy.argwhere(counts):
        colour = figure.BLUE if i == j else figure.RED
        strength = 0.6 * share[i, j] ** 0.5  # the root lifts rare mistakes into view
        axes.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, fc=colour, alpha=strength, lw=0))
        if len(classes) <= NUMBERS:
            axes.text(j, i, str(counts[i, j]), ha="center", va="center", fontsize="small")
    last = len(classes) - 0.5
    axes.set(xlim=(-0.5, last), ylim=(last, -0.5), aspect="equal")
    axes.set(xlabel="predicted class", ylabel="true class")
    if len(classes) <= NUMBERS:
        longest = max(map(len, classes))
        axes.set_xticks(range(len(classes)), classes, rotation=90 if longest > 2 else 0)
        axes.set_yticks(range(len(classes)), classes)
