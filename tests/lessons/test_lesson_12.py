"""Lesson 12, GPUs: its planted mistakes, its claims, and what its pictures are computed from."""

import json
import math
import os
import subprocess
import sys

import devices
import execute_lessons as runner
import numpy
import pytest
from notebooks import modules_of

from minise import models
from minise.teach.check import attempt, same

lesson = modules_of("12")
exercises, gpu_record, roofline = lesson.exercises, lesson.gpu_record, lesson.roofline
SimulatedGPU = lesson.simulated_gpu.SimulatedGPU
CHECK = exercises.check

MISTAKES = [  # blank, from, to, what the hint says
    ("finish_times", "max(moment, free)", "moment", "The queue is missing"),
    ("finish_times", "max(moment, free)", "free", "The program is missing"),
    (
        "finish_times",
        "zip(asked, work)",
        "zip([asked[0]] + [0] * len(asked), work)",
        "Only the first op waits",
    ),
    ("finish_times", "done.append(free)", "done.append(free - ticks)", "Add the work"),
    ("measure", "    synchronize()  # until the last op is done\n", "", "still at work"),
    ("measure", "synchronize()  #", "pass  #", "still at work"),
    ("measure", "    synchronize()  # what was asked for earlier is not ours\n", "", "earlier"),
    ("measure", "clock() - start", "clock()", "Subtract what it showed at the start"),
    ("measure", "    step()", "    step", "It is a function: step()"),
    ("bytes_moved", "4 * ", "", "A float32 has 4 bytes"),
    ("bytes_moved", "(batch * activations + weights)", "batch * (activations + weights)", "once"),
    ("bytes_moved", "batch * activations", "activations", "The batch is missing"),
    ("bytes_moved", " + weights", "", "The weights are missing"),
    ("bytes_moved", "(batch * activations + weights)", "batch * activations + weights", "brackets"),
    ("attainable", "minimum", "maximum", "The higher of the two roofs"),
    ("attainable", "bandwidth * intensity", "bandwidth / intensity", "Upside down"),
    ("attainable", "np.minimum(peak, bandwidth * intensity)", "bandwidth * intensity", "slanted"),
    (
        "attainable",
        "np.minimum(peak, bandwidth * intensity)",
        "peak * np.ones_like(intensity)",
        "This is the flat roof",
    ),
]

CLAIMS = """
assert 36 < (209 / 190 - 1) / 0.0026 < 40  # "a factor of nearly forty"
assert lines['forgetful'] == [20] * 8
assert lines['yours'][:3] == [20.1, 20.2, 20.4] and lines['yours'][-1] > 250
assert times is None or times.keys() >= {'command', 'date', 'device', 'versions', 'batches'}

assert [se[0] - plain[0], plain[0]] == [45, 53]
assert round(100 * (se[1] / plain[1] - 1), 2) == 0.21
assert round(CHIPS['H200'].bandwidth / CHIPS['H100'].bandwidth, 2) == 1.43
ridges = {name: chip.peak / chip.bandwidth for name, chip in CHIPS.items()}
assert ridges == {'H100': 20.0, 'H200': 67 / 4.8} and round(ridges['H200']) == 14
assert CHIPS['H100'].peak == CHIPS['H200'].peak == 67e12
at = {(op.path, op.name): i for op, i in zip(ops, intensity)}
blocks = [i for (path, name), i in at.items()
          if name == 'conv2d' and path.startswith('layer') and 'downsample' not in path]
assert len(blocks) == 18 and round(min(blocks)) == 24 and round(max(blocks)) == 139
rest = [i for (path, name), i in at.items() if name == 'conv2d']
assert sorted(rest)[:3] == sorted(i for (path, name), i in at.items()
                                  if path == 'conv1' or path.endswith('downsample.0'))
assert sorted(rest)[2] < ridges['H100'] < sorted(rest)[3]
assert max(i for (path, name), i in at.items() if name == 'linear') < 5
low = [i for (path, name), i in at.items() if name in kinds['squeeze'][0] + kinds['BatchNorm'][0]]
assert all(0.1 < i < 0.4 for i in low)
share = {name: 1 - under_the_roofs(plain_ops, chip)[2][3] / under_the_roofs(ops, chip)[2][3]
         for name, chip in CHIPS.items()}
assert share['H200'] < share['H100']

right = {key for key, verdict in verdicts.items() if verdict == 'right'}
assert {name for name, title in right if title == 'idle, small ops'} == {
    'never', 'before', 'after', 'before, after'}
assert {name for name, title in right if title == 'idle, large ops'} == {'after', 'before, after'}
assert {name for name, title in right if title == 'busy, large ops'} == {'before, after'}
big, small = SimulatedGPU([5, 4, 3, 6, 5, 4]), SimulatedGPU([0.5] * 6)
for gpu_, end in [(big, 28), (small, 6.5)]:
    gpu_.step()
    assert gpu_.clock() == 6 and gpu_.jobs[-1].end == end
"""


def done(asked, work):
    """Op i is done when the latest start of an unbroken run of ops up to i, and their work, is."""
    return [max(asked[j] + sum(work[j : i + 1]) for j in range(i + 1)) for i in range(len(asked))]


@pytest.mark.parametrize("name", ["large ops", "small ops"])
def test_the_queue_is_what_a_closed_formula_says(name):
    point = CHECK.points[name]
    assert point["done"].tolist() == done(point["asked"], point["work"])
    assert point["ticks"] == point["done"][-1]
    assert (numpy.diff(point["asked"]) == point["asked"][0]).all()
    idle = point["done"][:-1] < point["asked"][1:]
    assert idle.any()
    assert not idle.all()  # the GPU waits for the program, and the program for the GPU


def test_a_simulated_gpu_waits_and_goes_on():
    chip = SimulatedGPU([2.0, 3.0], launch=1.0)
    chip.step()
    assert chip.clock() == 2.0  # only asked
    chip.synchronize()
    assert chip.clock() == 6.0  # 1 + 2 + 3
    chip.synchronize()
    assert chip.clock() == 6.0
    chip.step()
    chip.synchronize()
    assert chip.clock() == 12.0


@pytest.mark.parametrize("exercise", CHECK.exercises.values(), ids=lambda e: e.name)
def test_every_mistake_is_wrong_somewhere_and_differs_from_the_others(exercise):
    points = [point for point in CHECK.points.values() if exercise.answer in point]
    outcomes = [
        [attempt(mistake.wrong, exercise.given(point).values()) for mistake in exercise.mistakes]
        for point in points
    ]
    right = [point[exercise.answer] for point in points]
    for i in range(len(exercise.mistakes)):
        assert not all(same(found[i], answer) for found, answer in zip(outcomes, right))
        for j in range(i):
            assert not all(same(found[i], found[j]) for found in outcomes)


def test_a_benchmark_leaves_the_point_as_it_was():
    exercise = CHECK.exercises["measure"]
    point = CHECK.points["large ops"]
    before = point["clock"]()
    assert attempt(exercises.timed, exercise.given(point).values()) == point["ticks"]
    assert point["clock"]() == before


def test_the_roofs_of_a_known_chip():
    intensity = numpy.array([0.25, 10.0, 20.0, 100.0])
    speed = roofline.attainable(intensity, 67e12, 3.35e12)
    assert speed.tolist() == pytest.approx([0.8375e12, 33.5e12, 67e12, 67e12])


def test_operations_are_those_of_the_published_counts():
    plain = roofline.operations(models.create("resnet20"), (3, 32, 32))
    products = [op for op in plain if op.name in ("conv2d", "linear")]
    with_projections = 2 * (16 * 32 * 16 * 16 + 32 * 64 * 8 * 8)
    # 41 million multiply-adds (He et al. 2016) in 3 × 3 convolutions and the classifier.
    assert sum(op.flops for op in products) - with_projections == pytest.approx(
        2 * 40.55e6, rel=1e-3
    )
    conv = next(op for op in plain if op.path == "layer1.0.conv1")
    assert conv == ("layer1.0.conv1", "conv2d", 2 * 16 * 16 * 9 * 1024, 2 * 16 * 1024, 16 * 16 * 9)
    assert roofline.bytes_moved(2, numpy.array([10.0]), numpy.array([3.0])).tolist() == [92.0]


def test_operations_of_se_agree_with_the_summary():
    model = models.create("se_resnet20")
    ops = roofline.operations(model, (3, 32, 32))
    summary = models.summary(model, (3, 32, 32))
    products = sum(op.flops for op in ops if op.name in ("conv2d", "linear"))
    scales = sum(layer.macs for layer in summary.layers if layer.kind == "SEBlock")
    assert products == 2 * (summary.macs - scales)
    squeeze = next(op for op in ops if op.path == "layer1.0.se")
    assert squeeze == ("layer1.0.se", "adaptive_avg_pool2d", 16 * 1024, 16 * 1024 + 16, 0)
    assert not any(op.name == "reshape" for op in ops)


def check_record(record, batches):
    assert record["batches"] == list(batches)
    assert len(record["waiting"]) == len(record["forgetful"]) == len(batches)
    assert all(math.isfinite(t) and t > 0 for t in record["waiting"] + record["forgetful"])
    assert (runner.ROOT / record["command"].removeprefix("python ")).exists()
    assert record["device"]
    assert {"python", "minise", "numpy"} <= record["versions"].keys()


def test_a_record_survives_its_file(tmp_path):
    assert gpu_record.recorded(tmp_path / "missing.json") is None
    record = gpu_record.record("numpy", batches=(1, 2), repeats=1)
    check_record(record, (1, 2))
    file = tmp_path / "record.json"
    file.write_text(json.dumps(record))
    assert gpu_record.recorded(file) == record


def test_without_a_gpu_nothing_is_recorded():
    before = gpu_record.FILE.read_bytes() if gpu_record.FILE.exists() else None
    run = subprocess.run(
        [sys.executable, gpu_record.__file__],
        env=os.environ
        | {"CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(runner.ROOT), "PYTHONWARNINGS": "ignore"},
        cwd=runner.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 2
    assert run.stderr.startswith("backend 'cupy': ")
    assert run.stderr.count("\n") == 1
    assert (gpu_record.FILE.read_bytes() if gpu_record.FILE.exists() else None) == before


def test_what_is_recorded_is_complete():
    record = gpu_record.recorded()
    if record is not None:
        check_record(record, record["batches"])
        assert "cupy" in record["versions"]


@pytest.mark.gpu
def test_a_gpu_is_recorded():
    devices.require("cupy")
    check_record(gpu_record.record(batches=(2,), repeats=1), (2,))
