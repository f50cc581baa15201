"""A run from its beginning, or from where it was cut off, to its report."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from .report import write as report
from .train.config import Config
from .train.loop import train


def start(settings: dict[str, Any], out: str | None = None, resume: str | None = None) -> Path:
    """Train, write the report, and return the run folder.

    settings   fields of `Config`; when resuming, they must be those of the run
    out        a new folder; None: `default_folder`
    resume     the folder of a run to go on with

    Raises as `Config`, `train` and `report.write`.
    """
    if resume is not None:
        folder = train(replace(Config.load(resume), **settings), resume, resume=True)
    else:
        config = Config(**settings)
        folder = train(config, default_folder(config) if out is None else out)
    print(f"report: {report.write(folder)}")
    return folder


def default_folder(config: Config) -> Path:
    """runs/MODEL-DATA-DATE-TIME, in the current folder."""
    now = time.strftime("%Y%m%d-%H%M%S")
    return Path("runs", f"{config.model}-{Path(config.data).name}-{now}")
