"""report.html: a run on one page, to look at and to show around."""

from __future__ import annotations

import os
import platform
import shlex
import time
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

import numpy

from .. import __version__, files
from ..train.config import FILE, Config
from ..train.loop import PLAIN
from . import outcome, sections
from .outcome import Outcome
from .page import number, page, paragraph, percent, row, section, table, text

NAME = "report.html"
TITLES = {
    "cue-digits": "CueDigits",
    "cue-digits-tint": "CueDigits with a tint",
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
}


def write(folder: str | os.PathLike[str]) -> Path:
    """Evaluate the run in `folder`, and its twin without SE if there is one, and write report.html.

    Also for a run that was broken off, once it has finished an epoch. Raises ValueError where there
    is no run or no weights yet, and as `datasets.load` and `load_weights`; OSError where the page
    cannot be written.
    """
    folder = Path(folder)
    outcomes = [outcome.load(folder)]
    plain = folder / PLAIN
    if (plain / FILE).exists() and (plain / "best.safetensors").exists():
        outcomes.append(outcome.load(plain, outcomes[0].data))
    path = folder / NAME
    files.write(path, build(folder, outcomes))
    return path


def build(folder: Path, outcomes: Sequence[Outcome]) -> str:
    """The page for one network, or for one with SE and its plain twin."""
    config = outcomes[0].config
    title = f"{config.model} on {TITLES.get(config.data, Path(config.data).name)}"
    return page(
        title,
        head(title, outcomes),
        sections.task(outcomes[0]),
        sections.curves(outcomes),
        sections.samples(outcomes),
        sections.mistakes(outcomes),
        sections.gates(outcomes[0]),
        costs(outcomes),
        settings(folder, config),
    )


def head(title: str, outcomes: Sequence[Outcome]) -> str:
    first, config = outcomes[0], outcomes[0].config
    count = len(first.evaluation.labels)
    numbers = [("test error, " + o.name, percent(o.error)) for o in outcomes]
    if len(outcomes) == 2:
        headline = (
            f'With squeeze and excitation, <span class="first">{percent(first.error)}</span> of '
            f"{count:,} test pictures get a wrong class; without it, "
            f'<span class="second">{percent(outcomes[1].error)}</span>.'
        )
        difference = 100 * (first.error - outcomes[1].error)
        numbers.append(("points of error, SE − plain", f"{difference:+.2f}".replace("-", "−")))
        more = first.summary.params / outcomes[1].summary.params - 1
        numbers.append(("parameters for SE", "+" + percent(more, 1)))
    else:
        headline = (
            f"{text(first.name)} gives "
            f'<span class="first">{percent(first.evaluation.accuracy)}</span> of '
            f"{count:,} test pictures the right class."
        )
        numbers.append(("test loss", number(first.evaluation.loss, 4)))
        numbers.append(("parameters", number(first.summary.params)))
    numbers.append(("training images/s", number(first.mean("images_per_second"))))
    cards = [f'<div class="card"><b>{value}</b><span>{text(name)}</span></div>'
             for name, value in numbers]  # fmt: skip
    notes = [
        f"One run each with seed {config.seed}; other seeds differ. "
        "The weights are those of the best epoch, which the same test pictures chose; "
        + ", ".join(
            f"{text(o.name)} after its last epoch: {percent(1 - o.last('test_accuracy'))}"
            for o in outcomes
        )
        + "."
    ]
    notes += [
        f"{text(o.name)} has done {len(o.metrics)} of {o.config.epochs} epochs."
        for o in outcomes
        if len(o.metrics) < o.config.epochs
    ]
    if config.compare and len(outcomes) == 1:
        notes.append("The twin without SE has not finished an epoch yet.")
    return "\n".join(
        [
            "<header>",
            paragraph(f"minise · {time.strftime('%Y-%m-%d')}", "eyebrow"),
            f"<h1>{text(title)}</h1>",
            paragraph(headline, "headline"),
            row(cards, "cards"),
            paragraph(" ".join(notes), "note"),
            "</header>",
        ]
    )


def costs(outcomes: Sequence[Outcome]) -> str:
    quantities = {
        "test error": [percent(o.error) for o in outcomes],
        "test loss": [number(o.evaluation.loss, 4) for o in outcomes],
        "test error after the last epoch": [percent(1 - o.last("test_accuracy")) for o in outcomes],
        "epochs": [f"{len(o.metrics)} of {o.config.epochs}" for o in outcomes],
        "parameters": [number(o.summary.params) for o in outcomes],
        "multiply-adds per picture": [number(o.summary.macs) for o in outcomes],
        "seconds per epoch, mean": [number(o.mean("seconds"), 1) for o in outcomes],
        "training images/s, mean": [number(o.mean("images_per_second")) for o in outcomes],
    }
    return section(
        "Cost",
        table(
            f"{len(outcomes[0].data.train):,} training pictures, "
            f"{len(outcomes[0].data.test):,} test pictures",
            ["", *(o.name for o in outcomes)],
            [[name, *values] for name, values in quantities.items()],
        ),
    )


def command(config: Config) -> str:
    """The command line that starts such a run."""
    default = Config(data=config.data)  # whether to augment depends on the data
    words = ["minise", "train", "--model", config.model, "--data", config.data]
    for field in fields(Config):
        value = getattr(config, field.name)
        if field.name in ("model", "data") or value == getattr(default, field.name):
            continue
        flag = field.name.replace("_", "-")
        if field.name == "stages":
            words += ["--stages", *map(str, value)]
        elif isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            words += [f"--{flag}", str(value)]
    return shlex.join(words)


def settings(folder: Path, config: Config) -> str:
    python, system = platform.python_version(), f"{platform.system()} {platform.machine()}"
    versions = f"minise {__version__}, Python {python}, NumPy {numpy.__version__} on {system}"
    rows = [
        [name, "–" if value is None else value]
        for name, value in asdict(config).items()
        if name != "data_dir"
    ]
    return "\n".join(
        [
            section(
                "Reproduce",
                paragraph("The same settings give the same weights:"),
                f"<pre>{text(command(config))}</pre>",
                paragraph("Go on with this run where it stopped:"),
                f"<pre>{text(shlex.join(['minise', 'train', '--resume', str(folder)]))}</pre>",
                "<details>",
                "<summary>All settings</summary>",
                table("Settings", ["name", "value"], rows),
                "</details>",
            ),
            "<footer>",
            paragraph(f"Made by {text(versions)}, {time.strftime('%Y-%m-%d %H:%M')}.", "note"),
            "</footer>",
        ]
    )
