"""The page on which a trace is stepped through, for a notebook's output and for a file.

The page is data (JSON), a program (stepper.js), its look (stepper.css), and in front of them a
picture and tables that say the same without any program: what a forge shows, and what is left of
the output in a notebook that is not trusted.
"""

from __future__ import annotations

import json
import math
from base64 import b64encode
from collections.abc import Callable, Iterable
from importlib.resources import files
from pathlib import Path
from typing import Any

from ..files import write
from ..template import render
from .fold import View, views
from .graph import RecordedGraph
from .picture import picture
from .text import shown, stats
from .values import Values


def fragment(graph: RecordedGraph) -> str:
    """The stepper as one HTML element that can stand in any page, several times.

    Raises ValueError for a graph that is too big to draw.
    """
    return page(graph, whole=False)


def save(graph: RecordedGraph, path: Path) -> None:
    """Write a whole HTML document. Raises as `fragment`, and OSError as `files.write`."""
    write(path, page(graph, whole=True))


def page(graph: RecordedGraph, whole: bool) -> str:
    """The stepper, with a document around it if `whole`."""
    drawn = views(graph)
    data = json.dumps(page_data(graph, drawn), ensure_ascii=False, separators=(",", ":"))
    return render(
        "tracing/stepper.html.j2",
        whole=whole,
        title=title_of(graph),
        lead=graph.lead,
        picture=still(graph, drawn[0]),
        sums=sums(graph),
        steps=steps(graph),
        data=data.replace("<", "\\u003c"),  # nothing in there can end the script element
        style=resource("stepper.css"),
        program=resource("stepper.js"),
    )


def title_of(graph: RecordedGraph) -> str:
    """Its own title, or one made from the name of the loss."""
    return graph.title or f"Backpropagation from {graph.nodes[-1].name}, edge by edge"


def resource(name: str) -> str:
    """A file of this folder without indentation and comments, because it goes into each output.

    A comment is a line of its own, or stands two spaces behind the code.
    """
    lines = (files(__package__) / name).read_text(encoding="utf-8").splitlines()
    stripped = (line.partition("  // ")[0].strip() for line in lines)
    return "\n".join(line for line in stripped if line and not line.startswith("//"))


# --- data -----------------------------------------------------------------------------------------


def page_data(graph: RecordedGraph, drawn: list[View]) -> dict[str, Any]:
    """Everything that the page shows. Arrays and sources are stored once and meant by number."""
    arrays, sources = Table(values_data), Table(lambda s: {"place": s.place, "lines": s.lines})
    return {
        "title": title_of(graph),
        "lead": graph.lead,
        "nodes": [
            {
                "name": node.name,
                "kind": node.kind,
                "op": node.op,
                "path": node.path,
                "formula": node.formula,
                "derivative": node.derivative,
                "inputs": node.inputs,
                "parameters": node.parameters,
                "value": arrays.number(node.value),
                "forward": [sources.number(source) for source in node.forward],
                "backward": [sources.number(source) for source in node.backward],
            }
            for node in graph.nodes
        ],
        "steps": [
            {
                "op": step.op,
                "argument": step.argument,
                "source": step.source,
                "role": step.role,
                "rule": step.rule,
                "equation": step.equation,
                "operands": step.operands,
                "gradient": arrays.number(step.gradient),
                "value": arrays.number(step.value),
                "total": arrays.number(step.total),
                "arrival": step.arrival,
                "repeated": step.repeated,
                "reduced": step.reduced,
                "cut": step.cut and {node: arrays.number(v) for node, v in step.cut.items()},
            }
            for step in graph.contributions
        ],
        "views": [view_data(view) for view in drawn],
        "arrays": arrays.items,
        "sources": sources.items,
    }


class Table:
    """Numbers things in the order in which they are first met."""

    def __init__(self, encode: Callable[[Any], Any]) -> None:
        self.encode = encode
        self.items: list[Any] = []
        self._numbers: dict[int, int] = {}

    def number(self, thing: Any) -> int:
        """The number of `thing`, which is encoded when it is met for the first time."""
        if id(thing) not in self._numbers:
            self._numbers[id(thing)] = len(self.items)
            self.items.append(self.encode(thing))
        return self._numbers[id(thing)]


def values_data(values: Values) -> dict[str, Any]:
    """An array as the program reads it: whole, or its corner and what is known of the rest."""
    data: dict[str, Any] = {
        "shape": values.shape,
        "values": [number(x) for x in values.shown.ravel()],
    }
    if not values.whole:
        data["corner"] = values.shown.shape
        data["stats"] = [values.minimum, values.maximum, values.norm]
    if values.shown.dtype.kind in "iub":
        data["integers"] = True
    if values.nonfinite:
        data["nonfinite"] = values.nonfinite
    return data


def number(x: Any) -> float | int | str:
    """The shortest digits that mean `x` in its dtype; JSON has no NaN and no infinity."""
    if x.dtype.kind in "iub":
        return int(x)
    if math.isfinite(x):
        return float(str(x))
    return "NaN" if x != x else "Infinity" if x > 0 else "-Infinity"  # as JavaScript reads them


def view_data(view: View) -> dict[str, Any]:
    """Where the boxes stand (centre, width and height) and the edges run, in whole pixels."""
    return {
        "name": view.name,
        "width": round(view.layout.width),
        "height": round(view.layout.height),
        "boxes": [
            {
                "nodes": box.nodes,
                "module": box.module,
                "title": box.title,
                "subtitle": box.subtitle,
                "at": [round(x), round(y), round(box.size[0]), round(box.size[1])],
            }
            for box, (x, y) in zip(view.boxes, view.layout.centres)
        ],
        "edges": [
            [op, argument, *(round(n) for point in route for n in point)]
            for (op, argument), route in zip(view.edges, view.layout.routes)
        ],
    }


# --- what can be read without the program ---------------------------------------------------------


def still(graph: RecordedGraph, view: View) -> dict[str, Any]:
    """The picture of a view, inside the page itself, and what it shows in words."""
    image = b64encode(picture(graph, view).encode()).decode()
    return {
        "alt": description(graph),
        "src": f"data:image/svg+xml;base64,{image}",
        "width": round(view.layout.width) + 16,
    }


def steps(graph: RecordedGraph) -> Iterable[tuple[Any, ...]]:
    """The cells of the table of all steps, row by row."""
    for number, step in enumerate(graph.contributions, 1):
        yield (
            number,
            graph.nodes[step.op].name,
            graph.nodes[step.source].name,
            step.rule,
            f"{step.role}, {step.arrival} of {graph.arrivals[step.source]}",
            step.value.shape,
            stats(step.value),
        )


def description(graph: RecordedGraph) -> str:
    """For those who do not see the picture."""
    ops = [node for node in graph.nodes if node.op]
    flow = ", then ".join(node.op for node in ops) if len(ops) <= 20 else f"{len(ops)} ops"
    leaves = ", ".join(node.name for node in graph.nodes if node.kind in ("input", "parameter"))
    return f"Graph of {graph.nodes[-1].name}: {flow}. Gradients arrive at {leaves}."


def sums(graph: RecordedGraph) -> Iterable[str]:
    """A line for each of the first tensors whose gradient is a sum: "u.grad = ... + ..." """
    several = [node for node in graph.nodes if graph.arrivals[node.index] > 1]
    for node in several[:6]:
        terms = [step for step in graph.contributions if step.source == node.index]
        yield (
            f"Gradient of {node.name} = "
            + " + ".join(f"[{step.role}: {shown(step.value.norm)}]" for step in terms)
            + f" = [{shown(terms[-1].total.norm)}] (norms)"
        )
