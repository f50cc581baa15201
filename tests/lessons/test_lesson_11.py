"""Lesson 11, reading gates: what test_lessons.py plants in its solutions and holds it to.

And its exercises: what is expected is what plain loops give; the network does what the text says.
"""

import numpy as np
import pytest
from notebooks import modules_of

import minise
from minise import nn
from minise.data import cue_digits
from minise.models.weights import read_notes

lesson = modules_of("11").exercises
CHECK = lesson.check

MISTAKES = [  # blank, from, to, what the hint says
    ("class_means", ".mean(axis=0)", ".sum(axis=0)", "That is the sum over the pictures"),
    ("class_means", ".mean(axis=0)", ".mean()", "The mean runs over the channels as well"),
    ("class_means", ".mean(axis=0)", ".sum(axis=0) / len(gates)", "divided by the number of all"),
    ("class_means", "[labels == k]", "", "Every class has the mean of all pictures"),
    ("explained", "between = ((means[labels] - overall)", "between = ((gates - means[labels])",
     "the part within the classes"),
    ("explained", "means[labels] - overall", "means - overall", "Every class counts once here"),
    ("explained", "overall = gates.mean(axis=0)", "overall = 0", "distances are measured from 0"),
    ("explained", "((gates - overall) ** 2)", "((gates - means[labels]) ** 2)",
     "explained divided by unexplained"),
    ("explained", "gates.mean(axis=0)", "gates.mean()", "one number for all channels"),
    ("kind", "mean < 0.05 or ", "", "a gate can be saturated at 0 too"),
    ("kind", " or mean > 0.95", "", "and at both ends"),
    ("kind", " or ", " and ", "and at both ends"),
    ("kind", "> 0.5", "< 0.5", "are exchanged"),
    ("kind", "if spread < 0.001:", "if spread < 0.001 and 0.05 < mean < 0.95:", "dead wherever it"),
    ("kind", "    if mean <", "    if share > 0.5:\n        return 'class-specific'\n    if mean <",
     "Ask for saturation before you ask about classes"),
    ("by_mean", "axis=0", "axis=1, keepdims=True", "The mean runs over the channels"),
    ("by_mean", "axis=0", "axis=1", "The mean runs over the channels"),
    ("by_mean", "np.broadcast_to(gates.mean(axis=0), gates.shape)", "gates.mean(axis=0)",
     "every picture needs a copy"),
    ("by_mean", "np.broadcast_to(gates.mean(axis=0), gates.shape)",
     "gates.mean(axis=0, keepdims=True)", "every picture needs a copy"),
    ("by_mean", "axis=0", "", "One number for everything"),
    ("shuffled", "gates[order]", "gates", "Nothing has moved"),
    ("shuffled", "gates[order]", "gates[:, order]", "The channels are exchanged"),
    ("shuffled", "gates[order]", "gates[np.argsort(order)]", "That is the way back"),
    ("shuffled", "gates[order]", "gates[:, order % gates.shape[1]]", "The channels are exchanged"),
    ("repaint", "    painted[:, :, frame] = 0\n", "", "The old colour is still there"),
    ("repaint", "painted[:, colour, frame]", "painted[:, :, frame]", "The frame is white"),
    ("repaint", "    painted[:, colour, frame] = 255\n", "", "The frame is black"),
    ("repaint", "frame]", "~frame]", "The inside is painted"),
    ("repaint", "= 255", "= 1", "1 is almost black"),
]  # fmt: skip

CLAIMS = """
assert pick(kind) is kind and pick(repaint) is repaint
assert [reading(*gate) for gate in lesson.mystery().values()] == [
    'saturated', 'class-specific', 'dead', 'class-agnostic']
share = {path: [explained(s, groups) for groups in (test.labels, test.cues)]
         for path, s in gates.items()}
assert share['layer1.0.se'][0] < 0.05 and share['layer1.0.se'][1] > 0.99
assert share['layer3.0.se'][0] > 0.9 and share['layer3.0.se'][1] < 0.01
within = {path: s[test.labels == 3].std(axis=0).mean() for path, s in gates.items()}
assert within['layer1.0.se'] > 10 * within['layer3.0.se']
assert (cost[0] < 0.4).all() and cost[0, 0] < 0.25 and (cost[2] == 1).all()
assert cost[1, 0] == cost[1, 2] == 1 and 0.9 < cost[1, 1] < 0.97
assert kinds['class-specific'] > 40 and kinds['class-agnostic'] == 0
assert same.all() and 0.7 < sizes['layer3.0.se'] / sum(sizes.values()) < 0.8
planes = np.random.RandomState([0, 0]).random_sample((500, 10)).argsort(1, kind='stable')[:, :3]
assert (planes[np.arange(500), test.cues] == test.labels).all()
assert (answers == planes.T).all() and different == 1
for colour in range(3):
    moved = lesson.gates(net, painted[colour])['layer1.0.se'][test.cues != colour].mean(axis=0)
    assert np.abs(moved - first[test.cues == colour].mean(axis=0)).max() < 0.01
careless = shuffled(first[by_cue], neighbour)
assert np.abs(careless - first[by_cue]).mean() < 0.02 and moved.shape == (16,)
assert accuracy_with(lambda s: shuffled(s, neighbour), 'layer1.0.se',
                     test.images[by_cue], test.labels[by_cue]) > 0.98
"""


def points(answer):
    return [point for point in CHECK.points.values() if answer in point]


@pytest.mark.parametrize("point", points("means"))
def test_means_and_shares_are_those_of_plain_loops(point):
    gates, labels = point["gates"], point["labels"]
    N, C = gates.shape
    means = np.empty((labels.max() + 1, C))
    between = total = 0.0
    for c in range(C):
        for k in range(len(means)):
            means[k, c] = np.mean([gates[n, c] for n in range(N) if labels[n] == k])
        overall = np.mean(gates[:, c])
        between += sum((means[labels[n], c] - overall) ** 2 for n in range(N))
        total += sum((gates[n, c] - overall) ** 2 for n in range(N))
    np.testing.assert_allclose(point["means"], means, rtol=1e-12)
    assert point["explained"] == pytest.approx(between / total, rel=1e-12)
    for n in range(N):
        np.testing.assert_allclose(point["constant"][n], [gates[:, c].mean() for c in range(C)])
        np.testing.assert_array_equal(point["exchanged"][n], gates[point["order"][n]])
    assert not np.array_equal(point["order"], np.argsort(point["order"]))


def test_the_kinds_are_those_of_their_names():
    assert [point["kind"] for point in points("kind")] == [
        "dead", "dead", "saturated", "saturated", "class-specific", "class-agnostic",
    ]  # fmt: skip


@pytest.mark.parametrize("point", points("painted"))
def test_a_repainted_picture_pixel_by_pixel(point):
    images, painted = point["images"], point["painted"]
    for n, plane, y, x in np.ndindex(images.shape):
        on_frame = min(y, x, 31 - y, 31 - x) < 2
        expected = 255 * (plane == point["colour"]) if on_frame else images[n, plane, y, x]
        assert painted[n, plane, y, x] == expected


def test_the_frame_is_where_the_digits_are_drawn():
    np.testing.assert_array_equal(lesson.FRAME, cue_digits._frame())


def test_replaced_gates_are_multiplied_by_and_the_old_ones_come_back():
    block = nn.SEBlock(4, 2).double()
    x = minise.Tensor(np.random.default_rng(0).standard_normal((3, 4, 5, 5)))
    before = block(x).numpy()
    new = np.random.default_rng(1).uniform(size=(3, 4))
    with lesson.replaced(block, lambda s: new):
        np.testing.assert_allclose(block(x).numpy(), x.numpy() * new[:, :, None, None])
    with pytest.raises(RuntimeError, match="oh"), lesson.replaced(block, np.ones_like):
        raise RuntimeError("oh")
    np.testing.assert_array_equal(block(x).numpy(), before)


def test_the_checkpoint_is_small_and_says_what_it_is():
    assert lesson.WEIGHTS.stat().st_size < 1_500_000
    notes = read_notes(lesson.WEIGHTS)
    assert notes["config"]["name"] == "se_resnet8"
    assert notes["config"]["reduction"] == 4
    assert not lesson.network().training
