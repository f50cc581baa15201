"""The command line: what it prints, its exit status, and one clear line for every mistake."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from PIL import Image

from minise import cli, models
from minise.models.predict import Predictor

ROOT = Path(__file__).parent.parent


def shell(*command, **options):
    """`python ARGUMENTS` in a process of its own."""
    environment = {**os.environ, **options.pop("env", {})}
    return subprocess.run(
        [sys.executable, *map(str, command)], cwd=ROOT, env=environment, timeout=120,
        capture_output=True, **options,
    )  # fmt: skip


@pytest.fixture
def run(capsys):
    """Calls `main`; returns its status, stdout and stderr."""

    def call(*arguments):
        status = cli.main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


@pytest.fixture
def refuse(run):
    """Calls `main`, which must refuse with status 2 and one line; returns the line."""

    def call(*arguments):
        status, out, err = run(*arguments)
        assert (status, out) == (2, "")
        assert err.endswith("\n")
        assert err.count("\n") == 1
        assert err.startswith(f"minise {arguments[0]}: ")
        return err

    return call


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small net, three good pictures and a broken one."""
    folder = tmp_path_factory.mktemp("cli")
    models.save_weights(models.create("se_resnet20", num_classes=4), folder / "net.safetensors")
    rng = np.random.default_rng(0)
    for name in ("a.png", "b.png", "c.png"):
        Image.fromarray(rng.integers(0, 256, (40, 32, 3), np.uint8)).save(folder / name)
    (folder / "broken.png").write_bytes((folder / "a.png").read_bytes()[:500])
    (folder / "names.txt").write_text("cat\ndog\nhorse\nship\n")
    return folder


# summary


def test_summary_prints_the_totals(run):
    status, out, err = run("summary", "se_resnet20")
    assert (status, err) == (0, "")
    assert "274,847" in out.splitlines()[-1]


def test_summary_options(run):
    out = run("summary", "se_resnet20", "--no-se-bias")[1]
    assert "274,490" in out.splitlines()[-1]
    out = run("summary", "resnet20", "--shortcut", "A", "--size", "64")[1]
    assert "269,722" in out.splitlines()[-1]
    assert "input 3 × 64 × 64" in out
    assert "11,779,624" in run("summary", "se_resnet18", "--se-width", "timm")[1]


def test_an_unknown_network_names_the_nearest(refuse):
    line = refuse("summary", "se_resnet2O")
    assert "unknown network 'se_resnet2O'; did you mean" in line
    assert "se_resnet20" in line


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (["--num-classes", "0"], "num_classes must be positive"),
        (["--reduction", "0"], "reduction must be positive"),
        (["--reduction", "1000"], "SEBlock"),
        (["--placement", "behind"], "placement must be one of"),
        (["--variant", "jax"], "variant must be one of"),
        (["--shortcut", "C"], "shortcut must be one of"),
        (["--se-width", "mine"], "se_width must be one of"),
        (["--size", "0"], "size"),
        (["--size", "-3"], "size"),
    ],
)
def test_impossible_choices(refuse, options, part):
    assert part in refuse("summary", "se_resnet20", *options)


@pytest.mark.parametrize(
    "arguments",
    [[], ["fly"], ["summary"], ["summary", "resnet20", "--size", "big"], ["predict", "net"],
     ["summary", "resnet20", "--wings"]],
)  # fmt: skip
def test_bad_arguments(run, capsys, arguments):
    with pytest.raises(SystemExit) as exit:
        run(*arguments)
    assert exit.value.code == 2
    assert "usage: minise" in capsys.readouterr().err


def test_a_long_error_is_cut(refuse, folder):
    """The API names all keys; the command line stays readable."""
    options = ["--model", "mobilenet"]
    line = refuse("predict", folder / "net.safetensors", folder / "a.png", *options)
    assert "does not fit MobileNet" in line
    assert line.endswith("[...]\n")
    assert len(line) < 700


# predict


def test_predict(run, folder):
    net = folder / "net.safetensors"
    status, out, err = run("predict", net, folder / "a.png", folder / "b.png")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert len(lines) == 2 * (1 + 4)  # a name, and all four classes
    assert (lines[0], lines[5]) == (str(folder / "a.png"), str(folder / "b.png"))
    predictor = Predictor(net)
    assert "\n".join(lines[1:5]) == predictor.table(folder / "a.png")
    assert "\n".join(lines[6:]) == predictor.table(folder / "b.png")


def test_predict_as_a_process_says_the_same(run, folder):
    arguments = ["predict", folder / "net.safetensors", folder / "a.png"]
    arguments += ["--labels", folder / "names.txt"]
    result = shell("-m", "minise", *arguments)
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout.decode() == run(*arguments)[1]
    assert b"horse" in result.stdout


def test_one_broken_picture_does_not_cost_the_others_theirs(run, folder):
    net = folder / "net.safetensors"
    names = ["a.png", "broken.png", "missing.png", "c.png"]
    status, out, err = run("predict", net, *(folder / name for name in names))
    assert status == 2
    assert [Path(line).name for line in out.splitlines() if line[0] != " "] == ["a.png", "c.png"]
    assert len(err.splitlines()) == 2
    assert "broken.png" in err.splitlines()[0]
    assert "missing.png" in err.splitlines()[1]


def test_weights_that_need_a_name(run, refuse, folder):
    arrays = {
        key: value.numpy()
        for key, value in models.create("resnet20", num_classes=4).state_dict().items()
    }
    safetensors.numpy.save_file(arrays, folder / "nameless")
    line = refuse("predict", folder / "nameless", folder / "a.png")
    assert "does not say which network it belongs to; name it (--model)" in line
    options = ["--model", "resnet20", "--num-classes", "4"]
    assert run("predict", folder / "nameless", folder / "a.png", *options)[0] == 0
    line = refuse("predict", folder / "nameless", folder / "a.png", "--model", "resnet20")
    assert "the file is for 4 classes (num_classes=4), the model for 10" in line


def test_bad_input_of_predict(refuse, folder):
    net, image = folder / "net.safetensors", folder / "a.png"
    assert "No such file" in refuse("predict", folder / "none", image)
    assert "no intact safetensors file" in refuse("predict", image, image)
    assert "no run folder" in refuse("predict", folder, image)
    (folder / "short.txt").write_text("cat\n")
    line = refuse("predict", net, image, "--labels", folder / "short.txt")
    assert "has 1 lines, the network 4 classes" in line
    assert "abacus" in refuse("predict", net, image, "--backend", "abacus")
    line = refuse("predict", net, image, "--source", "keras", "--model", "se_resnet20")
    assert "source must be one of" in line
    assert "did you mean" in refuse("predict", net, image, "--model", "resnet21")


def test_a_file_name_that_is_no_text(folder):
    name = os.fsdecode(b"caf\xe9.png")
    try:
        (folder / name).write_bytes((folder / "a.png").read_bytes())
    except OSError:
        pytest.skip("this file system has only names in Unicode")
    result = shell("-m", "minise", "predict", folder / "net.safetensors", folder / name)
    assert (result.returncode, result.stderr) == (0, b"")


# doctor, and the process itself


def test_doctor(run):
    status, out, err = run("doctor")
    assert (status, err) == (0, "")
    assert "Python" in out
    assert f"numpy          {np.__version__}" in out
    assert "backend numpy  works" in out
    assert "backend cupy" in out


def test_a_terminal_without_unicode():
    result = shell("-m", "minise", "summary", "resnet20", env={"PYTHONIOENCODING": "ascii"})
    assert (result.returncode, result.stderr) == (0, b"")
    assert rb"3 \xd7 32 \xd7 32" in result.stdout


@pytest.mark.skipif(os.name != "posix", reason="needs a POSIX shell")
@pytest.mark.parametrize("command", ["summary se_resnet164", "doctor"])
def test_a_closed_pipe_is_no_error(command):
    script = f"'{sys.executable}' -m minise {command} | true; echo ${{PIPESTATUS[0]}}"
    result = subprocess.run(["bash", "-c", script], cwd=ROOT, capture_output=True, timeout=120)
    assert result.stderr == b""
    assert result.stdout == b"0\n"


def test_ctrl_c(run, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(models, "summary", interrupt)
    assert run("summary", "resnet20") == (130, "", "")


@pytest.mark.parametrize("error", [MemoryError("Unable to allocate"), ImportError("No module X")])
def test_what_the_machine_lacks_is_one_line(refuse, monkeypatch, error):
    def fail(*arguments):
        raise error

    monkeypatch.setattr(models, "summary", fail)
    assert str(error) in refuse("summary", "resnet20")


def test_mistakes_of_the_program_are_not_hidden(monkeypatch):
    monkeypatch.setattr(models, "summary", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cli.main(["summary", "resnet20"])


def test_version(capsys):
    with pytest.raises(SystemExit) as exit:
        cli.main(["--version"])
    assert exit.value.code == 0
    assert capsys.readouterr().out.startswith("minise ")


def test_imports_are_light():
    """`import minise` is quick, and neither it nor the command line loads what may be missing."""
    program = (
        "import sys, time, numpy; start = time.process_time(); import minise;"
        "print(time.process_time() - start); import minise.cli, minise.models;"
        "print([m for m in ('cupy', 'matplotlib', 'torch', 'tqdm') if m in sys.modules])"
    )
    results = [shell("-c", program).stdout.decode().splitlines() for _ in range(3)]
    assert {result[1] for result in results} == {"[]"}
    assert min(float(result[0]) for result in results) < 0.3
