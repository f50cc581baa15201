"""The benchmarks measure what they say: turns, ratios, checks, and the whole suite in small."""

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy
import pytest

pytest.importorskip("torch")
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))


class Machine:
    """A clock that only work moves on, and that can run slow for a while."""

    def __init__(self, monkeypatch):
        import interleave

        self.now, self.slowness = 0.0, 1.0
        monkeypatch.setattr(interleave.time, "perf_counter", lambda: self.now)
        monkeypatch.setattr(interleave.time, "sleep", lambda seconds: None)

    def work(self, seconds):
        def run():
            self.now += seconds * self.slowness

        return run


def test_contestants_take_turns_and_slow_ones_sit_out(monkeypatch):
    from interleave import contest

    machine = Machine(monkeypatch)
    turns = []

    def noted(name, seconds):
        work = machine.work(seconds)
        return lambda: (turns.append(name), work())

    timings = contest({"a": noted("a", 0.1), "b": noted("b", 2.0), "c": noted("c", 0.1)}, 5)
    assert "".join(turns) == "aabbcc" + "aabbcc" + "bccaa" + "ccaab" + "aacc" + "ccaa"
    assert [len(timings[name].seconds) for name in "abc"] == [5, 3, 5]
    assert timings["b"].median == pytest.approx(2.0)


def test_quick_contestants_are_called_many_times_in_a_turn(monkeypatch):
    from interleave import contest

    machine = Machine(monkeypatch)
    timing = contest({"a": machine.work(0.001)}, 2)["a"]
    # 0.1 s that do not count and 0.05 that do, give or take a call
    assert machine.now == pytest.approx(0.002 + 2 * (0.1 + 0.05), abs=0.0025)
    assert timing.median == pytest.approx(0.001)


def test_ratios_are_taken_turn_by_turn():
    from interleave import Timing, ratio

    # The machine slowed down threefold in the second round; one stopped after it.
    assert ratio(Timing([1.0, 3.0]), Timing([2.0, 6.0, 9.0])) == 0.5


def test_a_contestant_with_a_wrong_gradient_is_refused():
    import ops

    op = ops.batch_norm(4, 5, 3)
    contestants = ops.entrants(op, {})
    ops.check(op, contestants)
    honest = contestants["minise"]

    def without_the_statistics():  # as if mean and variance were constants
        y, _, *rest = honest()
        x, gamma, _ = op.arrays
        scale = gamma / numpy.sqrt(x.var((0, 2, 3)) + 1e-5)
        dy = ops.normal(*x.shape, seed=1)
        return (y, dy * scale[:, None, None], *rest)

    with pytest.raises(ValueError, match="minise's result 1 is off"):
        ops.check(op, {**contestants, "minise": without_the_statistics})


def test_networks_that_compute_something_else_are_refused():
    import steps

    one, other = (steps.evaluation("resnet20", 2) for _ in range(2))  # each draws its weights
    steps.check("same", one)
    with pytest.raises(ValueError, match="minise is off"):
        steps.check("other", {**one, "minise": other["minise"]})


def test_the_clock_counts_every_op_and_lets_go():
    import breakdown

    from minise.autograd import Function

    methods = Function.__call__, Function.contributions
    result = breakdown.measure("se_resnet20", 2, 1)
    assert (Function.__call__, Function.contributions) == methods
    rows = {(row["phase"], row["kind"]) for row in result["rows"]}
    for phase in ("forward", "backward"):
        assert {(phase, "conv2d 3×3/2 16→32"), (phase, "sigmoid")} <= rows
    assert all(row["ms"] >= 0 for row in result["rows"])


@pytest.mark.parametrize(
    ("measured", "more_is_better", "verdict"),
    [(1.2, True, "goal"), (0.9, True, "must"), (0.8, True, "missed"), (math.nan, True, "missed"),
     (0.9, False, "goal"), (1.2, False, "must"), (1.3, False, "missed")],
)  # fmt: skip
def test_verdicts(measured, more_is_better, verdict):
    from report import Target

    must = 0.85 if more_is_better else 1.25
    assert Target("", must, 1.0, measured, more_is_better).verdict == verdict


def test_finished_runs_are_found_again(tmp_path):
    import runs

    path = tmp_path / "new" / "runs.jsonl"
    runs.add(path, {"settings": {"seed": 0}, "test_accuracy": 0.5})
    runs.add(path, {"settings": {"seed": 1}, "test_accuracy": 0.7})
    assert [run["settings"]["seed"] for run in runs.read(path)] == [0, 1]
    assert runs.find(path, {"seed": 1})["test_accuracy"] == 0.7
    assert runs.find(path, {"seed": 2}) is None
    assert [file.name for file in path.parent.iterdir()] == ["runs.jsonl"]
    path.write_text('{"settings"')
    with pytest.raises(ValueError, match="no file of runs"):
        runs.read(path)


def test_difference_of_means():
    import runs

    mean, error = runs.difference([0.6, 0.8], [0.5, 0.5])
    assert mean == pytest.approx(0.2)
    assert error == pytest.approx(0.1)  # √(0.02 / 2 + 0 / 2)
    assert math.isnan(runs.difference([0.6], [0.5, 0.5])[1])


@pytest.mark.slow
def test_the_suite_runs_in_small(tmp_path):
    run = [sys.executable, str(BENCHMARKS / "run.py"), "--quick", "--out", str(tmp_path)]
    done = subprocess.run(
        [*run, "--only", "engine,breakdown,floor"], capture_output=True, text=True, check=False,
        cwd=BENCHMARKS.parent, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("quick-*.json")
    assert {"engine", "breakdown", "floor", "context"} <= json.loads(path.read_text()).keys()
    assert "chain of scalar ops: time ÷ PyTorch" in path.with_suffix(".md").read_text()
    wrong = subprocess.run([*run, "--only", "speed"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("benchmark: unknown part speed")
    assert len(wrong.stderr.splitlines()) == 1
