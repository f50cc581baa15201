"""Lesson 06, what SE computes: its mistakes and claims, and its exercises against PyTorch."""

import numpy
import parity
import pytest
from golden import make_lessons as golden
from notebooks import modules_of

from minise import functional as F
from minise import tensor
from minise.teach.check import attempt, same

lesson = modules_of("06").exercises
CHECK = lesson.check

MISTAKES = [  # blank, from, to, what the hint says
    ("squeeze", ".mean(", ".sum(", "A sum instead of a mean"),
    ("squeeze", ".mean(", ".max(", "The largest pixel instead of the mean"),
    ("squeeze", "(2, 3)", "(0, 2, 3)", "The mean runs over the images too"),
    ("squeeze", "3))", "3), keepdims=True)", "Leave out keepdims"),
    ("squeeze", "(2, 3)", "1", "The mean runs over the channels"),
    ("squeeze", "axis=(2, 3)", "2, 3", "axis=(2, 3)"),
    ("excite", "np.maximum(z @ W1.T + b1, 0)", "z @ W1.T + b1", "ReLU is missing"),
    ("excite", "1 / (1 + np.exp(-(h @ W2.T + b2)))", "h @ W2.T + b2", "The sigmoid is missing"),
    ("excite", "return 1 / (1 + np.exp(-(h @ W2.T + b2)))",
     "g = 1 / (1 + np.exp(-(z @ W1.T + b1)))\n    return np.maximum(g @ W2.T + b2, 0)",
     "ReLU and sigmoid are exchanged"),
    ("excite", "return 1 / (1 + np.exp(-(h @ W2.T + b2)))",
     "e = np.exp(h @ W2.T + b2)\n    return e / e.sum(axis=1, keepdims=True)",
     "A softmax makes the channels compete"),
    ("excite", "-(h @ W2.T + b2)", "-np.maximum(h @ W2.T + b2, 0)", "A ReLU in front of"),
    ("excite", " + b1", "", "The bias b1"),
    ("excite", " + b2", "", "The bias b2"),
    ("excite", " + b1, 0)", ", 0) + b1", "The bias b1 comes before ReLU"),
    ("excite", "-(h", "(h", "The minus in exp(−v) is missing"),
    ("excite", "np.maximum", "np.max", "np.maximum compares element by element"),
    ("excite", "z @ W1.T", "W1 @ z", "z @ W1.T"),
    ("excite", "W2.T", "W2", "h @ W2.T"),
    ("scale", "[:, :, None, None]", "", "write s[:, :, None, None]"),
    ("scale", "x * ", "x + ", "The gates are added"),
    ("scale", "x * ", "x + x * ", "That is x + s · x"),
    ("scale", "s[:, :, None, None]", "s[0][:, None, None]", "the gates of image 0"),
    ("scale", "s[:, :, None, None]", "s.mean(axis=0)[:, None, None]", "the same, averaged gates"),
    ("parameters", "J * C + J + C * J + C", "2 * C * J", "The biases are missing"),
    ("parameters", " + C * J + C", "", "Only one of the two layers"),
    ("parameters", "J * C + J + ", "", "Only one of the two layers"),
    ("parameters", "C * J + C", "C * J + J", "one bias per channel"),
    ("parameters", "J * C + J ", "J * C + C ", "one bias per hidden unit"),
    ("parameters", "C // r", "C / r", "no fractions of a hidden unit"),
    ("parameters", "J * C + J + C * J", "2 * C * C // r + C // r", "Round first"),
    ("parameters", "J = C // r", "J = r", "r is not the number of hidden units"),
    ("fold", "[:, None, None, None]", "[:, None, None]", "what enters the convolution"),
    ("fold", "[:, None, None, None]", "", "with the kernel's columns"),
    ("fold", " * ", " / ", "Divided"),
    ("fold", " * ", " + ", "The gates are added"),
    ("fold", "gates[:, None, None, None]", "gates.mean()", "One common factor"),
]  # fmt: skip

CLAIMS = """
assert columns.keys() == {'minise', 'PyTorch', 'yours'} and agree
assert set(gates[0].argsort()[-2:]) == {5, 6} and set(gates[1].argsort()[-2:]) == {0, 1}
assert overhead == 2_530_992 == with_se.params - plain.params
assert 0.6 < stages[4][0] * cost(2048, 16) / overhead < 0.65
assert 1.09 < more['parameters'] < 1.11 and more['multiply-adds'] < 1.003
assert unmoved and same_numbers and not np.array_equal(shuffled, x)
hidden = block.fc1(block.squeeze(u)).numpy()
assert (hidden > 0).tolist() == [[True, False]]
assert 0.45 < stuck[False] < 0.55 and stuck[True] == 0
assert all(0.05 < shrunk[C, 'sigmoid'] < 0.08 for C in (16, 64, 256))
assert all(0.5 < shrunk[C, 'softmax'] * C ** 4 < 2 for C in (16, 64, 256))
assert error[0] < 1e-12 and error[1] > 0.5
"""


def test_the_recorded_numbers_are_those_of_the_script():
    for name, array in zip(lesson.INPUTS, lesson.numbers()):
        parity.assert_close(array, golden.forward_inputs()[name], 0, name)


def test_pytorch_still_gives_the_recorded_values():
    pytest.importorskip("torch")
    live = golden.torch_values(golden.forward_inputs())
    assert lesson.pytorch().keys() == live.keys() == {"z", "s", "y"}
    for name, array in live.items():
        parity.assert_close(lesson.pytorch()[name], array, 1e-12, name)


def test_what_is_expected_is_what_pytorch_recorded():
    point = CHECK.points["the lesson's numbers"]
    for name, array in lesson.pytorch().items():
        parity.assert_close(point[name], array, 1e-12, name)


def test_what_is_expected_elsewhere_is_what_pytorch_gives_live():
    pytest.importorskip("torch")
    point = CHECK.points["N, C, H, W = 3, 6, 2, 5"]
    for name, array in golden.torch_values({n: point[n] for n in lesson.INPUTS}).items():
        parity.assert_close(point[name], array, 1e-12, name)


@pytest.mark.parametrize("name", CHECK.points)
def test_the_count_is_the_formula(name):
    """2C²/r + C/r + C, as published nets have it where r does not divide C: rounded down."""
    C, r, count = (CHECK.points[name][key] for key in ("C", "r", "count"))
    assert count == 2 * C * (C // r) + C // r + C


@pytest.mark.parametrize("name", ["the lesson's numbers", "N, C, H, W = 3, 6, 2, 5"])
def test_a_folded_weight_does_what_the_gates_did(name):
    point = CHECK.points[name]
    x = numpy.random.RandomState(0).standard_normal((2, point["weight"].shape[1], 5, 4))
    folded, gated = (F.conv2d(tensor(x), tensor(point[k])).numpy() for k in ("folded", "weight"))
    parity.assert_close(folded, gated * point["gates"][:, None, None], 1e-12, "folded")


@pytest.mark.parametrize("exercise", CHECK.exercises.values(), ids=lambda e: e.name)
def test_every_mistake_is_wrong_somewhere_and_differs_from_the_others(exercise):
    points = [point for point in CHECK.points.values() if exercise.answer in point]

    def everywhere(wrong):
        return [attempt(wrong, exercise.given(point).values()) for point in points]

    answers = [point[exercise.answer] for point in points]
    outcomes = [everywhere(mistake.wrong) for mistake in exercise.mistakes]
    for i, outcome in enumerate(outcomes):
        assert not all(map(same, outcome, answers))
        for other in outcomes[:i]:
            assert not all(map(same, outcome, other))
