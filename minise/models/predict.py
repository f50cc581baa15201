"""What a trained network sees in a picture."""

from __future__ import annotations

import os
from pathlib import Path

import numpy

from .. import functional as F
from ..autograd import Tensor, no_grad
from ..data import images
from ..nn import Module
from . import registry, weights

# The mean and standard deviation of each channel that the nets were trained with.
STATISTICS = {
    32: (images.CIFAR10_MEAN, images.CIFAR10_STD),
    224: (images.IMAGENET_MEAN, images.IMAGENET_STD),
}


class Predictor:
    """A network with weights from a file, its preprocessing and the names of its classes.

    path    weights, see `load_weights`
    model   the net to load them into; None: as the file says (if minise wrote it)
    labels  a text file with one class name a line; None: classes are numbers

    Raises ValueError where the file does not say which net it belongs to or the labels are not as
    many as the classes, and as `load_weights`.
    """

    def __init__(
        self, path: str | os.PathLike[str], model: Module | None = None, *,
        source: str = "minise", labels: str | os.PathLike[str] | None = None,
        backend: str = "numpy",
    ) -> None:  # fmt: skip
        if model is None:
            arrays = weights.read_arrays(path)  # first, so that damage is reported as such
            config = weights.read_config(path)
            if config is None:
                raise ValueError(
                    f"predict: {path} does not say which network it belongs to; name it with "
                    f"--model ({len(arrays)} arrays in the file)"
                )
            model = registry.create(**config)
        self.model = weights.load_weights(model, path, source).to(backend).eval()
        self.backend = backend
        classes = self.model.config["num_classes"]
        self.labels = [str(i) for i in range(classes)]
        if labels is not None:
            self.labels = Path(labels).read_text(encoding="utf-8").splitlines()
            if len(self.labels) != classes:
                raise ValueError(
                    f"predict: {labels} has {len(self.labels)} lines, the network {classes} classes"
                )

    def probabilities(self, path: str | os.PathLike[str]) -> numpy.ndarray:
        """(classes,) for one picture: resized, cropped in the middle, normalised."""
        size = self.model.image_size
        resize = 256 if size == 224 else size  # ImageNet's habit: a margin of 1/8
        mean, std = STATISTICS[size]
        picture = images.prepare(images.read_image(path), size, resize, mean, std)
        with no_grad():
            logits = self.model(Tensor(picture[None]).to(self.backend))  # (1, classes)
        return F.softmax(logits, 1).numpy()[0]

    def table(self, path: str | os.PathLike[str], top: int = 5) -> str:
        """The likeliest classes, one a line, with their probabilities."""
        p = self.probabilities(path)
        best = numpy.argsort(-p, kind="stable")[:top]
        return "\n".join(f"  {p[i]:7.2%}  {self.labels[i]}" for i in best)
