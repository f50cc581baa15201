"""A finished (or stopped) run, opened again: its settings, its data, its network."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from ..models import create, load_weights
from ..nn import Module
from . import datasets
from .config import Config
from .evaluate import Evaluation, evaluate
from .loop import METRICS


class OpenRun(NamedTuple):
    config: Config
    data: datasets.Data
    model: Module  # in evaluation mode


def load(folder: str | os.PathLike[str], weights: str = "best", **changes: Any) -> OpenRun:
    """The run in `folder` with the weights of its "best" or of its "last" epoch.

    changes   settings that hold now, such as backend= or data_dir=

    Raises ValueError where there is no run or no weights yet, and as `datasets.load` and
    `load_weights`.
    """
    if weights not in ("best", "last"):
        raise ValueError(f"weights: expected best or last, got {weights!r}")
    path = Path(folder) / f"{weights}.safetensors"
    config = replace(Config.load(folder), **changes)
    if not path.exists():
        raise ValueError(f"{path} is missing: no epoch of this run was finished")
    data = datasets.load(config)
    model = load_weights(create(num_classes=data.num_classes, **config.model_options), path)
    return OpenRun(config, data, model.to(config.backend).eval())


def metrics(folder: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """What metrics.jsonl holds: one object per epoch, see `loop.Run.finish_epoch`."""
    path = Path(folder) / METRICS
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


def evaluate_run(
    folder: str | os.PathLike[str], weights: str = "best", **changes: Any
) -> Evaluation:
    """Evaluate the run on its test pictures. Arguments and errors as `load`."""
    run = load(folder, weights, **changes)
    return evaluate(run.model, run.data.test, run.data.test_transform)
