"""What a trained network sees in a picture."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy

from .. import functional as F
from ..autograd import Tensor, no_grad
from ..data import images
from ..nn import Module
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


class Predictor:
    """A network with weights from a file, its preprocessing and the names of its classes.

    path    weights, see `load_weights`
    model   the net of `models.create` to load them into; None: as the file says (if minise wrote
            it)
    labels  a text file with one class name a line; None: classes are numbers

    Raises ValueError where the file does not say which net it belongs to or the labels are not as
    many as the classes, and as `load_weights`.
    """

    def __init__(
        self, path: str | os.PathLike[str], model: Module | None = None, *,
        source: str = "minise", labels: str | os.PathLike[str] | None = None,
        backend: str = "numpy",
    ) -> None:  # fmt: skip
        model = rebuild(path) if model is None else model
        self.model = weights.load_weights(model, path, source).to(backend).eval()
        self.backend = backend
        classes = self.model.config["num_classes"]
        self.labels = [str(i) for i in range(classes)]
        if labels is not None:
            self.labels = read_labels(labels, classes)

    def probabilities(self, path: str | os.PathLike[str]) -> numpy.ndarray:
        """(classes,) for one picture: resized, cropped in the middle, normalised."""
        size = self.model.image_size
        resize = 256 if size == 224 else size  # ImageNet's habit: a margin of 1/8
        mean, std = statistics(self.model)
        picture = images.prepare(images.read_image(path), size, resize, mean, std)
        with no_grad():
            logits = self.model(Tensor(picture[None]).to(self.backend))  # (1, classes)
        return F.softmax(logits, 1).numpy()[0]

    def table(self, path: str | os.PathLike[str], top: int = 5) -> str:
        """The likeliest classes, one a line, with their probabilities."""
        p = self.probabilities(path)
        best = numpy.argsort(-p, kind="stable")[:top]
        return "\n".join(f"  {p[i]:7.2%}  {self.labels[i]}" for i in best)
