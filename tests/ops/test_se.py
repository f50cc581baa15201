"""Axpy, y = s · u + shortcut: SE's scale and the residual addition as one op."""

import numpy
import parity
import pytest

import minise
from minise import functional as F

SHAPES = {
    "axpy": (2, 3, 4, 5),
    "axpy of one pixel": (1, 4, 1, 1),
    "axpy of one image": (1, 2, 3, 3),
}


def axpy_cases():
    for name, (N, C, H, W) in SHAPES.items():
        shapes = (N, C, 1, 1), (N, C, H, W), (N, C, H, W)
        yield parity.case(
            name, lambda F, s, u, x: F.axpy(s, u, x), *shapes,
            theirs=lambda F, s, u, x: s * u + x,
        )  # fmt: skip
        yield parity.case(
            f"{name}, relu", lambda F, s, u, x: F.axpy_relu(s, u, x), *shapes,
            theirs=lambda F, s, u, x: F.relu(s * u + x),
        )  # fmt: skip


CASES = [
    *axpy_cases(),
    parity.case(
        "axpy with relu of zeros",
        lambda F, s, u: F.axpy_relu(s, u, -u),
        parity.constant(parity.values([[[[1.0]], [[1.0]]]])), (1, 2, 3, 3),
        theirs=lambda F, s, u: F.relu(s * u - u),
    ),
]  # fmt: skip


@parity.every(CASES)
def test_parity(case, way):
    parity.check(case, way)


def inputs():
    stream = numpy.random.RandomState(0)
    shapes = ((2, 3, 1, 1), (2, 3, 4, 5), (2, 3, 4, 5))
    return [minise.tensor(stream.standard_normal(s), requires_grad=True) for s in shapes]


def test_it_is_the_composed_form():
    upstream = minise.tensor(numpy.random.RandomState(1).standard_normal((2, 3, 4, 5)))
    outcomes = []
    for fn in (F.axpy, lambda s, u, x: s * u + x):
        tensors = inputs()
        y = fn(*tensors)
        y.backward(upstream)
        outcomes.append([y.numpy(), *(tensor.grad.numpy() for tensor in tensors)])
    for fused, composed in zip(*outcomes):
        parity.assert_close(fused, composed, 1e-14, "axpy")


def test_gradcheck():
    assert minise.gradcheck(F.axpy, inputs())


@pytest.mark.parametrize(
    ("s", "u", "x"),
    [
        ((2, 3), (2, 3, 4, 5), (2, 3, 4, 5)),
        ((2, 4, 1, 1), (2, 3, 4, 5), (2, 3, 4, 5)),
        ((2, 3, 1, 1), (2, 3, 4, 5), (2, 3, 1, 1)),  # would broadcast: a shortcut never does
        ((2, 3, 4, 5), (2, 3, 4, 5), (2, 3, 4, 5)),
    ],
)
def test_other_shapes_are_refused(s, u, x):
    with pytest.raises(RuntimeError, match=r"axpy: expected scale \(N, C, 1, 1\)"):
        F.axpy(minise.zeros(s), minise.zeros(u), minise.zeros(x))
