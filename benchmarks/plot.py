"""The picture that goes with a benchmark run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
from interleave import ratio
from report import LIBRARIES

matplotlib.use("Agg")
import matplotlib.pyplot as plt

COLOURS = dict(zip(LIBRARIES, ("#c8442d", "#9aa5b1", "#52606d")))
OTHERS = "#d9c9a5"


def draw(results: dict[str, Any], path: Path) -> None:
    """One panel for each part that was measured; nothing if there is none to show."""
    panels: list[tuple[float, Callable[[Any], None]]] = []  # (inches, what draws it)
    if "steps" in results:
        rows = results["steps"]
        panels.append((0.6 * len(rows) + 0.9, lambda axis: steps(axis, rows)))
    if "ops" in results:
        timings = results["ops"]["timings"]
        convs = {title: row for title, row in timings.items() if title.startswith("conv 3×3,")}
        panels.append((1.1 * len(convs) + 0.7, lambda axis: convolutions(axis, convs)))
    if "growth" in results:
        panels.append((3.5, lambda axis: growth(axis, results["growth"])))
    if not panels:
        return
    heights = [height for height, _ in panels]
    figure, axes = plt.subplots(
        len(panels), 1, figsize=(8, sum(heights) + 0.6), height_ratios=heights,
        squeeze=False, layout="constrained",
    )  # fmt: skip
    for axis, (_, panel) in zip(axes[:, 0], panels):
        panel(axis)
        axis.spines[["top", "right"]].set_visible(False)
        axis.title.set(fontsize=10, horizontalalignment="left", position=(0, 1))
    figure.suptitle(f"minise beside PyTorch, {results['date']}", x=0.01, ha="left")
    figure.supxlabel(results["context"], fontsize=6, color="#52606d", x=0.01, ha="left")
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close(figure)


def bars(axis: Any, rows: dict[str, dict[str, Any]], names: list[str]) -> None:
    """Horizontal groups, one bar per library: how long it takes for one of PyTorch's seconds."""
    height = 0.84 / len(names)
    for place, row in enumerate(rows.values()):
        for index, name in enumerate(names):
            if name in row:
                y = place - 0.42 + (index + 0.5) * height
                value = ratio(row[name], row["PyTorch"])
                axis.barh(y, value, height * 0.9, color=COLOURS.get(name, OTHERS))
                axis.text(value, y, f" {name} {value:.2f}", va="center", fontsize=7)
    axis.set_yticks(range(len(rows)), [title.replace(", ", ",\n") for title in rows], fontsize=8)
    axis.tick_params(axis="y", length=0)
    axis.invert_yaxis()
    axis.axvline(1, color="#52606d", linewidth=0.8, zorder=0)


def steps(axis: Any, rows: dict[str, Any]) -> None:
    bars(axis, rows, list(LIBRARIES))
    axis.margins(x=0.25)
    axis.set_title("Whole networks: time ÷ PyTorch's in its default layout")


def convolutions(axis: Any, rows: dict[str, Any]) -> None:
    peers = [name for row in rows.values() for name in row if name not in LIBRARIES]
    bars(axis, rows, [*LIBRARIES, *dict.fromkeys(peers)])
    axis.set_xscale("log")
    axis.margins(x=0.25)
    axis.set_title("One convolution, forward and backward: the same ratio, logarithmic")


def growth(axis: Any, rows: dict[str, Any]) -> None:
    """Straight lines through the origin are linear growth."""
    for what, style in (("batch", "o-"), ("depth", "s:")):
        chosen = [row for title, row in rows.items() if title.endswith(" 32") == (what == "depth")]
        for name in LIBRARIES[:2]:
            points = sorted(
                (row["multiply_adds"] / 1e9, row["timings"][name].median) for row in chosen
            )
            axis.plot(
                *zip(*points), style, color=COLOURS[name], label=f"{name}, growing {what}"
            )
    axis.set_xlabel("10⁹ multiply-adds of the forward pass")
    axis.set_ylabel("seconds per training step")
    axis.set_xlim(left=0)
    axis.set_ylim(bottom=0)
    axis.legend(frameon=False, fontsize=8)
    axis.set_title("Cost against work")
