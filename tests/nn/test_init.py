"""Initial weights: bounds and spread against the formulas, fans and gains against PyTorch."""

from __future__ import annotations

import math

import numpy as np
import pytest

import minise
from minise import nn
from minise.nn import init

CONV, LINEAR = (64, 32, 3, 3), (200, 300)
FANS = {CONV: (32 * 9, 64 * 9), LINEAR: (300, 200)}


@pytest.fixture(autouse=True)
def seed():
    minise.manual_seed(0)


def check_uniform(tensor, std):
    """Mean 0, and as wide as a uniform distribution of that standard deviation."""
    values, bound = tensor.numpy(), math.sqrt(3) * std
    assert np.abs(values).max() <= bound * (1 + 1e-6)
    assert np.abs(values).max() > 0.99 * bound
    check_spread(values, std)


def check_normal(tensor, std):
    values = tensor.numpy()
    assert np.abs(values).max() > 3 * std  # no uniform distribution reaches that far
    check_spread(values, std)


def check_spread(values, std):
    error = 5 * std / math.sqrt(values.size)
    assert abs(values.mean()) < error
    assert abs(values.std() - std) < error


@pytest.mark.parametrize("shape", [CONV, LINEAR])
@pytest.mark.parametrize("mode", ["fan_in", "fan_out"])
@pytest.mark.parametrize(
    ("nonlinearity", "a", "gain"),
    [
        ("relu", 0, math.sqrt(2)),
        ("leaky_relu", 0.2, math.sqrt(2 / 1.04)),
        ("leaky_relu", math.sqrt(5), math.sqrt(1 / 3)),
        ("tanh", 0, 5 / 3),
        ("sigmoid", 0, 1),
    ],
)
def test_kaiming(shape, mode, nonlinearity, a, gain):
    std = gain / math.sqrt(FANS[shape][mode == "fan_out"])
    weight = minise.zeros(shape)
    assert init.kaiming_uniform_(weight, a, mode, nonlinearity) is weight
    check_uniform(weight, std)
    assert init.kaiming_normal_(weight, a, mode, nonlinearity) is weight
    check_normal(weight, std)


def test_kaiming_defaults_are_those_of_relu_and_fan_in():
    weight = init.kaiming_normal_(minise.zeros(CONV))
    check_normal(weight, math.sqrt(2 / FANS[CONV][0]))


@pytest.mark.parametrize("shape", [CONV, LINEAR])
@pytest.mark.parametrize("gain", [1.0, 2.5])
def test_xavier(shape, gain):
    std = gain * math.sqrt(2 / sum(FANS[shape]))
    weight = minise.zeros(shape)
    assert init.xavier_uniform_(weight, gain) is weight
    check_uniform(weight, std)
    assert init.xavier_normal_(weight, gain) is weight
    check_normal(weight, std)


def test_simple_fills():
    x = minise.zeros(100, 100)
    memory = x.data
    assert init.uniform_(x, -2, 6) is x
    check_uniform(x - 2, 8 / math.sqrt(12))
    assert init.normal_(x, 3, 0.5) is x
    check_normal(x - 3, 0.5)
    assert (init.constant_(x, 7).numpy() == 7).all()
    assert (init.ones_(x).numpy() == 1).all()
    assert (init.zeros_(x).numpy() == 0).all()
    assert x.data is memory


def test_fills_leave_no_graph_and_keep_the_dtype():
    weight = nn.Parameter(minise.zeros(4, 4, dtype=np.float64))
    init.kaiming_uniform_(weight)
    assert weight.op is None
    assert weight.requires_grad
    assert weight.dtype == np.float64


def test_same_seed_same_weights():
    def weights(seed):
        minise.manual_seed(seed)
        net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Linear(4, 4))
        return [param.numpy() for param in net.parameters()]

    for first, second in zip(weights(1), weights(1)):
        np.testing.assert_array_equal(first, second)
    assert not np.array_equal(weights(1)[0], weights(2)[0])


@pytest.mark.parametrize(
    ("layer", "fan_in"), [(nn.Conv2d(32, 64, (3, 5), groups=4), 8 * 15), (nn.Linear(300, 64), 300)]
)
def test_layers_start_uniform_in_one_over_root_fan_in(layer, fan_in):
    layer.reset_parameters()
    check_uniform(layer.weight, 1 / math.sqrt(3 * fan_in))
    bound = 1 / math.sqrt(fan_in)
    assert 0.8 * bound < np.abs(layer.bias.numpy()).max() <= bound


def test_layers_without_inputs_have_nothing_to_draw():
    layer = nn.Linear(0, 3)
    np.testing.assert_array_equal(layer.bias.numpy(), np.zeros(3))
    np.testing.assert_array_equal(layer(minise.zeros(2, 0)).numpy(), np.zeros((2, 3)))


def test_errors():
    weight = minise.zeros(3, 3)
    with pytest.raises(ValueError, match="fan_sideways"):
        init.kaiming_normal_(weight, mode="fan_sideways")
    with pytest.raises(ValueError, match="softsign"):
        init.kaiming_normal_(weight, nonlinearity="softsign")
    with pytest.raises(ValueError, match=r"two axes.*\(3,\)"):
        init.xavier_normal_(minise.zeros(3))
    with pytest.raises(ValueError, match="slope"):
        init.calculate_gain("leaky_relu", True)


@pytest.mark.parametrize("shape", [(4, 6), (8, 2, 3, 5), (5, 7, 1, 1), (2, 3, 4)])
def test_fans_match_torch(shape):
    torch = pytest.importorskip("torch")
    expected = torch.nn.init._calculate_fan_in_and_fan_out(torch.zeros(shape))
    assert init.fans(minise.zeros(shape)) == expected


@pytest.mark.parametrize(
    "arguments",
    [("linear",), ("conv2d",), ("sigmoid",), ("tanh",), ("relu",), ("selu",), ("leaky_relu",),
     ("leaky_relu", 0.3), ("leaky_relu", 0)],
)  # fmt: skip
def test_gains_match_torch(arguments):
    torch = pytest.importorskip("torch")
    assert init.calculate_gain(*arguments) == pytest.approx(
        torch.nn.init.calculate_gain(*arguments), rel=1e-12
    )


@pytest.mark.parametrize("name", ["kaiming_uniform_", "kaiming_normal_", "xavier_uniform_",
                                  "xavier_normal_", "uniform_", "normal_"])  # fmt: skip
def test_spread_matches_torch(name):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    expected = getattr(torch.nn.init, name)(torch.zeros(CONV)).numpy()
    actual = getattr(init, name)(minise.zeros(CONV)).numpy()
    assert actual.std() == pytest.approx(expected.std(), rel=0.03)
    assert actual.mean() == pytest.approx(expected.mean(), abs=0.03)
