"""Activations, softmax and dropout against PyTorch."""

from __future__ import annotations

import numpy
import parity
import pytest
from parity import booleans, case, integers, normal, values

import minise
from minise import functional

NAN, INF = float("nan"), float("inf")
KINKS = [-1e4, -100.0, -6.0, -3.0, -2.5, -1.0, -0.0, 0.0, 1e-3, 1.0, 2.5, 3.0, 6.0, 100.0, 1e4]


def exact_hardsigmoid(F, x):
    """PyTorch's, but for its gradient: that is dy times 1/6 in float32, even for float64."""
    return F.where((x > -3) & (x < 3), (x + 3) / 6, F.hardsigmoid(x).detach())


ACTIVATIONS = {
    "relu": (lambda F, x: F.relu(x), None),
    "leaky_relu": (lambda F, x: F.leaky_relu(x), None),
    "leaky_relu 0.2": (lambda F, x: F.leaky_relu(x, 0.2), None),
    "leaky_relu 0": (lambda F, x: F.leaky_relu(x, negative_slope=0.0), None),
    "leaky_relu -1": (lambda F, x: F.leaky_relu(x, -1.0), None),
    "elu": (lambda F, x: F.elu(x), None),
    "elu 0.3": (lambda F, x: F.elu(x, alpha=0.3), None),
    "sigmoid": (lambda F, x: F.sigmoid(x), None),
    "tanh": (lambda F, x: F.tanh(x), None),
    "silu": (lambda F, x: F.silu(x), None),
    "hardsigmoid": (lambda F, x: F.hardsigmoid(x), exact_hardsigmoid),
    "hardswish": (lambda F, x: F.hardswish(x), None),
    "x.relu": (lambda F, x: x.relu(), None),
    "x.sigmoid": (lambda F, x: x.sigmoid(), None),
    "x.tanh": (lambda F, x: x.tanh(), None),
}


def activation_cases(kind, given, **options):
    return [
        case(f"{name}{kind}", ours, given, theirs=theirs, **options)
        for name, (ours, theirs) in ACTIVATIONS.items()
    ]


SOFTMAX = {
    "softmax": lambda F, x, dim: F.softmax(x, dim),
    "log_softmax": lambda F, x, dim: F.log_softmax(x, dim),
}


def softmax_cases():
    for name, function in SOFTMAX.items():
        for dim in (0, 1, 2, -1, -3):
            yield case(f"{name} dim {dim}", lambda F, x, f=function, d=dim: f(F, x, d), (2, 3, 4))
        along = lambda F, x, f=function: f(F, x, 1)  # noqa: E731
        yield case(f"{name} 4-D", along, (2, 5, 3, 2))
        yield case(f"{name} one class", along, (3, 1))
        yield case(f"{name} no rows", along, (0, 3))
        yield case(f"{name} no axes", lambda F, x, f=function: f(F, x, 0), ())
        yield case(f"{name} one axis", lambda F, x, f=function: f(F, x, -1), (5,))
        yield case(f"{name} large", along, values([[1e4, 0.0, -1e4], [700.0, 710.0, 720.0]]))
        yield case(f"{name} equal", along, values([[2.0, 2.0, 2.0], [-1e5, -1e5, -1e5]]))
        yield case(f"{name} -inf", along, values([[-INF, 0.0, 1.0], [-INF, -INF, 3.0]]))
        yield case(
            f"{name} NaN", along, values([[NAN, 0.0], [-INF, -INF], [INF, 0.0]]), overflows=True
        )
        yield case(f"{name} float16", along, normal(2, 5, dtype="float16"))
        yield case(f"x.{name}", lambda F, x, n=name: getattr(x, n)(1), (2, 3))


CASES = [
    *activation_cases("", (2, 3, 4)),
    *activation_cases(" 4-D", (2, 3, 2, 2)),
    *activation_cases(" kinks", values(KINKS)),
    *activation_cases(" inf and NaN", values([-INF, INF, NAN]), overflows=True),
    *activation_cases(" no axes", ()),
    *activation_cases(" empty", (0, 3)),
    *activation_cases(" float16", normal(9, dtype="float16")),
    case("hardsigmoid in float32", lambda F, x: F.hardsigmoid(x), values(KINKS, "float32")),
    case("relu of integers", lambda F, x: F.relu(x), integers(-3, 4, 5)),
    case("sigmoid of integers", lambda F, x: F.sigmoid(x), integers(-3, 4, 5)),
    case("tanh of integers", lambda F, x: F.tanh(x), integers(-3, 4, 5)),
    case("sigmoid of booleans", lambda F, x: F.sigmoid(x), booleans(4)),
    case("SE gate", lambda F, x, s: x * F.sigmoid(s)[:, :, None, None], (2, 3, 2, 2), (2, 3)),
    *softmax_cases(),
    case("dropout p=0", lambda F, x: F.dropout(x, 0.0), (3, 4)),
    case("dropout p=1", lambda F, x: F.dropout(x, 1.0), (3, 4)),
    case("dropout p=1 NaN", lambda F, x: F.dropout(x, 1.0), values([NAN, 1.0])),
    case("dropout eval", lambda F, x: F.dropout(x, 0.7, training=False), (3, 4)),
    case("dropout default eval", lambda F, x: F.dropout(x, training=False), (3, 4)),
]


@parity.every(CASES)
def test_parity(case, way):
    parity.check(case, way)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_keeps_the_mean(p):
    minise.manual_seed(0)
    x = minise.ones(200, 500, requires_grad=True)
    y = functional.dropout(x, p)
    y.backward(minise.ones(200, 500))
    kept = y.numpy() != 0
    # 4.5 standard deviations of the share of 100,000 draws
    assert abs(kept.mean() - (1 - p)) < 4.5 * (p * (1 - p) / kept.size) ** 0.5
    numpy.testing.assert_allclose(y.numpy()[kept], 1 / (1 - p), rtol=1e-6)
    numpy.testing.assert_array_equal(x.grad.numpy(), y.numpy())  # the same elements, same scale


def test_dropout_is_seeded():
    draws = []
    for seed in (1, 1, 2):
        minise.manual_seed(seed)
        draws.append(functional.dropout(minise.ones(50)).numpy())
    numpy.testing.assert_array_equal(draws[0], draws[1])
    assert not numpy.array_equal(draws[0], draws[2])


@pytest.mark.parametrize("p", [-0.1, 1.5])
def test_dropout_refuses_what_is_no_probability(p):
    with pytest.raises(ValueError, match="p must lie between 0 and 1"):
        functional.dropout(minise.ones(3), p)
