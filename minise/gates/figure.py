"""Gates drawn as in figure 6 of the paper: the mean gate of each channel, group by group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy

from .. import plot as figure
from .activations import by_group, last_of_stages, stage_of, variance_explained

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LINES = 5  # more than that nobody can tell apart
COLOURS = (figure.BLUE, figure.ORANGE, figure.GREEN, figure.RED, figure.PURPLE)


@dataclass(frozen=True)
class Division:
    """A way to divide the pictures of a data set into groups.

    title    what the groups are, such as "class"
    group    (N,) the number of each picture's group
    names    of the groups
    colours  of their lines
    """

    title: str
    group: numpy.ndarray
    names: Sequence[str]
    colours: Sequence[str] = COLOURS

    def shown(self) -> list[tuple[int, str]]:
        """The groups that get a line of their own, evenly spread, and its colour."""
        count = len(self.names)
        indices = numpy.linspace(0, count - 1, min(count, LINES)).round()
        return [(int(index), colour) for index, colour in zip(indices, self.colours)]


@figure.style()
def draw(axes: Axes, gates: numpy.ndarray, division: Division) -> None:
    """The mean gate of each channel in each group, for the gates (N, C) of one block.

    Channels have no order of their own, so they stand in the order of their mean over all
    pictures, which is the dashed line. The band reaches from the lowest to the highest group; of
    more than five groups, five have lines.
    """
    from matplotlib.ticker import MaxNLocator

    overall = gates.mean(axis=0, dtype=numpy.float64)  # (C,)
    order = numpy.argsort(overall, kind="stable")
    mean = by_group(gates, division.group, len(division.names)).mean  # (groups, C)
    mean = mean[:, order]
    filled = mean[numpy.isfinite(mean).all(axis=1)]
    channel = numpy.arange(1, len(order) + 1)
    axes.fill_between(
        channel, filled.min(axis=0), filled.max(axis=0), color=figure.FAINT, alpha=0.25, lw=0
    )
    for index, colour in division.shown():
        axes.plot(channel, mean[index], color=colour, lw=1.4, label=division.names[index])
    axes.plot(channel, overall[order], color=figure.INK, lw=1, ls="--", label="all")
    axes.set_ylim(min(0, filled.min()) - 0.03, max(1, filled.max()) + 0.03)
    axes.margins(x=0.02)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("channel, in the order of its mean")
    axes.set_ylabel("mean gate")


@figure.style()
def by_stage(gates: Mapping[str, numpy.ndarray], divisions: Sequence[Division]) -> Figure:
    """A row for each division of the pictures, a column for the last SE block of each stage.

    gates  (N, C) of each block by its path, see `gates.collect`
    """
    paths = last_of_stages(gates)
    rows, columns = len(divisions), len(paths)
    picture, plots = figure.new(3.8 * columns + 0.7, 3 * rows, rows, columns)
    for row, division in zip(plots, divisions):
        for axes, path in zip(row, paths):
            draw(axes, gates[path], division)
            axes.set_title(f"{path}, by {division.title}")
        row[-1].legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return picture


@figure.style()
def draw_variance_explained(
    axes: Axes, gates: Mapping[str, numpy.ndarray], divisions: Sequence[Division]
) -> None:
    """How much of what the gates do each division accounts for, block after block."""
    stages = [stage_of(path) for path in gates]
    for division, colour in zip(divisions, COLOURS):
        share = [100 * variance_explained(values, division.group) for values in gates.values()]
        axes.plot(range(len(stages)), share, color=colour, marker="o", label=division.title)
    first = [stages.index(stage) for stage in dict.fromkeys(stages)]
    axes.set_xticks(first, dict.fromkeys(stages))
    axes.set_ylim(-3, 103)
    axes.set_ylabel("% of the gates' variance")
    axes.legend(title="explained by the")
