"""Draws lessons/map.svg, the path through the lessons. Titles are read from the notebooks.

    python docs/lessons_map.py
"""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot
from matplotlib.patches import FancyBboxPatch

ROOT = Path(__file__).resolve().parent.parent

# Column by column, from top to bottom; the path runs through all of them in this order.
COLUMNS = {
    "Gradients": ["00", "01", "02", "03", "04", "05"],
    "The SE block": ["06", "07", "08", "09"],
    "Whole networks": ["10", "11", "12"],
}
NEEDS = [("03", "04"), ("07", "08"), ("06", "09"), ("06", "11")]  # what a lesson says it builds on
FILLS = ["#dbeafe", "#ede9fe", "#d1fae5"]  # readable with dark text, on a light page and a dark one
INK, SOFT, PATH, NEED = "#1b1f24", "#4b5563", "#8b949e", "#d9480f"
WIDTH, HEIGHT, GAP, STEP = 3.1, 0.74, 0.7, 1.1  # of a box, between columns, from row to row


def title(number: str) -> tuple[str, str]:
    """The heading of a lesson, before and after the colon."""
    (path,) = (ROOT / "lessons").glob(f"{number}_*/lesson.ipynb")
    heading = "".join(json.loads(path.read_text(encoding="utf-8"))["cells"][0]["source"])
    name, _, question = heading.partition("\n")[0].removeprefix("# ").partition(": ")
    return name, question


def main() -> None:
    matplotlib.rcParams.update({"svg.hashsalt": "lessons", "font.size": 10})
    figure, axes = pyplot.subplots(figsize=(9, 5.6))
    places = {}
    for k, (heading, numbers) in enumerate(COLUMNS.items()):
        x = k * (WIDTH + GAP)
        axes.text(x + WIDTH / 2, 0.7, heading, ha="center", va="center", color=PATH, weight="bold")
        for row, number in enumerate(numbers):
            places[number] = x, -row * STEP
            box = FancyBboxPatch(
                (x, -row * STEP - HEIGHT / 2), WIDTH, HEIGHT,
                boxstyle="round,pad=0,rounding_size=0.12", facecolor=FILLS[k], edgecolor=PATH,
            )  # fmt: skip
            axes.add_patch(box)
            name, question = title(number)
            axes.text(x + 0.13, 0.13 - row * STEP, number, va="center", color=INK, weight="bold")
            axes.text(x + 0.52, 0.13 - row * STEP, name, va="center", color=INK)
            axes.text(x + 0.13, -0.16 - row * STEP, question, va="center", color=SOFT, size=7.2)

    def arrow(start, end, colour, bend="arc3"):
        style = {"arrowstyle": "-|>", "color": colour, "connectionstyle": bend, "lw": 1.6}
        axes.annotate("", end, start, arrowprops=style | {"shrinkA": 0, "shrinkB": 0})

    order = [number for numbers in COLUMNS.values() for number in numbers]
    for before, after in pairwise(order):
        (x, y), (u, v) = places[before], places[after]
        if x == u:
            arrow((x + WIDTH / 2, y - HEIGHT / 2), (u + WIDTH / 2, v + HEIGHT / 2), PATH)
        else:  # to the top of the next column
            middle = u - GAP / 2
            axes.plot([x + WIDTH, middle, middle], [y, y, v], color=PATH, lw=1.6)
            arrow((middle, v), (u, v), PATH)
    for before, after in NEEDS:
        (x, y), (u, v) = places[before], places[after]
        if x == u:  # beside the boxes, on their left
            arrow((x, y), (u, v), NEED, "arc3,rad=0.3")
        else:
            arrow((x + WIDTH, y - 0.12), (u, v + 0.1), NEED)
    for y, colour, meaning in ((-4.3, PATH, "the path"), (-4.8, NEED, "builds on")):
        arrow((2 * (WIDTH + GAP), y), (2 * (WIDTH + GAP) + 0.6, y), colour)
        axes.text(2 * (WIDTH + GAP) + 0.75, y, meaning, va="center", color=PATH)
    axes.set(xlim=(-0.45, 3 * WIDTH + 2 * GAP + 0.05), ylim=(-6, 1))
    axes.set_aspect("equal")
    axes.set_axis_off()
    figure.subplots_adjust(0, 0, 1, 1)
    figure.savefig(ROOT / "lessons" / "map.svg", transparent=True, metadata={"Date": None})


if __name__ == "__main__":
    main()
