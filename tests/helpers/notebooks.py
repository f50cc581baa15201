"""What the tests of the lessons share: a lesson's modules, its notebook, and its blanks filled."""

from __future__ import annotations

import ast
import functools
import importlib
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import nbformat
from execute_lessons import ROOT

from minise.teach import Check, Verdict


@functools.cache
def modules_of(number: str) -> SimpleNamespace:
    """The modules in the folder of a lesson ("12"), imported as its notebook imports them.

    Every lesson calls its exercises `exercises`, so no module stays importable by its plain name.
    """
    (folder,) = (ROOT / "lessons").glob(f"{number}_*")
    names = [path.stem for path in folder.glob("*.py")]
    sys.path.insert(0, str(folder))
    try:
        return SimpleNamespace(**{name: importlib.import_module(name) for name in names})
    finally:
        sys.path.remove(str(folder))
        for name in names:
            sys.modules.pop(name, None)


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def solutions(path: Path) -> str:
    """The text of the solutions that belong to a notebook."""
    return (path.parent / "solutions.py").read_text(encoding="utf-8")


def functions(code: str) -> dict[str, str]:
    """name -> source of every function at the top level of some code."""
    found = [node for node in ast.parse(code).body if isinstance(node, ast.FunctionDef)]
    return {node.name: ast.get_source_segment(code, node) or "" for node in found}


def blanks(notebook: nbformat.NotebookNode) -> dict[str, str]:
    """name -> source of every function of the notebook that is still to be written."""
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    return {name: text for name, text in functions(code).items() if "return ..." in text}


def filled(path: Path, answers: str) -> nbformat.NotebookNode:
    """The notebook with its blanks replaced by the functions of `answers`."""
    notebook = read(path)
    written = functions(answers)
    for name, blank in blanks(notebook).items():
        for cell in notebook.cells:
            cell.source = cell.source.replace(blank, written[name])
    assert blanks(notebook) == {}
    return notebook


def text_of(cell: nbformat.NotebookNode) -> str:
    """What a reader without pictures and HTML sees below a cell; it must not be an error."""
    parts = []
    for output in cell.get("outputs", []):
        assert output.output_type != "error"
        assert output.get("name") != "stderr", output.text
        parts.append(output.text if output.output_type == "stream" else output.data["text/plain"])
    return "\n".join(parts)


def texts(notebook: nbformat.NotebookNode) -> list[str]:
    return [text_of(cell) for cell in notebook.cells]


RESIDUE = re.compile(r"[-−]?\d+(\.\d+)?e[-−]0*([7-9]|[1-9]\d+)\b")  # smaller than 1e-6


def same_everywhere(notebook: nbformat.NotebookNode) -> list[str]:
    """The texts without what differs from one processor to the next.

    That is numbers that would be 0 but for rounding, and the spaces that line up with them.
    """
    return [re.sub(" +", " ", RESIDUE.sub("0", text)) for text in texts(notebook)]


def judged(check: Check, name: str, code: str) -> Verdict:
    """The verdict on the function `name` that some code defines."""
    names: dict[str, object] = {}
    exec(f"import minise, numpy as np\nfrom minise import functional as F\n{code}", names)
    return check(names[name])  # type: ignore[arg-type]
