"""CIFAR-10 and CIFAR-100 from their binary version, whose records are plain bytes.

A record is one label byte (CIFAR-100: coarse, then fine), then 1024 bytes each of red, green and
blue, row by row. The Python version of the same data is a pickle, which may run code while it is
read, and is refused. Described at https://www.cs.toronto.edu/~kriz/cifar.html.
"""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

import numpy as np

from .dataset import Dataset

PIXELS = 3 * 32 * 32
MIRROR_VARIABLE = "MINISE_CIFAR_MIRROR"
OFFICIAL = (
    "https://www.cs.toronto.edu/~kriz/",
    "https://cave.cs.toronto.edu/kriz/",  # where the first one redirects to
    "http://www.cs.toronto.edu/~kriz/",  # the checksum guards against what https would
)


class BinaryFile(NamedTuple):
    """A file of the binary version: its name, how many pictures it holds, its checksum."""

    name: str
    records: int
    md5: str


class _CIFAR(Dataset):
    """What CIFAR-10 and CIFAR-100 share; the class attributes tell them apart."""

    folder: str                             # inside the archive
    archive: str
    archive_md5: str
    train_files: tuple[BinaryFile, ...]
    test_files: tuple[BinaryFile, ...]
    pickles: tuple[str, ...]                # names that only the Python version has
    label_counts: tuple[int, ...]           # number of classes, for each label byte of a record

    def __init__(
        self,
        root: str | os.PathLike,
        train: bool,
        download: bool,
        classes: str,
        column: int,
        sources: Sequence[str] | None,
    ) -> None:
        root = Path(root).expanduser()
        files = self.train_files if train else self.test_files
        if download and self._find(root, self.train_files + self.test_files) is None:
            self._download(root, sources)
        folder = self._find(root, files)
        if folder is None:
            self._refuse(root, files)

        count = sum(file.records for file in files)
        images = np.empty((count, 3, 32, 32), np.uint8)
        labels = np.empty(count, np.int64)
        start = 0
        for file in files:
            records = self._read(folder / file.name, file)
            here = slice(start, start + file.records)
            labels[here] = records[:, column]
            images[here] = records[:, -PIXELS:].reshape(-1, 3, 32, 32)
            start += file.records
        super().__init__(images, labels, classes.split())

    @property
    def record_bytes(self) -> int:
        return len(self.label_counts) + PIXELS

    def _find(self, root: Path, files: Sequence[BinaryFile]) -> Path | None:
        """The folder that holds all of `files`: `root` itself or the archive's folder in it."""
        for folder in (root, root / self.folder):
            if all((folder / file.name).exists() for file in files):
                return folder
        return None

    def _refuse(self, root: Path, files: Sequence[BinaryFile]) -> NoReturn:
        """Says why the files cannot be read: they are of the Python version, or not there."""
        for name in self.pickles:
            if (root / name).exists():
                raise ValueError(
                    f"{root / name}: this is the Python version of the data, a pickle, which can "
                    f"run code when it is read; download the binary version, {self.archive}"
                )
        folder = root / self.folder if (root / self.folder).is_dir() else root
        missing = [file.name for file in files if not (folder / file.name).exists()]
        raise FileNotFoundError(
            f"{folder}: {type(self).__name__} needs {', '.join(missing)} there; "
            f"ask for a download, or unpack {self.archive} in that folder"
        )

    def _read(self, path: Path, file: BinaryFile) -> np.ndarray:
        """The records of one checked file, uint8 (records, labels + 3072)."""
        expected = file.records * self.record_bytes
        actual = path.stat().st_size
        if actual != expected:
            fault = "empty" if actual == 0 else "cut off" if actual < expected else "too long"
            raise ValueError(f"{path}: file is {fault}: {actual:,} bytes, expected {expected:,}")

        content = path.read_bytes()
        records = np.frombuffer(content, np.uint8).reshape(file.records, self.record_bytes)
        for column, count in enumerate(self.label_counts):
            wrong = np.flatnonzero(records[:, column] >= count)
            if wrong.size:
                raise ValueError(
                    f"{path}: record {wrong[0]} has label {records[wrong[0], column]}, "
                    f"expected 0 … {count - 1}"
                )
        md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
        if md5 != file.md5:
            raise ValueError(f"{path}: file is damaged: MD5 is {md5}, expected {file.md5}")
        return records

    def _download(self, root: Path, sources: Sequence[str] | None) -> None:
        from .download import extract, fetch  # late: the network modules are slow to import

        files = self.train_files + self.test_files
        sizes = {f"{self.folder}/{file.name}": file.records * self.record_bytes for file in files}
        archive = fetch(
            [f"{source.rstrip('/')}/{self.archive}" for source in _mirrors(sources)],
            root / self.archive,
            self.archive_md5,
            max_bytes=sum(sizes.values()) + 1_000_000,  # compressed, so always less than that
        )
        extract(archive, root / self.folder, sizes)
        archive.unlink()


def _mirrors(sources: Sequence[str] | None) -> list[str]:
    """The sources asked for; else the mirrors in the environment, then the official ones."""
    if sources is not None:
        return list(sources)
    return os.environ.get(MIRROR_VARIABLE, "").split() + list(OFFICIAL)


class CIFAR10(_CIFAR):
    """CIFAR-10: 50,000 training and 10,000 test pictures of 32 x 32 in ten classes.

    Args:
        root: folder with the `.bin` files, or with `cifar-10-batches-bin` that holds them.
        train: the training or the test pictures.
        download: whether to download the files (170 MB) if they are missing.
        sources: addresses of folders that hold `cifar-10-binary.tar.gz`, in the order to try them;
            None means those in the environment variable MINISE_CIFAR_MIRROR (separated by spaces),
            then the official ones.

    Raises:
        FileNotFoundError: the files are not there.
        ValueError: a file is cut off, too long, empty, mislabelled, damaged or a pickle.
        DownloadError: no source delivered the archive.
    """

    folder = "cifar-10-batches-bin"
    archive = "cifar-10-binary.tar.gz"
    archive_md5 = "c32a1d4ab5d03f1284b67883e8d87530"
    train_files = (
        BinaryFile("data_batch_1.bin", 10_000, "5dd7e06a14cb22eb9f671a540d1b7c25"),
        BinaryFile("data_batch_2.bin", 10_000, "5ea93a67294ea407fff1d09f752e9692"),
        BinaryFile("data_batch_3.bin", 10_000, "942cd6a4bcdd0dd3c604fbe906cb4421"),
        BinaryFile("data_batch_4.bin", 10_000, "ae636b3ba5c66a11e91e8cb52e771fcb"),
        BinaryFile("data_batch_5.bin", 10_000, "53f37980c15c3d472c316c40844f3f0d"),
    )
    test_files = (BinaryFile("test_batch.bin", 10_000, "803d5f7f4d78ea53de84dbe85f74fb6d"),)
    pickles = ("cifar-10-batches-py", "data_batch_1", "test_batch", "batches.meta")
    label_counts = (10,)

    def __init__(
        self,
        root: str | os.PathLike,
        train: bool = True,
        download: bool = False,
        sources: Sequence[str] | None = None,
    ) -> None:
        super().__init__(root, train, download, CIFAR10_CLASSES, 0, sources)


class CIFAR100(_CIFAR):
    """CIFAR-100: 50,000 training and 10,000 test pictures of 32 x 32 in 100 classes.

    Args:
        root: folder with `train.bin` and `test.bin`, or with `cifar-100-binary` that holds them.
        train, download, sources: as for `CIFAR10`.
        coarse: whether `labels` are the 20 superclasses instead of the 100 classes.

    Raises: as `CIFAR10`.
    """

    folder = "cifar-100-binary"
    archive = "cifar-100-binary.tar.gz"
    archive_md5 = "03b5dce01913d631647c71ecec9e9cb8"
    train_files = (BinaryFile("train.bin", 50_000, "6172c7755cfe09b2fe270c85cebc1b15"),)
    test_files = (BinaryFile("test.bin", 10_000, "4499cfba6c016c1be1438163640a0898"),)
    pickles = ("cifar-100-python", "train", "test", "meta")
    label_counts = (20, 100)

    def __init__(
        self,
        root: str | os.PathLike,
        train: bool = True,
        download: bool = False,
        coarse: bool = False,
        sources: Sequence[str] | None = None,
    ) -> None:
        classes = CIFAR100_SUPERCLASSES if coarse else CIFAR100_CLASSES
        super().__init__(root, train, download, classes, 0 if coarse else 1, sources)


CIFAR10_CLASSES = "airplane automobile bird cat deer dog frog horse ship truck"

CIFAR100_CLASSES = """
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle
    bowl boy bridge bus butterfly camel can castle caterpillar cattle
    chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur
    dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard
    lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain
    mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree
    plain plate poppy porcupine possum rabbit raccoon ray road rocket
    rose sea seal shark shrew skunk skyscraper snail snake spider
    squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor
    train trout tulip turtle wardrobe whale willow_tree wolf woman worm
"""

CIFAR100_SUPERCLASSES = """
    aquatic_mammals fish flowers food_containers fruit_and_vegetables
    household_electrical_devices household_furniture insects large_carnivores
    large_man-made_outdoor_things large_natural_outdoor_scenes
    large_omnivores_and_herbivores medium_mammals non-insect_invertebrates people reptiles
    small_mammals trees vehicles_1 vehicles_2
"""
