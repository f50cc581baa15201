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

    def __getitem__(self, index: int | slice | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(images, labels) at an integer, a slice or an array of indices."""
        return self.images[index], self.labels[index]

    def subset(self, index: slice | np.ndarray) -> "Dataset":
        """The same data set with only the pictures at a slice or an array of indices."""
        part = copy.copy(self)
        for name in self.per_image:
            setattr(part, name, getattr(self, name)[index])
        return part

    def take(self, count: int) -> "Dataset":
        """The same data set with its first `count` pictures only; all if there are fewer."""
        if operator.index(count) < 1:
            raise ValueError(f"{type(self).__name__}.take: count must be at least 1, got {count}")
        return self.subset(slice(count))

    def __repr__(self) -> str:
        name, (N, _, H, W) = type(self).__name__, self.images.shape
        return f"{name}({N} pictures of {H} x {W}, {len(self.classes)} classes)"
