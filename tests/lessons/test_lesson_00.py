"""Lesson 00, the start: what test_lessons.py plants and asserts, and what the exercises expect."""

import parity
import pytest
from notebooks import modules_of

from minise import doctor

lesson = modules_of("00").exercises
CHECK = lesson.check

MISTAKES = [  # blank, from, to, what the hint says
    ("slope", "2 * x", "-2 * x", "-1 times the expected one"),
    ("slope", "2 * x", "x", "That is half of it"),
    ("slope", "2 * x", "x**2", "how high the curve is, not how steep"),
    ("first_gradient", "    y.backward()\n", "", "only after y.backward()"),
    ("first_gradient", "x.grad.", "y.grad.", "only on x"),
    ("first_gradient", ", requires_grad=True", "", "without requires_grad=True"),
    ("first_gradient", ".grad.", ".", "These are the values of x"),
    ("first_gradient", ".grad.numpy()", ".grad", "`.numpy()` gives the array"),
    ("step", "x - ", "x + ", "That goes uphill"),
    ("step", "lr * grad", "grad", "The learning rate lr is missing"),
    ("step", "lr * grad", "lr", "The gradient is missing"),
    ("step", "    return x -", "    x -= lr * grad\n    return x  #", "wrote them into the array"),
]

CLAIMS = """
assert same and not needed
assert np.allclose(columns["formula"], columns["minise"], rtol=1e-12)
assert np.allclose(columns["formula"], columns["measured"], rtol=1e-9)
assert x.grad.item() == 12
assert right[1] == forgetful[1] and abs(right[2] - forgetful[2]) > 0.1
assert abs(right[-1] - 1) < 0.01
assert max(forgetful[15:]) > 3.5 and min(forgetful) < -1.5 and len(forgetful) == 31
"""


def test_the_slopes_are_pytorchs():
    torch = pytest.importorskip("torch")
    for name in ("three values", "four values"):
        point = lesson.check.points[name]
        x = torch.tensor(point["x"], requires_grad=True)
        (x * x).sum().backward()
        for key in ("slope", "gradient"):
            parity.assert_close(point[key], x.grad.numpy(), 1e-15, name)


def test_the_steps_are_those_of_pytorchs_sgd():
    torch = pytest.importorskip("torch")
    for name in ("one step", "another step"):
        point = lesson.check.points[name]
        x = torch.tensor(point["x"], requires_grad=True)
        x.grad = torch.tensor(point["grad"])
        torch.optim.SGD([x], lr=point["lr"]).step()
        parity.assert_close(point["lower"], x.detach().numpy(), 1e-15, name)


def test_the_lessons_own_answers_are_right():
    for name in lesson.check.exercises:
        assert lesson.check(getattr(lesson, name)).state == "right"


def test_the_self_test_asks_the_doctor_for_what_it_reports():
    subjects = [finding.subject for finding in doctor.examine()]
    assert {"numpy", "matplotlib", "backend numpy", "backend cupy"} <= set(subjects)
