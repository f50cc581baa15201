"""A batch that does not fit into a GPU's memory: one sentence with the figures and a way out."""

from __future__ import annotations

import dataclasses

import numpy as np
import parity  # noqa: F401  (registers the backend "strict")
import pytest
import tiny_run

from minise import backend, cli, models, nn, optim
from minise import functional as F
from minise.backend import registry
from minise.backend.gpu import memory
from minise.train import out_of_memory
from minise.train.step import TrainingStep

GIB = 2**30


@pytest.fixture
def small_gpu(monkeypatch):
    """small_gpu(5): a device on which steps with more than five pictures fail as in CuPy."""
    strict = backend.get("strict")
    device = dataclasses.replace(strict, recorder=None, memory=lambda: (7 * GIB, GIB // 4))
    monkeypatch.setitem(registry._by_name, "strict", device)
    monkeypatch.setitem(registry._by_type, strict.array_type, device)

    def hold(pictures):
        def update(self, x, target, update=TrainingStep.update):
            if len(x.data) > pictures:
                raise MemoryError(
                    "Out of memory allocating 1,610,612,736 bytes (allocated so far: "
                    "7,516,192,768 bytes)."
                )
            return update(self, x, target)

        monkeypatch.setattr(TrainingStep, "update", update)

    return hold


@pytest.mark.parametrize(
    ("room", "advice"),
    [(7, "a batch of 4 fits"), (3, "a batch of 2 fits"), (1, "not even a batch of 2 fits")],
)
def test_the_command_line_says_what_would_fit(small_gpu, pictures, tmp_path, capsys, room, advice):
    small_gpu(room)
    out = tmp_path / "run"
    arguments = tiny_run.arguments(pictures, backend="strict", epochs=1)
    assert cli.main(["train", "--out", str(out), *arguments]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        "minise train: out of memory: a batch of 8 asked for 1.5 GiB more; 7.0 GiB are in use, "
        f"256.0 MiB free; {advice}"
    )


def test_what_fits_does_fit(small_gpu, pictures, tmp_path):
    small_gpu(7)
    arguments = tiny_run.arguments(pictures, backend="strict", epochs=1, batch_size=4, limit=8)
    assert cli.main(["train", "--out", str(tmp_path / "run"), *arguments]) == 0


def test_the_arrays_of_the_step_that_failed_are_let_go(small_gpu, monkeypatch):
    """Or nothing would ever fit: the error's frames hold on to the graph."""
    small_gpu(7)
    alive = []

    class Large(np.ndarray):
        def __del__(self):
            alive.pop()

    def failing(images, labels):
        assert not alive
        if len(images) == 4:
            return
        activations = np.zeros(3).view(Large)
        alive.append(1)
        raise MemoryError(f"Out of memory allocating {activations.nbytes} bytes")

    class Frugal:
        home = backend.get("strict")
        optimizer = type("", (), {"zero_grad": lambda self: None})()

    run = out_of_memory.guarded(Frugal(), failing)
    with pytest.raises(MemoryError, match=r"asked for 0\.0 MiB more; .*; a batch of 4 fits"):
        run(np.zeros((8, 3)), np.zeros(8))


ADVICE = "close what else uses the device, or compute on the CPU (backend numpy)"


def full(*args, **options):
    raise MemoryError("Out of memory allocating 3,221,225,472 bytes (allocated so far: 5).")


FIGURES = "asked for 3.0 GiB more; 7.0 GiB are in use, 256.0 MiB free"


def test_a_network_that_does_not_fit(small_gpu, pictures, tmp_path, capsys, monkeypatch):
    out = tmp_path / "run"
    monkeypatch.setattr(nn.Module, "to", full)
    arguments = tiny_run.arguments(pictures, backend="strict")
    assert cli.main(["train", "--out", str(out), *arguments]) == 2
    line = f"minise train: out of memory: the network {FIGURES}; {ADVICE}\n"
    assert capsys.readouterr().err == line
    assert not out.exists()


@pytest.mark.parametrize("where", ["the network", "pictures"])
def test_looking_at_a_run_says_what_was_missing(
    small_gpu, pictures, tmp_path, capsys, monkeypatch, where
):
    run, picture = tmp_path / "run", next((pictures / "test").rglob("*.png"))
    assert cli.main(["train", "--out", str(run), *tiny_run.arguments(pictures, epochs=1)]) == 0
    capsys.readouterr()

    if where == "the network":
        monkeypatch.setattr(nn.Module, "to", full)
        evaluating = predicting = where
    else:
        monkeypatch.setattr(F, "conv2d", full)
        evaluating, predicting = "evaluating a batch of 256", "a picture of 32 × 32 pixels"
    for command, what in (
        (["eval", str(run)], evaluating), (["predict", str(run), str(picture)], predicting)
    ):  # fmt: skip
        assert cli.main([*command, "--backend", "strict"]) == 2
        line = f"minise {command[0]}: out of memory: {what} {FIGURES}; {ADVICE}\n"
        assert capsys.readouterr().err == line


def test_an_error_that_names_no_number():
    said = memory.sentence(MemoryError("out of memory"), (7 * GIB, GIB // 4), "a batch of 8")
    assert said == (
        "out of memory: a batch of 8 asked for more memory; 7.0 GiB are in use, 256.0 MiB free"
    )


def test_the_systems_own_memory_is_named_by_the_system():
    home = backend.get("numpy")
    with pytest.raises(MemoryError, match=r"^[^;]*$"), memory.naming_memory(home, "the network"):
        raise MemoryError("unable to allocate")


def test_the_systems_own_memory_is_left_to_the_system():
    model = models.create("resnet8")
    step = TrainingStep(model, optim.SGD(model.parameters()), 10)
    assert out_of_memory.guarded(step, step) is step
