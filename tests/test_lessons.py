"""The notebooks: they run unsolved, solved and with classic mistakes, and their outputs are fresh.

The mistakes are planted as edits of the solutions' text, so that they are another person's mistakes
and not the checker's own.
"""

from __future__ import annotations

import ast
import html
import importlib.util
import re
from itertools import pairwise
from pathlib import Path

import execute_lessons as runner
import nbformat
import pytest

from minise.lessons import se_backward

ROOT = runner.ROOT
SE = ROOT / "lessons" / "07_backprop_through_se.ipynb"

every_lesson = pytest.mark.parametrize("path", runner.LESSONS, ids=lambda path: path.stem)


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def solutions(path: Path) -> str:
    """The text of the solutions that belong to a notebook."""
    return (path.parent / "solutions" / f"{path.stem}.py").read_text(encoding="utf-8")


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


# --- unsolved, solved, mistaken -----------------------------------------------------------------


@pytest.fixture(scope="module")
def unsolved():
    """path -> the notebook as committed, run again, and the sources that it used."""
    cache: dict[Path, tuple[nbformat.NotebookNode, list[str]]] = {}

    def run(path):
        if path not in cache:
            notebook = read(path)
            cache[path] = notebook, runner.execute(notebook)
        return cache[path]

    return run


@every_lesson
def test_the_unsolved_notebook_runs_through_and_says_what_is_open(path, unsolved):
    notebook, _ = unsolved(path)
    shown = "\n".join(texts(notebook))
    assert blanks(notebook)
    for name in blanks(notebook):
        assert f"{name}: not attempted yet." in shown


@every_lesson
def test_the_committed_text_is_what_the_notebook_prints_today(path, unsolved):
    assert texts(read(path)) == texts(unsolved(path)[0])


@every_lesson
def test_the_solved_notebook_passes_every_check(path):
    notebook = filled(path, solutions(path))
    runner.execute(notebook)
    shown = "\n".join(texts(notebook))
    for name in blanks(read(path)):
        assert f"{name}: right. Compared: " in shown
    assert "not attempted yet" not in shown
    assert "wrong" not in shown


@every_lesson
def test_there_is_a_solution_for_every_blank_and_no_other(path):
    assert functions(solutions(path)).keys() == blanks(read(path)).keys()


def test_lesson_07_compares_minise_pytorch_and_the_learner():
    notebook = filled(SE, solutions(SE))
    check = "assert check.complete and set(columns) == {'minise', 'PyTorch', 'yours'} and agree"
    notebook.cells.append(nbformat.v4.new_code_cell(check))
    runner.execute(notebook)


MISTAKES = [  # exercise, from, to, what the hint says
    ("grad_s", ".sum(", ".mean(", "is a sum, not a mean"),
    ("grad_s", ".sum(axis=(2, 3))", "", "Σ over H and W is missing"),
    ("grad_s", "dy * x", "dy", "The factor x is missing"),
    ("grad_W2", "dv.T @ h", "(dv.T @ h).T", "The weight's gradient is transposed"),
    ("grad_W2", "dv.T @ h", "dv[-1:].T @ h[-1:]", "it has overwritten the others"),
    ("grad_W2", "@ h", "@ h / len(h)", "the mean over the images"),
    ("grad_b2", ".sum(axis=0)", "", "Σ over the images is missing"),
    ("grad_h", "@ W2", "@ W2.T", "The weight is transposed"),
    ("grad_a", "dh * (a > 0)", "dh", "The ReLU mask is missing"),
    ("grad_a", "(a > 0)", "(dh > 0)", "The mask looks at the wrong array"),
    ("grad_W1", "da.T @ z", "z.T @ da", "The weight's gradient is transposed"),
    ("grad_b1", "da.sum(axis=0)", "da[-1]", "it has overwritten the others"),
    ("grad_z", "@ W1", "@ W1.T", "The weight is transposed"),
    ("gate_path", " / (H * W)", "", "1/(H·W) is lost"),
    ("gate_path", "(H * W)", "x.size", "the size of all of x"),
    ("gate_path", "dz[:, :, None, None]", "dz[:, :, None, None] * x", "The factor x does not"),
    ("grad_x", " + gate", "", "The gate path is lost"),
    ("grad_x", "dy * s[:, :, None, None] + gate", "gate", "If the second contribution overwrote"),
    ("grad_x", "[:, :, None, None]", "", "write s[:, :, None, None]"),
]


@pytest.mark.parametrize(("name", "old", "new", "hint"), MISTAKES)
def test_a_mistake_in_lesson_07_fails_with_its_own_hint(name, old, new, hint):
    right = functions(solutions(SE))[name]
    assert right.count(old) >= 1
    assert_hint(name, right.replace(old, new), hint)


@pytest.mark.parametrize(
    ("old", "new", "hint"),
    [(" * s * (1 - s)", "", "σ′ is missing"), (" * (1 - s)", "", "Half of σ′ is missing")],
)
def test_a_mistake_in_the_worked_step_too(old, new, hint):
    right = next(c.source for c in read(SE).cells if c.source.startswith("def grad_v"))
    assert right.count(old) == 1
    assert_hint("grad_v", functions(right)["grad_v"].replace(old, new), hint)


def assert_hint(name, code, hint):
    names: dict[str, object] = {}
    exec(f"import numpy as np\n{code}", names)
    verdict = se_backward.check(names[name])
    assert verdict.state == "wrong"
    assert hint in verdict.hint


def test_the_notebook_shows_the_hints_of_a_learner_who_errs_everywhere():
    answers = solutions(SE)
    mistakes = {name: (old, new, hint) for name, old, new, hint in MISTAKES}  # the last of each
    for name, right in functions(answers).items():
        old, new, _ = mistakes[name]
        answers = answers.replace(right, right.replace(old, new))
    notebook = filled(SE, answers)
    runner.execute(notebook)
    shown = "\n".join(texts(notebook))
    for name, (_, _, hint) in mistakes.items():
        assert re.search(rf"^{name}: wrong\. .*\nHint: .*{re.escape(hint)}", shown, re.MULTILINE)
    assert "1 of 11 right." in shown


# --- fresh outputs ------------------------------------------------------------------------------


@every_lesson
def test_the_outputs_were_made_from_these_cells_and_these_sources(path, unsolved):
    _, sources = unsolved(path)
    proof = read(path).metadata["minise"]
    again = "the outputs are stale: run `python tests/execute_lessons.py` and look at them"
    assert proof["sources"] == sources, again
    assert proof["fingerprint"] == runner.fingerprint(read(path), sources), again


@every_lesson
def test_the_fingerprint_sees_a_change(path, tmp_path):
    notebook = read(path)
    sources = notebook.metadata["minise"]["sources"]
    true = runner.fingerprint(notebook, sources)
    for cell in notebook.cells:
        before = cell.source
        cell.source += " "
        assert runner.fingerprint(notebook, sources) != true
        cell.source = before
    assert {"minise/autograd.py", "minise/nn/se.py"} < set(sources)
    for source in sources:
        copy = tmp_path / source
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes((ROOT / source).read_bytes())
    assert runner.fingerprint(notebook, sources, tmp_path) == true
    for source in sources:
        before = (tmp_path / source).read_bytes()
        (tmp_path / source).write_bytes(before + b"\n")
        assert runner.fingerprint(notebook, sources, tmp_path) != true, source
        (tmp_path / source).write_bytes(before)


# --- what a healthy notebook looks like ---------------------------------------------------------


@every_lesson
def test_it_is_short_and_small(path):
    cells = read(path).cells
    prose = " ".join(cell.source for cell in cells if cell.cell_type == "markdown")
    assert sum(any(map(str.isalpha, word)) for word in prose.split()) <= 1200
    assert len(cells) <= 40
    assert path.stat().st_size <= 500_000


@every_lesson
def test_it_has_one_title_and_no_level_is_skipped(path):
    prose = "\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")
    levels = [len(marks) for marks in re.findall(r"^(#+) ", prose, re.MULTILINE)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


@every_lesson
def test_it_follows_the_rhythm_and_ends_in_three_questions(path):
    prose = "\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")
    parts = ["?", "Picture", "Predict", "Build", "Check", "Break it", "Recall", "Where this lives"]
    headings = re.findall(r"^##? (.*)", prose, re.MULTILINE)
    places = [next(i for i, h in enumerate(headings) if part in h) for part in parts]
    assert places == sorted(places)
    assert prose.count("<details><summary>") == prose.count("</details>") == 3


@every_lesson
def test_every_picture_says_what_there_is_to_see(path):
    outputs = [output for cell in read(path).cells for output in cell.get("outputs", [])]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert pictures
    for picture in pictures:
        alt = picture.data["text/plain"]
        assert len(alt.split()) >= 15
        assert picture.data["text/html"].startswith(f'<img alt="{html.escape(alt)}" src="data:')


@every_lesson
def test_its_outputs_are_the_same_on_every_machine(path):
    for cell in read(path).cells:
        assert "execution" not in cell.metadata  # the times of a run
        for output in cell.get("outputs", []):
            shown = output.get("text", "") + "".join(
                text for kind, text in output.get("data", {}).items() if kind.startswith("text/")
            )
            shown = re.sub(r'"data:[^"]*"', "", shown)  # pictures
            assert not re.search(r"(?<![\w.<])/(home|root|tmp|usr|Users|opt|work)/", shown)
            assert not re.search(r"0x[0-9a-f]{6,}", shown)
            assert not re.search(r"\d+(\.\d+)? ?(ms|µs|seconds)\b", shown)


@every_lesson
def test_random_numbers_are_seeded(path):
    code = "\n".join(cell.source for cell in read(path).cells if cell.cell_type == "code")
    assert "default_rng()" not in code
    assert not re.search(r"np\.random\.(?!default_rng\(\d+\))", code)
    if "nn." in code:
        assert "minise.manual_seed(" in code


@every_lesson
def test_where_it_lives_is_where_it_says(path):
    prose = "\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")
    assert len(runner.REFERENCE.findall(prose)) >= 3
    stale = "run `python tests/execute_lessons.py`"
    assert runner.update_line_numbers(prose) == prose, stale
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", prose):
        assert "://" in link or (path.parent / link).exists(), link


def test_line_numbers_point_at_the_function(tmp_path):
    source = tmp_path / "some.py"
    source.write_text("x = 1\n\n\nclass A:\n    def f(self):\n        y = 2\n        return y\n")
    assert runner.lines_of("A.f", source) == (5, 7)
    assert runner.lines_of("A", source) == (4, 7)
    with pytest.raises(StopIteration):
        runner.lines_of("A.g", source)


def test_the_claims_of_lesson_07_about_the_gate_path():
    notebook = read(SE)
    claims = """
random, even = by_size.values()
assert random[0] / random[-1] > 15 and all(a > b for a, b in zip(random, random[1:]))
assert max(even) / min(even) < 2
assert losses[0] > 2 and np.mean(losses[-20:]) < 1.4
assert np.mean(shares[:20]) < 0.02 and np.mean(shares[-20:]) > 0.04
assert careless and error.max() > 1 and broken.fc1.weight.grad is None
with minise.no_grad():
    se(stem(minise.tensor(images)))
planes = se.gate.numpy().reshape(len(images), 3, 8).mean(axis=2)
assert all(planes[train.cues == cue].mean(axis=0).argmax() == cue for cue in range(3))
gate = (total - direct)[0, 0]
assert np.allclose(gate, gate[0, 0], rtol=1e-12)
"""
    notebook.cells.append(nbformat.v4.new_code_cell(claims))
    runner.execute(notebook)


def test_the_solutions_are_a_module_that_imports():
    for path in runner.LESSONS:
        file = path.parent / "solutions" / f"{path.stem}.py"
        spec = importlib.util.spec_from_file_location("solutions", file)
        assert spec
        assert spec.loader
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
