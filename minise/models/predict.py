"""What a trained network sees in a picture."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy

from .. import functional as F
from ..autograd import no_grad
from ..backend import get
from ..backend.gpu.memory import naming_memory
from ..data import images
from ..nn import Module
from ..tensor import Tensor
from . import registry, weights


def statistics(net: Module) -> tuple[Sequence[float], Sequence[float]]:
    """Mean and standard deviation of each channel of the pictures such a net is trained with."""
    if net.image_size == 224:
        return images.IMAGENET_MEAN, images.IMAGENET_STD
    if net.config["num_classes"] == 100:
        return images.CIFAR100_MEAN, images.CIFAR100_STD
    return images.CIFAR10_MEAN, images.CIFAR10_STD


def rebuild(path: str | os.PathLike[str]) -> Module:
    """The network that a weights file says it belongs to; ValueError if it does not say."""
    config = weights.read_config(path)
    if config is None:
        raise ValueError(
            f"predict: {path} does not say which network it belongs to; name it (--model)"
        )
    try:
        return registry.create(**config)
    except (TypeError, ValueError, AttributeError) as error:  # the note may say anything
        raise ValueError(f"predict: {path} asks for an impossible network ({error})") from error


def read_labels(path: str | os.PathLike[str], classes: int) -> list[str]:
    """One class name a line; ValueError unless there are `classes` of them."""
    try:
        labels = Path(path).read_text(encoding="utf-8-sig").rstrip().splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"predict: {path} is no text in UTF-8") from None
    if len(labels) != classes:
        raise ValueError(f"predict: {path} has {len(labels)} lines, the network {classes} classes")
    return labels


class Preparation(NamedTuple):
    """How a picture becomes what the network was trained with; see `images.prepare`."""

    size: int
    resize: int
    mean: Sequence[float]
    std: Sequence[float]


def preparation(net: Module, notes: Mapping[str, Any]) -> Preparation:
    """As the file's notes say, or as is usual for such a network.

    Raises ValueError for notes that make no sense.
    """
    size = net.image_size
    if "mean" not in notes or "std" not in notes:
        resize = 256 if size == 224 else size  # ImageNet's habit: a margin of 1/8
        return Preparation(size, resize, *statistics(net))
    try:
        images.per_channel("mean", notes["mean"])
        images.per_channel("std", notes["std"], positive=True)
    except TypeError as error:
        raise ValueError(f"mean and std: {error}") from None
    return Preparation(size, size, notes["mean"], notes["std"])


def noted_labels(notes: Mapping[str, Any], classes: int) -> list[str]:
    """The names that the file's notes give the classes, or their numbers.

    Raises ValueError for notes that do not fit.
    """
    noted = notes.get("classes")
    if noted is None:
        return [str(i) for i in range(classes)]
    if not isinstance(noted, list) or [type(name) for name in noted] != [str] * classes:
        raise ValueError(f"classes: expected {classes} names, got {noted!r}")
    return noted


class Predictor:
    """A network with weights from a file, its preprocessing and the names of its classes.

    path    weights, see `load_weights`; those of a training run know how to prepare a picture and
            what the classes are called
    model   the net of `models.create` to load them into; None: as the file says (if minise wrote
            it)
    labels  a text file with one class name a line; None: as the file says, else numbers

    Raises ValueError where the file does not say which net it belongs to or the labels are not as
    many as the classes, and as `load_weights`; MemoryError if the net, or later a picture, does not
    fit into a GPU.
    """

    def __init__(
        self, path: str | os.PathLike[str], model: Module | None = None, *,
        source: str = "minise", labels: str | os.PathLike[str] | None = None,
        backend: str = "numpy",
    ) -> None:  # fmt: skip
        model = rebuild(path) if model is None else model
        self.model, self.home = weights.load_weights(model, path, source).eval(), get(backend)
        with naming_memory(self.home, "the network"):
            self.model.to(backend)
        classes, notes = self.model.config["num_classes"], weights.read_notes(path)
        try:
            self.preparation = preparation(self.model, notes)
            self.labels = noted_labels(notes, classes)
        except ValueError as error:
            raise ValueError(f"predict: the notes in {path} cannot be used: {error}") from None
        if labels is not None:
            self.labels = read_labels(labels, classes)

    def probabilities(self, path: str | os.PathLike[str]) -> numpy.ndarray:
        """(classes,) for one picture: resized, cropped in the middle, normalised."""
        picture = images.prepare(images.read_image(path), *self.preparation)
        height, width = picture.shape[1:]
        with no_grad(), naming_memory(self.home, f"a picture of {height} × {width} pixels"):
            logits = self.model(Tensor(picture[None]).to(self.home.name))  # (1, classes)
            return F.softmax(logits, 1).numpy()[0]

    def table(self, path: str | os.PathLike[str], top: int = 5) -> str:
        """The likeliest classes, one a line, with their probabilities."""
        p = self.probabilities(path)
        best = numpy.argsort(-p, kind="stable")[:top]
        return "\n".join(f"  {p[i]:7.2%}  {self.labels[i]}" for i in best)
