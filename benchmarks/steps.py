"""Whole networks: training steps, evaluation, and how their cost grows with the work.

A training step is forward, cross-entropy, backward and SGD with Nesterov momentum.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy
import torch
import torch.nn.functional as T
from interleave import contest
from torch_nets import twin

import minise
from minise import functional as F
from minise import models, optim

SGD = {"lr": 0.01, "momentum": 0.9, "weight_decay": 5e-4, "nesterov": True}
Run = Callable[[], Any]


def inputs(net: Any, batch: int) -> tuple[numpy.ndarray, numpy.ndarray]:
    random = numpy.random.RandomState(0)
    images = random.standard_normal((batch, 3, net.image_size, net.image_size))
    return images.astype(numpy.float32), random.randint(0, net.config["num_classes"], batch)


def minise_step(net: Any, batch: int) -> Run:
    images, labels = inputs(net, batch)
    sgd = optim.SGD(net.parameters(), **SGD)

    def run() -> Any:
        sgd.zero_grad()
        loss = F.cross_entropy(net(minise.tensor(images)), minise.tensor(labels))
        loss.backward()
        sgd.step()
        return loss

    return run


def torch_step(net: Any, batch: int, channels_last: bool) -> Run:
    """Of the twin of minise's `net`."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    arrays = inputs(net, batch)
    images, labels = torch.from_numpy(arrays[0]), torch.from_numpy(arrays[1])
    images = images.contiguous(memory_format=layout)
    module = twin(net).to(memory_format=layout)
    sgd = torch.optim.SGD(module.parameters(), **SGD)

    def run() -> Any:
        sgd.zero_grad()
        loss = T.cross_entropy(module(images), labels)
        loss.backward()
        sgd.step()
        return loss

    return run


def training(name: str, batch: int) -> dict[str, Run]:
    """Three networks with the same initial weights and the same batch, but nothing shared."""
    net = models.create(name)
    return {
        "minise": minise_step(net, batch),
        "PyTorch": torch_step(net, batch, channels_last=False),
        "PyTorch channels_last": torch_step(net, batch, channels_last=True),
    }


def evaluation(name: str, batch: int) -> dict[str, Run]:
    net = models.create(name).eval()
    images, _ = inputs(net, batch)

    def ours() -> Any:
        with minise.no_grad():
            return net(minise.tensor(images))

    def theirs(layout: torch.memory_format) -> Run:
        module = twin(net).eval().to(memory_format=layout)
        tensor = torch.from_numpy(images).contiguous(memory_format=layout)

        def run() -> Any:
            with torch.no_grad():
                return module(tensor)

        return run

    return {
        "minise": ours,
        "PyTorch": theirs(torch.contiguous_format),
        "PyTorch channels_last": theirs(torch.channels_last),
    }


def check(title: str, contestants: dict[str, Run]) -> None:
    """Raise ValueError if the networks of one step do not have the same loss, or logits."""
    results = {name: run() for name, run in contestants.items()}
    expected = results["PyTorch"].detach().numpy()
    for name, result in results.items():
        values = result.numpy() if name == "minise" else result.detach().numpy()
        error = numpy.abs(values - expected).max() / numpy.abs(expected).max()
        if not error <= 1e-3:
            raise ValueError(f"{title}: {name} is off by {error:.1e}")


def measure(rounds: int, batch: int, large: bool) -> dict[str, Any]:
    """Timings by title and library; with `large`, SE-ResNet-50 on 224×224 too."""
    rows = {}
    # SE's cost is a ratio of minise's two training steps, so the two networks take turns too.
    pair = {
        f"{name} | {library}": run
        for name in ("resnet20", "se_resnet20")
        for library, run in verified(f"{name} training", training(name, batch)).items()
    }
    timings = contest(pair, rounds)
    for name in ("resnet20", "se_resnet20"):
        rows[f"{name} training, batch {batch}"] = {
            library: timings[f"{name} | {library}"]
            for library in ("minise", "PyTorch", "PyTorch channels_last")
        }
    del pair
    title = f"se_resnet20 evaluation, batch {batch}"
    rows[title] = contest(verified(title, evaluation("se_resnet20", batch)), rounds)
    if large:
        title = "se_resnet50 training, batch 4"
        rows[title] = contest(verified(title, training("se_resnet50", 4)), min(rounds, 5))
    return rows


def verified(title: str, contestants: dict[str, Run]) -> dict[str, Run]:
    check(title, contestants)
    return contestants


def measure_growth(rounds: int, batches: list[int], depths: list[int]) -> dict[str, Any]:
    """Seconds of a training step against batch size (SE-ResNet-20) and depth (batch 32)."""
    sizes = [("se_resnet20", batch) for batch in batches]
    sizes += [(f"se_resnet{depth}", 32) for depth in depths]
    rows = {}
    for name, batch in sizes:
        net = models.create(name)
        rows[f"{name}, batch {batch}"] = {
            "multiply_adds": batch * models.summary(net, (3, 32, 32)).macs,
            "timings": contest(
                {
                    "minise": minise_step(net, batch),
                    "PyTorch": torch_step(net, batch, channels_last=False),
                },
                rounds,
            ),
        }
    return rows
