"""The parity cases of the op tests: each file tests/ops/test_NAME.py lists its own as CASES.

Whoever needs them all (the golden file, the GPU's kernels) finds them here, so that a new case, or
a new file of cases, is written in one place.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from parity import Case

FOLDER = Path(__file__).resolve().parents[1] / "ops"
NAMES = [path.stem.removeprefix("test_") for path in sorted(FOLDER.glob("test_*.py"))]


def of(*names: str) -> list[Case]:
    """The cases of these files, "conv" for test_conv.py; of all files without a name."""
    modules = [import_module(f"tests.ops.test_{name}") for name in names or NAMES]
    return [case for module in modules for case in module.CASES]
