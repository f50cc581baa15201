"""benchmarks/gpu.py without a GPU: its arithmetic on made-up numbers, its steps on the CPU."""

import importlib.metadata
import json
import math
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import devices
import numpy
import parity  # noqa: F401  (registers the backend "strict")
import pytest

import minise
from minise import backend
from minise.train.step import TrainingStep

pytest.importorskip("torch")
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))


@pytest.fixture
def results():
    """A run on a GPU that does not exist. Milliseconds, the same in both rounds."""
    from interleave import Timing

    def row(batch, tf32, **milliseconds):
        names = {
            "op_by_op": "minise op by op", "captured": "minise captured", "eager": "PyTorch",
            "last": "PyTorch channels_last", "compiled": "torch.compile",
        }  # fmt: skip
        timings = {names[key]: Timing([ms / 1e3] * 2) for key, ms in milliseconds.items()}
        work = {"flops": 3e10 * batch / 128, "bytes": 4e9 * batch / 128}
        return {"batch": batch, "tf32": tf32, "timings": timings, "work": work, "notes": []}

    return {
        "date": "2030-01-01", "context": "Imaginary 9000", "rounds": 2,
        "steps": {
            "se_resnet20, batch 128, TF32 off":
                row(128, False, op_by_op=20, captured=4, eager=10, last=8, compiled=5),
            "se_resnet20, batch 128, TF32 on":
                row(128, True, op_by_op=20, captured=4, eager=9, last=7, compiled=3),
            "se_resnet20, batch 1024, TF32 off":
                row(1024, False, op_by_op=40, captured=32, eager=24, last=16),
        },
        "rates": {"float32": 60e12, "TF32": 400e12, "copy": 4e12},
        "memory": {"se_resnet20, batch 128, TF32 off": {"minise captured": 2**30, "PyTorch": None}},
        "epoch": {"loader alone": 2.0, "epoch": 3.0, "test": 0.6},
    }  # fmt: skip


def test_targets(results):
    from gpu_report import targets

    found = {target.figure: (target.measured, target.verdict) for target in targets(results)}
    captured = "throughput of minise captured"
    assert found == {
        # the faster of PyTorch's layouts counts, and only with TF32 off
        f"se_resnet20, batch 128: {captured} ÷ PyTorch channels_last": (2.0, "goal"),
        f"se_resnet20, batch 128: {captured} ÷ torch.compile": (1.25, "goal"),
        f"se_resnet20, batch 1024: {captured} ÷ PyTorch channels_last": (0.5, "must"),
        "se_resnet20, 200 epochs of 50,000 pictures, each with its test, extrapolated from one: "
        "minutes": (12.0, "must"),
    }


def test_arithmetic(results):
    from gpu_report import Case, extrapolate, floor_seconds, images_per_second
    from interleave import Timing

    assert images_per_second(128, Timing([0.1, 0.004, 0.003])) == 128 / 0.004
    assert extrapolate((2, 30.0), (4, 50.0), 128) == 10 + 10 * 128
    assert Case("resnet20", 128, True).title == "resnet20, batch 128, TF32 on"
    work = {"flops": 3e12, "bytes": 8e9}
    assert floor_seconds(work, results["rates"], False) == {"arithmetic": 0.05, "traffic": 0.002}
    assert floor_seconds(work, results["rates"], True)["arithmetic"] == 0.0075


def test_tables(results):
    import gpu_report

    results["steps"]["se_resnet20, batch 128, TF32 on"]["notes"] = ["torch.compile failed: no gcc"]
    text = gpu_report.markdown(results)
    lines = text.splitlines()
    assert lines[0] == "# minise beside PyTorch on a GPU, 2030-01-01"
    for line in (
        "| | minise op by op | minise captured | PyTorch | PyTorch channels_last | torch.compile |",
        "| se_resnet20, batch 1024, TF32 off | 25,600 (40.00 ms) | 32,000 (32.00 ms) | "
        "42,667 (24.00 ms) | 64,000 (16.00 ms) | – |",
        "| | minise op by op | PyTorch | PyTorch channels_last | torch.compile |",
        "| se_resnet20, batch 128, TF32 off | 5.00 | 2.50 | 2.00 | 1.25 |",
        "| se_resnet20, batch 128, TF32 off | 1,024 | – |",
        "| se_resnet20, batch 128, TF32 off | 0.50 ms by 30 GFLOP, 1.00 ms by 4,000 MB | 4.0 |",
        "| se_resnet20, batch 128, TF32 on | 0.07 ms by 30 GFLOP, 1.00 ms by 4,000 MB | 4.0 |",
        "- se_resnet20, batch 128, TF32 on: torch.compile failed: no gcc",
    ):
        assert line.replace("| |", "|  |") in lines, text


def test_what_is_left_when_little_was_measured(results):
    import gpu_report

    steps = results["steps"]
    text = gpu_report.markdown({**results, "steps": {}, "memory": {}, "rates": {}, "epoch": {}})
    assert "PyTorch |" not in text
    only = {"se_resnet20, batch 128, TF32 off": steps["se_resnet20, batch 128, TF32 off"]}
    only["se_resnet20, batch 128, TF32 off"]["timings"].pop("minise captured")
    (first, *_) = gpu_report.targets({**results, "steps": only})
    assert first.figure.startswith("se_resnet20, batch 128: throughput of minise op by op ÷")


def test_the_files_that_are_left(results, tmp_path):
    import gpu

    gpu.write(results, "text", tmp_path / "new" / "gpu-2030-01-01")
    saved = json.loads((tmp_path / "new" / "gpu-2030-01-01.json").read_text())
    timings = saved["steps"]["se_resnet20, batch 128, TF32 on"]["timings"]
    assert timings["torch.compile"]["seconds"] == [0.003, 0.003]
    assert (tmp_path / "new" / "gpu-2030-01-01.md").read_text() == "text"


@pytest.fixture
def run(monkeypatch, tmp_path):
    """run("--minutes", 8, takes=300): gpu.py with made-up parts that take so many seconds each.

    Returns the parts it measured and the results it left. run.gpu names the GPU.
    """
    import gpu
    import gpu_steps
    from interleave import Timing

    now, measured = [0.0], []

    def measure(case, rounds, calls):
        timings = {"minise captured": Timing([0.1] * rounds), "PyTorch": Timing([0.2] * rounds)}
        return {"timings": timings, "losses": {}, "notes": []}

    def run(*arguments, takes=0.0):
        def slow(name, work):
            def part(*given):
                measured.append(f"{name} {given[0].title}" if "epoch" not in name else name)
                now[0] += takes
                return work(*given)

            return part

        with monkeypatch.context() as patch:
            patch.setattr(gpu, "NETWORKS", {"se_resnet8": (2, 3)})
            patch.setattr(gpu, "CALLS", {"se_resnet8": 1})
            patch.setattr(gpu, "PARTS", ("se_resnet8", "memory", "epoch"))
            patch.setattr(gpu, "require_gpu", lambda: None)
            patch.setattr(gpu, "describe", lambda: run.gpu)
            patch.setattr(gpu, "memory_in_a_process", lambda case, name: case.batch)
            patch.setattr(gpu.time, "monotonic", lambda: now[0])
            patch.setattr(gpu_steps, "measure", slow("steps", measure))
            patch.setattr(gpu_steps, "epoch", slow("epoch", lambda *_: {"epoch": 3.0, "test": 0.6}))
            given = ["--rounds", 1, "--out", tmp_path, *arguments]
            patch.setattr(sys, "argv", ["gpu.py", *map(str, given)])
            measured.clear()
            assert gpu.main() == 0
        (path,) = tmp_path.glob("*.json")
        assert path.with_suffix(".md").exists()
        assert not [*tmp_path.glob(".*")]
        return [*measured], json.loads(path.read_text())

    run.gpu = "Imaginary 9000"
    return run


def test_runs_with_little_time_go_on_with_the_results_of_the_day(run, capsys):
    first = [f"steps se_resnet8, batch 2, TF32 {tf32}" for tf32 in ("off", "on")]
    others = [f"steps se_resnet8, batch 3, TF32 {tf32}" for tf32 in ("off", "on")]
    measured, results = run("--minutes", 8, takes=200)
    assert measured == [*first, "epoch"]  # the third is begun after 400 seconds
    assert "4 parts left: run this again" in capsys.readouterr().out
    assert [f"steps {title}" for title in results["steps"]] == first
    assert [*results["memory"]] == [*results["steps"]]
    measured, complete = run("--minutes", 8, takes=200)
    assert measured == others
    assert "left" not in capsys.readouterr().out
    assert [f"steps {title}" for title in complete["steps"]] == first + others
    for section in ("steps", "memory"):
        assert results[section].items() <= complete[section].items()
    assert complete["memory"]["se_resnet8, batch 3, TF32 on"] == {
        "minise captured": 3, "PyTorch": 3,
    }  # fmt: skip
    assert complete["epoch"] == results["epoch"] == {"epoch": 3.0, "test": 0.6}
    assert run()[0] == []


def test_parts_that_were_not_chosen_are_added_later(run):
    assert run("--only", "epoch")[0] == ["epoch"]
    measured, results = run("--only", "se_resnet8")
    assert len(measured) == len(results["steps"]) == 4
    assert "memory" not in results
    measured, results = run()
    assert measured == []
    assert len(results["memory"]) == 4


def test_results_of_another_gpu_or_kind_are_not_mixed(run, tmp_path):
    run("--only", "epoch")
    run.gpu = "Imaginary 9001"
    with pytest.raises(ValueError, match=r"has context '.* 9000', this run '.* 9001'; choose"):
        run()
    run.gpu = "Imaginary 9000"
    with pytest.raises(ValueError, match=r"has rounds 1, this run 2; choose another --out"):
        run("--rounds", 2)
    (path,) = tmp_path.glob("*.json")
    path.write_text('{"steps": 3}')
    with pytest.raises(ValueError, match=r"gpu-.*\.json is no file of results: AttributeError"):
        run()


def test_the_project_aims_at_what_is_measured_first():
    import gpu

    names = [(section, title) for section, title, _ in gpu.parts(gpu.PARTS, False, {"rounds": 9})]
    first = [("steps", f"se_resnet20, batch 128, TF32 {tf32}") for tf32 in ("off", "on")]
    assert [name for name in names if name[0] != "memory"][:3] == [*first, ("epoch", "")]
    assert len(names) == len({*names}) == 2 * 10 + 2


def test_the_machine_is_described_where_minise_is_not_installed(monkeypatch):
    import context
    import gpu
    import torch

    def missing(package):
        raise importlib.metadata.PackageNotFoundError(package)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    runtime = SimpleNamespace(driverGetVersion=lambda: 13010)
    cupy = SimpleNamespace(cuda=SimpleNamespace(runtime=runtime), __version__="14.2.0")
    monkeypatch.setattr(gpu.backend, "get", lambda name: SimpleNamespace(xp=cupy))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Imaginary 9000")
    line = gpu.describe()
    assert line.startswith("Imaginary 9000, driver for CUDA 13.1, ")
    for described in (line, context.describe()):
        assert f"minise {minise.__version__}, numpy {numpy.__version__}, torch 2." in described


EAGER = ("minise op by op", "minise captured", "PyTorch", "PyTorch channels_last")


def test_the_steps_run_and_agree_on_the_cpu():
    import gpu_steps
    import torch
    from gpu_report import Case

    before = torch.backends.cudnn.allow_tf32
    found = gpu_steps.measure(Case("se_resnet8", 2, True), 2, 1, "strict", "cpu", EAGER)
    assert torch.backends.cudnn.allow_tf32 == before
    assert [*found["timings"]] == [*EAGER]
    assert all(len(timing.seconds) == 2 for timing in found["timings"].values())
    first, fifth = zip(*found["losses"].values())
    numpy.testing.assert_allclose(first, first[0], rtol=1e-5)
    numpy.testing.assert_allclose(fifth, fifth[0], rtol=1e-3)
    assert abs(fifth[0] / first[0] - 1) > 1e-2
    (note,) = found["notes"]  # the strict array refuses to record cuBLAS
    assert note.startswith("training op by op, the step cannot be captured as a CUDA graph: ")


def test_tf32_is_the_same_on_both_sides():
    import gpu_steps
    import torch

    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    for allowed in (True, False):
        with gpu_steps.tf32(allowed):
            assert backend.using_tf32() == allowed
            assert torch.backends.cuda.matmul.allow_tf32 == allowed
            assert torch.backends.cudnn.allow_tf32 == allowed
    assert not backend.using_tf32()
    assert (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32) == before


def test_a_contestant_that_fails_is_left_out(monkeypatch):
    import gpu_steps
    from gpu_report import Case

    def no_memory(*args):
        raise MemoryError("Out of memory allocating 5 bytes")

    monkeypatch.setattr(gpu_steps, "minise_step", no_memory)
    found = gpu_steps.measure(Case("resnet8", 4, False), 1, 1, "numpy", "cpu", EAGER[1:3])
    assert [*found["timings"]] == ["PyTorch"]
    assert found["notes"] == ["minise captured failed: Out of memory allocating 5 bytes"]


def test_who_computes_something_else_is_named():
    import gpu_steps
    from gpu_report import Case

    def named(tf32, **losses):
        return gpu_steps.disagreements(Case("resnet20", 128, tf32), losses)

    exact = {"captured": (2.3, 2.0), "eager": (2.3001, 2.0003), "last": (2.3, 2.0)}
    assert named(False, **exact) == {}
    rounded = {**exact, "captured": (2.31, 2.015)}
    assert named(True, **rounded) == {}
    assert named(False, **rounded) == {
        "captured": "captured is left out: its first loss is 2.31, that of others 2.3001"
    }
    assert named(False, **{**exact, "captured": (2.3, 2.015)}) == {
        "captured": "captured is left out: its 5th loss is 2.015, that of others 2.0003"
    }
    for nan in ((math.nan, 2.0), (2.3, math.nan)):
        assert [*named(True, **{**exact, "last": nan})] == ["last"]
    assert [*named(False, captured=(2.4, 2.0), eager=(2.3, 2.0))] == ["captured", "eager"]


def test_a_wrong_replay_is_left_out_and_the_others_go_on(monkeypatch):
    import gpu_steps
    from gpu_report import Case

    def forgets_the_update(step, x, target, update=TrainingStep.update):
        with monkeypatch.context() as patch:
            if step.home.is_recording():
                patch.setattr(step.optimizer, "step", lambda: None)
            return update(step, x, target)

    for planted in (False, True):
        if planted:
            monkeypatch.setattr(TrainingStep, "update", forgets_the_update)
        case = Case("se_resnet8", 2, False)
        with devices.own_kernels():
            found = gpu_steps.measure(case, 1, 1, "strict", "cpu", EAGER[1:])
        assert [*found["timings"]] == [*EAGER[1 + planted :]]
        assert len(found["notes"]) == planted
    assert found["notes"][0].startswith("minise captured is left out: its 5th loss is ")


def test_memory_epoch_and_rates_on_the_cpu():
    import gpu_steps
    from gpu_report import Case

    taken = iter([100, 350])
    case = Case("resnet8", 2, False)
    assert gpu_steps.memory(case, "PyTorch", lambda: next(taken), "numpy", "cpu") == 250
    found = gpu_steps.epoch("resnet8", 8, "numpy", pictures=20)
    assert set(found) == {"loader alone", "epoch", "test"}
    assert min(found.values()) > 0
    assert min(gpu_steps.rates("cpu", size=32, rounds=1).values()) > 0


def test_work_of_a_step(monkeypatch):
    import gpu
    from gpu_report import Case

    from minise import models

    half, full = (gpu.work(Case("se_resnet8", batch, False)) for batch in (4, 8))
    macs = models.summary(models.create("se_resnet8"), (3, 32, 32)).macs
    assert full["flops"] == 2 * half["flops"] == 6 * 8 * macs
    assert half["bytes"] < full["bytes"] < 2 * half["bytes"]  # the weights are there once


def test_without_a_gpu_it_says_what_is_missing(monkeypatch, tmp_path):
    if "cupy" in backend.available():
        pytest.skip("there is a GPU")
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "gpu.py"), "--out", str(tmp_path)],
        capture_output=True, text=True, check=False, env={"PYTHONPATH": str(BENCHMARKS.parent)},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("benchmark: backend 'cupy': CuPy ")
    assert done.stderr.count("\n") == 1
    assert not [*tmp_path.iterdir()]


def test_a_pytorch_without_cuda_is_named(monkeypatch):
    import gpu
    import torch

    monkeypatch.setattr(gpu.backend, "get", lambda name: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RuntimeError, match=r"PyTorch .* cannot use a GPU; install one built for"):
        gpu.require_gpu()
