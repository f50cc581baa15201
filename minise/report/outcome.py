"""What came of a run: everything that its report shows."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy

from ..gates import activations as gates
from ..models.summary import Summary, summary
from ..nn import SEBlock
from ..train import datasets, run_folder
from ..train.config import Config
from ..train.evaluate import Evaluation, evaluate


@dataclass(frozen=True)
class Outcome:
    """One network after its training.

    metrics     an object per epoch, see metrics.jsonl
    evaluation  of the best weights on all test pictures
    gates       (N, C) of each SE block by its path, for the same pictures; {} without SE
    summary     parameters and multiply-adds
    """

    config: Config
    data: datasets.Data
    metrics: Sequence[dict[str, Any]]
    evaluation: Evaluation
    gates: dict[str, numpy.ndarray]
    summary: Summary

    @property
    def name(self) -> str:
        """Of the network, as in `models.names()`."""
        return self.config.model

    @property
    def error(self) -> float:
        """Share of the test pictures that get a wrong class."""
        return 1 - self.evaluation.accuracy

    @property
    def right(self) -> numpy.ndarray:
        """(N,) whether each test picture gets its class."""
        return self.evaluation.predictions == self.evaluation.labels

    @property
    def confidence(self) -> numpy.ndarray:
        """(N,) the probability of the class that each test picture gets."""
        return self.evaluation.probabilities.max(axis=1)

    def column(self, name: str) -> numpy.ndarray:
        """(epochs,) one entry of the metrics; NaN where it is missing or null."""
        return numpy.array([line.get(name) for line in self.metrics], dtype=numpy.float64)

    def last(self, name: str) -> float:
        """One entry of the metrics after the last epoch, or NaN."""
        return float(self.column(name)[-1]) if self.metrics else float("nan")

    def mean(self, name: str) -> float:
        """One entry of the metrics, over all epochs that have it, or NaN."""
        values = self.column(name)
        values = values[numpy.isfinite(values)]
        return float(values.mean()) if len(values) else float("nan")


def load(folder: str | os.PathLike[str], data: datasets.Data | None = None) -> Outcome:
    """The run in `folder`, evaluated. Arguments and errors as `run_folder.load`."""
    run = run_folder.load(folder, data=data)
    model, test = run.model, run.data.test
    has_se = any(isinstance(module, SEBlock) for module in model.modules())
    record: AbstractContextManager[dict[str, numpy.ndarray]]
    record = gates.recording(model) if has_se else nullcontext({})
    with record as found:
        evaluation = evaluate(model, test, run.data.test_transform)
    size = summary(model, test.images.shape[1:])
    return Outcome(run.config, run.data, run_folder.metrics(folder), evaluation, found, size)
