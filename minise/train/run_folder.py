"""A finished (or stopped) run, opened again: its settings, its data, its network."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from ..backend import get
from ..backend.gpu.memory import naming_memory
from ..models import create, load_weights
from ..nn import Module
from . import datasets
from .config import Config
from .evaluate import Evaluation, evaluate
from .loop import METRICS


class OpenRun(NamedTuple):
    """A run read from its folder, ready to be looked at."""

    config: Config
    data: datasets.Data
    model: Module  # in evaluation mode


def load(
    folder: str | os.PathLike[str],
    weights: str = "best",
    data: datasets.Data | None = None,
    **changes: Any,
) -> OpenRun:
    """The run in `folder` with the weights of its "best" or of its "last" epoch.

    data      the pictures of the run where they are loaded already
    changes   settings that hold now, such as backend= or data_dir=

    Raises ValueError where there is no run or no weights yet, and as `datasets.load` and
    `load_weights`.
    """
    if weights not in ("best", "last"):
        raise ValueError(f"weights: expected best or last, got {weights!r}")
    config = replace(Config.load(folder), **changes)
    path = _existing(Path(folder) / f"{weights}.safetensors")
    data = datasets.load(config) if data is None else data
    model = load_weights(create(num_classes=data.num_classes, **config.model_options), path)
    with naming_memory(get(config.backend), "the network"):
        model.to(config.backend)
    return OpenRun(config, data, model.eval())


def weights_file(path: str | os.PathLike[str]) -> Path:
    """The best weights of the run in the folder `path`; any other path is that of the weights.

    Raises ValueError for a folder that holds no run or no weights yet.
    """
    path = Path(path)
    if not path.is_dir():
        return path
    Config.load(path)
    return _existing(path / "best.safetensors")


def _existing(path: Path) -> Path:
    if not path.exists():
        raise ValueError(f"{path} is missing: no epoch of this run was finished")
    return path


def metrics(folder: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """What metrics.jsonl holds: one object per epoch, see `loop.Run.finish_epoch`.

    Raises ValueError for a file that holds anything else.
    """
    path = Path(folder) / METRICS
    if not path.exists():
        return []
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error})") from None
    if not all(isinstance(line, dict) for line in lines):
        raise ValueError(f"{path} is damaged (expected one object per line)")
    return lines


def evaluate_run(
    folder: str | os.PathLike[str], weights: str = "best", **changes: Any
) -> Evaluation:
    """Evaluate the run on its test pictures. Arguments and errors as `load`."""
    run = load(folder, weights, **changes)
    return evaluate(run.model, run.data.test, run.data.test_transform)
