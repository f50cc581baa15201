"""What teachers read about minise.teach is true: its docstring, and "A lesson of your own"."""

import doctest
import os
import re
import subprocess
import sys

import pytest
from execute_lessons import ROOT

import minise.teach


def test_the_example_of_the_docstring():
    result = doctest.testmod(minise.teach, optionflags=doctest.REPORT_NDIFF)
    assert result.attempted > 5
    assert result.failed == 0


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ("...", "softmax: not attempted yet."),
        ("np.exp(v) / np.exp(v).sum()", "Hint: That divides by the sum of all rows."),
        ("1 / (1 + np.exp(-v))", "Hint: That is the sigmoid"),
        ("np.exp(v) / np.exp(v).sum(axis=1, keepdims=True)", "softmax: right. Compared: "),
    ],
)
def test_a_lesson_of_your_own(tmp_path, answer, verdict):
    """In the folder that lessons/README.md describes, whatever the learner answers."""
    prose = (ROOT / "lessons" / "README.md").read_text(encoding="utf-8")
    section = prose.partition("## A lesson of your own")[2]
    exercises, cells = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    (tmp_path / "exercises.py").write_text(exercises, encoding="utf-8")
    assert cells.count("return ...") == 1
    code = "import numpy as np\n" + cells.replace("return ...", f"return {answer}")
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert verdict in done.stdout
    assert done.stdout.rstrip().endswith("]]")  # what goes on from the blank has run
