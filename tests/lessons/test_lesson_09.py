"""Lesson 09, the places of SE: its mistakes, its claims, and PyTorch on its blocks."""

import numpy
import parity
import pytest
from notebooks import modules_of

from minise.teach.check import attempt, same

lesson = modules_of("09").exercises
CHECK = lesson.check

STANDARD = "relu(se(branch(x)) + shortcut(x))"

MISTAKES = [  # blank, from, to, what the hint says
    ("standard", "se(branch(x))", "branch(x)", "There is no SE in it"),
    ("standard", "shortcut(x)", "x", "The shortcut is x itself here"),
    ("standard", "se(branch(x)) + shortcut(x)", "branch(x) + se(shortcut(x))", "on the shortcut"),
    ("standard", "se(branch(x)) + shortcut(x)", "se(branch(x) + shortcut(x))", "The sum is gated"),
    ("standard", "se(branch(x))", "se(relu(branch(x)))", "A ReLU too many"),
    ("standard", STANDARD, "se(branch(x)) + shortcut(x)", "last ReLU"),
    ("pre", "se(x)", "x", "There is no SE in it"),
    ("pre", "shortcut(x)", "shortcut(se(x))", "The shortcut is gated too"),
    ("pre", "branch(se(x))", "se(branch(x))", "SE sits behind the branch"),
    ("pre", "relu(branch(se(x)) + shortcut(x))", "branch(se(x)) + shortcut(x)", "last ReLU"),
    ("post", "se(relu(branch(x) + shortcut(x)))", "relu(branch(x) + shortcut(x))", "no SE in it"),
    ("post", "se(relu(", "relu(se(", "SE comes before the ReLU here"),
    ("post", "relu(branch(x) + shortcut(x))", "branch(x) + shortcut(x)", "The ReLU is missing"),
    ("post", "se(relu(branch(x) + shortcut(x)))", STANDARD, "post means behind"),
    ("identity", "se(shortcut(x))", "shortcut(x)", "There is no SE in it"),
    ("identity", "se(shortcut(x))", "shortcut(se(x))", "SE comes ahead of the shortcut"),
    ("identity", "branch(x) + se(shortcut(x))", "se(branch(x)) + shortcut(x)", "standard place"),
    ("identity", "relu(branch(x) + se(shortcut(x)))", "branch(x) + se(shortcut(x))", "last ReLU"),
    ("se_parameters", " + J + widths", "", "The biases are missing"),
    ("se_parameters", "2 * widths * J", "widths * J", "two weight matrices"),
    ("se_parameters", "+ J + widths", "+ 2 * (J + widths)", "one per output"),
    ("se_parameters", ".sum()", "", "Add the blocks up"),
]

CLAIMS = """
# the graph says what it should, of minise's blocks and of the learner's
says = {"standard": "bn2 -> the sum", "pre": "x -> conv1", "post": "the sum -> the output",
        "identity": "x -> the sum", "inside": "bn1 -> relu"}
for name, function in functions.items():
    assert graph_check(models.create("se_resnet8", placement=name).layer1[0]) == says[name]
    if function:
        assert graph_check(Block(function)) == says[name]
assert graph_check(models.create("resnet8").layer1[0]) == "no SE"
wrong = Block(lambda x, branch, shortcut, se, relu: relu(se(branch(x) + shortcut(x))))
assert graph_check(wrong) == "the sum -> relu"
assert with_se.params - plain.params == se_parameters(widths, 16) == 2373
# the gradient
first = {name: curve[0] for name, curve in curves.items()}
assert 5 < first["standard"] < 7 and all(15 < first[name] < 22 for name in ("no SE", "pre"))
assert all(300 < first[name] < 1000 for name in ("post", "identity"))
with minise.no_grad():
    probe = models.create("se_resnet56")
    probe(minise.randn(4, 3, 16, 16))
assert all(abs(m.gate.numpy() - 0.5).max() < 0.4 and abs(m.gate.numpy().mean() - 0.5) < 0.2
           for m in probe.modules() if isinstance(m, nn.SEBlock))
# the published figures: which is worst, and how close the others are
four = {name: errors[name] for name in ("standard", "pre", "post", "identity")}
assert max(four, key=four.get) == "post"
close = [four[name] for name in ("standard", "pre", "identity")]
assert round(max(close) - min(close), 2) == 0.08
# the bill: SE-ResNet-50 has 25,557,032 parameters without SE and 28,088,024 with it
assert total == 28_088_024 - 25_557_032 and round(100 * total / 25_557_032) == 10
assert 0.6 < counts["4"] / total < 0.65 and round(100 * (with_se.macs / plain.macs - 1), 1) == 0.2
# break it: shape, parameters, gradients, graph
assert results == {"right": [True, True, True, True], "identity": [True, True, True, False],
                   "absent": [True, False, True, False], "not called": [True, True, False, False]}
images, labels = minise.randn(16, 3, 16, 16), minise.tensor(np.arange(16) % 10)
for net in nets.values():
    optimizer = minise.optim.SGD(net.parameters(), lr=0.1)
    falling = []
    for _ in range(8):
        loss = F.cross_entropy(net(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        falling.append(loss.item())
    assert falling[-1] < 0.7 * falling[0]
"""


@pytest.mark.parametrize(("channels", "stride", "seed"), [(4, 2, 901), (6, 1, 903)])
def test_what_is_expected_is_what_pytorch_gives(channels, stride, seed):
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    block = lesson.make_block(channels, stride, seed)
    at = {k: torch.from_numpy(v.numpy()) for k, v in block.state_dict().items()}

    def norm(x, name):
        keys = ("running_mean", "running_var", "weight", "bias")
        return functional.batch_norm(x, *(at[f"{name}.{key}"] for key in keys))

    def branch(x):
        x = functional.conv2d(x, at["conv1.weight"], stride=stride, padding=1)
        return norm(functional.conv2d(norm(x, "bn1").relu(), at["conv2.weight"], padding=1), "bn2")

    def shortcut(x):
        if stride == 1:
            return x
        return norm(functional.conv2d(x, at["downsample.0.weight"], stride=2), "downsample.1")

    def se(x):
        z = x.mean(dim=(2, 3))
        h = functional.linear(z, at["se.fc1.weight"], at["se.fc1.bias"]).relu()
        s = functional.linear(h, at["se.fc2.weight"], at["se.fc2.bias"]).sigmoid()
        return x * s[:, :, None, None]

    point = lesson.point(channels, stride, seed)
    x = torch.from_numpy(point["x"])
    expected = {
        "y_standard": (se(branch(x)) + shortcut(x)).relu(),
        "y_pre": (branch(se(x)) + shortcut(x)).relu(),
        "y_post": se((branch(x) + shortcut(x)).relu()),
        "y_identity": (branch(x) + se(shortcut(x))).relu(),
    }
    for name, y in expected.items():
        parity.assert_close(point[name], y.numpy(), 1e-12, name)


def test_the_counts_are_the_published_ones():
    counts = [point["count"] for point in CHECK.points.values() if "count" in point]
    assert counts == [274_847 - 272_474, 28_088_024 - 25_557_032]


@pytest.mark.parametrize("exercise", CHECK.exercises.values(), ids=lambda e: e.name)
def test_every_mistake_is_wrong_somewhere_and_differs_from_the_others(exercise):
    points = [point for point in CHECK.points.values() if exercise.answer in point]
    outcomes = [
        [attempt(mistake.wrong, exercise.given(point).values()) for mistake in exercise.mistakes]
        for point in points
    ]
    for i in range(len(exercise.mistakes)):
        assert not all(same(found[i], p[exercise.answer]) for found, p in zip(outcomes, points))
        for j in range(i):
            assert not all(same(found[i], found[j]) for found in outcomes)


def test_some_of_what_the_blocks_give_is_positive_and_some_is_zero():
    for point in CHECK.points.values():
        if "x" in point:
            for placement in lesson.PLACEMENTS:
                on = point[f"y_{placement}"] > 0
                assert 0.1 < numpy.mean(on) < 0.9  # or the last ReLU would not matter
