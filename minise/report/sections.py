"""What the pictures of a report show, for report.html.j2: plain data, and drawings as SVG text."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any

import numpy

from .. import plot as figure
from ..gates import figure as gate_figure
from ..gates.activations import last_of_stages, variance_explained
from . import figures
from .gates import PLANES, divisions_of
from .outcome import Outcome
from .show import address, percent

SAMPLES = 10  # pictures of each kind


def task(outcome: Outcome) -> dict[str, Any] | None:
    """One picture of each cue of CueDigits; None for data sets that need no explanation."""
    test, labels = outcome.data.test, outcome.evaluation.labels
    cues = getattr(test, "cues", None)
    if cues is None:
        return None
    examples = []
    for plane in numpy.unique(cues):
        index = int(numpy.flatnonzero(cues == plane)[0])
        pixels = test.images[index]
        planes = [
            {
                "src": address(numpy.broadcast_to(values, pixels.shape)),  # alone, in grey
                "alt": f"its {colour} plane",
                "colour": colour,
            }
            for values, colour in zip(pixels, PLANES)
        ]
        examples.append(
            {
                "picture": {"src": address(pixels), "alt": f"test picture {index}"},
                "planes": planes,
                "counts": PLANES[plane],
                "label": test.classes[labels[index]],
            }
        )
    return {"frame": outcome.config.data == "cue-digits", "examples": examples}


def curves(outcomes: Sequence[Outcome]) -> dict[str, Any] | None:
    """Accuracy and loss over the epochs; None before the first has ended."""
    if not any(o.metrics for o in outcomes):
        return None
    plots = []
    for name, scale, title in (("accuracy", 100, "Accuracy in %"), ("loss", 1, "Loss")):
        picture, plot = figure.new(4, 2.8)
        figures.draw_curves(plot[0, 0], outcomes, name, scale)
        ends = "; ".join(
            f"{o.name} ends at {scale * o.last(f'test_{name}'):.4g} in the test" for o in outcomes
        )
        alt = f"{title} of training and test, epoch by epoch: {ends}."
        plots.append({"svg": figure.inline(picture, f"curve-{name}", alt), "title": title})
    return {"lines": [(o.name, c) for o, c in zip(outcomes, figures.COLOURS)], "plots": plots}


def samples(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """Test pictures in groups, those first of which the network is surest."""
    first, groups = outcomes[0], {}
    if len(outcomes) == 2:
        plain = outcomes[1]
        gained, lost = first.right & ~plain.right, plain.right & ~first.right
        title = f"Right only with SE: {gained.sum():,} pictures; right only without: {lost.sum():,}"
        groups[title] = surest(plain, gained)
    title = f"The surest mistakes of {first.name}, of {(~first.right).sum():,}"
    groups[title] = surest(first, ~first.right)
    right = surest(first, first.right)
    _, one_of_each = numpy.unique(first.evaluation.labels[right], return_index=True)
    groups["The surest right answers, one of each class"] = right[one_of_each]
    return [
        {"title": title, "samples": [sample(outcomes, i) for i in indices[:SAMPLES]]}
        for title, indices in groups.items()
        if len(indices)
    ]


def surest(outcome: Outcome, chosen: numpy.ndarray) -> numpy.ndarray:
    """The numbers of the chosen pictures, (N,) bool, those with the highest confidence first."""
    order = numpy.argsort(-outcome.confidence, kind="stable")
    return order[chosen[order]]


def sample(outcomes: Sequence[Outcome], index: int) -> dict[str, Any]:
    """A test picture, its class and what each network says."""
    test = outcomes[0].data.test
    label = test.classes[outcomes[0].evaluation.labels[index]]
    answers = [
        {
            "mark": "✓" if o.right[index] else "✗",
            "network": network,
            "label": test.classes[o.evaluation.predictions[index]],
            "confidence": percent(o.confidence[index], 0),
        }
        for o, network in zip(
            outcomes, ("with SE: ", "plain: ") if len(outcomes) == 2 else ("",)
        )
    ]
    picture = {
        "src": address(test.images[index]), "alt": f"test picture {index}, class {label}"
    }  # fmt: skip
    return {"picture": picture, "label": label, "answers": answers}


def mistakes(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The confusion matrix of each network, and its five most frequent confusions as rows."""
    classes, plots, rows = outcomes[0].data.classes, [], []
    for position, o in enumerate(outcomes):
        counts = figures.confusion(o.evaluation.labels, o.evaluation.predictions, len(classes))
        side = 4.2 if len(classes) <= figures.NUMBERS else 7
        picture, plot = figure.new(side, side)
        figures.draw_confusion(plot[0, 0], counts, classes)
        wrong = counts - numpy.diag(numpy.diag(counts))
        alt = (
            f"Confusion matrix of {o.name}: {counts.trace():,} pictures on the diagonal are right, "
            f"{wrong.sum():,} elsewhere are wrong."
        )
        plots.append(
            {"svg": figure.inline(picture, f"confusion-{position}", alt), "title": o.name}
        )
        for flat in numpy.argsort(-wrong, axis=None, kind="stable")[:5]:
            i, j = divmod(int(flat), len(classes))
            if wrong[i, j]:
                share = percent(wrong[i, j] / counts[i].sum(), 1)
                rows.append([o.name, classes[i], classes[j], f"{wrong[i, j]:,}", share])
    return {"plots": plots, "rows": rows}


def gates(outcome: Outcome) -> dict[str, Any] | None:
    """The gates of the last block of each stage, as figure 6 of the paper; None without SE."""
    found = outcome.gates
    if not found:
        return None
    divisions = divisions_of(outcome.data.test)
    facts = []
    for division in divisions:
        shares = {
            path: variance_explained(values, division.group) for path, values in found.items()
        }
        shares = {path: share for path, share in shares.items() if isfinite(share)}
        if shares:
            path = max(shares, key=shares.__getitem__)
            facts.append(
                f"The {division.title} explains most of it in {path}: {percent(shares[path], 1)}."
            )
    picture, plot = figure.new(4, 2.8)
    gate_figure.draw_variance_explained(plot[0, 0], found, divisions)
    told = " ".join(facts)
    shown = []
    for division in divisions:
        plots = []
        for path in last_of_stages(found):
            drawing, plot = figure.new(3.2, 2.6)
            gate_figure.draw(plot[0, 0], found[path], division)
            alt = f"Mean gate of each channel of {path}, one line for each {division.title}"
            name = f"gates-{division.title}-{path}".replace(" ", "-").replace(".", "-")
            plots.append({"svg": figure.inline(drawing, name, alt), "path": path})
        lines = [(division.names[index], colour) for index, colour in division.shown()]
        shown.append({"title": division.title, "lines": lines, "plots": plots})
    return {
        "shares": figure.inline(picture, "explained", told), "facts": told, "divisions": shown
    }  # fmt: skip
