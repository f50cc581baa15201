"""minise asks CuPy for nothing that CuPy lacks."""

from __future__ import annotations

import operator

import cupy_namespace
import pytest


def test_every_xp_name_of_minise_exists_in_cupy() -> None:
    assert cupy_namespace.check() == []


def test_the_check_looks_at_the_ops() -> None:
    """A check whose paths went stale would pass for ever."""
    assert (cupy_namespace.ROOT / "minise" / "ops").is_dir()
    rooms = {"minise/ops", "minise/nn", "minise/backend", "minise/train"}
    assert rooms < set(cupy_namespace.CHECKED)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("xp.block([x])", "xp.block: CuPy has no such name"),
        ("self.xp.errstate(all='ignore')", "xp.errstate: CuPy has no such name"),
        ("backend.of(x).xp.insert(x, 0, 1)", "xp.insert: CuPy has no such name"),
        ("xp.linalg.vector_norm(x)", "xp.linalg.vector_norm: CuPy has no such name"),
        ("xp.random.rand(3)", "xp.random.rand: CuPy has no such name"),
        ("xp.add.identity", "xp.add.identity: CuPy has no such name"),
        ("xp.sum(x, where=x > 0)", "xp.sum(where=): CuPy has no such keyword"),
        ("xp.exp(x, where=x > 0)", "xp.exp(where=): CuPy has no such keyword"),
        (
            "xp.lib.stride_tricks.as_strided(x, writeable=False)",
            "xp.lib.stride_tricks.as_strided(writeable=): CuPy has no such keyword",
        ),
    ],
)
def test_a_planted_numpy_only_call_is_found(tmp_path, line: str, complaint: str) -> None:
    file = tmp_path / "minise" / "ops" / "planted.py"
    file.parent.mkdir(parents=True)
    file.write_text(f"def forward(self, x):\n    xp = self.xp\n    return {line}\n")
    assert cupy_namespace.check(tmp_path) == [f"minise/ops/planted.py:3: {complaint}"]


@pytest.mark.parametrize(
    "line",
    [
        "xp.sum(x, axis=0, keepdims=True)",
        "xp.add.reduce(x)",
        "xp.float32(1).itemsize",
        "xp.lib.stride_tricks.as_strided(x, shape=s, strides=t).sum()",
        "xp.einsum('ij->i', x, optimize=True)",
        "numpy.block([x])",
    ],
)
def test_what_cupy_has_is_left_alone(line: str) -> None:
    names = cupy_namespace.load()
    assert list(cupy_namespace.check_source(line, "planted.py", names)) == []


def chains_of_cuda() -> set[str]:
    """Those in minise's sources: `"cupy.cuda.runtime.memGetInfo"`, ..."""
    files = (cupy_namespace.ROOT / "minise" / "backend").rglob("*.py")
    sources = (file.read_text(encoding="utf-8") for file in files)
    return {chain for source in sources for chain in cupy_namespace.chains(source, "cupy.cuda")}


def test_the_chains_are_found() -> None:
    source = "def f(cupy):\n    return cupy.cuda.Device().id, cupy.cuda.runtime.memGetInfo()[0]"
    assert {*cupy_namespace.chains(source, "cupy.cuda")} == {
        "cupy.cuda.Device", "cupy.cuda.runtime", "cupy.cuda.runtime.memGetInfo",
    }  # fmt: skip
    assert {"cupy.cuda.Device", "cupy.cuda.runtime.memGetInfo"} < chains_of_cuda()


def test_every_name_of_cupy_cuda_exists() -> None:
    """These are no array functions, so the snapshot does not have them."""
    cupy = pytest.importorskip("cupy")
    missing = []
    for chain in sorted(chains_of_cuda() | {"cupy.cuda.Planted"}):
        try:
            operator.attrgetter(chain.removeprefix("cupy."))(cupy)
        except AttributeError:
            missing.append(chain)
    assert missing == ["cupy.cuda.Planted"]


def test_the_snapshot_agrees_with_the_cupy_installed_here() -> None:
    """Names that a newer CuPy adds do not matter; names that it dropped do."""
    pytest.importorskip("cupy")
    old, new = cupy_namespace.load(), cupy_namespace.take_snapshot()
    dropped = {
        space: sorted(set(names) - set(new[space]))
        for space, names in old.items()
        if set(names) - set(new[space])
    }
    assert not dropped
