"""A run that is cut off and resumed ends as if nothing had happened, or says why it cannot."""

import errno
import os
import shutil
import signal
from dataclasses import replace

import numpy as np
import pytest
import tiny_run

from minise import files, functional
from minise.backend import random
from minise.models import resnet
from minise.train import Config, checkpoint, loop, train

LAST_STEP = tiny_run.EPOCHS * tiny_run.STEPS


@pytest.fixture(scope="module", autouse=True)
def dropout():
    """Dropout ahead of the classifier, so that the stream of random numbers counts too."""
    with pytest.MonkeyPatch.context() as patch:
        classify = resnet.classify
        patch.setattr(
            resnet, "classify",
            lambda x, fc: classify(functional.dropout(x, 0.1, training=fc.training), fc),
        )  # fmt: skip
        yield


@pytest.fixture(scope="module")
def config(pictures):
    return Config(**tiny_run.settings(pictures, warmup=1, schedule="cosine"))


@pytest.fixture(scope="module")
def whole(config, tmp_path_factory):
    """The folder of a run that nobody disturbed."""
    return train(config, tmp_path_factory.mktemp("whole"), progress=False)


@pytest.fixture(scope="module")
def expected(whole):
    return tiny_run.outcome(whole)


def after_calls(monkeypatch, owner, name, count, act):
    """After `count` calls of owner.name in total, `act()`."""
    function, calls = getattr(owner, name), [0]

    def counted(*args, **options):
        result = function(*args, **options)
        calls[0] += 1
        if calls[0] == count:
            act()
        return result

    monkeypatch.setattr(owner, name, counted)


def interrupt():
    signal.raise_signal(signal.SIGINT)


def resume(config, out, **options):
    random.manual_seed(99)  # nothing may depend on what this process drew before
    return train(config, out, resume=True, progress=False, **options)


@pytest.mark.parametrize("step", [1, 3, 5, LAST_STEP])  # 3: before the test, 9: at the very end
def test_ctrl_c_after_any_step(config, expected, tmp_path, monkeypatch, step):
    after_calls(monkeypatch, loop.Run, "step", step, interrupt)
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path, progress=False)
    monkeypatch.undo()
    resume(config, tmp_path)
    assert tiny_run.outcome(tmp_path) == expected


def test_ctrl_c_after_every_step(config, expected, tmp_path, monkeypatch):
    resuming = False
    for _ in range(LAST_STEP):
        with monkeypatch.context() as patch:
            after_calls(patch, loop.Run, "step", 1, interrupt)
            with pytest.raises(KeyboardInterrupt):
                train(config, tmp_path, resume=resuming, progress=False)
        resuming = True
    resume(config, tmp_path)
    assert tiny_run.outcome(tmp_path) == expected


def test_ctrl_c_in_the_middle_of_testing(config, expected, tmp_path, monkeypatch):
    evaluate = loop.evaluate

    def interrupted(*args, **options):
        interrupt()
        evaluate(*args, **options)
        pytest.fail("the test went on to its end")

    monkeypatch.setattr(loop, "evaluate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path, progress=False)
    monkeypatch.undo()
    resume(config, tmp_path)
    assert tiny_run.outcome(tmp_path) == expected


def test_the_second_ctrl_c_does_not_wait(config, tmp_path, monkeypatch):
    def impatient(*args):
        interrupt()
        interrupt()
        pytest.fail("the second Ctrl-C did nothing")

    monkeypatch.setattr(loop.Run, "step", impatient)
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path, progress=False)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_checkpoint_every_few_minutes(config, expected, tmp_path, monkeypatch):
    """With "few minutes" being no time at all: one after each step, and a death without warning."""
    monkeypatch.setattr(loop, "SAVE_EVERY", 0)

    def die():
        raise MemoryError

    after_calls(monkeypatch, loop.Run, "step", 5, die)
    with pytest.raises(MemoryError):
        train(config, tmp_path, progress=False)
    monkeypatch.undo()
    after_calls(monkeypatch, loop.Run, "step", 6, lambda: pytest.fail("too many steps"))
    resume(config, tmp_path)  # the fifth was not saved, so it is the first of five
    assert tiny_run.outcome(tmp_path) == expected


def test_a_finished_run_is_left_as_it_is(config, whole, expected, tmp_path):
    out = shutil.copytree(whole, tmp_path / "copy")
    state = (out / checkpoint.FILE).read_bytes()
    resume(config, out)
    assert tiny_run.outcome(out) == expected
    assert (out / checkpoint.FILE).read_bytes() == state


def test_a_run_that_died_before_its_first_checkpoint(config, expected, tmp_path):
    config.save(tmp_path)
    resume(config, tmp_path)
    assert tiny_run.outcome(tmp_path) == expected


@pytest.mark.parametrize("lost", ["best.safetensors", "last.safetensors", "metrics.jsonl"])
def test_files_that_were_not_written_behind_the_last_checkpoint(
    config, whole, expected, tmp_path, lost
):
    out = shutil.copytree(whole, tmp_path / "copy")
    if lost == "metrics.jsonl":  # half a line, or a line too many
        with (out / lost).open("a") as file:
            file.write('{"epoch": 4, "train_lo')
    elif lost == "last.safetensors" or expected[0][-1] == max(
        expected[0], key=lambda line: line["test_accuracy"]
    ):
        (out / lost).unlink()
    (out / ".state.safetensors.part").write_bytes(b"half a file")
    resume(config, out)
    assert tiny_run.outcome(out) == expected
    assert not list(out.glob(".*"))


@pytest.mark.parametrize("end", ["se", "plain"])
def test_both_runs_of_a_comparison_are_resumed(pictures, tmp_path, monkeypatch, end):
    config = Config(**tiny_run.settings(pictures, compare=True, epochs=2))
    train(config, tmp_path / "whole", progress=False)
    out = tmp_path / "cut"
    after_calls(monkeypatch, loop.Run, "step", 4 if end == "se" else 10, interrupt)
    with pytest.raises(KeyboardInterrupt):
        train(config, out, progress=False)
    monkeypatch.undo()
    assert (out / "plain").exists() == (end == "plain")
    resume(config, out)
    for part in ("", "plain"):
        assert tiny_run.outcome(out / part) == tiny_run.outcome(tmp_path / "whole" / part)


# What cannot be resumed


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"lr": 0.06}, "lr: the run to resume has 0.05, got 0.06"),
        ({"epochs": 4}, "epochs: the run to resume has 3, got 4"),
        ({"model": "se_resnet20"}, "model: the run to resume has 'se_resnet8'"),
        ({"seed": 1}, "seed"),
    ],
)
def test_other_settings(config, whole, changes, part):
    with pytest.raises(ValueError) as caught:
        resume(replace(config, **changes), whole)
    assert part in str(caught.value)


def test_the_data_may_have_moved(config, whole, expected, tmp_path):
    out = shutil.copytree(whole, tmp_path / "copy")
    resume(replace(config, data_dir=str(tmp_path)), out)
    assert Config.load(out).data_dir == str(tmp_path)


def test_a_folder_in_use(config, whole, tmp_path):
    before = tiny_run.outcome(whole)
    with pytest.raises(ValueError, match="exists and is not empty; --resume goes on with a run"):
        train(config, whole, progress=False)
    assert tiny_run.outcome(whole) == before
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="exists and is not empty"):
        train(config, tmp_path / "file", progress=False)


@pytest.mark.parametrize(
    ("damage", "part"),
    [
        (lambda content: b"", "is damaged"),
        (lambda content: content[:1000], "is damaged"),
        (lambda content: content[:-1], "is damaged"),
        (lambda content: content + b"x", "is damaged"),
        (lambda content: content[:-5] + b"\x00\x01\x02\x03\x04", "its checksum is wrong"),
        (lambda content: content.replace(b'epoch\\": 3', b'epoch\\": 2'), "its checksum is wrong"),
        (lambda content: b"PK\x03\x04" + content, "is damaged"),
    ],
)
def test_a_damaged_state_is_refused(config, whole, tmp_path, damage, part):
    out = shutil.copytree(whole, tmp_path / "copy")
    path = out / checkpoint.FILE
    content = damage(path.read_bytes())
    path.write_bytes(content)
    with pytest.raises(ValueError) as caught:
        resume(config, out)
    assert f"{path} is damaged" in str(caught.value)
    assert part in str(caught.value)
    assert path.read_bytes() == content


def test_weights_are_no_state(config, whole, tmp_path):
    out = shutil.copytree(whole, tmp_path / "copy")
    shutil.copy(out / "last.safetensors", out / checkpoint.FILE)
    with pytest.raises(ValueError, match="is no state of a run"):
        resume(config, out)


def test_the_state_of_another_network(pictures, config, whole, tmp_path):
    out = shutil.copytree(whole, tmp_path / "copy")
    other = Config(**tiny_run.settings(pictures, reduction=8, warmup=1, schedule="cosine"))
    other.save(out)
    with pytest.raises(ValueError, match=r"(?s)belongs to another network .*wrong shape: layer1"):
        resume(other, out)


# Files that cannot be written


def refuse_to_write(monkeypatch, name, error):
    """Every write of the file of that name fails."""
    write, save_weights = files.write, loop.save_weights

    def checked(function, path, *arguments, **options):
        if path.name == name:
            raise error
        function(path, *arguments, **options)

    monkeypatch.setattr(files, "write", lambda *args: checked(write, *args))
    monkeypatch.setattr(
        loop, "save_weights",
        lambda model, path, **notes: checked(lambda p: save_weights(model, p, **notes), path),
    )  # fmt: skip


@pytest.mark.parametrize(
    "name", ["state.safetensors", "last.safetensors", "best.safetensors", "metrics.jsonl"]
)
@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"),
              PermissionError(errno.EACCES, "Permission denied")],
)  # fmt: skip
def test_a_write_that_fails_harms_nothing(config, expected, tmp_path, monkeypatch, name, error):
    after_calls(
        monkeypatch, loop.Run, "train_epoch", 2, lambda: refuse_to_write(monkeypatch, name, error)
    )
    if name == "best.safetensors":
        monkeypatch.setattr(checkpoint.Position, "best_epoch", lambda position: position.epoch)
    with pytest.raises(type(error)):
        train(config, tmp_path, progress=False)
    monkeypatch.undo()
    resume(config, tmp_path)
    assert tiny_run.outcome(tmp_path) == expected


@pytest.mark.skipif(os.name != "posix", reason="file size limits are POSIX's")
def test_a_disk_that_is_really_full(config, whole, expected, tmp_path):
    """As far as this process can tell: it may write no file longer than the weights."""
    import resource

    size = (whole / "last.safetensors").stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    out = tmp_path / "out"
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 1000, hard))
    try:
        with pytest.raises(OSError, match="too large"):
            train(config, out, progress=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in out.iterdir()] == ["config.json"]
    resume(config, out)
    assert tiny_run.outcome(out) == expected


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write")
def test_a_folder_that_is_read_only(config, tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError):
        train(config, tmp_path / "out", progress=False)
    assert not list(tmp_path.iterdir())


# The file itself


def test_the_state_holds_everything_that_moves(whole):
    from safetensors import safe_open

    with safe_open(whole / checkpoint.FILE, framework="numpy") as file:
        names = set(file.keys())
    weights = {name.removeprefix("model.") for name in names if name.startswith("model.")}
    assert {"conv1.weight", "layer1.0.se.fc1.bias", "bn1.running_mean",
            "bn1.num_batches_tracked"} <= weights  # fmt: skip
    buffers = {name for name in weights if "running" in name or "num_batches" in name}
    momenta = {name for name in names if name.endswith(".momentum_buffer")}
    assert len(momenta) == len(weights - buffers)


def test_the_checksum_sees_every_part():
    arrays = {"a": np.zeros(3), "b": np.ones(2)}
    first = checkpoint.checksum(arrays, "text")
    assert checkpoint.checksum(dict(reversed(arrays.items())), "text") == first
    changed = [
        checkpoint.checksum(arrays, "test"),
        checkpoint.checksum({**arrays, "a": np.float64([0, 0, 1e-300])}, "text"),
        checkpoint.checksum({"a": arrays["a"], "c": arrays["b"]}, "text"),
    ]
    assert len({first, *changed}) == 4
