"""Everything that determines a training run."""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from .. import files
from ..models import registry
from ..models.options import Choices

DATASETS = ("cue-digits", "cue-digits-tint", "cifar10", "cifar100")  # else data is a folder
SCHEDULES = ("onecycle", "cosine", "multistep", "constant")
FILE = "config.json"


@dataclass(frozen=True)
class Config(Choices):
    """The settings of a run. The same settings give the same weights, bit by bit.

    model            a name of `models.names()`; the other arguments of `models.create` are fields
                     too, inherited from `models.options.Choices`
    data             one of DATASETS, or a folder of pictures (see `train.datasets`)
    data_dir         where CIFAR is looked for and downloaded to, and CueDigits is kept
    limit            train with that many pictures only; None: all
    epochs           passes over the training pictures
    batch_size       pictures per step
    lr               the highest learning rate of the schedule
    momentum         of SGD, Nesterov's; 0 turns it off
    weight_decay     L2 penalty, on all parameters
    schedule         "onecycle"   up during 3/10 of the steps, down to almost 0 in the others
                     "cosine"     down to 0 along half a cosine
                     "multistep"  a tenth after 1/2 and again after 3/4 of the epochs
                     "constant"
    warmup           epochs in which lr grows linearly; the schedule proper takes the others
    label_smoothing  0 <= ε < 1
    augment          shifts and mirrored pictures; None: yes, but not for digits
    cutout           side of the square that is blanked in each training picture; 0: none
    unreadable       pictures of a folder that cannot be read: "skip" them, listed, or "refuse"
    seed             of the weights, the order of the pictures and their augmentation
    backend          "numpy" or "cupy"
    tf32             on cupy, train inside `backend.tf32()`; the tests stay exact
    compare          train the same network without SE too

    The defaults of lr, momentum, weight_decay and batch_size are those of He et al. (2016),
    section 4.2. Raises ValueError, naming the field, for what cannot be.
    """

    model: str = "se_resnet20"
    data: str = "cue-digits"
    data_dir: str = "datasets"
    limit: int | None = None
    epochs: int = 30
    batch_size: int = 128
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 1e-4
    schedule: str = "onecycle"
    warmup: int = 0
    label_smoothing: float = 0.0
    augment: bool | None = None
    cutout: int = 0
    unreadable: str = "skip"
    seed: int = 0
    backend: str = "numpy"
    tf32: bool = False
    compare: bool = False

    def __post_init__(self) -> None:
        self._check_types()
        registry.image_size(self.model)  # refuses an unknown name
        self.check_choices()
        for name, ok, expected in (
            ("data", self.data != "", f"one of {', '.join(DATASETS)}, or a folder"),
            ("limit", self.limit is None or self.limit >= 1, "at least 1"),
            ("epochs", self.epochs >= 1, "at least 1"),
            ("batch_size", self.batch_size >= 1, "at least 1"),
            ("lr", 0 < self.lr < math.inf, "a number above 0"),
            ("momentum", 0 <= self.momentum < 1, "0 <= momentum < 1"),
            ("weight_decay", 0 <= self.weight_decay < math.inf, "a number, 0 or more"),
            ("schedule", self.schedule in SCHEDULES, f"one of {', '.join(SCHEDULES)}"),
            ("warmup", 0 <= self.warmup < self.epochs, f"0 to {self.epochs - 1} of the epochs"),
            ("label_smoothing", 0 <= self.label_smoothing < 1, "0 <= label_smoothing < 1"),
            ("cutout", self.cutout >= 0, "0 or more pixels"),
            ("unreadable", self.unreadable in ("skip", "refuse"), "skip or refuse"),
            ("seed", 0 <= self.seed < 2**32, "0 to 2**32 - 1"),
        ):
            if not ok:
                raise ValueError(f"{name}: expected {expected}, got {getattr(self, name)!r}")
        if self.schedule == "onecycle" and self.warmup:
            raise ValueError("warmup: onecycle has a warm-up of its own; leave it at 0")
        if self.tf32 and self.backend == "numpy":
            raise ValueError("tf32: a CPU has no tensor cores; choose backend cupy")
        if self.compare and not self.model.startswith("se_"):
            raise ValueError(f"compare: {self.model} has no twin without SE; choose an se_ network")
        # A run can be looked at from any folder, so its paths are absolute.
        self._set(data_dir=absolute(self.data_dir))
        if self.data not in DATASETS:
            self._set(data=absolute(self.data))
        if self.augment is None:
            self._set(augment=not self.data.startswith("cue-digits"))
        if self.stages is not None:  # JSON knows no tuples
            self._set(stages=tuple(self.stages))

    def _set(self, **values: Any) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def _check_types(self) -> None:
        """A config.json may have been edited by hand, so a number may be a text."""
        for field in fields(self):
            value, kinds = getattr(self, field.name), field.type.split(" | ")
            if kinds == ["float"] and type(value) is int:
                self._set(**{field.name: float(value)})
            elif field.name != "stages" and type(value).__name__ not in (
                "NoneType" if kind == "None" else kind for kind in kinds
            ):
                raise ValueError(f"{field.name}: expected {field.type}, got {value!r}")

    @property
    def model_options(self) -> dict[str, Any]:
        """The arguments of `models.create`, but for the number of classes."""
        return {"name": self.model, **self.choices()}

    def settings(self) -> dict[str, Any]:
        """All fields by name, the model first."""
        return {"model": self.model, **asdict(self)}

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write config.json into `folder`; OSError where that cannot be done."""
        files.write(Path(folder) / FILE, json.dumps(self.settings(), indent=2) + "\n")

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Config:
        """The settings of the run in `folder`.

        Raises ValueError if it holds no run or its config.json cannot be used.
        """
        path = Path(folder) / FILE
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (FileNotFoundError, NotADirectoryError):
            raise ValueError(f"{folder}: no run folder ({FILE} is missing)") from None
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}: {error}") from None


def absolute(path: str) -> str:
    """The path from the root, with ~ written out."""
    return os.path.abspath(os.path.expanduser(path))
