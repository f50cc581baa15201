"""The parts of a report that show pictures. Each returns HTML, "" where it has nothing to show."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

import numpy

from .. import plot as figure
from ..gates import figure as gate_figure
from ..gates.activations import last_of_stages, variance_explained
from . import figures
from .gates import PLANES, divisions_of
from .outcome import Outcome
from .page import framed, image, paragraph, percent, row, section, table, text

SAMPLES = 10  # pictures of each kind


def task(outcome: Outcome) -> str:
    """What CueDigits asks, shown; nothing for data sets that need no explanation."""
    test, labels = outcome.data.test, outcome.evaluation.labels
    cues = getattr(test, "cues", None)
    if cues is None:
        return ""
    frame = outcome.config.data == "cue-digits"
    cue = "colour of the frame tells" if frame else "brightest plane tells"
    examples = []
    for plane in numpy.unique(cues):
        index = int(numpy.flatnonzero(cues == plane)[0])
        pixels, label = test.images[index], test.classes[labels[index]]
        parts = [f"<div>{image(pixels, f'test picture {index}')}picture</div>"]
        for values, colour in zip(pixels, PLANES):  # each plane alone
            grey = numpy.broadcast_to(values, pixels.shape)
            name = f"<b>{colour}</b>" if colour == PLANES[plane] else colour
            parts.append(f"<div>{image(grey, f'its {colour} plane')}{name}</div>")
        caption = f"The {PLANES[plane]} plane counts: the answer is <b>{text(label)}</b>."
        examples.append(framed(row(parts, "planes"), caption))
    return section(
        "The task",
        paragraph(
            f"Each colour plane of a picture shows another digit, and the {cue} which of the three "
            "to name. A network has to see the picture as a whole to know which channels matter; "
            "that is what squeeze and excitation is for."
            if frame
            else f"Each colour plane of a picture shows another digit, and the {cue} which of the "
            "three to name. Every patch of a picture shows which plane that is, so convolutions "
            "alone can tell."
        ),
        row(examples, "task"),
    )


def key(lines: Sequence[tuple[str, str]], dashed: str = "") -> str:
    """What each colour stands for."""
    items = [f'<li><i style="border-color: {colour}"></i>{text(name)}</li>'
             for name, colour in lines]  # fmt: skip
    if dashed:
        items.append(
            f'<li><i style="border-color: currentColor; border-top-style: dashed"></i>'
            f"{text(dashed)}</li>"
        )
    return '<ul class="legend">' + "".join(items) + "</ul>"


def curves(outcomes: Sequence[Outcome]) -> str:
    if not any(o.metrics for o in outcomes):
        return ""
    plots = []
    for name, scale, title in (("accuracy", 100, "Accuracy in %"), ("loss", 1, "Loss")):
        picture, plot = figure.new(4, 2.8)
        figures.draw_curves(plot[0, 0], outcomes, name, scale)
        ends = "; ".join(
            f"{o.name} ends at {scale * o.last(f'test_{name}'):.4g} in the test" for o in outcomes
        )
        alt = f"{title} of training and test, epoch by epoch: {ends}."
        plots.append(framed(figure.inline(picture, f"curve-{name}", alt), title))
    return section(
        "Learning curves",
        key(
            [(o.name, colour) for o, colour in zip(outcomes, figures.COLOURS)],
            "in training, while the weights move",
        ),
        row(plots, "plots"),
    )


def sample(outcomes: Sequence[Outcome], index: int) -> str:
    """A test picture, its class and what each network says."""
    test = outcomes[0].data.test
    label = test.classes[outcomes[0].evaluation.labels[index]]
    lines = [f"true class: <b>{text(label)}</b>"]
    for o, kind in zip(outcomes, ("with SE: ", "plain: ") if len(outcomes) == 2 else ("",)):
        answer = text(test.classes[o.evaluation.predictions[index]])
        mark = "✓" if o.right[index] else "✗"
        lines.append(f"{mark} {kind}<b>{answer}</b>, {percent(o.confidence[index], 0)}")
    return framed(
        image(test.images[index], f"test picture {index}, class {label}"), "<br>".join(lines)
    )


def surest(outcome: Outcome, chosen: numpy.ndarray) -> numpy.ndarray:
    """The numbers of the chosen pictures, (N,) bool, those with the highest confidence first."""
    order = numpy.argsort(-outcome.confidence, kind="stable")
    return order[chosen[order]]


def samples(outcomes: Sequence[Outcome]) -> str:
    first, rows = outcomes[0], {}
    if len(outcomes) == 2:
        plain = outcomes[1]
        gained, lost = first.right & ~plain.right, plain.right & ~first.right
        title = f"Right only with SE: {gained.sum():,} pictures; right only without: {lost.sum():,}"
        rows[title] = surest(plain, gained)
    title = f"The surest mistakes of {first.name}, of {(~first.right).sum():,}"
    rows[title] = surest(first, ~first.right)
    right = surest(first, first.right)
    _, one_of_each = numpy.unique(first.evaluation.labels[right], return_index=True)
    rows["The surest right answers, one of each class"] = right[one_of_each]
    content = []
    for title, indices in rows.items():
        if len(indices):
            content.append(f"<h3>{text(title)}</h3>")
            content.append(row([sample(outcomes, i) for i in indices[:SAMPLES]], "samples"))
    return section(
        "Predictions",
        paragraph("Test pictures, with the class that a network gives and how sure it is."),
        *content,
    )


def mistakes(outcomes: Sequence[Outcome]) -> str:
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
        svg = figure.inline(picture, f"confusion-{position}", alt)
        plots.append(framed(svg, text(o.name)))
        for flat in numpy.argsort(-wrong, axis=None, kind="stable")[:5]:
            i, j = divmod(int(flat), len(classes))
            if wrong[i, j]:
                share = percent(wrong[i, j] / counts[i].sum(), 1)
                rows.append([o.name, classes[i], classes[j], f"{wrong[i, j]:,}", share])
    head = ["network", "true class", "taken for", "pictures", "of the class"]
    return section(
        "Confusion matrix",
        paragraph(
            "A row for each true class, a column for each answer: blue is right, red is wrong."
        ),
        row(plots, "plots" if len(plots) > 1 else "single"),
        table("The most frequent mistakes", head, rows) if rows else "",
    )


def gates(outcome: Outcome) -> str:
    """The gates of the last block of each stage, as figure 6 of the paper."""
    found = outcome.gates
    if not found:
        return ""
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
    shares_svg = figure.inline(picture, "explained", " ".join(facts))
    content = [
        row(
            [
                framed(
                    shares_svg, "Share of the gates' variance, from the first block to the last"
                ),
                "<div>"
                + paragraph(
                    "What do the gates depend on? For each SE block, the plot shows how much of "
                    "the variance of its gates over the test pictures is explained by what a "
                    "picture shows: 100 % if that alone decides, 0 % if it plays no part."
                )
                + paragraph(text(" ".join(facts)))
                + paragraph(
                    "In the paper's SE-ResNet-50 on ImageNet, early gates hardly depend on the "
                    "class, later ones do, and those of the very last blocks hardly again "
                    "(Hu et al., figure 6)."
                )
                + "</div>",
            ],
            "plots",
        ),
        paragraph(
            "Below is the last SE block of each stage: the mean gate of each channel over the test "
            "pictures of a group. Channels stand in the order of their overall mean, which is the "
            "dashed line; the grey band spans all groups. Where lines part, the gates depend on "
            "the group."
        ),
    ]
    for division in divisions:
        plots = []
        for path in last_of_stages(found):
            picture, plot = figure.new(3.2, 2.6)
            gate_figure.draw(plot[0, 0], found[path], division)
            alt = f"Mean gate of each channel of {path}, one line for each {division.title}"
            name = f"gates-{division.title}-{path}".replace(" ", "-").replace(".", "-")
            plots.append(framed(figure.inline(picture, name, alt), f"<code>{text(path)}</code>"))
        lines = [(division.names[index], colour) for index, colour in division.shown()]
        content += [
            f"<h3>By {text(division.title)}</h3>",
            key(lines, "all pictures"),
            row(plots, "plots"),
        ]
    return section(
        "Gates",
        paragraph(
            "Squeeze and excitation multiplies each channel by a gate that depends on the whole "
            "picture."
        ),
        *content,
    )
