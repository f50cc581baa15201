"""BatchNorm folded into the convolution ahead of it: the same numbers, where nobody looks."""

from __future__ import annotations

import numpy
import pytest

import minise
from minise import models
from minise.models import fusion
from minise.nn import BatchNorm2d, Conv2d


def pair_of(affine: bool = True, **options) -> tuple[Conv2d, BatchNorm2d]:
    """A convolution and its BatchNorm, with statistics and parameters that are not 0 and 1."""
    random = numpy.random.RandomState(0)
    conv = Conv2d(6, 8, **{"kernel_size": 3, "padding": 1} | options).double()
    norm = BatchNorm2d(8, affine=affine).double().eval()
    for tensor in (norm.running_mean, norm.running_var, norm.weight, norm.bias):
        if tensor is not None:
            tensor.data[...] = random.uniform(0.5, 2, 8) * random.choice([-1, 1], 8)
    norm.running_var.data[...] = abs(norm.running_var.data)
    return conv, norm


def images(dtype: str = "float64") -> minise.Tensor:
    return minise.tensor(numpy.random.RandomState(1).standard_normal((3, 6, 8, 10)).astype(dtype))


def calls(monkeypatch) -> list[str]:
    """Gets a line for every convolution that did the work of a BatchNorm."""
    found: list[str] = []
    folded = fusion.folded
    monkeypatch.setattr(fusion, "folded", lambda *pair: found.append("folded") or folded(*pair))
    return found


@pytest.mark.fast_kernels
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize(
    "options",
    [{}, {"bias": False}, {"groups": 2}, {"stride": 2}, {"kernel_size": 1, "padding": 0},
     {"dilation": 2}],
    ids=str,
)  # fmt: skip
def test_the_same_as_one_after_the_other(monkeypatch, relu, affine, options):
    conv, norm = pair_of(affine, **options)
    found = calls(monkeypatch)
    with minise.no_grad():
        layer = fusion.conv_bn_relu if relu else fusion.conv_bn
        ours = layer(conv, norm, images()).numpy()
        wanted = norm(conv(images())).numpy()
    assert found == ["folded"]
    wanted = numpy.maximum(wanted, 0) if relu else wanted
    numpy.testing.assert_allclose(ours, wanted, 1e-12, 1e-13)
    assert (wanted == 0).any() == relu


@pytest.mark.fast_kernels
@pytest.mark.parametrize(
    "net",
    [
        "se_resnet20",
        pytest.param("se_resnet50", marks=pytest.mark.slow),
        pytest.param("se_bn_inception", marks=pytest.mark.slow),
        "se_mobilenet",
    ],
)
def test_networks(monkeypatch, net):
    """In float32; against the same network with every op by itself."""
    network = models.create(net).eval()
    size = min(network.image_size, 64)
    batch = numpy.random.RandomState(0).standard_normal((2, 3, size, size)).astype("float32")
    found = calls(monkeypatch)
    with minise.no_grad():
        ours = network(minise.tensor(batch)).numpy()
        assert len(found) > 10
        with minise.unfused():
            wanted = network(minise.tensor(batch)).numpy()
    assert numpy.abs(ours - wanted).max() <= 1e-4 * numpy.abs(wanted).max()


def watched(conv, norm):
    norm.register_forward_hook(lambda module, args, output: None)
    return minise.no_grad()


def heavy(conv, norm):
    conv.weight = minise.nn.Parameter(minise.zeros(8, 6, 9, 8, dtype="float64"))
    conv.padding = (4, 4)
    return minise.no_grad()


def training(conv, norm):
    norm.train()
    return minise.no_grad()


@pytest.mark.parametrize(
    "situation",
    [
        watched, heavy, training,
        lambda *pair: minise.unfused(), lambda *pair: minise.backend.plain(),
    ],
    ids=["a hook", "more weights than pixels", "training", "unfused", "plain kernels"],
)
def test_where_it_must_not_be(monkeypatch, situation):
    conv, norm = pair_of()
    found = calls(monkeypatch)
    with situation(conv, norm):
        fusion.conv_bn(conv, norm, images())
    assert not found


def test_a_gradient_may_be_wanted(monkeypatch):
    conv, norm = pair_of()
    found = calls(monkeypatch)
    fusion.conv_bn(conv, norm, images()).sum().backward()
    assert not found
    assert conv.weight.grad is not None


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (lambda: minise.zeros(2, 5, 8, 8).double(), RuntimeError, "input has 5 channels"),
        (lambda: images("float32"), RuntimeError, "expected one dtype"),
        (lambda: images().numpy(), TypeError, "input must be a Tensor, got ndarray"),
    ],
)
def test_errors_are_those_of_the_convolution(monkeypatch, x, error, message):
    conv, norm = pair_of()
    found = calls(monkeypatch)
    with minise.no_grad(), pytest.raises(error, match=message):
        fusion.conv_bn(conv, norm, x())
    assert not found


@pytest.mark.fast_kernels
def test_a_forgotten_mean_is_noticed(monkeypatch):
    conv, norm = pair_of()

    def forgetful(conv, norm):
        weight, _ = folded(conv, norm)
        return weight, minise.tensor(norm.bias.data)

    folded = fusion.folded
    monkeypatch.setattr(fusion, "folded", forgetful)
    with minise.no_grad():
        ours, wanted = fusion.conv_bn(conv, norm, images()), norm(conv(images()))
    assert not numpy.allclose(ours.numpy(), wanted.numpy())
