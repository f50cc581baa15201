"""The course: puts the lessons into a folder of the learner's own (`minise lessons`).

setup.py runs this file by itself to put them into the wheel, so it imports nothing of minise.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
from pathlib import Path

INSTALLED = "_lessons"  # the folder beside this file that holds them in an installed package

# What the course consists of. The rest of the folder lessons makes the site.
PATTERNS = ("README.md", "*.svg", "[0-9][0-9]_*/*.*")

# [text](../../minise/nn/se.py#L1-L9): from a lesson to what is not part of the course.
LINK_OUT = re.compile(r"\[([^\[\]]*)\]\(\.\./\.\./[^()]*\)")


def deliver(folder: str | os.PathLike[str] = "minise-lessons") -> str:
    """Copies the course into a new or empty folder; returns how to open it there.

    Raises OSError if something is in the folder already, if it cannot be written, or if this
    installation came without the lessons.
    """
    target = Path(folder)
    lessons = source()
    target.mkdir(parents=True, exist_ok=True)
    if any(target.iterdir()):
        raise FileExistsError(f"{target} is not empty: name another folder")
    part = target / ".part"  # a copy that was cut short leaves nothing else behind
    try:
        copy(lessons, part)
        for entry in part.iterdir():
            entry.replace(target / entry.name)
    finally:
        shutil.rmtree(part)
    count = len(list(target.glob("*/lesson.ipynb")))
    return (
        f"{target}: {count} lessons. To open them in JupyterLab:\n"
        f"  pip install jupyterlab\n"
        f"  jupyter lab {shlex.quote(str(target))}"
    )


def source() -> Path:
    """Where the lessons lie: inside the installed package, or beside it in a checkout."""
    here = Path(__file__).resolve().parent
    for folder in (here / INSTALLED, here.parent / "lessons"):
        if (folder / "README.md").is_file():
            return folder
    raise FileNotFoundError("this installation of minise came without the lessons: install it anew")


def copy(lessons: Path, target: Path) -> None:
    """Copies the course from one folder to another, which must not exist.

    Links to files that are not part of it become plain text: they would lead nowhere.
    """
    target.mkdir(parents=True)
    for pattern in PATTERNS:
        for file in sorted(lessons.glob(pattern)):
            if not file.is_file():
                continue
            place = target / file.relative_to(lessons)
            place.parent.mkdir(exist_ok=True)
            content = file.read_bytes()
            if file.suffix in {".ipynb", ".md"}:
                content = LINK_OUT.sub(r"\1", content.decode("utf-8")).encode("utf-8")
            place.write_bytes(content)
