"""Real processes: killed without warning, anywhere, and interrupted by real signals."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tiny_run

from minise.train import Config, checkpoint, train

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's"),
]

# `minise train` with a checkpoint after every step. At its n-th event of one kind (opening a file
# that will become a checkpoint, or renaming it) the process kills itself, the file half written.
TRAIN = """
import os, signal, sys
from minise import cli
from minise.train import loop

event, left = sys.argv[1], int(sys.argv[2])

def watch(name, arguments):
    global left
    if name != event or "/.state.safetensors." not in str(arguments[0]):
        return
    if arguments[1] is not None:  # None: a descriptor, which is not written through
        left -= 1
        if left == 0:
            if name == "os.rename":
                os.truncate(arguments[0], 1000)
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(watch)
loop.SAVE_EVERY = 0
sys.exit(cli.main(sys.argv[3:]))
"""


@pytest.fixture(scope="module")
def config(pictures):
    return Config(**tiny_run.settings(pictures))


@pytest.fixture(scope="module")
def expected(config, tmp_path_factory):
    return tiny_run.outcome(train(config, tmp_path_factory.mktemp("whole"), progress=False))


@pytest.fixture
def start(pictures, tmp_path):
    """Starts `minise train` on the run in tmp_path / "run", which may exist already."""
    out = tmp_path / "run"

    def call(event="none", count=0):
        arguments = ["--resume", out] if (out / "config.json").exists() else [
            "--out", out, *tiny_run.arguments(pictures)
        ]  # fmt: skip
        return subprocess.Popen(
            [sys.executable, "-c", TRAIN, event, str(count), "train", *map(str, arguments)],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    return call


def end(process):
    """Its status, stdout and stderr."""
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


@pytest.mark.fast_kernels  # the process that is killed has them
def test_killed_at_ten_moments(start, config, expected, tmp_path):
    out = tmp_path / "run"
    moments = random.Random(0)
    inside_a_write = [("open", 2), ("os.rename", 1), ("open", 1), ("os.rename", 2)]
    for event, count in inside_a_write:
        assert end(start(event, count))[0] == -signal.SIGKILL
    for _ in range(6):
        before = checkpoint_time(out)
        process = start()
        while checkpoint_time(out) == before and process.poll() is None:
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 0.4))
        process.kill()
        end(process)
    train(config, out, resume=True, progress=False)
    assert tiny_run.outcome(out) == expected
    assert not list(out.glob(".*"))


def checkpoint_time(out):
    path = out / checkpoint.FILE
    return path.stat().st_mtime_ns if path.exists() else 0


@pytest.mark.fast_kernels  # the process that is killed has them
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c(start, config, expected, tmp_path, number):
    out = tmp_path / "run"
    process = start()
    while not checkpoint_time(out):
        time.sleep(0.01)
    process.send_signal(number)
    status, printed, err = end(process)
    assert (status, err) == (130, "")
    assert "stopped; the last checkpoint is" in printed
    assert "--resume goes on from there" in printed
    status, printed, err = end(start())
    assert (status, err) == (0, "")
    assert tiny_run.outcome(out) == expected
