"""A person's own pictures: one folder per class."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .dataset import Dataset
from .images import read_image, resize_crop


class ImageFolder(Dataset):
    """Pictures in `root/CLASS/…`, read, cropped to a square and scaled once and for all.

    Everything is read here, so no broken file can end a training run later. Hidden files and
    folders are passed over; folders inside a class are searched too.

    Args:
        root: folder with one folder per class.
        size: side of the squares in pixels.
        on_error: "skip" lists what cannot be read in `skipped`; "raise" refuses it.
        classes: the classes in the order of their labels, as a trained network knows them; None
            means the names of the folders, sorted.

    Attributes:
        images, labels, classes: as in `Dataset`.
        paths: where each picture came from, str (N,).
        skipped: one message for each file left out, which names the file and the reason.

    Raises:
        FileNotFoundError, NotADirectoryError: `root` is no folder.
        ValueError: no class folders, a class without any readable picture, a folder that is none
            of `classes`, or (with on_error="raise") a file that cannot be read.
    """

    per_image = ("images", "labels", "paths")

    def __init__(
        self,
        root: str | os.PathLike,
        size: int = 32,
        on_error: str = "skip",
        classes: Sequence[str] | None = None,
    ) -> None:
        if on_error not in ("skip", "raise"):
            raise ValueError(f"ImageFolder: on_error must be 'skip' or 'raise', got {on_error!r}")
        if size < 1:
            raise ValueError(f"ImageFolder: size must be at least 1, got {size}")
        root = Path(root).expanduser()
        folders, strays = _look_into(root)
        names = [folder.name for folder in folders] if classes is None else list(classes)
        unknown = [folder.name for folder in folders if folder.name not in names]
        if unknown:
            raise ValueError(
                f"{root}: folders that are none of the {len(names)} classes: {', '.join(unknown)}"
            )

        self.skipped: list[str] = []
        for stray in strays:
            self._leave_out(f"{stray}: lies outside of the class folders", on_error)
        images: list[np.ndarray] = []
        labels: list[int] = []
        paths: list[str] = []
        for folder in folders:
            before = len(images)
            for path in _files(folder):
                try:
                    images.append(resize_crop(read_image(path), size))
                except (OSError, ValueError) as error:
                    self._leave_out(str(error), on_error)
                else:
                    labels.append(names.index(folder.name))
                    paths.append(str(path))
            if len(images) == before:
                raise ValueError(f"{folder}: holds no picture that can be read{self._example()}")
        super().__init__(np.stack(images), np.array(labels, np.int64), names)
        self.paths = np.array(paths)

    def _leave_out(self, message: str, on_error: str) -> None:
        if on_error == "raise":
            raise ValueError(message)
        self.skipped.append(message)

    def _example(self) -> str:
        return f" (for instance {self.skipped[-1]})" if self.skipped else ""


def _look_into(root: Path) -> tuple[list[Path], list[Path]]:
    """The class folders of `root`, sorted, and the files beside them."""
    entries = sorted(path for path in root.iterdir() if not path.name.startswith("."))
    folders = [path for path in entries if path.is_dir()]
    strays = [path for path in entries if not path.is_dir()]
    if not folders:
        found = f"only files, such as {strays[0].name}" if strays else "nothing"
        raise ValueError(f"{root}: expected one folder of pictures per class, found {found}")
    return folders, strays


def _files(folder: Path) -> list[Path]:
    """All files below `folder`, sorted, but for hidden ones."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
