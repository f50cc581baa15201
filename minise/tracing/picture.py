"""A view as an SVG picture, for where no program runs."""

from __future__ import annotations

from html import escape
from itertools import pairwise

from .fold import View
from .graph import RecordedGraph
from .layout import Point

MARGIN = 8
STYLE = """
text { font: 12px system-ui, sans-serif; text-anchor: middle; fill: #1b1f24 }
.small { font-size: 10.5px; fill: #57606a }
rect { fill: #f6f8fa; stroke: #8c959f }
.input, .parameter { fill: #ddf4ff; stroke: #0969da }
path { fill: none; stroke: #8c959f }
.several { stroke-width: 2.5; stroke: #8250df }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .small { fill: #9da7b3 }
  rect { fill: #161b22; stroke: #6e7681 }
  .input, .parameter { fill: #0c2d6b; stroke: #58a6ff }
  path { stroke: #6e7681 } .several { stroke: #d2a8ff }
}
"""


def picture(graph: RecordedGraph, view: View) -> str:
    """Boxes with their names; thick edges lead from tensors that receive several gradients."""
    width, height = view.layout.width + 2 * MARGIN, view.layout.height + 2 * MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}">',
        f"<style>{STYLE}</style>",
        f'<g transform="translate({MARGIN} {MARGIN})">',
    ]
    for (op, argument), route in zip(view.edges, view.layout.routes):
        source = graph.nodes[op].inputs[argument]
        several = ' class="several"' if graph.arrivals[source] > 1 else ""
        lines.append(f'<path{several} d="{curve(route)}"/>')
    for box, (x, y) in zip(view.boxes, view.layout.centres):
        w, h = box.size
        kind = graph.nodes[box.nodes[0]].kind if not box.module else "op"
        lines += [
            f'<rect class="{kind}" x="{x - w / 2:.0f}" y="{y - h / 2:.0f}" width="{w:.0f}" '
            f'height="{h:.0f}" rx="6"/>',
            f'<text x="{x:.0f}" y="{y - 3:.0f}">{escape(box.title)}</text>',
            f'<text class="small" x="{x:.0f}" y="{y + 12:.0f}">{escape(box.subtitle)}</text>',
        ]
    return "\n".join([*lines, "</g></svg>"])


def curve(route: list[Point]) -> str:
    """A smooth line through the points that leaves and enters each of them vertically."""
    (x, y), *_ = route
    d = f"M{x:.0f} {y:.0f}"
    for (x0, y0), (x1, y1) in pairwise(route):
        middle = (y0 + y1) / 2
        d += f"C{x0:.0f} {middle:.0f} {x1:.0f} {middle:.0f} {x1:.0f} {y1:.0f}"
    return d
