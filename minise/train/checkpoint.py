"""The state of a run in one file, so that a run which was cut off goes on as if it had not been.

    state.safetensors   weights, buffers and the optimizer's arrays; as metadata everything else
                        that moves: epoch and step, sums, schedule, random numbers, metrics

Replacing this file is the only thing that has to happen at one instant: `last.safetensors`,
`best.safetensors` and `metrics.jsonl` follow from it and are written behind it. If the run dies in
between, `train` writes them again when it goes on.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as serialize

from .. import files
from ..backend import random
from ..nn import Module
from ..optim import Optimizer
from ..optim.lr_scheduler import LRScheduler
from ..tensor import Tensor

FILE = "state.safetensors"


@dataclass
class Position:
    """How far a run has come.

    epoch, step     whole epochs that are done, and steps of the next one
    loss, correct   sum of the losses and number of hits over the pictures of these steps
    lr              of the last of these steps
    seconds         that they took
    history         the metrics of each whole epoch
    """

    epoch: int = 0
    step: int = 0
    loss: float = 0.0
    correct: int = 0
    lr: float = 0.0
    seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)

    def best_epoch(self) -> int:
        """The first of the epochs (from 1) with the highest test accuracy; 0 before any."""
        accuracies = [metrics["test_accuracy"] for metrics in self.history]
        return accuracies.index(max(accuracies)) + 1 if accuracies else 0


class NotFiniteError(ArithmeticError):
    """Weights have become infinite or NaN; they are not written over good ones."""


def save(
    folder: Path, position: Position, model: Module, optimizer: Optimizer, schedule: LRScheduler
) -> None:
    """Write the state file into `folder`, in one step.

    Raises OSError where it cannot be written and NotFiniteError where it would be of no use; the
    file that was there before stays.
    """
    optimizer_state = optimizer.state_dict()
    arrays = {f"model.{key}": to_host(value) for key, value in model.state_dict().items()}
    for index, values in optimizer_state["state"].items():
        for name, value in values.items():
            arrays[f"optimizer.{index}.{name}"] = to_host(Tensor(value))
    wrong = [key for key, array in arrays.items() if not numpy.isfinite(array).all()]
    if wrong:
        raise NotFiniteError(f"{', '.join(wrong)}")
    state = json.dumps(
        {
            "position": asdict(position),
            "param_groups": optimizer_state["param_groups"],
            "schedule": schedule.state_dict(),
            "random": random.generator().bit_generator.state,
        }
    )
    metadata = {"format": "minise-state", "state": state, "checksum": checksum(arrays, state)}
    files.write(folder / FILE, serialize(arrays, metadata=metadata))


def load(
    folder: Path, model: Module, optimizer: Optimizer, schedule: LRScheduler
) -> Position | None:
    """Take over the state in `folder`; None, and nothing changes, if there is none yet.

    Raises ValueError, before anything changes, if the file is damaged or of another run.
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged ({error})") from None
    if metadata.get("format") != "minise-state":
        raise ValueError(f"{path} is no state of a run")
    text = metadata.get("state", "")
    if metadata.get("checksum") != checksum(arrays, text):
        raise ValueError(f"{path} is damaged (its checksum is wrong)")

    state = json.loads(text)
    weights = {k.removeprefix("model."): v for k, v in arrays.items() if k.startswith("model.")}
    optimizer_state: dict[int, dict[str, Any]] = {}
    for key in arrays.keys() - {f"model.{name}" for name in weights}:
        _, index, name = key.split(".")
        optimizer_state.setdefault(int(index), {})[name] = arrays[key]
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(f"{path} belongs to another network ({error})") from None
    optimizer.load_state_dict({"state": optimizer_state, "param_groups": state["param_groups"]})
    schedule.load_state_dict(state["schedule"])
    random.generator().bit_generator.state = state["random"]
    return Position(**state["position"])


def to_host(tensor: Tensor) -> numpy.ndarray:
    """Its values as an array in row-major order, as safetensors wants them."""
    return numpy.asarray(tensor.numpy(), order="C")


def checksum(arrays: Mapping[str, numpy.ndarray], text: str) -> str:
    """CRC-32 over names and contents; safetensors itself only checks the length of a file."""
    crc = zlib.crc32(text.encode())
    for key in sorted(arrays):
        crc = zlib.crc32(arrays[key].tobytes(), zlib.crc32(key.encode(), crc))
    return f"{crc:08x}"
