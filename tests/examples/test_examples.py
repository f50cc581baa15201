"""The examples run, and stay as short as they promise."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Runs an example with these arguments and returns what it printed."""

    def run(name, *arguments):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out

    return run


def test_train_cifar_learns(run):
    printed = run("train_cifar.py", "--data", "cue-digits", "--size", "64", "--epochs", "3")
    lines = re.findall(r"^epoch (\d): loss (\S+), test accuracy (\S+)%$", printed, re.MULTILINE)
    numbers, losses, accuracies = zip(*lines, strict=True)
    assert numbers == ("1", "2", "3")
    assert float(losses[2]) < float(losses[0]) - 0.05
    assert all(0 <= float(accuracy) <= 100 for accuracy in accuracies)


def test_train_cifar_fits_on_one_screen():
    assert len((EXAMPLES / "train_cifar.py").read_text(encoding="utf-8").splitlines()) <= 60
