"""minise beside PyTorch in one interleaved run: ratios count, absolute times are the machine's.

    make bench          (needs torch in .venv)

Each figure is the median of rounds in which the two libraries take turns, so that a machine that
slows down slows both. Threads are whatever both libraries use by default.
"""

from __future__ import annotations

import itertools
import platform
import statistics
import time
from collections.abc import Callable

import numpy
import torch
import torch.nn.functional as T

import minise
from minise import functional as F
from minise import models, optim

ROUNDS = 5


def interleaved(ours: Callable[[], object], theirs: Callable[[], object]) -> tuple[float, float]:
    """Median seconds of each, after one call to warm up."""
    seconds: dict[Callable[[], object], list[float]] = {ours: [], theirs: []}
    for function in (ours, theirs):
        function()
    for _ in range(ROUNDS):
        for function, times in seconds.items():
            start = time.perf_counter()
            function()
            times.append(time.perf_counter() - start)
    return statistics.median(seconds[ours]), statistics.median(seconds[theirs])


def report(name: str, ours: Callable[[], object], theirs: Callable[[], object]) -> None:
    a, b = interleaved(ours, theirs)
    print(f"{name:<44} {a * 1e3:10.1f} {b * 1e3:10.1f} {a / b:8.1f}", flush=True)


def convolution(channels: int, size: int, batch: int) -> None:
    """A 3×3 convolution, forward and backward."""
    rng = numpy.random.RandomState(0)
    x = rng.standard_normal((batch, channels, size, size)).astype("float32")
    w = rng.standard_normal((channels, channels, 3, 3)).astype("float32")

    def ours() -> None:
        a, b = minise.tensor(x, requires_grad=True), minise.tensor(w, requires_grad=True)
        F.conv2d(a, b, padding=1).sum().backward()

    def theirs() -> None:
        a, b = torch.tensor(x, requires_grad=True), torch.tensor(w, requires_grad=True)
        T.conv2d(a, b, padding=1).sum().backward()

    report(f"conv 3×3, {channels} channels, {size}×{size}, batch {batch}", ours, theirs)


def scalar_chain(length: int) -> None:
    """What the engine itself costs: `length` multiplications of one number, and back."""

    def chain(x):
        y = x
        for _ in range(length):
            y = y * x
        y.backward()

    def ours() -> None:
        chain(minise.tensor(1.0, requires_grad=True))

    def theirs() -> None:
        chain(torch.tensor(1.0, requires_grad=True))

    report(f"chain of {length} scalar ops", ours, theirs)


def training_step(batch: int) -> None:
    """SE-ResNet-20: forward, cross-entropy, backward, SGD; PyTorch runs the same net's ops."""
    from minise.nn import Module

    class TorchBlock(torch.nn.Module):
        def __init__(self, inputs: int, outputs: int, stride: int) -> None:
            super().__init__()
            conv, norm = torch.nn.Conv2d, torch.nn.BatchNorm2d
            self.branch = torch.nn.Sequential(
                conv(inputs, outputs, 3, stride, 1, bias=False), norm(outputs), torch.nn.ReLU(),
                conv(outputs, outputs, 3, 1, 1, bias=False), norm(outputs),
            )  # fmt: skip
            hidden = outputs // 16
            self.gates = torch.nn.Sequential(
                torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(),
                torch.nn.Linear(outputs, hidden), torch.nn.ReLU(),
                torch.nn.Linear(hidden, outputs), torch.nn.Sigmoid(),
            )  # fmt: skip
            self.shortcut = torch.nn.Identity()
            if stride != 1 or inputs != outputs:
                self.shortcut = torch.nn.Sequential(
                    conv(inputs, outputs, 1, stride, bias=False), norm(outputs)
                )

        def forward(self, x):
            u = self.branch(x)
            return T.relu(u * self.gates(u)[:, :, None, None] + self.shortcut(x))

    widths = [16, 16, 16, 16, 32, 32, 32, 64, 64, 64]
    blocks = [TorchBlock(a, b, 2 if b > a else 1) for a, b in itertools.pairwise(widths)]
    twin = torch.nn.Sequential(
        torch.nn.Conv2d(3, 16, 3, 1, 1, bias=False), torch.nn.BatchNorm2d(16), torch.nn.ReLU(),
        *blocks, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(64, 10),
    )  # fmt: skip
    net: Module = models.create("se_resnet20")
    assert sum(p.numel() for p in twin.parameters()) == sum(p.size for p in net.parameters())
    rng = numpy.random.RandomState(0)
    images = rng.standard_normal((batch, 3, 32, 32)).astype("float32")
    labels = rng.randint(0, 10, batch)
    our_sgd = optim.SGD(net.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    their_sgd = torch.optim.SGD(twin.parameters(), lr=0.1, momentum=0.9, nesterov=True)

    def ours() -> None:
        our_sgd.zero_grad()
        F.cross_entropy(net(minise.tensor(images)), minise.tensor(labels)).backward()
        our_sgd.step()

    def theirs() -> None:
        their_sgd.zero_grad()
        T.cross_entropy(twin(torch.tensor(images)), torch.tensor(labels)).backward()
        their_sgd.step()

    report(f"SE-ResNet-20 training step, batch {batch}", ours, theirs)


def main() -> None:
    print(
        f"Python {platform.python_version()}, NumPy {numpy.__version__}, torch {torch.__version__} "
        f"with {torch.get_num_threads()} threads, {platform.machine()}; plain kernels\n"
        f"{'':<44} {'minise ms':>10} {'torch ms':>10} {'ratio':>8}"
    )
    scalar_chain(1000)
    for channels, size in ((16, 32), (32, 16), (64, 8)):
        convolution(channels, size, batch=32)
    training_step(batch=32)


if __name__ == "__main__":
    main()
