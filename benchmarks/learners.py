"""minise and PyTorch behind one small interface, so that both can be trained by the same loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy
from torch_nets import twin

import minise
from minise import functional as F
from minise import models, optim

SGD = {"momentum": 0.9, "nesterov": True, "weight_decay": 5e-4}

Batches = Iterable[tuple[numpy.ndarray, numpy.ndarray]]


class MiniseLearner:
    """`net`, SGD with Nesterov momentum and a one-cycle schedule over `steps` steps."""

    def __init__(self, net: Any, max_lr: float, steps: int) -> None:
        self.net = net
        self.dtype = next(net.parameters()).dtype
        self.optimizer = optim.SGD(net.parameters(), lr=max_lr, **SGD)
        self.schedule = optim.lr_scheduler.OneCycleLR(self.optimizer, max_lr, steps)

    def step(self, images: numpy.ndarray, labels: numpy.ndarray) -> float:
        """Learn from one batch; returns its loss."""
        self.net.train()
        self.optimizer.zero_grad()
        logits = self.net(minise.tensor(images, dtype=self.dtype))
        loss = F.cross_entropy(logits, minise.tensor(labels))
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        return loss.item()

    def logits(self, images: numpy.ndarray) -> numpy.ndarray:
        """In evaluation mode: (N, classes)."""
        self.net.eval()
        with minise.no_grad():
            return self.net(minise.tensor(images, dtype=self.dtype)).numpy()


class TorchLearner:
    """The same for the PyTorch twin of `net`, which starts from a copy of its weights."""

    def __init__(self, net: Any, max_lr: float, steps: int) -> None:
        import torch

        self.torch = torch
        self.net = twin(net).to(memory_format=torch.channels_last)
        self.dtype = next(self.net.parameters()).dtype
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=max_lr, **SGD)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(self.optimizer, max_lr, steps)

    def tensor(self, images: numpy.ndarray) -> Any:
        images = self.torch.from_numpy(images).to(self.dtype)
        return images.contiguous(memory_format=self.torch.channels_last)

    def step(self, images: numpy.ndarray, labels: numpy.ndarray) -> float:
        self.net.train()
        self.optimizer.zero_grad()
        logits = self.net(self.tensor(images))
        loss = self.torch.nn.functional.cross_entropy(logits, self.torch.from_numpy(labels))
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        return loss.item()

    def logits(self, images: numpy.ndarray) -> numpy.ndarray:
        self.net.eval()
        with self.torch.no_grad():
            return self.net(self.tensor(images)).numpy()


LIBRARIES: dict[str, Any] = {"minise": MiniseLearner, "torch": TorchLearner}


def new_net(model: str, seed: int, dtype: str = "float32") -> Any:
    """Initial weights are minise's, whichever library trains them."""
    minise.manual_seed(seed)
    return models.create(model).to(dtype)


def fit(
    learner: Any, batches: Callable[[], Batches], test: Batches, epochs: int, title: str
) -> dict[str, Any]:
    """Train for `epochs`, test at the end of each; one line of progress per epoch.

    Returns the last test accuracy, the history by epoch, and the seconds of training alone.
    """
    history, seconds = [], 0.0
    for epoch in range(1, epochs + 1):
        start = time.perf_counter()
        losses = [learner.step(images, labels) for images, labels in batches()]
        seconds += time.perf_counter() - start
        loss, accuracy = numpy.mean(losses), evaluate(learner, test)
        history.append({"train_loss": round(float(loss), 5), "test_accuracy": accuracy})
        print(
            f"{title}  epoch {epoch:>2}/{epochs}  loss {loss:.4f}  "
            f"test accuracy {accuracy:.4f}  {seconds:.0f} s",
            flush=True,
        )
    return {"test_accuracy": accuracy, "seconds": round(seconds, 1), "history": history}


def evaluate(learner: Any, test: Batches) -> float:
    """Accuracy in evaluation mode."""
    right = [learner.logits(images).argmax(axis=1) == labels for images, labels in test]
    return float(numpy.concatenate(right).mean())
