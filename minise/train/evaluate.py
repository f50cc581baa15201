"""How well a network does on pictures that it has not seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy

from .. import backend
from .. import functional as F
from ..autograd import no_grad
from ..backend.gpu.memory import naming_memory
from ..data import DataLoader, Dataset
from ..data.transforms import Transform
from ..nn import Module
from ..tensor import Tensor


@dataclass(frozen=True)
class Evaluation:
    """loss           mean cross-entropy
    accuracy       share of pictures whose likeliest class is the right one
    labels         (N,) the right classes
    probabilities  (N, classes) what the network gives each class
    """

    loss: float
    accuracy: float
    labels: numpy.ndarray
    probabilities: numpy.ndarray

    @property
    def predictions(self) -> numpy.ndarray:
        """(N,) the likeliest class of each picture."""
        return self.probabilities.argmax(axis=1)


def evaluate(
    model: Module,
    dataset: Dataset,
    transform: Transform,
    batch_size: int = 256,
    after_batch: Callable[[], None] = lambda: None,
) -> Evaluation:
    """Run the model in evaluation mode over all pictures; its mode is restored.

    transform    for a batch: `Data.test_transform`
    after_batch  is called after every batch; what it raises ends the evaluation

    MemoryError, with the figures, if a batch does not fit into a GPU.
    """
    was_training = model.training
    home = backend.get(next(model.parameters()).backend)
    log_probabilities = []
    model.eval()
    try:
        with no_grad(), naming_memory(home, f"evaluating a batch of {batch_size}"):
            for images, _ in DataLoader(dataset, batch_size, transform=transform):
                logits = model(Tensor(images).to(home.name))  # (N, classes)
                log_probabilities.append(F.log_softmax(logits, 1).numpy())
                after_batch()
    finally:
        model.train(was_training)
    log_p = numpy.concatenate(log_probabilities).astype(numpy.float64)
    labels = dataset.labels
    return Evaluation(
        loss=float(-log_p[numpy.arange(len(labels)), labels].mean()),
        accuracy=float((log_p.argmax(axis=1) == labels).mean()),
        labels=labels,
        probabilities=numpy.exp(log_p),
    )
