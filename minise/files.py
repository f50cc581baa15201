"""Files that are there as a whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


@contextmanager
def replacing(path: str | os.PathLike[str], sync: bool = True) -> Iterator[Path]:
    """A new, empty file to fill in the block; when the block ends, it takes the name `path`.

    The file lies beside `path` under a hidden name of its own, so several processes can write the
    same `path` at once, and a reader of `path` finds the old file or a new one, never a part. Any
    error or interrupt in the block removes the new file and leaves the old one.

    path  its folder must exist
    sync  the bytes reach the disk before the name does, so that this holds after a power cut too;
          False is faster, for what can be made again

    Raises OSError where the file cannot be made or renamed.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{uuid4().hex}.part")
    try:
        temporary.touch(exist_ok=False)
        mode = temporary.stat().st_mode  # what the umask leaves; a writer may change it
        yield temporary
        temporary.chmod(mode)
        if sync:
            sync_to_disk(temporary, os.O_RDWR)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if sync and hasattr(os, "O_DIRECTORY"):  # where folders can be opened: the new name
        sync_to_disk(path.parent, os.O_RDONLY | os.O_DIRECTORY)


def write(path: str | os.PathLike[str], content: bytes | str) -> None:
    """Replace the file at `path` by `content` (text in UTF-8) in one step, see `replacing`.

    Raises OSError where that fails; an older file is unharmed then.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def remove_leftovers(folder: Path) -> None:
    """Remove what a process that was killed left in `folder` of files it was about to replace.

    Only where nobody else is writing: their new files would go too. Raises OSError.
    """
    for temporary in folder.glob(".*.part"):
        temporary.unlink(missing_ok=True)


def sync_to_disk(path: Path, flags: int) -> None:
    """Wait until what the system holds of a file or folder, opened with `flags`, is on the disk."""
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
