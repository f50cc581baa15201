"""`minise train` and `minise eval`: one clear line for every mistake, and nothing half done."""

import os
from dataclasses import replace

import parity  # noqa: F401  (registers the backend "strict", a stand-in for CuPy)
import pytest
import tiny_run

from minise import backend, cli, demo, launch
from minise.backend import registry
from minise.backend.gpu import cupy_backend
from minise.backend.gpu import kernels as cuda
from minise.data import CIFAR10
from minise.train import Config


@pytest.fixture
def refuse(capsys, tmp_path, monkeypatch):
    """Calls the command, which must end with status 2, one line and no new file; the line."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        before = sorted(tmp_path.rglob("*"))
        assert cli.main([str(argument) for argument in arguments]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith(f"minise {arguments[0]}: ")
        assert err.count("\n") == 1
        assert err.endswith("\n")
        assert sorted(tmp_path.rglob("*")) == before
        return err

    return call


@pytest.fixture(scope="module")
def finished(pictures, tmp_path_factory):
    out = tmp_path_factory.mktemp("finished") / "run"
    arguments = tiny_run.arguments(pictures, epochs=1)
    assert cli.main(["train", "--out", str(out), *arguments]) == 0
    return out


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (["--batch-size", "0"], "batch_size: expected at least 1, got 0"),
        (["--lr", "nan"], "lr: expected a number above 0, got nan"),
        (["--lr", "-1"], "lr: expected a number above 0, got -1.0"),
        (["--epochs", "0"], "epochs: expected at least 1, got 0"),
        (["--schedule", "triangle"], "schedule: expected one of onecycle"),
        (["--warmup", "2"], "warmup: onecycle has a warm-up of its own"),
        (["--limit", "0"], "limit: expected at least 1, got 0"),
        (["--seed", "-1"], "seed: expected 0 to 2**32 - 1"),
        (["--model", "se_resnet2O"], "unknown network 'se_resnet2O'; did you mean"),
        (["--model", "resnet8", "--compare"], "compare: resnet8 has no twin without SE"),
        (["--reduction", "17"], "must lie between 1 and the 16 channels, got 17"),
        (["--stages", "4"], "has SE in stages (1, 2, 3), not in 4"),
        (["--backend", "jax"], "backend: unknown name 'jax'"),
        (["--data", "nowhere"], "data: expected one of cue-digits"),
        (["--data", "empty"], "expected one folder of pictures per class, found nothing"),
        (["--out", "file"], "file exists and is not empty"),
        (["--out", "file/run"], "file"),
        (["--out", "."], "exists and is not empty"),
        (["--resume", "nowhere"], "nowhere: no run folder (config.json is missing)"),
        (["--resume", "."], "no run folder"),
    ],
)
def test_bad_arguments(refuse, pictures, tmp_path, options, part):
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    data = [] if "--data" in options else ["--data", pictures]
    model = [] if "--model" in options else ["--model", "se_resnet8"]
    assert part in refuse("train", *([] if "--resume" in options else data + model), *options)


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"", "data_batch_1.bin: file is empty: 0 bytes, expected 30,730,000"),
        (b"x" * 100, "file is cut off: 100 bytes"),
        (None, "this is the Python version of the data, a pickle"),
    ],
)
def test_bad_cifar_files(refuse, tmp_path, monkeypatch, content, part):
    monkeypatch.setattr(CIFAR10, "_download", lambda *args: None)
    for file in CIFAR10.train_files + CIFAR10.test_files:
        if content is None:
            (tmp_path / file.name.removesuffix(".bin")).touch()
        else:
            (tmp_path / file.name).write_bytes(content)
    assert part in refuse("train", "--data", "cifar10", "--data-dir", tmp_path)


def test_bad_pictures(refuse, tmp_path):
    tiny_run.draw(tmp_path / "pictures")
    (tmp_path / "pictures" / "test" / "red").rename(tmp_path / "pictures" / "test" / "blue")
    assert "none of the 2 classes: blue" in refuse("train", "--data", "pictures")
    for path in (tmp_path / "pictures" / "train" / "red").iterdir():
        path.write_bytes(b"no picture")
    assert "holds no picture that can be read" in refuse("train", "--data", "pictures")


def test_tf32_on_a_gpu_without_it(refuse, pictures, monkeypatch):
    device = replace(backend.get("strict"), check_tf32=lambda: cuda.launch.check_has_tf32("75"))
    monkeypatch.setitem(registry._by_name, "strict", device)
    arguments = tiny_run.arguments(pictures, backend="strict", epochs=1)
    for _ in range(2):  # or the second time the folder would be in use
        line = refuse("train", "--out", "run", "--tf32", *arguments)
        assert "tf32: expected a GPU of compute capability 8.0 (Ampere) or newer" in line


def test_a_gpu_that_is_not_there_is_named_before_data_are_fetched(refuse, tmp_path, monkeypatch):
    def broken():
        raise RuntimeError("backend cupy: no driver")

    fetched = []
    monkeypatch.setattr(registry, "_by_name", {})
    monkeypatch.setattr(cupy_backend, "create", broken)
    monkeypatch.setattr(CIFAR10, "_download", lambda *args: fetched.append(args))
    line = refuse("train", "--data", "cifar10", "--data-dir", tmp_path, "--backend", "cupy")
    assert "backend cupy: no driver" in line
    assert fetched == []


def test_a_run_resumed_with_other_settings(refuse, finished):
    line = refuse("train", "--resume", finished, "--epochs", "5")
    assert "epochs: the run to resume has 1, got 5" in line
    line = refuse("train", "--resume", finished, "--lr", "nan")
    assert "lr: expected a number above 0, got nan" in line
    line = refuse("train", "--out", finished)
    assert "exists and is not empty; --resume goes on with a run" in line


def test_a_finished_run_may_be_resumed(finished, pictures):
    before = tiny_run.outcome(finished)
    assert cli.main(["train", "--resume", str(finished), "--epochs", "1"]) == 0
    assert tiny_run.outcome(finished) == before


def test_out_and_resume_together(finished):
    with pytest.raises(SystemExit) as exit:
        cli.main(["train", "--resume", str(finished), "--out", "elsewhere"])
    assert exit.value.code == 2


def test_a_loss_that_is_no_number(capsys, pictures, tmp_path):
    arguments = tiny_run.arguments(pictures, lr=1e30)
    assert cli.main(["train", "--out", str(tmp_path / "run"), *arguments]) == 2
    err = capsys.readouterr().err
    assert err.startswith("minise train: training diverged in epoch 1: loss is ")
    assert err.count("\n") == 1


@pytest.fixture
def asked(monkeypatch):
    """What `train` was called with; nothing is trained and reported."""
    calls = []
    monkeypatch.setattr(launch, "train", lambda *args: calls.append(args))
    monkeypatch.setattr(launch.report, "write", lambda folder: None)
    return calls


def test_every_setting_has_an_option(asked):
    given = {
        "model": "se_resnet8", "reduction": 4, "se_bias": False, "se_width": "timm",
        "squeeze": "max", "gate": "tanh", "placement": "pre", "stages": (1, 2), "shortcut": "A",
        "variant": "caffe", "zero_init_residual": True, "data": "cifar10", "data_dir": "/there",
        "limit": 5, "epochs": 7, "batch_size": 9, "lr": 0.3, "momentum": 0.8,
        "weight_decay": 0.01, "schedule": "cosine", "warmup": 2, "label_smoothing": 0.1,
        "augment": False, "cutout": 4, "unreadable": "refuse", "seed": 3, "backend": "cupy",
        "tf32": True, "compare": True,
    }  # fmt: skip
    flags = {"se_bias": "--no-se-bias", "augment": "--no-augment", "tf32": "--tf32",
             "compare": "--compare", "zero_init_residual": "--zero-init-residual"}  # fmt: skip
    words = []
    for name, value in given.items():
        if name in flags:
            words.append(flags[name])
        else:
            values = value if isinstance(value, tuple) else (value,)
            words += [f"--{name.replace('_', '-')}", *map(str, values)]
    assert cli.main(["train", "--out", "there", *words]) == 0
    assert asked == [(Config(**given), "there")]
    assert given.keys() == vars(Config()).keys()


def test_the_default_folder(asked):
    assert cli.main(["train", "--data", "some/pictures"]) == 0
    ((_, folder),) = asked
    assert str(folder).startswith(os.path.join("runs", "se_resnet20-pictures-2"))


# eval


def test_eval(finished, capsys):
    (line,) = tiny_run.metrics(finished)
    for options in ([], ["--weights", "last"], ["--backend", "numpy"]):
        assert cli.main(["eval", str(finished), *options]) == 0
        out, err = capsys.readouterr()
        assert err == ""
        assert out == (
            f"test loss {line['test_loss']:.4f}, accuracy {line['test_accuracy']:.2%}, 6 pictures\n"
        )


def test_eval_of_what_is_no_run(refuse, pictures, tmp_path, finished):
    assert "nowhere: no run folder" in refuse("eval", "nowhere")
    Config(**tiny_run.settings(pictures)).save(tmp_path)
    assert "best.safetensors is missing: no epoch of this run was finished" in refuse("eval", ".")
    (tmp_path / "last.safetensors").write_bytes((finished / "last.safetensors").read_bytes()[:-9])
    assert "no intact safetensors file" in refuse("eval", ".", "--weights", "last")
    line = refuse("eval", ".", "--weights", "first")
    assert "weights: expected best or last, got 'first'" in line


# demo


def test_demo(capsys, pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "SETTINGS", {**demo.SETTINGS, "data": str(pictures), "epochs": 1})
    assert cli.main(["demo", "--out", str(tmp_path / "run")]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.startswith("Each picture shows three digits")
    assert "se_resnet8: test accuracy" in out
    assert out.endswith(f"report: {tmp_path / 'run' / 'report.html'}\n")
    assert (tmp_path / "run" / "report.html").exists()
    assert tiny_run.metrics(tmp_path / "run")
    assert tiny_run.metrics(tmp_path / "run" / "plain")


def test_the_settings_of_the_demo():
    config = Config(**demo.SETTINGS)
    assert (config.data, config.compare, config.augment) == ("cue-digits", True, False)
