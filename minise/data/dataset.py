"""What every data set here is: pictures and labels as two arrays held in memory."""

import copy
import operator

import numpy as np


class Dataset:
    """Pictures with one label each.

    Attributes:
        images: uint8 (N, 3, H, W), RGB.
        labels: int64 (N,), indices into `classes`.
        classes: the names of the classes.
    """

    per_image: tuple[str, ...] = ("images", "labels")  # attributes with one entry per picture

    def __init__(self, images: np.ndarray, labels: np.ndarray, classes: list[str]) -> None:
        if images.ndim != 4 or images.dtype != np.uint8 or labels.shape != images.shape[:1]:
            raise ValueError(
                "Dataset: expected images uint8 (N, C, H, W) and labels (N,), "
                f"got {images.dtype} {images.shape} and {labels.shape}"
            )
        self.images = images
        self.labels = labels.astype(np.int64, copy=False)
        self.classes = classes

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index) -> tuple[np.ndarray, np.ndarray]:
        """(images, labels) at an integer, a slice or an array of indices."""
        return self.images[index], self.labels[index]

    def take(self, count: int) -> "Dataset":
        """The same data set with its first `count` pictures only (all of them if there are fewer)."""
        if operator.index(count) < 1:
            raise ValueError(f"{type(self).__name__}.take: count must be at least 1, got {count}")
        part = copy.copy(self)
        for name in self.per_image:
            setattr(part, name, getattr(self, name)[:count])
        return part

    def __repr__(self) -> str:
        H, W = self.images.shape[2:]
        return f"{type(self).__name__}({len(self)} pictures of {H} x {W}, {len(self.classes)} classes)"
