"""Lesson 04, convolution: its planted mistakes, its claims, and its expected values in PyTorch."""

import parity
import pytest
from notebooks import modules_of

from minise.teach.check import attempt, same

lesson = modules_of("04").exercises
CHECK = lesson.check

MISTAKES = [  # blank, from, to, what the hint says
    ("one_output", "(w * window)", "(w[:, :, ::-1, ::-1] * window)", "The kernel is flipped"),
    ("one_output", "axis=(1, 2, 3)", "axis=(2, 3)", "Σ over the channels is missing"),
    ("one_output", "axis=(1, 2, 3)", "", "The output channels are added up too"),
    ("one_output", ".sum(", ".mean(", "This is a mean over the window"),
    ("one_output", " * stride", "", "The stride is lost"),
    (
        "one_output",
        "p * stride : p * stride + R, q * stride : q * stride + S",
        "q * stride : q * stride + R, p * stride : p * stride + S",
        "Rows and columns are exchanged",
    ),
    ("im2col", " * stride", "", "The stride is lost"),
    ("im2col", ".ravel()", "", "flatten each"),
    ("im2col", "window.ravel()", "np.moveaxis(window, 0, 2).ravel()", "in another order"),
    ("im2col", "np.array(rows)", "np.array(rows).T", "Rows and columns are exchanged"),
    ("im2col", "np.array(rows)", "np.array(rows).reshape(P, Q, -1)", "below each other"),
    (
        "im2col",
        "for p in range(P):\n        for q in range(Q)",
        "for q in range(Q):\n        for p in range(P)",
        "in the wrong order",
    ),
    ("conv_rows", "w.reshape(len(w), -1).T", "w.reshape(-1, len(w))", "cuts the kernels"),
    ("conv_rows", "w.reshape(len(w), -1).T", "w.T.reshape(-1, len(w))", "reverses all four axes"),
    ("conv_rows", ".T", "", "transpose the second"),
    ("conv_rows", "columns @ w.reshape(len(w), -1).T", "w.reshape(len(w), -1) @ columns.T", "Rows"),
    ("grad_w", ".reshape(w.shape)", "", "reshape(w.shape)"),
    ("grad_w", "drows.T @ columns", "columns.T @ drows", "cut it to pieces"),
    ("grad_w", "w.shape)", "w.shape) / len(drows)", "the mean over the output pixels"),
    ("grad_w", "drows.T @ columns", "drows[-1:].T @ columns[-1:]", "Only the last output pixel"),
    ("col2im", "+=", "=", "has overwritten the windows before"),
    ("col2im", " * stride", "", "The stride is lost"),
    (
        "col2im",
        "(P, Q, len(x), R, S)",
        "(P, Q, R, S, len(x)).transpose(0, 1, 4, 2, 3)",
        "in the order C, R, S",
    ),
    ("col2im", "(P, Q, len(x), R, S)", "(Q, P, len(x), R, S).swapaxes(0, 1)", "belongs to output"),
]

CLAIMS = """
assert [(copies == places[0, row, column]).sum() for row, column, _ in marked.values()] == [9, 6, 4]
assert set(others) == {'minise, fast', 'yours'} and all(agree.values())
one, two, three = (footprints(7, stride) for stride in (1, 2, 3))
assert set(one[1:-1, 1:-1].flat) == {9} and one[0, 0] == 4 and one[0, 3] == 6
assert set(two[1:-1, 1:-1].flat) == {1, 2, 4} and np.all(three == 1)
image, kernel = rng.standard_normal((1, 9, 9)), np.ones((1, 1, 3, 3))
times = col2im(im2col(np.ones_like(image), kernel, 2), image, kernel, 2)
assert np.allclose(col2im(im2col(image, kernel, 2), image, kernel, 2), image * times)
for one, other in [(v_layer, v_conv), (z_layer.grad, z_conv.grad),
                   (layer.weight.grad, conv.weight.grad)]:
    assert np.allclose(one.numpy(), other.numpy()[:, :, 0, 0], rtol=1e-12, atol=1e-12)
overlap = {(k, s): adjoint(one_line, k, s) for k, s in [(2, 2), (3, 3), (3, 2), (3, 1)]}
assert overlap == {(2, 2): True, (3, 3): True, (3, 2): False, (3, 1): False}
assert adjoint(col2im, 3, 1) and adjoint(col2im, 3, 2)
assert check(one_line).state == 'not attempted yet'  # the blanks are known by name
one_line.__name__ = 'col2im'
assert 'has overwritten' in check(one_line).hint
check(col2im)

shortest(lambda: loops(x, w, 2))  # what MEASURE runs
y = np.empty_like(dy)
for n, padded in enumerate(np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))):
    for p, q in np.ndindex(dy.shape[2:]):
        y[n, :, p, q] = one_output(padded, w, p, q, 2)
assert np.allclose(y, plain[0])
"""


@pytest.mark.parametrize("name", CHECK.points)
def test_what_is_expected_is_what_pytorch_gives(name):
    torch = pytest.importorskip("torch")
    point = CHECK.points[name]
    x = torch.tensor(point["x"], requires_grad=True)
    w = torch.tensor(point["w"], requires_grad=True)
    y = torch.nn.functional.conv2d(x[None], w, stride=point["stride"])
    parity.assert_close(point["y"], y[0, :, point["p"], point["q"]].detach().numpy(), 1e-12, "y")
    parity.assert_close(point["rows"], y[0].flatten(1).T.detach().numpy(), 1e-12, "rows")
    columns = torch.nn.functional.unfold(x[None], w.shape[2:], stride=point["stride"])
    parity.assert_close(point["columns"], columns[0].T.detach().numpy(), 0, "columns")
    y.backward(torch.tensor(point["drows"]).T.reshape(y.shape))
    parity.assert_close(point["dw"], w.grad.numpy(), 1e-12, "dw")
    parity.assert_close(point["dx"], x.grad.numpy(), 1e-12, "dx")
    back = torch.nn.functional.fold(
        torch.tensor(point["dcolumns"]).T[None], x.shape[1:], w.shape[2:], stride=point["stride"]
    )
    seen = numpy_of(back)[0]
    parity.assert_close(point["dx"], seen, 1e-12, "col2im(dcolumns)")


def numpy_of(tensor):
    return tensor.detach().numpy()


@pytest.mark.parametrize("exercise", CHECK.exercises.values(), ids=lambda e: e.name)
def test_every_mistake_is_wrong_somewhere_and_differs_from_the_others(exercise):
    for name, point in CHECK.points.items():
        outcomes = [
            attempt(mistake.wrong, exercise.given(point).values()) for mistake in exercise.mistakes
        ]
        for i, outcome in enumerate(outcomes):
            if same(outcome, point[exercise.answer]):
                assert exercise.mistakes[i].hint == lesson.STRIDE
                assert name.endswith("stride 1")
            assert not any(same(outcome, other) for other in outcomes[:i])
