"""Runs the lessons in place and stores their outputs, with proof of what they were made from.

    python tests/helpers/execute_lessons.py                   all notebooks of lessons/
    python tests/helpers/execute_lessons.py lessons/07_…      only that of this folder

The line numbers in "Where this lives in minise" are brought up to date on the way. The proof is a
fingerprint in the notebook's metadata: a hash of its cells and of the files that it used, of minise
and of its own folder.
`tests/lessons/test_lessons.py` computes it again.
"""

from __future__ import annotations

import ast
import asyncio
import hashlib
import os
import re
import sys
import tempfile
from pathlib import Path

import nbclient
import nbformat
from traitlets.config import Config

ROOT = Path(__file__).resolve().parents[2]
LESSONS = sorted((ROOT / "lessons").glob("*/lesson.ipynb"))

LIST_SOURCES = """
import sys, pathlib
_here = pathlib.Path.cwd()
for _name, _module in list(sys.modules.items()):
    _file = pathlib.Path(getattr(_module, "__file__", None) or "built in")
    if _name.split(".")[0] == "minise" or _file.parent == _here:
        for _beside in _file.parent.glob(_file.stem + ".*"):  # with the data of its name
            print(_beside)
for _numbers in [*_here.glob("*.safetensors"), *_here.glob("*.json")]:
    print(_numbers)
"""

REFERENCE = re.compile(r"\[`([\w.]+)` in (\S+\.py), lines \d+–\d+\]\([^)]*\)")


def execute(notebook: nbformat.NotebookNode, folder: Path) -> list[str]:
    """Runs all cells in a kernel of their own, in the lesson's folder; returns the files used.

    Raises nbclient.exceptions.CellExecutionError for the first cell that raises.
    """
    probe = nbformat.v4.new_code_cell(LIST_SOURCES)
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "OPENBLAS_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",  # the same outputs on a machine with a GPU
        "MINISE_DATA_DIR": os.devnull,  # lesson 10 finds no CIFAR-10, on any machine
    }
    notebook.cells.append(probe)
    try:
        # Files as sockets: a port, chosen here and opened by the kernel, may be taken in between.
        with tempfile.TemporaryDirectory() as sockets:
            kernel = {"transport": "ipc", "connection_file": f"{sockets}/kernel.json"}
            client = nbclient.NotebookClient(
                notebook,
                config=Config(KernelManager=kernel),
                timeout=120,
                kernel_name="python3",
                record_timing=False,
                coalesce_streams=True,  # or the same text comes in one piece or two, by chance
                resources={"metadata": {"path": str(folder)}},
            )
            asyncio.run(client.async_execute(env=environment))  # a loop of its own, in any thread
    finally:
        notebook.cells.remove(probe)
    paths = {Path(line) for line in probe.outputs[0].text.splitlines()}
    return sorted(path.relative_to(ROOT).as_posix() for path in paths)


def fingerprint(notebook: nbformat.NotebookNode, sources: list[str], root: Path = ROOT) -> str:
    """A hash of the notebook's cells and of the content of `sources`."""
    digest = hashlib.sha256()
    for cell in notebook.cells:
        digest.update(f"{cell.cell_type}\0{cell.source}\0".encode())
    for source in sources:
        digest.update(f"{source}\0".encode() + (root / source).read_bytes())
    return digest.hexdigest()


def update_line_numbers(text: str, folder: Path) -> str:
    """Writes into every reference to a function where it stands now.

    A path is that of a file in the lesson's folder, or else one of the project.
    """

    def reference(match: re.Match[str]) -> str:
        name, path = match.groups()
        link = path if (folder / path).exists() else f"../../{path}"
        first, last = lines_of(name, folder / link)
        return f"[`{name}` in {path}, lines {first}–{last}]({link}#L{first}-L{last})"

    return REFERENCE.sub(reference, text)


def lines_of(name: str, path: Path) -> tuple[int, int]:
    """First and last line of a function, or of a method given as "Class.method"."""
    node: ast.AST = ast.parse(path.read_text(encoding="utf-8"))
    for part in name.split("."):
        node = next(n for n in ast.iter_child_nodes(node) if getattr(n, "name", None) == part)
    assert isinstance(node, (ast.FunctionDef, ast.ClassDef))
    assert node.end_lineno
    return node.lineno, node.end_lineno


def main() -> None:
    for path in [Path(name).resolve() / "lesson.ipynb" for name in sys.argv[1:]] or LESSONS:
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                cell.source = update_line_numbers(cell.source, path.parent)
        sources = execute(notebook, path.parent)
        notebook.metadata = {  # nothing that differs from one machine to the next
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
            "minise": {"sources": sources, "fingerprint": fingerprint(notebook, sources)},
        }
        part = path.with_suffix(".part")
        nbformat.write(notebook, part)
        part.replace(path)
        print(f"{path.parent.name}: {path.stat().st_size / 1000:.0f} KB")


if __name__ == "__main__":
    main()
