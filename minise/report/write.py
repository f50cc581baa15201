"""report.html: a run on one page, to look at and to show around."""

from __future__ import annotations

import os
import platform
import shlex
import time
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy

from .. import __version__, files
from ..template import render
from ..train.config import FILE, Config
from ..train.loop import PLAIN
from . import outcome, sections
from .outcome import Outcome
from .show import number, percent

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
    first = outcomes[0]
    return render(
        "report/report.html.j2",
        title=f"{first.name} on {TITLES.get(first.config.data, Path(first.config.data).name)}",
        day=time.strftime("%Y-%m-%d"),
        head=head(outcomes),
        task=sections.task(first),
        curves=sections.curves(outcomes),
        samples=sections.samples(outcomes),
        mistakes=sections.mistakes(outcomes),
        gates=sections.gates(first),
        costs=costs(outcomes),
        settings=settings(folder, first.config),
    )


def head(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The headline's numbers ("first": a share of errors beside a twin, else the accuracy), the
    cards under it and what has to be said about them."""
    first, config = outcomes[0], outcomes[0].config
    cards = [(f"test error, {o.name}", percent(o.error)) for o in outcomes]
    if len(outcomes) == 2:
        plain = outcomes[1]
        shares = {"first": percent(first.error), "plain": percent(plain.error)}
        difference = 100 * (first.error - plain.error)
        cards.append(("points of error, SE − plain", f"{difference:+.2f}".replace("-", "−")))
        more = first.summary.params / plain.summary.params - 1
        cards.append(("parameters for SE", "+" + percent(more, 1)))
    else:
        shares = {"first": percent(first.evaluation.accuracy), "plain": ""}
        cards.append(("test loss", number(first.evaluation.loss, 4)))
        cards.append(("parameters", number(first.summary.params)))
    cards.append(("training images/s", number(first.mean("images_per_second"))))
    notes = [
        f"One run each with seed {config.seed}; other seeds differ. "
        "The weights are those of the best epoch, which the same test pictures chose; "
        + ", ".join(
            f"{o.name} after its last epoch: {percent(1 - o.last('test_accuracy'))}"
            for o in outcomes
        )
        + "."
    ]
    notes += [
        f"{o.name} has done {len(o.metrics)} of {o.config.epochs} epochs."
        for o in outcomes
        if len(o.metrics) < o.config.epochs
    ]
    if config.compare and len(outcomes) == 1:
        notes.append("The twin without SE has not finished an epoch yet.")
    count = f"{len(first.evaluation.labels):,}"
    return {"name": first.name, **shares, "count": count, "cards": cards, "notes": notes}


def costs(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The table of what each network costs, and what it reaches for that."""
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
    data = outcomes[0].data
    return {
        "caption": f"{len(data.train):,} training pictures, {len(data.test):,} test pictures",
        "head": ["", *(o.name for o in outcomes)],
        "rows": [[name, *values] for name, values in quantities.items()],
    }


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


def settings(folder: Path, config: Config) -> dict[str, Any]:
    """How to make the same run again, and with what it was made."""
    python, system = platform.python_version(), f"{platform.system()} {platform.machine()}"
    return {
        "command": command(config),
        "resume": shlex.join(["minise", "train", "--resume", str(folder)]),
        "rows": [
            (name, "–" if value is None else value)
            for name, value in config.settings().items()
            if name != "data_dir"
        ],
        "versions": f"minise {__version__}, Python {python}, NumPy {numpy.__version__} on {system}",
        "time": time.strftime("%Y-%m-%d %H:%M"),
    }
