"""The picture that goes with a benchmark run."""

from __future__ import annotations

import re
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
    panels = [
        panel
        for part, panel in (("steps", steps), ("ops", convolutions), ("growth", growth))
        if part in results
    ]
    if not panels:
        return
    figure, axes = plt.subplots(
        len(panels), 1, figsize=(8, 3.4 * len(panels)), squeeze=False, layout="constrained"
    )
    for axis, panel in zip(axes[:, 0], panels):
        panel(axis, results)
        axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"minise beside PyTorch, {results['date']}", x=0.01, ha="left")
    figure.supxlabel(results["context"], fontsize=6, color="#52606d", x=0.01, ha="left")
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def bars(axis: Any, rows: dict[str, dict[str, Any]], names: list[str]) -> None:
    """Horizontal groups, one bar per library: how long it takes for one of PyTorch's seconds."""
    height = 0.8 / len(names)
    for place, (title, row) in enumerate(rows.items()):
        for index, name in enumerate(names):
            if name in row:
                y = place - 0.4 + (index + 0.5) * height
                value = ratio(row[name], row["PyTorch"])
                axis.barh(y, value, height * 0.9, color=COLOURS.get(name, OTHERS))
                text = f" {value:.2f}" if name in LIBRARIES else f" {name} {value:.1f}"
                axis.text(value, y, text, va="center", fontsize=7)
        axis.text(0, place - 0.42, title, va="bottom", fontsize=8)
    axis.set_yticks([])
    axis.invert_yaxis()
    axis.axvline(1, color="#52606d", linewidth=0.8)
    handles = [plt.Rectangle((0, 0), 1, 1, color=COLOURS[name]) for name in LIBRARIES]
    axis.legend(handles, LIBRARIES, frameon=False, fontsize=7, loc="lower right")


def steps(axis: Any, results: dict[str, Any]) -> None:
    bars(axis, results["steps"], list(LIBRARIES))
    axis.set_xlabel("time ÷ PyTorch's (default layout); less is faster")


def convolutions(axis: Any, results: dict[str, Any]) -> None:
    rows = {
        title: row
        for title, row in results["ops"]["timings"].items()
        if title.startswith("conv 3×3,")
    }
    peers = [name for row in rows.values() for name in row if name not in LIBRARIES]
    bars(axis, rows, [*LIBRARIES, *dict.fromkeys(peers)])
    axis.set_xscale("log")
    axis.set_xlabel("one convolution, forward and backward: time ÷ PyTorch's, logarithmic")


def growth(axis: Any, results: dict[str, Any]) -> None:
    """Straight lines through the origin are linear growth."""
    for marker, what, rows in (
        ("o", "batch", {k: v for k, v in results["growth"].items() if not k.endswith(" 32")}),
        ("s", "depth", {k: v for k, v in results["growth"].items() if k.endswith(" 32")}),
    ):
        for name in LIBRARIES[:2]:
            points = sorted(
                (row["multiply_adds"] / 1e9, row["timings"][name].median) for row in rows.values()
            )
            axis.plot(*zip(*points), marker, linestyle="-" if what == "batch" else ":",
                      color=COLOURS[name], label=f"{name}, growing {what}")  # fmt: skip
    for title, row in results["growth"].items():
        label = re.sub(r"se_resnet(\d+), batch (\d+)", r"\1 layers × \2 images", title)
        position = (row["multiply_adds"] / 1e9, row["timings"]["minise"].median)
        axis.annotate(label, position, fontsize=6, xytext=(4, -8), textcoords="offset points")
    axis.set_xlabel("10⁹ multiply-adds of the forward pass")
    axis.set_ylabel("seconds per training step")
    axis.set_xlim(left=0)
    axis.set_ylim(bottom=0)
    axis.legend(frameon=False, fontsize=7)
