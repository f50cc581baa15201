"""Augmentation of whole batches at once.

Every transform is called with images (N, C, H, W), uint8 (0 to 255) or float32 (0 to 1), and a
`numpy.random.RandomState`, whose stream NumPy has frozen, so the same seed gives the same batch
with any version. It returns a new array and leaves its input alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from .images import per_channel

Transform = Callable[[np.ndarray, np.random.RandomState], np.ndarray]


@dataclass(frozen=True)
class Compose:
    """Applies the transforms one after the other."""

    transforms: Sequence[Transform]

    def __call__(self, images: np.ndarray, random: np.random.RandomState) -> np.ndarray:
        for transform in self.transforms:
            images = transform(images, random)
        return images


@dataclass(frozen=True)
class RandomCrop:
    """Pads with black, then cuts a square of `size` pixels at a random place of each picture.

    `RandomCrop(32, padding=4)` shifts a CIFAR picture by up to four pixels (He et al. 2015,
    section 4.2).
    """

    size: int
    padding: int = 0

    def __post_init__(self) -> None:
        if self.size < 1 or self.padding < 0:
            raise ValueError(f"{self}: expected size >= 1 and padding >= 0")

    def __call__(self, images: np.ndarray, random: np.random.RandomState) -> np.ndarray:
        N, C, H, W = images.shape
        down, right = (side + 2 * self.padding - self.size + 1 for side in (H, W))
        if down < 1 or right < 1:
            raise ValueError(f"{self}: pictures of {H} x {W} are smaller than the crop")
        p = self.padding
        padded = np.zeros((N, C, H + 2 * p, W + 2 * p), images.dtype)
        padded[:, :, p : p + H, p : p + W] = images
        windows = sliding_window_view(padded, (self.size, self.size), axis=(2, 3))
        top, left = random.randint(down, size=N), random.randint(right, size=N)
        return windows[np.arange(N), :, top, left]  # (N, C, size, size)


@dataclass(frozen=True)
class RandomHorizontalFlip:
    """Mirrors each picture left to right with probability `p`."""

    p: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.p <= 1:
            raise ValueError(f"{self}: expected a probability")

    def __call__(self, images: np.ndarray, random: np.random.RandomState) -> np.ndarray:
        flip = random.random_sample(len(images)) < self.p
        flipped = images.copy()
        flipped[flip] = images[flip, :, :, ::-1]
        return flipped


@dataclass(frozen=True)
class Cutout:
    """Blanks a square of `size` pixels around a random point (DeVries and Taylor 2017).

    Parts of the square may lie outside of the picture. It is filled with 0: the mean colour where
    this comes after `Normalize`, as in the paper, and black before it.
    """

    size: int = 16

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"{self}: expected size >= 1")

    def __call__(self, images: np.ndarray, random: np.random.RandomState) -> np.ndarray:
        N, _, H, W = images.shape
        top = random.randint(H, size=(N, 1)) - self.size // 2
        left = random.randint(W, size=(N, 1)) - self.size // 2
        y, x = np.arange(H), np.arange(W)
        rows = (top <= y) & (y < top + self.size)       # (N, H)
        columns = (left <= x) & (x < left + self.size)  # (N, W)
        hole = rows[:, None, :, None] & columns[:, None, None, :]  # (N, 1, H, W)
        return np.where(hole, images.dtype.type(0), images)


@dataclass(frozen=True)
class ToFloat:
    """float32 with full brightness at 1: uint8 is divided by 255, floats stay as they are."""

    def __call__(
        self, images: np.ndarray, random: np.random.RandomState | None = None
    ) -> np.ndarray:
        if images.dtype == np.uint8:
            return images * np.float32(1 / 255)
        return images.astype(np.float32, copy=False)


@dataclass(frozen=True)
class Normalize:
    """(x − mean) / std per channel, in units of full brightness; uint8 is divided by 255 first."""

    mean: Sequence[float]
    std: Sequence[float]

    def __post_init__(self) -> None:
        per_channel("Normalize: mean", self.mean)
        per_channel("Normalize: std", self.std, positive=True)

    def __call__(
        self, images: np.ndarray, random: np.random.RandomState | None = None
    ) -> np.ndarray:
        normalized = ToFloat()(images) - per_channel("Normalize: mean", self.mean)
        normalized /= per_channel("Normalize: std", self.std)
        return normalized
