"""Files that are there as a whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path


def write(path: str | os.PathLike[str], content: bytes | str) -> None:
    """Replace the file at `path` by `content` (text in UTF-8) in one step.

    The bytes go to a hidden file beside it and reach the disk before it takes the name, so whoever
    reads `path`, at any moment and after a power cut too, finds the old file or the new one.

    Raises OSError where that fails; an older file is unharmed then.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.part")
    try:
        with temporary.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if hasattr(os, "O_DIRECTORY"):  # where folders can be opened, the new name is synced too
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
