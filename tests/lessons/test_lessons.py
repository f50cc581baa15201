"""The notebooks: they run unsolved, solved and with classic mistakes, and their outputs are fresh.

The mistakes are planted as edits of the solutions' text, so that they are another person's mistakes
and not the checker's own.
"""

from __future__ import annotations

import html
import importlib
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import execute_lessons as runner
import nbformat
import pytest
from notebooks import (
    blanks,
    filled,
    functions,
    judged,
    modules_of,
    read,
    same_everywhere,
    solutions,
    texts,
)

every_lesson = pytest.mark.parametrize("path", runner.LESSONS, ids=lambda path: path.parent.name)


def lesson_module(path):
    """What belongs to one lesson alone, `test_lesson_07.py` for example:

    CHECK     of its exercises
    MISTAKES  to plant in its solutions: blank, text to replace, replacement, part of the hint
    CLAIMS    code to run after the solved notebook, which asserts what the text says of the results
    """
    return importlib.import_module(f"tests.lessons.test_lesson_{path.parent.name[:2]}")


# --- unsolved, solved ---------------------------------------------------------------------------


def solved(path):
    """With what the text claims of the results as a last cell."""
    notebook = filled(path, solutions(path))
    claims = f"assert check.complete, check\n{lesson_module(path).CLAIMS}"
    notebook.cells.append(nbformat.v4.new_code_cell(claims))
    return notebook


def mistaken(path):
    """With the last of the planted mistakes in every blank."""
    answers = solutions(path)
    for name, right in functions(answers).items():
        old, new, _ = last_mistakes(path)[name]
        answers = answers.replace(right, right.replace(old, new))
    return filled(path, answers)


def last_mistakes(path):
    return {name: mistake for name, *mistake in lesson_module(path).MISTAKES}


@pytest.fixture(scope="module")
def run():
    """(path, variant) -> the notebook of that variant, run, and the sources that it used.

    The variants of a lesson start together, and two notebooks run at a time, ahead of the tests.
    """
    started = {}

    def executed(notebook, folder):
        return notebook, runner.execute(notebook, folder)

    def run(path, variant):
        if (path, variant) not in started:
            for fill in (read, solved, mistaken):
                started[path, fill] = pool.submit(executed, fill(path), path.parent)
        return started[path, variant].result()

    with ThreadPoolExecutor(2) as pool:
        yield run
        pool.shutdown(cancel_futures=True)


@every_lesson
def test_the_unsolved_notebook_runs_through_and_says_what_is_open(path, run):
    notebook, _ = run(path, read)
    shown = "\n".join(texts(notebook))
    assert blanks(notebook)
    for name in blanks(notebook):
        assert f"{name}: not attempted yet." in shown


@every_lesson
def test_the_committed_text_is_what_the_notebook_prints_today(path, run):
    assert same_everywhere(read(path)) == same_everywhere(run(path, read)[0])


def test_only_what_rounding_leaves_is_not_compared():
    text = "(1, 32)  −7.8e-8 … 5.0e-08   1 of 1\n1e-10 2.5e-6 3.1e-5 0.25 1e7 −4.2"
    cell = nbformat.v4.new_code_cell(outputs=[nbformat.v4.new_output("stream", text=text)])
    (shown,) = same_everywhere(nbformat.v4.new_notebook(cells=[cell]))
    assert shown == "(1, 32) 0 … 0 1 of 1\n0 2.5e-6 3.1e-5 0.25 1e7 −4.2"


@every_lesson
def test_the_solved_notebook_passes_every_check_and_shows_what_its_text_claims(path, run):
    notebook, _ = run(path, solved)
    shown = "\n".join(texts(notebook))
    for name in blanks(read(path)):
        assert f"{name}: right. Compared: " in shown
    assert "not attempted yet" not in shown
    assert "wrong" not in shown


@every_lesson
def test_there_is_a_solution_for_every_blank_and_no_other(path):
    assert functions(solutions(path)).keys() == blanks(read(path)).keys()


# --- planted mistakes ---------------------------------------------------------------------------


PLANTED = [
    pytest.param(path, *mistake, id=f"{path.parent.name[:2]}-{mistake[0]}-{i}")
    for path in runner.LESSONS
    for i, mistake in enumerate(lesson_module(path).MISTAKES)
]


@pytest.mark.parametrize(("path", "name", "old", "new", "hint"), PLANTED)
def test_a_planted_mistake_fails_with_its_own_hint(path, name, old, new, hint):
    right = functions(solutions(path))[name]
    assert right.count(old) >= 1
    verdict = judged(lesson_module(path).CHECK, name, right.replace(old, new))
    assert verdict.state == "wrong"
    assert hint in verdict.hint


@every_lesson
def test_every_blank_has_three_planted_mistakes(path):
    count = Counter(mistake[0] for mistake in lesson_module(path).MISTAKES)
    assert all(count[name] >= 3 for name in blanks(read(path)))


@every_lesson
def test_a_known_mistake_is_not_taken_for_another(path):
    check = lesson_module(path).CHECK
    for exercise in check.exercises.values():
        for hint, wrong in exercise.mistakes:
            wrong.__name__ = exercise.name
            assert check(wrong).hint == hint


@every_lesson
def test_the_notebook_shows_the_hints_of_a_learner_who_errs_everywhere(path, run):
    notebook, _ = run(path, mistaken)
    shown = "\n".join(texts(notebook))
    for name, (_, _, hint) in last_mistakes(path).items():
        assert re.search(rf"^{name}: wrong\. .*\nHint: .*{re.escape(hint)}", shown, re.MULTILINE)


# --- fresh outputs ------------------------------------------------------------------------------


@every_lesson
def test_the_outputs_were_made_from_these_cells_and_these_sources(path, run):
    _, sources = run(path, read)
    proof = read(path).metadata["minise"]
    again = "the outputs are stale: run `python tests/helpers/execute_lessons.py` and look at them"
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
    exercises = f"lessons/{path.parent.name}/exercises.py"
    assert {"minise/autograd.py", "minise/nn/se.py", exercises} < set(sources)
    for source in sources:
        copy = tmp_path / source
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes((runner.ROOT / source).read_bytes())
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
    stale = "run `python tests/helpers/execute_lessons.py`"
    assert runner.update_line_numbers(prose, path.parent) == prose, stale
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", prose):
        assert "://" in link or (path.parent / link).exists(), link


def test_line_numbers_point_at_the_function(tmp_path):
    source = tmp_path / "some.py"
    source.write_text("x = 1\n\n\nclass A:\n    def f(self):\n        y = 2\n        return y\n")
    assert runner.lines_of("A.f", source) == (5, 7)
    assert runner.lines_of("A", source) == (4, 7)
    with pytest.raises(StopIteration):
        runner.lines_of("A.g", source)


def test_the_solutions_are_a_module_that_imports():
    for path in runner.LESSONS:
        module = modules_of(path.parent.name[:2]).solutions
        assert functions(solutions(path)).keys() <= vars(module).keys()
