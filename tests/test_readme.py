"""The README's code runs as it stands there."""

import re
from pathlib import Path

README = Path(__file__).resolve().parent.parent / "README.md"


def test_the_code_runs_from_top_to_bottom(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, README.name, "exec"), names)
    printed = capsys.readouterr().out
    assert len(blocks) == 3
    assert "(2, 8, 5, 5)" in printed  # the shape of x.grad
    assert "multiply" in printed  # an op of the walk
    assert "<html" in (tmp_path / "backprop.html").read_text(encoding="utf-8")
    assert "274,847" in printed  # the table's total


def test_every_link_leads_somewhere():
    links = re.findall(r"\]\(([^)]+)\)", README.read_text(encoding="utf-8"))
    files = [link for link in links if "://" not in link]
    assert files
    assert [link for link in files if not (README.parent / link).exists()] == []
