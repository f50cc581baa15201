"""Lesson 10: one training loop, an honest accuracy, and what several seeds say about a gain.

What is expected is computed by minise's own engine; a test holds it against PyTorch. The curves of
many seeds are stored in runs.json, which `python benchmarks/lesson_runs.py` writes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy

from minise import Tensor, no_grad
from minise import functional as F
from minise.data import CIFAR10, CIFAR10_MEAN, CIFAR10_STD, CueDigits, Dataset
from minise.data.transforms import Normalize
from minise.nn import BatchNorm2d, Conv2d, Flatten, Linear, Module, ReLU, Sequential
from minise.optim import SGD, Optimizer
from minise.teach import Check, Exercise, Mistake, Point

Array = numpy.ndarray
Batch = tuple[Array, Array]

# As seen from this lesson's folder, this is where `minise train` keeps its data.
DATA_DIR = os.environ.get("MINISE_DATA_DIR", "../../datasets")


def pictures(download: bool = False) -> tuple[Dataset, Dataset]:
    """Training and test pictures: CIFAR-10 if it lies in DATA_DIR, else CueDigits; says which.

    download  fetch CIFAR-10 into DATA_DIR (170 MB) if it is not there yet
    """
    try:
        train, test = (CIFAR10(DATA_DIR, part, download) for part in (True, False))
        print("CIFAR-10.")
        return train, test.take(2000)
    except FileNotFoundError:
        print("CueDigits, because the folder datasets (beside lessons) holds no CIFAR-10.")
    except ValueError as error:  # damaged, or the version that is a pickle
        print(f"CueDigits, because CIFAR-10 cannot be used: {error}")
    return CueDigits(True, size=4000), CueDigits(False, size=500)


def prepare(images: Array) -> Array:
    """Pixels 0 … 255 as a network likes them: float32, about 0 on average."""
    return Normalize(CIFAR10_MEAN, CIFAR10_STD)(images)


def runs() -> dict[str, dict[str, Any]]:
    """Test accuracies of many trainings, by data set: see benchmarks/lesson_runs.py."""
    return json.loads(Path(__file__).with_name("runs.json").read_text(encoding="utf-8"))


# --- what the blanks should be ------------------------------------------------------------------


def guessing_loss(classes: int) -> float:
    """Cross-entropy of a network that gives every class the same probability."""
    return float(-numpy.log(1 / classes))


def train(net: Module, optimizer: Optimizer, batches: Iterable[Batch]) -> list[float]:
    """One update for each batch; the loss before each update."""
    net.train()
    losses = []
    for images, labels in batches:
        loss = F.cross_entropy(net(Tensor(images)), Tensor(labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def accuracy(net: Module, images: Array, labels: Array) -> float:
    """Share of the pictures whose likeliest class is the right one."""
    net.eval()
    with no_grad():
        logits = net(Tensor(images)).numpy()  # (N, classes)
    return float((logits.argmax(axis=1) == labels).mean())


def gain(with_se: Array, without: Array) -> Array:
    """Difference of the means of two groups of runs, and its standard error."""
    errors = [numpy.var(group, ddof=1) / len(group) for group in (with_se, without)]
    return numpy.array([numpy.mean(with_se) - numpy.mean(without), numpy.sqrt(sum(errors))])


# --- the mistakes -------------------------------------------------------------------------------


def loop(step: Callable[..., None], train: bool = True) -> Callable[..., list[float]]:
    """A training loop whose updates are made by `step(optimizer, loss)`."""

    def run(net: Module, optimizer: Optimizer, batches: Iterable[Batch]) -> list[float]:
        net.train(train)
        losses = []
        for images, labels in batches:
            loss = F.cross_entropy(net(Tensor(images)), Tensor(labels))
            step(optimizer, loss)
            losses.append(loss.item())
        return losses

    return run


def without_zero_grad(optimizer: Optimizer, loss: Tensor) -> None:
    loss.backward()
    optimizer.step()


def without_step(optimizer: Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()


def step_too_early(optimizer: Optimizer, loss: Tensor) -> None:
    optimizer.step()
    optimizer.zero_grad()
    loss.backward()


def right(optimizer: Optimizer, loss: Tensor) -> None:
    without_step(optimizer, loss)
    optimizer.step()


GUESSING_LOSS = [
    Mistake(
        "That is the probability itself. Cross-entropy is minus its logarithm.",
        lambda classes: 1 / classes,
    ),
    Mistake(
        "The sign is lost: a probability below 1 has a negative logarithm, a loss is positive.",
        lambda classes: numpy.log(1 / classes),
    ),
    Mistake(
        "Cross-entropy takes the natural logarithm, np.log, not the one to base 2.",
        lambda classes: numpy.log2(classes),
    ),
    Mistake(
        "Cross-entropy takes the natural logarithm, np.log, not the one to base 10.",
        lambda classes: numpy.log10(classes),
    ),
]

TRAIN = [
    Mistake(
        "The gradients of all steps so far pile up: backward() adds to .grad. Call zero_grad() "
        "before backward().",
        loop(without_zero_grad),
    ),
    Mistake(
        "The weights never move. Is optimizer.step() there, and does zero_grad() come before "
        "backward()? Between backward() and step() it throws the new gradient away.",
        loop(without_step),
    ),
    Mistake(
        "Every update comes one batch late: step() runs before backward() and uses the gradient "
        "of the batch before.",
        loop(step_too_early),
    ),
    Mistake(
        "BatchNorm uses its running averages: the net came here from a measurement, in evaluation "
        "mode. Call net.train() first.",
        loop(right, train=False),
    ),
    Mistake(
        "There should be one loss for each batch, not their mean.",
        lambda net, optimizer, batches: float(numpy.mean(train(net, optimizer, batches))),
    ),
]


def in_training_mode(net: Module, images: Array, labels: Array) -> float:
    return float((net(Tensor(images)).numpy().argmax(axis=1) == labels).mean())


ACCURACY = [
    Mistake(
        "The net is still in training mode, so BatchNorm takes mean and variance from these very "
        "pictures: what it says of one picture depends on the others. Call net.eval() first.",
        in_training_mode,
    ),
    Mistake(
        "That is how many are right. The accuracy is their share: the mean, not the sum.",
        lambda net, images, labels: accuracy(net, images, labels) * len(labels),
    ),
    Mistake(
        "That is the share of the wrong ones.",
        lambda net, images, labels: 1 - accuracy(net, images, labels),
    ),
    Mistake(
        "argmax runs over the pictures. The classes of one picture lie along axis 1.",
        lambda net, images, labels: net.eval()(Tensor(images)).numpy().argmax(axis=0) == labels,
    ),
]


def difference(with_se: Array, without: Array) -> Any:
    return numpy.mean(with_se) - numpy.mean(without)


GAIN = [
    Mistake(
        "The gain's sign is turned round: the mean with SE minus the mean without.",
        lambda with_se, without: gain(without, with_se),
    ),
    Mistake(
        "That is how far single runs scatter. A mean of n runs scatters less: divide each "
        "variance by n before you add them.",
        lambda with_se, without: numpy.array(
            [difference(with_se, without), numpy.hypot(numpy.std(with_se, ddof=1),
                                                       numpy.std(without, ddof=1))]
        ),
    ),
    Mistake(
        "np.var divides by n unless it is told otherwise. With few runs that is too small: pass "
        "ddof=1, which divides by n - 1.",
        lambda with_se, without: numpy.array(
            [difference(with_se, without), numpy.sqrt(numpy.var(with_se) / len(with_se)
                                                      + numpy.var(without) / len(without))]
        ),
    ),
    Mistake(
        "Standard errors do not add: their squares do. Add the two variances of the means, then "
        "take one square root.",
        lambda with_se, without: numpy.array(
            [difference(with_se, without), sum(numpy.std(group, ddof=1) / numpy.sqrt(len(group))
                                               for group in (with_se, without))]
        ),
    ),
    Mistake(
        "That compares the best run of each. The more seeds are tried, the better the best one: "
        "take means.",
        lambda with_se, without: numpy.array(
            [numpy.max(with_se) - numpy.max(without), gain(with_se, without)[1]]
        ),
    ),
]  # fmt: skip


# --- the points ---------------------------------------------------------------------------------


def tiny_net(classes: int, stream: numpy.random.RandomState) -> Module:
    """For pictures of 6x6, in float64, with weights and running statistics from `stream`."""
    net = Sequential(
        Conv2d(3, 4, 3, stride=2, padding=1, bias=False), BatchNorm2d(4), ReLU(),  # (N, 4, 3, 3)
        Flatten(), Linear(36, classes),
    ).double()  # fmt: skip
    for tensor in [*net.parameters(), net[1].running_mean, net[1].running_var]:
        tensor.data[...] = 0.3 * stream.standard_normal(tensor.shape) ** 2
    return net


def to_train(classes: int, size: int, steps: int, seed: int) -> Point:
    """A net as it comes from a measurement, in evaluation mode, and batches to train it with."""
    stream = numpy.random.RandomState(seed)
    net = tiny_net(classes, stream).eval()
    optimizer = SGD(net.parameters(), lr=0.1, momentum=0.9)
    batches = [
        (stream.standard_normal((size, 3, 6, 6)), stream.randint(classes, size=size))
        for _ in range(steps)
    ]
    return {"net": net, "optimizer": optimizer, "batches": batches}


def to_measure(classes: int, count: int, seed: int) -> Point:
    """A net as it comes from training, and pictures to test it with."""
    stream = numpy.random.RandomState(seed)
    net = tiny_net(classes, stream).train()
    images = stream.standard_normal((count, 3, 6, 6))
    return {"net": net, "images": images, "labels": stream.randint(classes, size=count)}


def groups_of_runs(with_se: int, without: int, seed: int) -> Point:
    stream = numpy.random.RandomState(seed)
    return {
        "with_se": 0.9 + 0.01 * stream.standard_normal(with_se),
        "without": 0.9 + 0.02 * stream.standard_normal(without),
    }


EXERCISES: list[tuple[Exercise, Callable[..., Any], dict[str, Point]]] = [
    (
        Exercise("guessing_loss", "classes", "loss", GUESSING_LOSS),
        guessing_loss,
        {"10 classes": {"classes": 10}, "100 classes": {"classes": 100}},
    ),
    (
        Exercise("train", "net optimizer batches", "losses", TRAIN),
        train,
        {
            "5 batches of 6 pictures": to_train(4, size=6, steps=5, seed=10),
            "6 batches of 4": to_train(7, size=4, steps=6, seed=11),
        },
    ),
    (
        Exercise("accuracy", "net images labels", "share", ACCURACY),
        accuracy,
        {
            "30 pictures of 4 classes": to_measure(4, count=30, seed=12),
            "24 of 7 classes": to_measure(7, count=24, seed=13),
        },
    ),
    (
        Exercise("gain", "with_se without", "gain", GAIN),
        gain,
        {
            "5 and 5 runs": groups_of_runs(5, 5, seed=14),
            "4 and 6 runs": groups_of_runs(4, 6, seed=15),
        },
    ),
]

check = Check(
    {
        name: {**point, exercise.answer: function(*exercise.given(point).values())}
        for exercise, function, points in EXERCISES
        for name, point in points.items()
    },
    [exercise for exercise, _, _ in EXERCISES],
)
