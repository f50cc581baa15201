"""Lesson 07's exercises: the expected values are PyTorch's, and every mistake is told apart."""

import numpy
import parity
import pytest
from golden import make_lessons as golden
from hypothesis import given, settings
from hypothesis import strategies as st
from notebooks import modules_of

from minise.teach import Check
from minise.teach.check import attempt, same

lesson = modules_of("07").exercises
GRADIENTS = ("ds", "dv", "dW2", "db2", "dh", "da", "dW1", "db1", "dz", "dx", "direct", "gate")


def test_the_recorded_numbers_are_those_of_the_script():
    for name, array in zip(lesson.INPUTS, lesson.numbers()):
        parity.assert_close(array, golden.inputs()[name], 0, name)


def test_pytorch_still_gives_the_recorded_gradients():
    pytest.importorskip("torch")
    live = golden.torch_gradients(golden.inputs())
    assert lesson.pytorch().keys() == live.keys() == set(GRADIENTS)
    for name, array in live.items():
        parity.assert_close(lesson.pytorch()[name], array, 1e-12, name)


def test_what_is_expected_is_what_pytorch_recorded():
    point = lesson.check.points["the lesson's numbers"]
    for name, array in lesson.pytorch().items():
        parity.assert_close(point[name], array, 1e-12, name)


def test_what_is_expected_elsewhere_is_what_pytorch_gives_live():
    pytest.importorskip("torch")
    point = lesson.check.points["x of shape (3, 6, 2, 5)"]
    for name, array in golden.torch_gradients({n: point[n] for n in lesson.INPUTS}).items():
        parity.assert_close(point[name], array, 1e-12, name)


@pytest.mark.parametrize("name", lesson.check.points)
def test_the_points_hide_nothing(name):
    point = lesson.check.points[name]
    parity.assert_close(point["direct"] + point["gate"], point["dx"], 1e-12, "the two paths")
    size = {path: numpy.linalg.norm(point[path], axis=(2, 3)) for path in ("direct", "gate")}
    assert (size["gate"] > 0.01 * size["direct"]).all()  # in every channel of every image
    on = point["a"] > 0
    assert on.any(axis=1).all()  # every image has a gate path
    assert not on.all()  # and ReLU has something to mask


@pytest.mark.parametrize("exercise", lesson.check.exercises.values(), ids=lambda e: e.name)
@pytest.mark.parametrize("name", lesson.check.points)
def test_every_mistake_is_wrong_and_differs_from_the_others(exercise, name):
    point = lesson.check.points[name]
    inputs = [point[key] for key in exercise.inputs.split()]
    outcomes = [attempt(mistake.wrong, inputs) for mistake in exercise.mistakes]
    assert outcomes
    for i, outcome in enumerate(outcomes):
        assert not same(outcome, point[exercise.answer])
        assert not any(same(outcome, other) for other in outcomes[:i])


@settings(max_examples=25)
@given(
    shape=st.tuples(*[st.integers(1, n) for n in (3, 6, 4, 16, 16)]),
    seed=st.integers(0, 2**32 - 1),
    scale=st.sampled_from([1e-4, 1.0, 1e4]),
)
def test_a_missing_path_never_passes(shape, seed, scale):
    """On maps of any size, and however small the loss makes all gradients."""
    x, W1, b1, W2, b2, dy = lesson.draw(*shape, seed)
    point = lesson.point(x, W1, numpy.abs(b1) + 3 * numpy.abs(W1).sum(1), W2, b2, scale * dy)
    exercise = lesson.check.exercises["grad_x"]
    check = Check({"drawn": point}, [exercise])

    def grad_x(dy, s, gate):
        return dy * s[:, :, None, None]

    assert check(grad_x).hint.startswith("The gate path is lost.")

    def grad_x(dy, s, gate):
        return gate

    assert check(grad_x).hint.startswith("Only the gate path is left.")

    def grad_x(dy, s, gate):
        return dy * s[:, :, None, None] + gate

    assert check(grad_x).state == "right"
