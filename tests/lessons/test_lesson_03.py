"""Lesson 03, adjoints: its planted mistakes, its claims, and its expected values in PyTorch."""

import numpy
import parity
import pytest
from notebooks import modules_of

from minise.teach.check import attempt, same

lesson = modules_of("03").exercises
CHECK = lesson.check

MISTAKES = [  # blank, from, to, what the hint says
    ("sum_backward", "np.broadcast_to(ds[:, None], x.shape)", "ds[:, None]", "needs its copy"),
    ("sum_backward", "[:, None]", "", "lines shapes up from the right"),
    ("sum_backward", "x.shape)", "x.shape) / x.shape[1]", "the backward of a mean"),
    ("sum_backward", "x.shape)", "x.shape) * x", "The factor x does not belong"),
    ("sum_added", ".sum(", ".mean(", "This is a mean"),
    ("sum_added", "range(dy.ndim - c.ndim)", "range(c.ndim, dy.ndim)", "in front"),
    ("sum_added", "c.ndim))", "c.ndim)), keepdims=True", "Leave out keepdims"),
    ("sum_added", "tuple(range(dy.ndim - c.ndim))", "0", "Only axis 0 was summed"),
    ("sum_stretched", ", keepdims=True", "", "keepdims=True keeps them"),
    ("sum_stretched", ".sum(", ".mean(", "This is a mean"),
    ("sum_stretched", "n == 1", "n > 1", "axes that were not stretched"),
    ("sum_stretched", " if n == 1", "", "Everything was summed"),
    ("grad_a", "dm @ b.T", "dm @ b", "b is not transposed"),
    ("grad_a", "dm @ b.T", "b.T @ dm", "The order is exchanged"),
    ("grad_a", "dm @ b.T", "b @ dm.T", "Rows and columns are exchanged"),
    ("grad_b", "a.T @ dm", "a @ dm", "a is not transposed"),
    ("grad_b", "a.T @ dm", "dm.T @ a", "Rows and columns are exchanged"),
    ("grad_b", "a.T @ dm", "a.T @ dm / len(a)", "the mean over the rows"),
    ("grad_b", "a.T @ dm", "a[-1:].T @ dm[-1:]", "it has overwritten the others"),
    ("grad_B", ".sum(axis=0)", "", "Σ over the batch is missing"),
    ("grad_B", ".sum(", ".mean(", "the mean over the batch"),
    ("grad_B", ".sum(axis=0)", "[-1]", "Only the last matrix"),
    ("grad_B", "A.swapaxes(1, 2)", "A.T", "reverses all three axes"),
]

CLAIMS = """
assert np.array_equal(matrix_of(copy_rows, (4,)), matrix_of(sum_rows, (3, 4)).T)
assert np.array_equal(matrix_of(copy_rows, (4,)), np.vstack([np.eye(4)] * 3))
assert np.allclose(sum_rows(np.array(
    [[0.1, 1.2, -0.7, 0.4], [0.8, -0.3, 0.5, 0.0], [-0.6, 0.9, 1.1, 0.2]])), [0.3, 1.8, 0.9, 0.6])
assert len(ops) == 5 and columns == {'minise': True, 'yours': True}
for shape, op, yours in ops.values():
    assert obeys_the_identity(lambda x: op(minise.tensor(x)).numpy(), yours, shape)
caught = {
    (name, title): not test(forward, backward, shape)
    for name, (shape, forward, backward) in mistakes.items()
    for title, test in tests.items()
}
assert not any(found for (name, title), found in caught.items() if title == 'shape')
assert all(found for (name, title), found in caught.items() if title == 'random')
assert [name for name in mistakes if caught[name, 'ones']] == ['mean instead of sum']

shape, op, right = ops['A @ x, a batch']  # what "Your turn" asks
assert not obeys_the_identity(lambda x: A @ x, lambda dM: right(dM) / len(A), shape)
ones = np.ones((3, 4))
assert holds_for_ones(
    lambda x: x.sum(axis=1), lambda ds: sum_backward(ds, ones) * ones, (3, 4))
assert is_linear(conv) and is_linear(lambda x: x * gates) and not is_linear(se)
"""


@pytest.mark.parametrize("name", CHECK.points)
def test_what_is_expected_is_what_pytorch_gives(name):
    torch = pytest.importorskip("torch")
    point = CHECK.points[name]
    at = {key: torch.tensor(point[key], requires_grad=True) for key in "xcabAB"}
    forward = {
        "s": at["x"].sum(1),
        "y": at["c"].expand(point["dy"].shape),
        "m": at["a"] @ at["b"],
        "M": at["A"] @ at["B"],
    }
    for key, output in forward.items():
        output.backward(torch.tensor(point[f"d{key}"]))
    for key, tensor in at.items():
        parity.assert_close(point[f"d{key}"], tensor.grad.numpy(), 1e-12, key)
    half = torch.zeros(point["dy"].shape[-point["c"].ndim :], dtype=torch.float64)
    half.requires_grad_()
    half.expand(point["dy"].shape).backward(torch.tensor(point["dy"]))
    parity.assert_close(point["dg"], half.grad.numpy(), 1e-12, "dg")


@pytest.mark.parametrize("exercise", CHECK.exercises.values(), ids=lambda e: e.name)
def test_every_mistake_is_wrong_somewhere_and_differs_from_the_others(exercise):
    for name, point in CHECK.points.items():
        inputs = [point[key] for key in exercise.inputs.split()]
        outcomes = [attempt(mistake.wrong, inputs) for mistake in exercise.mistakes]
        hints = [mistake.hint for mistake in exercise.mistakes]
        for i, outcome in enumerate(outcomes):
            if same(outcome, point[exercise.answer]):
                assert "Only axis 0" in hints[i], "right by luck"
                assert name == next(iter(CHECK.points))
            for j in range(i):
                assert hints[i] == hints[j] or not same(outcome, outcomes[j])


def test_both_points_have_axes_that_broadcasting_added_and_stretched():
    for point in CHECK.points.values():
        assert lesson.added(point["dy"], point["c"])
        assert lesson.stretched(point["c"])
        assert numpy.prod(point["c"].shape) > 1
