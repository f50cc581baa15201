"""What a type checker and an editor see of minise: py.typed is shipped, and a typo is an error."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import minise

api = pytest.importorskip("mypy.api")

PROGRAM = """
import minise
from minise import Tensor, functional as F, nn, optim

class Twice(minise.Function):
    def forward(self, x): return 2 * x
    def backward(self, grad): return 2 * grad

x: Tensor = minise.randn(2, 3, 4, 4)
reveal_type(x.mean(1))                                          # Tensor
reveal_type((2 - x) @ x.transpose(2, 3))                        # Tensor
reveal_type(x > 0)                                              # Tensor
reveal_type(F.conv2d(x, minise.zeros(5, 3, 3, 3), padding=1))   # Tensor
reveal_type(Twice()(x))                                         # Tensor
reveal_type(x.numpy())                                          # ndarray
optim.SGD(nn.SEBlock(16).parameters(), lr=0.1).step()
x.shpe                                                          # error: attr-defined
x.mean(asix=1)                                                  # error: call-arg
F.relu("x")                                                     # error: arg-type
"""


@pytest.mark.slow
def test_what_mypy_sees(tmp_path, monkeypatch):
    monkeypatch.setenv("MYPYPATH", str(Path(minise.__file__).parents[1]))
    file = tmp_path / "program.py"
    file.write_text(PROGRAM, encoding="utf-8")
    options = ["--config-file=", "--no-pretty", "--cache-dir", str(tmp_path / "cache")]
    said, trouble, _ = api.run([*options, str(file)])
    assert trouble == ""
    found = dict(re.findall(r"program\.py:(\d+): (error.*|note: Revealed.*)", said))
    for number, line in enumerate(PROGRAM.splitlines(), start=1):
        code, _, expected = line.partition("  # ")
        message = found.pop(str(number), "")
        if expected.startswith("error"):
            assert expected.removeprefix("error: ") in message, code
        elif expected:
            assert message.startswith("note: Revealed type is"), code
            assert expected.strip() in message, code
    assert not found
    assert Path(minise.__file__).with_name("py.typed").exists()
