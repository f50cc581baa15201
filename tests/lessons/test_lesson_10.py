"""Lesson 10, does it train: what test_lessons.py plants in its solutions and holds it to.

And its exercises: what is expected is PyTorch's; the stored curves are those of the benchmarks.
"""

import hashlib
import json
import statistics
from copy import deepcopy

import numpy
import parity
import pytest
from execute_lessons import ROOT
from notebooks import modules_of

from minise.data.cifar import CIFAR10, BinaryFile

lesson = modules_of("10").exercises
CHECK = lesson.check

MISTAKES = [  # blank, from, to, what the hint says
    ("guessing_loss", "-np.log", "np.log", "The sign is lost"),
    ("guessing_loss", "np.log(", "np.log2(", "not the one to base 2"),
    ("guessing_loss", "-np.log(1 / classes)", "1 / classes", "That is the probability itself"),
    ("train", "        optimizer.zero_grad()\n", "", "The gradients of all steps so far pile up"),
    ("train", "        optimizer.step()\n", "", "The weights never move"),
    ("train", "zero_grad()\n        loss.backward()\n        optimizer.step()",
     "step()\n        optimizer.zero_grad()\n        loss.backward()", "one batch late"),
    ("train", "loss.backward()\n", "loss.backward()\n        optimizer.zero_grad()\n",
     "it throws the new gradient away"),
    ("train", "    net.train()\n", "", "BatchNorm uses its running averages"),
    ("train", "return losses", "return np.mean(losses)", "one loss for each batch"),
    ("accuracy", "    net.eval()\n", "", "still in training mode"),
    ("accuracy", ".mean()", ".sum()", "how many are right"),
    ("accuracy", "axis=1", "axis=0", "argmax runs over the pictures"),
    ("accuracy", "==", "!=", "the share of the wrong ones"),
    ("gain", " / len(runs)", "", "how far single runs scatter"),
    ("gain", ", ddof=1", "", "pass ddof=1"),
    ("gain", "np.mean(with_se) - np.mean(without)", "np.mean(without) - np.mean(with_se)",
     "sign is turned round"),
    ("gain", "np.mean(with_se) - np.mean(without)", "np.max(with_se) - np.max(without)",
     "the best run of each"),
    ("gain", "np.sqrt(sum(variances))", "sum(np.sqrt(variances))", "Standard errors do not add"),
]  # fmt: skip

CLAIMS = """
assert yours and fit is train and estimate is gain
assert type(train_set).__name__ == 'CueDigits'
net, optimizer = start()
first = fit(net, optimizer, [(few, few_labels)] * 40)
assert abs(first[0] - np.log(10)) < 0.5 and first[15] < 0.1
assert measure(net, few, few_labels) == 1 and seen < 0.2
(_, se), (_, plain) = curves.values()
assert se[-1] > 0.7 and plain[-1] < 0.5 and np.mean(curves['with SE'][0][-20:]) < 0.5
assert [share == 1 for share in by_heart] == [True, False, True, True] and by_heart[1] < 0.3
assert new[1] < 0.15 and new[3] < 0.15 and new[0] > new[2] + 0.1 > 0.25
ends = {model: 100 * np.array(list(seeds.values()))[:, -1]
        for runs in lesson.runs().values() for model, seeds in runs['curves'].items()}
assert ends['se_resnet8'].min() > 98 and 29 <= ends['resnet8'].mean() < 32
difference, error = gain(ends['se_resnet20'], ends['resnet20'])
assert abs(difference) < error
pairs = ends['se_resnet20'][:, None] - ends['resnet20']
assert pairs.min() < -1 and pairs.max() > 1
assert all(48 < ends[model].mean() < 52 and np.ptp(ends[model]) > 1
           for model in ('resnet20', 'se_resnet20'))
"""


def of(exercise, point):
    return list(CHECK.exercises[exercise].given(point).values())


TO_TRAIN = [point for point in CHECK.points.values() if "losses" in point]
TO_MEASURE = [point for point in CHECK.points.values() if "share" in point]
GROUPS = [point for point in CHECK.points.values() if "gain" in point]


def torch_twin(net):
    """The network of a point in PyTorch, with the same weights and statistics."""
    import torch

    classes = net[4].weight.shape[0]
    twin = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False), torch.nn.BatchNorm2d(4),
        torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(36, classes),
    ).double()  # fmt: skip
    twin.load_state_dict({k: torch.tensor(v.numpy()) for k, v in net.state_dict().items()})
    return twin


@pytest.mark.parametrize("point", TO_TRAIN)
def test_the_losses_are_pytorchs(point):
    torch = pytest.importorskip("torch")
    net, _, batches = of("train", point)
    twin = torch_twin(net).train()
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.1, momentum=0.9)
    losses = []
    for images, labels in batches:
        loss = torch.nn.functional.cross_entropy(twin(torch.tensor(images)), torch.tensor(labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    parity.assert_close(numpy.array(point["losses"]), numpy.array(losses), 1e-12, "losses")


@pytest.mark.parametrize("point", TO_MEASURE)
def test_the_accuracy_is_pytorchs(point):
    torch = pytest.importorskip("torch")
    net, images, labels = of("accuracy", point)
    with torch.no_grad():
        answers = torch_twin(net).eval()(torch.tensor(images)).argmax(1)
    assert point["share"] == (answers.numpy() == labels).mean()


@pytest.mark.parametrize("point", GROUPS)
def test_the_gain_and_its_error_are_those_of_the_formula(point):
    with_se, without = (point[name].tolist() for name in ("with_se", "without"))
    difference, error = point["gain"]
    assert difference == pytest.approx(statistics.mean(with_se) - statistics.mean(without))
    square = sum(statistics.variance(group) / len(group) for group in (with_se, without))
    assert error == pytest.approx(square**0.5)


def test_guessing_is_the_loss_of_equal_logits():
    torch = pytest.importorskip("torch")
    for classes in (10, 100):
        equal = torch.nn.functional.cross_entropy(
            torch.zeros(1, classes).double(), torch.tensor([3])
        )
        assert lesson.guessing_loss(classes) == pytest.approx(equal.item(), rel=1e-12)


def test_nets_come_in_the_wrong_mode_so_that_the_mode_is_tested():
    assert not any(point["net"].training for point in TO_TRAIN)
    assert all(point["net"].training for point in TO_MEASURE)
    before = deepcopy([point["net"].state_dict() for point in TO_TRAIN])
    CHECK(lesson.train)
    for point, state in zip(TO_TRAIN, before):
        for key, value in point["net"].state_dict().items():
            numpy.testing.assert_array_equal(value.numpy(), state[key].numpy())


def test_the_stored_curves_are_those_of_the_benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import lesson_runs

    stored = lesson.runs()
    assert stored == json.loads(json.dumps(lesson_runs.collect()))
    assert [*stored] == ["CueDigits", "CIFAR-10"]
    for runs in stored.values():
        for seeds in runs["curves"].values():
            assert len(seeds) >= 5
            assert all(len(curve) == 10 for curve in seeds.values())


def test_without_cifar_the_pictures_are_digits(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(lesson, "DATA_DIR", tmp_path)
    train, test = lesson.pictures()
    assert capsys.readouterr().out.startswith("CueDigits, because")
    assert (len(train), len(test)) == (4000, 500)
    assert not any(tmp_path.iterdir())  # nothing was fetched
    for file in (*CIFAR10.train_files, *CIFAR10.test_files):
        (tmp_path / file.name).write_bytes(b"cut off")
    lesson.pictures()
    assert "cannot be used: " in capsys.readouterr().out


def test_cifar_is_found_where_it_lies(monkeypatch, tmp_path, capsys):
    records = bytes([3, *[128] * 3072]) + bytes([7, *[255] * 3072])
    digest = hashlib.md5(records, usedforsecurity=False).hexdigest()

    class Small(CIFAR10):
        train_files = test_files = (BinaryFile("two.bin", 2, digest),)

    (tmp_path / "two.bin").write_bytes(records)
    monkeypatch.setattr(lesson, "CIFAR10", Small)
    monkeypatch.setattr(lesson, "DATA_DIR", tmp_path)
    train, test = lesson.pictures()
    assert capsys.readouterr().out == "CIFAR-10.\n"
    assert train.labels.tolist() == test.labels.tolist() == [3, 7]
    assert numpy.abs(lesson.prepare(train.images)).max() < 3
