"""Lesson 02, a tape: what test_lessons.py plants and asserts, and what the exercises expect."""

import numpy
import parity
import pytest
from notebooks import modules_of

lesson = modules_of("02").exercises
CHECK = lesson.check

MISTAKES = [  # blank, from, to, what the hint says
    ("multiply_backward", "grad * b, grad * a", "grad * b", "return both"),
    ("multiply_backward", "grad * b, grad * a", "b, a", "These are the local slopes alone"),
    ("multiply_backward", "grad * b, grad * a", "grad * b + grad * a", "they are not added"),
    ("multiply_backward", "grad * b, grad * a", "grad * a, grad * b", "The two are exchanged"),
    ("sum_backward", "np.broadcast_to(grad, x.shape)", "grad", "every element of x needs its own"),
    ("sum_backward", "to(grad,", "to(grad / x.size,", "the rule of a mean"),
    ("sum_backward", "to(grad,", "to(1.0,", "The gradient that came in is lost"),
    ("sum_backward", "np.broadcast_to(grad, x.shape)", "x * grad", "The factor x does not belong"),
    ("newest", "max(", "min(", "That is the oldest"),
    ("newest", "max(waiting, key=lambda tensor: tensor.order)", "waiting.pop()", "came last"),
    ("newest", "max(waiting, key=lambda tensor: tensor.order)", "waiting[0]", "waited longest"),
    ("newest", "max(waiting, key=lambda tensor: tensor.order)",
     "sorted(tensor.order for tensor in waiting)[-1]", "That is its number"),
    ("newest", ", key=lambda tensor: tensor.order", "", "Compare their numbers"),
    ("add_up", "arrived + contribution", "arrived", "Only the first gradient is left"),
    ("add_up", "contribution if arrived is None else ", "", "The first time nothing has arrived"),
    ("add_up", "arrived is None", "arrived == None", "`arrived is None`"),
    ("add_up", "arrived + contribution", "np.add(arrived, contribution, out=arrived)",
     "it was written into the old array"),
    ("add_up", "contribution if arrived is None else arrived + contribution", "contribution",
     "= instead of +="),
]  # fmt: skip

CLAIMS = """
assert len(ours) == len(theirs) == 4
assert all(np.allclose(a.grad, b.gradient) for a, b in zip(ours, theirs))
assert all(np.allclose(a.grad, b.grad.numpy()) for a, b in zip(our_leaves, their_leaves))
assert steps == 4 and chain.grad == 10_001

def walk(graph, name):
    leaves = [Tensor(n.copy()) for n in (x_numbers, w_numbers)]
    steps = [tensor.grad for tensor in backward_steps(graph(*leaves), *engines[name])]
    return steps, [leaf.grad for leaf in leaves]

def differ(graph, name):
    (right, right_leaves), (steps, leaves) = walk(graph, "right"), walk(graph, name)
    pairs = *zip(right, steps), *zip(right_leaves, leaves)
    return [abs(a - b).max() > 0.1 for a, b in pairs]

assert differ(diamond, "= instead of +=") == [False, False, False, True, True, True]  # u, x, w
assert differ(diamond, "oldest first")[-2:] == [True, True]
assert len(walk(diamond, "oldest first")[0]) == 5
assert differ(diamond, "+= in place")[-2:] == [False, False]
assert differ(shared, "+= in place")[-2:] == [False, True]

def chain_of(n):
    u = Tensor(0.5)
    for _ in range(n):
        u = u * u.tanh()
    return u

assert len(list(backward_steps(chain_of(10), *engines["right"]))) == 20
assert 2**10 < len(list(backward_steps(chain_of(10), *engines["oldest first"]))) < 2**12
"""


@pytest.mark.parametrize("name", ["matrices of shape (2, 3)", "vectors of length 4"])
def test_the_products_gradients_are_pytorchs(name):
    torch = pytest.importorskip("torch")
    point = lesson.check.points[name]
    a, b = (torch.tensor(point[key], requires_grad=True) for key in "ab")
    (a * b).backward(torch.tensor(point["grad"]))
    for tensor, expected in zip((a, b), point["gradients"]):
        parity.assert_close(expected, tensor.grad.numpy(), 1e-15, name)


@pytest.mark.parametrize("name", ["x of shape (2, 3)", "x of shape (4,)"])
def test_the_sums_gradient_is_the_same_everywhere(name):
    point = lesson.check.points[name]
    assert point["dx"].shape == point["x"].shape
    assert (point["dx"] == point["grad"]).all()
    assert point["grad"] != 1


def test_the_newest_is_the_one_with_the_largest_number():
    for name, number in (("four that wait", 9), ("five that wait", 19)):
        point = lesson.check.points[name]
        assert point["next"].order == number == max(entry.order for entry in point["waiting"])
        assert point["next"] not in (point["waiting"][0], point["waiting"][-1])


def test_a_blank_is_used_only_once_it_is_right():
    def add_up(arrived, contribution):
        return contribution

    lesson.check(add_up)
    assert lesson.use(add_up) is lesson.add_up
    assert lesson.use(add_up)(numpy.ones(2), numpy.ones(2)).tolist() == [2, 2]

    def add_up(arrived, contribution):
        return contribution if arrived is None else contribution + arrived

    assert lesson.check(add_up).state == "right"
    assert lesson.use(add_up) is add_up


def test_the_lessons_own_answers_are_right():
    for name in lesson.check.exercises:
        assert lesson.check(getattr(lesson, name)).state == "right"
