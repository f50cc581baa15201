"""A trace as text, for a terminal."""

from __future__ import annotations

import math

from .graph import RecordedGraph
from .values import Values

LINES = 60  # of each pass; of longer ones the beginning and the end
CELL = 44  # characters of a column


def text(graph: RecordedGraph) -> str:
    """The forward pass, the backward pass edge by edge, and the sums."""
    nodes, steps = graph.nodes, graph.contributions
    forward = [
        (node.name, node.op or node.kind, node.formula, str(node.value.shape), stats(node.value))
        for node in nodes
    ]
    backward = [
        (
            f"{nodes[step.op].name} → {nodes[step.source].name}",
            step.rule,
            str(step.value.shape),
            stats(step.value),
            f"{step.arrival} of {graph.arrivals[step.source]}",
        )
        for step in steps
    ]
    ops = sum(bool(node.op) for node in nodes)
    lines = [
        f"Trace of {nodes[-1].name} {nodes[-1].value.shape}: {ops} ops, {len(steps)} contributions",
        "",
        *table([("forward", "op", "formula", "shape", "values"), *forward]),
        "",
        *table([("backward", "rule", "contribution", "values", "arrived"), *backward]),
    ]
    several = [node for node in nodes if graph.arrivals[node.index] > 1]
    if several:
        lines += ["", "gradients that are sums (norms)"]
    for node in several:
        terms = [step for step in steps if step.source == node.index]
        total = shown(terms[-1].total.norm)
        lines.append(
            f"{node.name}.grad = "
            + " + ".join(f"[{step.role} {shown(step.value.norm)}]" for step in terms)
            + f" = {total}"
        )
    return "\n".join(lines)


def table(rows: list[tuple[str, ...]]) -> list[str]:
    """The rows, the first of which is the head, as lines with aligned columns."""
    if len(rows) > LINES:
        half = LINES // 2
        gap = (f"... {len(rows) - LINES} more ...", *[""] * (len(rows[0]) - 1))
        rows = [*rows[:half], gap, *rows[-half:]]
    rows = [tuple(c if len(c) <= CELL else c[: CELL - 1] + "…" for c in row) for row in rows]
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return ["  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths)).rstrip() for row in rows]


def shown(x: float | None) -> str:
    """A number with about four digits, always with the same look: "0.123", "−1.5e-5", "NaN"."""
    if x is None:
        return "none"
    if math.isnan(x):
        return "NaN"
    if math.isinf(x):
        return "∞" if x > 0 else "−∞"
    size = abs(x)
    if size == 0:
        digits = "0"
    elif not 0.001 <= size < 1000:
        mantissa, exponent = f"{size:.1e}".split("e")
        digits = f"{mantissa}e{int(exponent)}"
    else:
        digits = f"{size:.{3 - (size >= 10) - (size >= 100)}f}"
    return f"−{digits}" if x < 0 else digits


def stats(values: Values) -> str:
    """The values of a very small array, else their range; and what is not finite."""
    if 0 < values.shown.size <= 3 and values.whole:
        return "  ".join(shown(float(x)) for x in values.shown.ravel())
    if values.minimum is None:
        told = "" if values.nonfinite else "empty"
    else:
        told = f"{shown(values.minimum)} … {shown(values.maximum)}"
    return told + (f"  ({values.nonfinite} NaN or infinite)" if values.nonfinite else "")
