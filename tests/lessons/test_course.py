"""`minise lessons`: the whole course in a folder, from a checkout, an sdist and a wheel."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile

import nbformat
import pytest
from execute_lessons import LESSONS, ROOT

from minise import course
from minise.cli import main

NEEDS = {  # what a lesson imports and reads beside the three files that each has
    "06_squeeze_excite_scale": {"numbers.safetensors"},
    "07_backprop_through_se": {"numbers.safetensors"},
    "10_cifar": {"runs.json"},
    "11_reading_gates": {"weights.safetensors"},
    "12_numpy_and_gpu": {"roofline.py", "simulated_gpu.py", "gpu_record.py"},
}


def files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def expected():
    """All files of the course, but for a record of a GPU, which may or may not be there."""
    each = {"lesson.ipynb", "exercises.py", "solutions.py"}
    names = [path.parent.name for path in LESSONS]
    assert len(names) == 13
    assert NEEDS.keys() < set(names)
    inside = {f"{name}/{file}" for name in names for file in each | NEEDS.get(name, set())}
    return inside | {"README.md", "map.svg"}


def check_delivered(folder):
    assert files(folder) - {"12_numpy_and_gpu/gpu_record.json"} == expected()
    for name in expected():
        if name.endswith((".ipynb", ".md")):
            text = (folder / name).read_text(encoding="utf-8")
            links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
            assert links
            for link in links:
                assert (folder / name).parent.joinpath(link).exists(), (name, link)
        else:
            assert (folder / name).read_bytes() == (ROOT / "lessons" / name).read_bytes()


# --- the command ----------------------------------------------------------------------------------


def test_the_command_copies_the_course_and_says_how_to_open_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["lessons"]) == 0
    assert capsys.readouterr().out == (
        "minise-lessons: 13 lessons. To open them in JupyterLab:\n"
        "  pip install jupyterlab\n"
        "  jupyter lab minise-lessons\n"
    )
    check_delivered(tmp_path / "minise-lessons")


def test_a_folder_that_is_new_or_empty_is_filled(tmp_path, monkeypatch, capsys):
    assert main(["lessons", str(tmp_path / "my work" / "se")]) == 0
    assert f"jupyter lab '{tmp_path / 'my work' / 'se'}'\n" in capsys.readouterr().out
    check_delivered(tmp_path / "my work" / "se")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    assert main(["lessons", "."]) == 0
    check_delivered(tmp_path / "empty")


def test_what_somebody_has_is_never_overwritten(tmp_path, capsys):
    (tmp_path / "00_start_here").mkdir()
    mine = tmp_path / "00_start_here" / "lesson.ipynb"
    mine.write_text("my answers")
    assert main(["lessons", str(tmp_path)]) == 2
    complaint = f"minise lessons: {tmp_path} is not empty: name another folder\n"
    assert capsys.readouterr() == ("", complaint)
    assert files(tmp_path) == {"00_start_here/lesson.ipynb"}
    assert mine.read_text() == "my answers"
    assert main(["lessons", str(mine)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_copy_that_fails_leaves_nothing_to_clear_away(tmp_path, monkeypatch, capsys):
    def stop(lessons, target):
        target.mkdir()
        (target / "README.md").write_text("half of")
        raise OSError("no space left")

    monkeypatch.setattr(course, "copy", stop)
    assert main(["lessons", str(tmp_path / "new")]) == 2
    assert capsys.readouterr().err == "minise lessons: no space left\n"
    assert files(tmp_path) == set()
    monkeypatch.undo()
    assert main(["lessons", str(tmp_path / "new")]) == 0


def test_an_installation_without_lessons_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(course, "__file__", str(tmp_path / "minise" / "course.py"))
    assert main(["lessons", str(tmp_path / "new")]) == 2
    assert "came without the lessons" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("text", "copied"),
    [
        ("[`f` in a.py, lines 1–2](../../minise/a.py#L1-L2)", "`f` in a.py, lines 1–2"),
        ("[we](../../b.md) and [they](../../c.md)", "we and they"),
        ("[overview](../README.md), [s](solutions.py), [h](https://h.org/../../x)",) * 2,
    ],
)
def test_links_out_of_the_course_become_text(tmp_path, text, copied):
    lesson = tmp_path / "lessons" / "00_a" / "lesson.ipynb"
    lesson.parent.mkdir(parents=True)
    lesson.write_text(text, encoding="utf-8")
    course.copy(tmp_path / "lessons", tmp_path / "copy")
    assert (tmp_path / "copy" / "00_a" / "lesson.ipynb").read_text(encoding="utf-8") == copied


# --- the wheel ------------------------------------------------------------------------------------

STRAYS = [  # what lies about in a folder that somebody works in, and is no part of the course
    "lessons/00_start_here/.ipynb_checkpoints/lesson-checkpoint.ipynb",
    "lessons/00_start_here/__pycache__/exercises.cpython-310.pyc",
    "lessons/notes.txt",
    "build/lib/minise/ghost.py",
    "build/lib/minise/_lessons/13_ghost/lesson.ipynb",
]


def python(*arguments, cwd, **environment):
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": ""} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build(project, kind):
    """What the build backend makes of a project: "wheel" or "sdist"."""
    code = f"from setuptools import build_meta as b; b.build_{kind}('dist')"
    python("-W", "ignore", "-c", code, cwd=project)
    (made,) = (project / "dist").glob("*.whl" if kind == "wheel" else "*.tar.gz")
    return made


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of what a wheel is built from, with strays in it."""
    pytest.importorskip("setuptools", minversion="77", reason="setuptools 77 is not installed")
    folder = tmp_path_factory.mktemp("built") / "project"
    ignore = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
    for name in ("minise", "lessons"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    for name in STRAYS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("")
    return folder


@pytest.fixture(scope="module")
def installed(project):
    """The folder into which the wheel was installed."""
    folder = project.parent / "site-packages"
    with zipfile.ZipFile(build(project, "wheel")) as wheel:
        wheel.extractall(folder)
    return folder


@pytest.fixture(scope="module")
def delivered(installed):
    """The course as the installed command delivers it."""
    folder = installed.parent / "course"
    python("-m", "minise", "lessons", folder, cwd=installed.parent, PYTHONPATH=str(installed))
    return folder


def test_the_course_of_a_wheel_is_complete(installed, delivered):
    check_delivered(delivered)
    assert files(installed / "minise" / "_lessons") == files(delivered)
    assert not (installed / "lessons").exists()


def test_what_an_earlier_build_left_is_not_in_the_wheel(installed):
    assert not [name for name in files(installed) if "ghost" in name]


def test_a_wheel_has_every_file_of_the_package(installed):
    ours = {name for name in files(ROOT / "minise") if "__pycache__" not in name}
    assert ours <= files(installed / "minise")


def test_a_delivered_lesson_runs_with_the_installed_package(installed, delivered):
    folder = delivered / "00_start_here"
    notebook = nbformat.read(folder / "lesson.ipynb", as_version=4)
    cells = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    script = folder.parent / "cells.py"
    where = "import exercises, minise\nprint(exercises.__file__, minise.__file__, sep='\\n')"
    script.write_text("\n".join([*cells, where]), encoding="utf-8")
    shown = python(
        "-c", f"exec(open({str(script)!r}, encoding='utf-8').read())",
        cwd=folder, PYTHONPATH=str(installed), MPLBACKEND="agg",
    )  # fmt: skip
    paths = [str(folder / "exercises.py"), str(installed / "minise" / "__init__.py")]
    assert shown.splitlines()[-2:] == paths


def test_an_sdist_holds_all_that_its_wheel_needs(project, installed):
    with tarfile.open(build(project, "sdist")) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert {f"lessons/{name}" for name in expected()} <= names
    assert {"setup.py", "pyproject.toml", "minise/course.py"} <= names
    package = {name for name in files(ROOT / "minise") if "__pycache__" not in name}
    assert {f"minise/{name}" for name in package} <= names
    assert not names & set(STRAYS[:2])
