"""The pictures of a run: loaded, divided into training and test, ready for a DataLoader."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy

from ..data import (
    CIFAR10,
    CIFAR10_MEAN,
    CIFAR10_STD,
    CIFAR100,
    CIFAR100_MEAN,
    CIFAR100_STD,
    CueDigits,
    Dataset,
    ImageFolder,
)
from ..data.transforms import (
    Compose,
    Cutout,
    Normalize,
    RandomCrop,
    RandomHorizontalFlip,
    Transform,
)
from ..models.registry import image_size
from .config import DATASETS, Config

TEST_NAMES = ("test", "val")  # of the folder beside train/


@dataclass(frozen=True)
class Data:
    """What a run trains and tests with.

    train, test       the pictures, uint8 (N, 3, H, W), and their labels
    mean, std         of each channel, in units of full brightness
    transform         for a batch of training pictures: augmented, then normalised
    test_transform    for a batch of test pictures: normalised
    skipped           one message per file that could not be read
    """

    train: Dataset
    test: Dataset
    mean: Sequence[float]
    std: Sequence[float]
    transform: Transform
    test_transform: Transform
    skipped: Sequence[str] = ()

    @property
    def classes(self) -> list[str]:
        """The names of the classes, in the order of the labels."""
        return self.train.classes

    @property
    def num_classes(self) -> int:
        """How many classes the pictures have."""
        return len(self.classes)


def load(config: Config) -> Data:
    """The pictures that `config` names.

    CIFAR is downloaded into `config.data_dir` if it is not there. A folder holds train/ and test/
    (or val/), each with one folder of pictures per class; or just the folders of the classes, of
    which one picture in five is kept for testing, chosen by the seed. Pictures are scaled to what
    the network is made for.

    `config.limit` keeps the first training pictures. CIFAR and CueDigits are stored in random
    order; the pictures of a folder are shuffled first, by the seed.

    Raises ValueError or OSError, naming the file, for data that is missing or damaged.
    """
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None
    train: Dataset
    test: Dataset
    skipped: list[str] = []
    if config.data.startswith("cue-digits"):
        cue = "tint" if config.data.endswith("tint") else "frame"
        train, test = (
            CueDigits(part, seed=0, cue=cue, root=config.data_dir) for part in (True, False)
        )
    elif config.data == "cifar10":
        train, test = (CIFAR10(config.data_dir, part, download=True) for part in (True, False))
        mean, std = CIFAR10_MEAN, CIFAR10_STD
    elif config.data == "cifar100":
        train, test = (CIFAR100(config.data_dir, part, download=True) for part in (True, False))
        mean, std = CIFAR100_MEAN, CIFAR100_STD
    else:
        train, test, skipped = _from_folder(config)
    if config.limit is not None:
        train = train.take(config.limit)
    if mean is None or std is None:
        mean, std = statistics(train)

    size = train.images.shape[-1]
    augmentation: list[Transform] = []
    if config.augment:
        augmentation = [RandomCrop(size, padding=size // 8), RandomHorizontalFlip()]
    normalize = Normalize(mean, std)
    cutout: list[Transform] = [Cutout(config.cutout)] if config.cutout else []
    transform = Compose([*augmentation, normalize, *cutout])
    return Data(train, test, mean, std, transform, normalize, skipped)


def statistics(dataset: Dataset) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel, in units of full brightness.

    Raises ValueError if a channel is the same everywhere.
    """
    levels = numpy.arange(256) / 255
    means, stds = [], []
    for channel in range(3):
        counts = numpy.bincount(dataset.images[:, channel].ravel(), minlength=256)
        share = counts / counts.sum()
        mean = float(share @ levels)
        means.append(mean)
        stds.append(float(numpy.sqrt(share @ (levels - mean) ** 2)))
    if min(stds) < 1e-6:
        raise ValueError("the training pictures are blank: a colour has one value everywhere")
    return means, stds


def _from_folder(config: Config) -> tuple[Dataset, Dataset, list[str]]:
    root, size = Path(config.data), image_size(config.model)
    if not root.is_dir():
        raise ValueError(f"data: expected one of {', '.join(DATASETS)} or a folder, got {root}")
    random = numpy.random.RandomState([config.seed, 0])
    on_error = "raise" if config.unreadable == "refuse" else "skip"
    if not (root / "train").is_dir():
        pictures = ImageFolder(root, size, on_error=on_error)
        train, test = _divide(pictures, random)
        return train, test, pictures.skipped
    test_root = next((root / name for name in TEST_NAMES if (root / name).is_dir()), None)
    if test_root is None:
        raise ValueError(f"{root}: beside train/ there must be test/ or val/")
    train = ImageFolder(root / "train", size, on_error=on_error)
    test = ImageFolder(test_root, size, classes=train.classes, on_error=on_error)
    skipped = [*train.skipped, *test.skipped]
    return train.subset(random.permutation(len(train))), test, skipped


def _divide(pictures: Dataset, random: numpy.random.RandomState) -> tuple[Dataset, Dataset]:
    """Shuffles, then takes a fifth of each class, at least one picture, for testing."""
    order = random.permutation(len(pictures))
    is_test = numpy.zeros(len(pictures), bool)
    for label, name in enumerate(pictures.classes):
        places = order[pictures.labels[order] == label]
        if len(places) < 2:
            raise ValueError(f"class {name!r} has one picture; to train and test it takes two")
        is_test[places[: max(1, len(places) // 5)]] = True
    return pictures.subset(order[~is_test[order]]), pictures.subset(order[is_test[order]])
