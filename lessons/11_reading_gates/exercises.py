"""Lesson 11: gates by class and by cue, what it costs to replace them, and pictures with a new cue.

The network in weights.safetensors is the last epoch (100 % right on the test pictures) of

    minise train --model se_resnet8 --reduction 4 --data cue-digits --limit 6000 \\
        --epochs 10 --batch-size 64 --lr 0.2 --seed 2 --out runs/gates
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy

from minise import Tensor, no_grad
from minise.data import CueDigits
from minise.data.transforms import Normalize
from minise.gates import activations
from minise.models import create, load_weights
from minise.models.weights import read_notes
from minise.nn import Module, SEBlock
from minise.teach import Check, Exercise, Mistake, Point

Array = numpy.ndarray

WEIGHTS = Path(__file__).with_name("weights.safetensors")

FRAME = numpy.ones((32, 32), bool)  # True at the pixels of a CueDigits picture that show the cue
FRAME[2:-2, 2:-2] = False


def network() -> Module:
    """The trained SE-ResNet-8, in evaluation mode."""
    return load_weights(create(**read_notes(WEIGHTS)["config"]), WEIGHTS).eval()


def pictures() -> CueDigits:
    """Test pictures: none of them was part of the training."""
    return CueDigits(train=False, size=500)


def prepare(images: Array) -> Array:
    """uint8 pictures as the network was trained with."""
    notes = read_notes(WEIGHTS)
    return Normalize(notes["mean"], notes["std"])(images)


def answers(net: Module, images: Array) -> Array:
    """The digit that the network reads in each of the uint8 pictures, (N,)."""
    with no_grad():
        return net(Tensor(prepare(images))).numpy().argmax(axis=1)


def gates(net: Module, images: Array) -> dict[str, Array]:
    """The gates (N, C) of each SE block by its path."""
    return activations.collect(net, [prepare(images)])


@contextmanager
def replaced(block: SEBlock, change: Callable[[Array], Array]) -> Iterator[None]:
    """Inside a `with`, the block multiplies by change(gates) instead of by its gates (N, C)."""
    excite = block.excite

    def changed(z: Tensor) -> Tensor:
        s = numpy.asarray(change(excite(z).numpy()[:, :, 0, 0]))
        return Tensor(numpy.ascontiguousarray(s[:, :, None, None]))

    block.excite = changed  # type: ignore[method-assign]
    try:
        yield
    finally:
        del block.excite


def mystery() -> dict[str, tuple[Array, Array]]:
    """Four gates to be read: letter -> (gates of 60 pictures, their classes 0 to 4)."""
    stream = numpy.random.RandomState(0)
    labels = numpy.repeat(numpy.arange(5), 12)
    levels = numpy.array([-1.5, 0.2, 1.8, -0.6, 0.9])  # of the classes, ahead of the sigmoid
    before = {
        "A": 4.2 + 0.4 * stream.standard_normal(60),
        "B": levels[labels] + 0.45 * stream.standard_normal(60),
        "C": numpy.full(60, 0.5),
        "D": 1.3 * stream.standard_normal(60),
    }
    return {letter: (1 / (1 + numpy.exp(-v)), labels) for letter, v in before.items()}


# --- what the blanks should be ------------------------------------------------------------------


def class_means(gates: Array, labels: Array) -> Array:
    return activations.by_group(gates, labels).mean


def explained(gates: Array, labels: Array) -> float:
    return activations.variance_explained(gates, labels)


def kind(mean: float, spread: float, share: float) -> str:
    if spread < 0.001:
        return "dead"
    if mean < 0.05 or mean > 0.95:
        return "saturated"
    return "class-specific" if share > 0.5 else "class-agnostic"


def by_mean(gates: Array) -> Array:
    return numpy.broadcast_to(gates.mean(axis=0), gates.shape)


def shuffled(gates: Array, order: Array) -> Array:
    return gates[order]


def repaint(images: Array, frame: Array, colour: int) -> Array:
    painted = images.copy()
    painted[:, :, frame] = 0
    painted[:, colour, frame] = 255
    return painted


# --- the mistakes -------------------------------------------------------------------------------


def sums(gates: Array, labels: Array) -> Array:
    return numpy.stack([gates[labels == k].sum(axis=0) for k in range(labels.max() + 1)])


CLASS_MEANS = [
    Mistake(
        "That is the sum over the pictures of a class. Classes with more pictures would look as "
        "if their gates were wider open: take the mean.",
        sums,
    ),
    Mistake(
        "The mean runs over the channels as well, so one number is left for each class. Every "
        "channel has a gate of its own: only over the pictures, axis 0.",
        lambda gates, labels: class_means(gates, labels).mean(axis=1),
    ),
    Mistake(
        "The sum is divided by the number of all pictures, not by those of the class.",
        lambda gates, labels: sums(gates, labels) / len(gates),
    ),
    Mistake(
        "Every class has the mean of all pictures: select those of the class first, with "
        "gates[labels == k].",
        lambda gates, labels: numpy.stack([gates.mean(axis=0)] * (labels.max() + 1)),
    ),
]


def parts(gates: Array, labels: Array) -> tuple[Array, Array, Array]:
    """Squared distances: picture to overall mean, class mean to overall mean, picture to class."""
    means, overall = class_means(gates, labels), gates.mean(axis=0)
    return (gates - overall) ** 2, (means[labels] - overall) ** 2, (gates - means[labels]) ** 2


def by_channel(gates: Array, labels: Array) -> float:
    total, between, _ = parts(gates, labels)
    return float((between.sum(axis=0) / total.sum(axis=0)).mean())


def unweighted(gates: Array, labels: Array) -> float:
    means = class_means(gates, labels)
    between = ((means - gates.mean(axis=0)) ** 2).sum()
    return float(between / parts(gates, labels)[0].sum())


def around_zero(gates: Array, labels: Array) -> float:
    return float((class_means(gates, labels)[labels] ** 2).sum() / (gates**2).sum())


def across_channels(gates: Array, labels: Array) -> float:
    means, overall = class_means(gates, labels), gates.mean()
    return float(((means[labels] - overall) ** 2).sum() / ((gates - overall) ** 2).sum())


EXPLAINED = [
    Mistake(
        "That is the part within the classes, which they do not explain: 1 minus the share.",
        lambda gates, labels: 1 - explained(gates, labels),
    ),
    Mistake(
        "Every class counts once here, but every picture should: sum over pictures, with the mean "
        "of each picture's class, means[labels].",
        unweighted,
    ),
    Mistake(
        "The distances are measured from 0. A gate that stays at 0.8 would then be explained by "
        "anything: subtract the mean over all pictures.",
        around_zero,
    ),
    Mistake(
        "That is the mean of the channels' shares, in which a gate that hardly moves counts as "
        "much as one that moves a lot: sum over the channels before you divide.",
        by_channel,
    ),
    Mistake(
        "That is explained divided by unexplained. Divide by the total.",
        lambda gates, labels: float(parts(gates, labels)[1].sum() / parts(gates, labels)[2].sum()),
    ),
    Mistake(
        "The overall mean is one number for all channels here, so what differs from channel to "
        "channel counts too. Every channel has its own: gates.mean(axis=0).",
        across_channels,
    ),
]

KIND = [
    Mistake(
        "Look at both ends: a gate can be saturated at 0 too.",
        lambda mean, spread, share: (
            "class-agnostic" if mean < 0.05 and spread >= 0.001 else kind(mean, spread, share)
        ),
    ),
    Mistake(
        "Class-specific and class-agnostic are exchanged: classes that explain much make a gate "
        "class-specific.",
        lambda mean, spread, share: {
            "class-specific": "class-agnostic", "class-agnostic": "class-specific",
        }.get(kind(mean, spread, share), kind(mean, spread, share)),
    ),
    Mistake(
        "A mean above 0.95 is saturated, whatever the classes explain. Ask for saturation before "
        "you ask about classes, and at both ends: below 0.05 `or` above 0.95.",
        lambda mean, spread, share: (
            "dead" if spread < 0.001 else "class-specific" if share > 0.5
            else kind(mean, spread, share)
        ),
    ),
    Mistake(
        "Ask for dead first: a gate that never moves is dead wherever it stands, at 0.99 too.",
        lambda mean, spread, share: (
            "saturated" if not 0.05 <= mean <= 0.95 else kind(mean, spread, share)
        ),
    ),
]  # fmt: skip

OVER_CHANNELS = (
    "The mean runs over the channels. Every channel keeps its own mean, over the pictures: axis 0."
)
COPIES = "The means are right; every picture needs a copy of them: np.broadcast_to(…, gates.shape)."

BY_MEAN = [
    Mistake(
        OVER_CHANNELS,
        lambda gates: numpy.broadcast_to(gates.mean(axis=1, keepdims=True), gates.shape),
    ),
    Mistake(OVER_CHANNELS, lambda gates: numpy.broadcast_to(gates.mean(axis=1), gates.shape)),
    Mistake(OVER_CHANNELS, lambda gates: gates.mean(axis=1)),
    Mistake(COPIES, lambda gates: gates.mean(axis=0)),
    Mistake(COPIES, lambda gates: gates.mean(axis=0, keepdims=True)),
    Mistake(
        "One number for everything: the channels differ as well. The mean runs over axis 0 only.",
        lambda gates: numpy.full_like(gates, gates.mean()),
    ),
]

CHANNELS_EXCHANGED = "The channels are exchanged, not the pictures: the order belongs to axis 0."

SHUFFLED = [
    Mistake(CHANNELS_EXCHANGED, lambda gates, order: gates[:, order % gates.shape[1]]),
    Mistake(CHANNELS_EXCHANGED, lambda gates, order: gates[:, order]),
    Mistake(
        "Nothing has moved: index the gates with the order.",
        lambda gates, order: gates,
    ),
    Mistake(
        "That is the way back: picture i should get the gates of picture order[i].",
        lambda gates, order: gates[numpy.argsort(order)],
    ),
]

REPAINT = [
    Mistake(
        "The old colour is still there, so the frame has two colours at once: set all three planes "
        "of the frame to 0 first.",
        lambda images, frame, colour: numpy.where(
            frame & (numpy.arange(3) == colour)[:, None, None], numpy.uint8(255), images
        ),
    ),
    Mistake(
        "The frame is white: only the plane of the colour gets 255.",
        lambda images, frame, colour: numpy.where(frame, numpy.uint8(255), images),
    ),
    Mistake(
        "The frame is black: the plane of the colour should get 255.",
        lambda images, frame, colour: numpy.where(frame, numpy.uint8(0), images),
    ),
    Mistake(
        "The digits are painted over: only the pixels where frame is True change.",
        lambda images, frame, colour: repaint(images, numpy.ones_like(frame), colour),
    ),
    Mistake(
        "The inside is painted, and the frame is not: frame is True at the frame's own pixels.",
        lambda images, frame, colour: repaint(images, ~frame, colour),
    ),
    Mistake(
        "uint8 pixels reach from 0 to 255; 1 is almost black.",
        lambda images, frame, colour: numpy.where(
            frame, (numpy.arange(3) == colour)[:, None, None].astype(numpy.uint8), images
        ),
    ),
]


# --- the points ---------------------------------------------------------------------------------


def of_gates(labels: list[int], channels: int, seed: int) -> Point:
    """Gates that depend on the class, on the picture and on the channel, and an order."""
    stream = numpy.random.RandomState(seed)
    group = numpy.array(labels)
    scale = stream.uniform(0.2, 2, channels)  # some gates move more than others
    v = stream.standard_normal((group.max() + 1, channels))[group]
    v = scale * (v + 0.5 * stream.standard_normal(v.shape)) + 0.5
    order = numpy.roll(numpy.arange(len(group)), 2)
    order[:2] = order[1::-1]
    return {"gates": 1 / (1 + numpy.exp(-v)), "labels": group, "order": order}


def of_pictures(count: int, colour: int) -> Point:
    return {"images": CueDigits(train=False, size=count).images, "frame": FRAME, "colour": colour}


READINGS = {
    "a gate at 0.62 that never moves": (0.62, 0.0, 0.0),
    "a gate at 0.99 that never moves": (0.99, 0.0, 0.0),
    "mean 0.98, spread 0.01, share 0.7": (0.98, 0.01, 0.7),
    "mean 0.01, spread 0.008, share 0.1": (0.01, 0.008, 0.1),
    "mean 0.6, spread 0.2, share 0.9": (0.6, 0.2, 0.9),
    "mean 0.4, spread 0.25, share 0.04": (0.4, 0.25, 0.04),
}

GATES = {
    "12 pictures of 3 classes": of_gates([0, 2, 1, 0, 0, 2, 1, 0, 0, 1, 0, 0], 4, seed=1),
    "7 pictures of 2": of_gates([1, 0, 1, 1, 1, 0, 1], 6, seed=2),
}

EXERCISES: list[tuple[Exercise, Callable[..., Any], dict[str, Point]]] = [
    (Exercise("class_means", "gates labels", "means", CLASS_MEANS), class_means, GATES),
    (Exercise("explained", "gates labels", "explained", EXPLAINED), explained, GATES),
    (
        Exercise("kind", "mean spread share", "kind", KIND),
        kind,
        {name: dict(zip(("mean", "spread", "share"), v)) for name, v in READINGS.items()},
    ),
    (Exercise("by_mean", "gates", "constant", BY_MEAN), by_mean, GATES),
    (Exercise("shuffled", "gates order", "exchanged", SHUFFLED), shuffled, GATES),
    (
        Exercise("repaint", "images frame colour", "painted", REPAINT),
        repaint,
        {"4 pictures": of_pictures(4, colour=1), "3 pictures": of_pictures(3, colour=2)},
    ),
]


POINTS: dict[str, dict[str, Any]] = {}
for exercise, function, points in EXERCISES:
    for name, point in points.items():
        answer = function(*exercise.given(point).values())
        POINTS.setdefault(name, {**point})[exercise.answer] = answer

check = Check(POINTS, [exercise for exercise, _, _ in EXERCISES])
