"""Puts the lessons into the wheel, as files. All else about the build stands in pyproject.toml."""

import runpy
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent


class BuildWithLessons(build_py):
    def run(self):
        package = Path(self.build_lib, "minise").resolve()
        if self.editable_mode or package == ROOT / "minise":
            super().run()
            return
        shutil.rmtree(package, ignore_errors=True)  # what an earlier build left is not part of this
        super().run()
        course = runpy.run_path(str(ROOT / "minise" / "course.py"))
        course["copy"](ROOT / "lessons", package / course["INSTALLED"])


setup(cmdclass={"build_py": BuildWithLessons})
