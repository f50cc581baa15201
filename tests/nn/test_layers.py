"""Every layer: beside PyTorch's layer with the same weights, and against its own definition."""

from __future__ import annotations

import numpy as np
import pytest
from strict_array import strict_backend

import minise
from minise import backend, nn

CLOSE = {"rtol": 1e-10, "atol": 1e-10}
GRADIENTS_CLOSE = {"rtol": 1e-9, "atol": 1e-9}
# PyTorch multiplies with 1/6 in float32 there, even for float64; ops/test_activation.py is exact.
HARDSIGMOID_CLOSE = {"rtol": 4e-8, "atol": 1e-9}


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


# --- beside PyTorch: `build` gets either library's nn -------------------------------------------

LAYERS = {
    "conv2d": (lambda nn: nn.Conv2d(4, 6, 3), (2, 4, 7, 6)),
    "conv2d options": (
        lambda nn: nn.Conv2d(4, 6, (3, 2), (2, 1), (1, 2), (1, 2), 2, False),
        (2, 4, 7, 6),
    ),
    "conv2d same": (lambda nn: nn.Conv2d(4, 6, 4, padding="same"), (2, 4, 7, 6)),
    "conv2d valid": (lambda nn: nn.Conv2d(4, 6, 3, padding="valid", stride=2), (2, 4, 7, 6)),
    "conv2d depthwise": (lambda nn: nn.Conv2d(4, 8, 3, groups=4, padding=1), (2, 4, 7, 6)),
    "conv2d one image": (lambda nn: nn.Conv2d(4, 6, 3), (4, 7, 6)),
    "linear": (lambda nn: nn.Linear(5, 3), (4, 5)),
    "linear without bias": (lambda nn: nn.Linear(5, 3, False), (2, 4, 5)),
    "batch norm": (lambda nn: nn.BatchNorm2d(3), (4, 3, 5, 2)),
    "batch norm options": (lambda nn: nn.BatchNorm2d(3, 1e-2, 0.3), (4, 3, 5, 2)),
    "batch norm average": (lambda nn: nn.BatchNorm2d(3, momentum=None), (4, 3, 5, 2)),
    "batch norm plain": (lambda nn: nn.BatchNorm2d(3, affine=False), (4, 3, 5, 2)),
    "batch norm untracked": (
        lambda nn: nn.BatchNorm2d(3, track_running_stats=False),
        (4, 3, 5, 2),
    ),
    "relu": (lambda nn: nn.ReLU(), (3, 4)),
    "sigmoid": (lambda nn: nn.Sigmoid(), (3, 4)),
    "tanh": (lambda nn: nn.Tanh(), (3, 4)),
    "silu": (lambda nn: nn.SiLU(), (3, 4)),
    "hardsigmoid": (lambda nn: nn.Hardsigmoid(), (3, 4)),
    "hardswish": (lambda nn: nn.Hardswish(), (3, 4)),
    "max pool": (lambda nn: nn.MaxPool2d(2), (2, 3, 7, 6)),
    "max pool options": (
        lambda nn: nn.MaxPool2d((3, 2), 2, 1, (1, 2), False, True),
        (2, 3, 7, 6),
    ),
    "average pool": (lambda nn: nn.AvgPool2d(2), (2, 3, 7, 6)),
    "average pool options": (lambda nn: nn.AvgPool2d(3, 2, 1, True, False), (2, 3, 7, 6)),
    "average pool divisor": (lambda nn: nn.AvgPool2d(2, divisor_override=3), (2, 3, 7, 6)),
    "adaptive average pool": (lambda nn: nn.AdaptiveAvgPool2d((3, None)), (2, 3, 7, 6)),
    "adaptive max pool": (lambda nn: nn.AdaptiveMaxPool2d(2), (2, 3, 7, 6)),
    "identity": (lambda nn: nn.Identity(7, some="thing"), (2, 3)),
    "flatten": (lambda nn: nn.Flatten(), (2, 3, 4, 5)),
    "flatten part": (lambda nn: nn.Flatten(1, 2), (2, 3, 4, 5)),
    "no dropout": (lambda nn: nn.Dropout(0.0), (3, 4)),
    "certain dropout": (lambda nn: nn.Dropout(1.0), (3, 4)),
    "small net": (
        lambda nn: nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1, bias=False),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(4, 6, 3, groups=2),
            nn.BatchNorm2d(6, momentum=None),
            nn.Hardswish(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(6, 2),
        ),
        (4, 3, 8, 8),
    ),
}


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


@pytest.fixture(params=LAYERS)
def twins(request, torch):
    """The same layer twice, with PyTorch's weights, in float64; and the shape of its input."""
    build, shape = LAYERS[request.param]
    torch.manual_seed(0)
    theirs, ours = build(torch.nn).double(), build(nn).double()
    keys = ours.load_state_dict(theirs.state_dict())
    assert keys == ([], [])
    assert list(ours.state_dict()) == list(theirs.state_dict())
    return ours, theirs, shape


def check_state(ours, theirs):
    expected = theirs.state_dict()
    for path, tensor in ours.state_dict().items():
        assert tensor.dtype == expected[path].numpy().dtype
        np.testing.assert_allclose(tensor.numpy(), expected[path].numpy(), **CLOSE, err_msg=path)


def test_three_steps_of_training_match_torch(twins, torch):
    ours, theirs, shape = twins
    for step in range(3):
        array = normal(*shape, seed=step)
        x = minise.tensor(array, requires_grad=True)
        t = torch.tensor(array, requires_grad=True)
        y, z = ours(x), theirs(t)
        np.testing.assert_allclose(y.numpy(), z.detach().numpy(), **CLOSE)
        gradient = normal(*y.shape, seed=step + 10)
        y.backward(minise.tensor(gradient))
        z.backward(torch.tensor(gradient))
        close = HARDSIGMOID_CLOSE if isinstance(ours, nn.Hardsigmoid) else GRADIENTS_CLOSE
        np.testing.assert_allclose(x.grad.numpy(), t.grad.numpy(), **close)
        for (path, p), q in zip(ours.named_parameters(), theirs.parameters()):
            np.testing.assert_allclose(
                p.grad.numpy(), q.grad.numpy(), **GRADIENTS_CLOSE, err_msg=path
            )
            p.data -= 0.1 * p.grad.data
            q.data -= 0.1 * q.grad
        check_state(ours, theirs)
        ours.zero_grad()
        theirs.zero_grad()


def test_evaluation_matches_torch(twins, torch):
    ours, theirs, shape = twins
    array = normal(*shape)
    ours(minise.tensor(array)), theirs(torch.tensor(array))  # running statistics of their own
    ours.eval()
    theirs.eval()
    with minise.no_grad():
        y = ours(minise.tensor(array + 1))
    np.testing.assert_allclose(y.numpy(), theirs(torch.tensor(array + 1)).detach().numpy(), **CLOSE)
    check_state(ours, theirs)


@pytest.mark.parametrize(
    "name", [name for name in LAYERS if "batch norm" not in name and name != "small net"]
)
def test_repr_is_that_of_torch(name, torch):
    build, _ = LAYERS[name]  # BatchNorm2d prints more in newer versions of PyTorch
    assert repr(build(nn)) == repr(build(torch.nn))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_cross_entropy_matches_torch(weighted, reduction, label_smoothing, torch):
    logits, labels = normal(5, 4), np.array([0, 3, 1, 2, 1])
    weight = np.array([0.5, 1, 2, 3]) if weighted else None
    options = {"ignore_index": 2, "reduction": reduction, "label_smoothing": label_smoothing}
    ours = nn.CrossEntropyLoss(None if weight is None else minise.tensor(weight), **options)
    theirs = torch.nn.CrossEntropyLoss(None if weight is None else torch.tensor(weight), **options)
    x, t = minise.tensor(logits, requires_grad=True), torch.tensor(logits, requires_grad=True)
    y, z = ours(x, minise.tensor(labels)), theirs(t, torch.tensor(labels))
    np.testing.assert_allclose(y.numpy(), z.detach().numpy(), **CLOSE)
    y.sum().backward()
    z.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), t.grad.numpy(), **GRADIENTS_CLOSE)
    assert list(ours.state_dict()) == list(theirs.state_dict()) == ["weight"] * weighted


# `build` goes wrong in the same way in both libraries: while it is built, or when it is called.
MISTAKES = {
    "groups": lambda nn: nn.Conv2d(4, 6, 3, groups=3),
    "groups out": lambda nn: nn.Conv2d(4, 6, 3, groups=4),
    "no groups": lambda nn: nn.Conv2d(4, 6, 3, groups=0),
    "same with stride": lambda nn: nn.Conv2d(4, 6, 3, padding="same", stride=2),
    "unknown padding": lambda nn: nn.Conv2d(4, 6, 3, padding="full"),
    "unknown padding mode": lambda nn: nn.Conv2d(4, 6, 3, padding_mode="mirror"),
    "dropout": lambda nn: nn.Dropout(1.5),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_in_options(name):
    with pytest.raises(ValueError):
        MISTAKES[name](nn)


@pytest.mark.parametrize("name", MISTAKES)
def test_torch_agrees_that_these_are_mistakes(name, torch):
    with pytest.raises(ValueError):
        MISTAKES[name](torch.nn)


CALLS = {
    "conv2d channels": (lambda nn: nn.Conv2d(3, 4, 1), (1, 2, 5, 5), RuntimeError),
    "conv2d axes": (lambda nn: nn.Conv2d(3, 4, 1), (3, 5), RuntimeError),
    "conv2d too small": (lambda nn: nn.Conv2d(3, 4, 5), (1, 3, 4, 4), RuntimeError),
    "linear": (lambda nn: nn.Linear(3, 4), (2, 4), RuntimeError),
    "batch norm axes": (lambda nn: nn.BatchNorm2d(3), (2, 3), ValueError),
    "batch norm channels": (lambda nn: nn.BatchNorm2d(3), (2, 4, 5, 5), RuntimeError),
    "batch norm one value": (lambda nn: nn.BatchNorm2d(3), (1, 3, 1, 1), ValueError),
    "flatten": (lambda nn: nn.Flatten(), (3,), IndexError),
}


@pytest.mark.parametrize("name", CALLS)
def test_mistakes_in_calls(name):
    build, shape, kind = CALLS[name]
    with pytest.raises(kind):
        build(nn)(minise.ones(shape))


@pytest.mark.parametrize("name", CALLS)
def test_torch_raises_the_same_kind(name, torch):
    build, shape, kind = CALLS[name]
    with pytest.raises(kind):
        build(torch.nn)(torch.ones(shape))


# --- by definition ------------------------------------------------------------------------------


def test_what_is_not_covered_says_so():
    with pytest.raises(NotImplementedError, match="padding_mode='zeros' only, got 'reflect'"):
        nn.Conv2d(1, 1, 3, padding_mode="reflect")
    with pytest.raises(NotImplementedError, match="MaxPool2d: return_indices"):
        nn.MaxPool2d(2, return_indices=True)
    with pytest.raises(NotImplementedError, match="AdaptiveMaxPool2d: return_indices"):
        nn.AdaptiveMaxPool2d(2, return_indices=True)
    for layer in (nn.ReLU, nn.SiLU, nn.Hardsigmoid, nn.Hardswish, nn.Dropout):
        with pytest.raises(NotImplementedError, match=f"{layer.__name__}: inplace=True"):
            layer(inplace=True)


def test_conv2d_parameters():
    layer = nn.Conv2d(4, 6, (3, 5), groups=2)
    assert layer.weight.shape == (6, 2, 3, 5)
    assert layer.bias.shape == (6,)
    assert layer.weight.dtype == np.float32
    assert nn.Conv2d(4, 6, 1, bias=False).bias is None
    assert list(nn.Conv2d(4, 6, 1, bias=False).state_dict()) == ["weight"]


def test_a_1x1_convolution_is_a_linear_layer_of_each_pixel():
    conv, linear = nn.Conv2d(3, 4, 1), nn.Linear(3, 4)
    linear.load_state_dict({"weight": conv.weight.reshape(4, 3), "bias": conv.bias})
    x = minise.tensor(normal(2, 3, 5, 6), dtype=np.float32)
    expected = linear(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    np.testing.assert_allclose(conv(x).numpy(), expected.numpy(), rtol=1e-5, atol=1e-6)


def test_batch_norm_in_training_and_evaluation():
    layer = nn.BatchNorm2d(3).double()
    array = normal(4, 3, 5, 2) * 3 + 2
    y = layer(minise.tensor(array)).numpy()
    np.testing.assert_allclose(y.mean(axis=(0, 2, 3)), np.zeros(3), atol=1e-12)
    np.testing.assert_allclose(y.var(axis=(0, 2, 3)), np.ones(3), rtol=1e-5)
    mean, var = array.mean(axis=(0, 2, 3)), array.var(axis=(0, 2, 3), ddof=1)
    np.testing.assert_allclose(layer.running_mean.numpy(), 0.1 * mean, **CLOSE)
    np.testing.assert_allclose(layer.running_var.numpy(), 0.9 + 0.1 * var, **CLOSE)
    assert layer.num_batches_tracked.item() == 1
    before = layer.running_mean.numpy().copy()
    y = layer.eval()(minise.tensor(array)).numpy()
    scale = 1 / np.sqrt(layer.running_var.numpy() + 1e-5)
    expected = (array - before[:, None, None]) * scale[:, None, None]
    np.testing.assert_allclose(y, expected, **CLOSE)
    np.testing.assert_array_equal(layer.running_mean.numpy(), before)
    assert layer.num_batches_tracked.item() == 1


def test_batch_norm_without_momentum_averages_the_batches():
    layer = nn.BatchNorm2d(2, momentum=None).double()
    batches = [normal(3, 2, 4, 4, seed=seed) for seed in range(3)]
    for batch in batches:
        layer(minise.tensor(batch))
    means = [batch.mean(axis=(0, 2, 3)) for batch in batches]
    np.testing.assert_allclose(layer.running_mean.numpy(), np.mean(means, axis=0), **CLOSE)
    layer.reset_running_stats()
    assert layer.num_batches_tracked.item() == 0
    assert layer.running_var.numpy().tolist() == [1, 1]


def test_batch_norm_without_statistics_uses_those_of_the_batch_in_evaluation_too():
    layer = nn.BatchNorm2d(2, affine=False, track_running_stats=False)
    assert layer.state_dict() == {}
    assert layer.weight is layer.running_mean is layer.num_batches_tracked is None
    x = minise.tensor(normal(3, 2, 4, 4), dtype=np.float32)
    np.testing.assert_array_equal(layer(x).numpy(), layer.eval()(x).numpy())
    layer.reset_parameters()


def test_batch_norm_says_what_it_expected():
    with pytest.raises(ValueError, match=r"expected 4D input \(N, C, H, W\), got 2D \(2, 3\)"):
        nn.BatchNorm2d(3)(minise.ones(2, 3))


def test_reset_parameters():
    layer = nn.BatchNorm2d(2)
    layer.load_state_dict({path: t.numpy() + 3 for path, t in layer.state_dict().items()})
    layer.reset_parameters()
    fresh = nn.BatchNorm2d(2).state_dict()
    for path, tensor in layer.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), fresh[path].numpy())
    conv = nn.Conv2d(1, 2, 3)
    before = conv.weight.numpy().copy()
    conv.reset_parameters()
    assert not np.array_equal(conv.weight.numpy(), before)


def test_dropout_only_in_training():
    minise.manual_seed(0)
    layer, x = nn.Dropout(0.25), minise.ones(100, 100)
    y = layer(x).numpy()
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.75)}
    assert abs((y == 0).mean() - 0.25) < 0.02
    assert layer.eval()(x) is x


def test_cross_entropy_of_equal_logits_is_log_of_the_classes():
    loss = nn.CrossEntropyLoss()(minise.zeros(3, 8), minise.tensor([0, 5, 7]))
    assert loss.item() == pytest.approx(np.log(8))
    with pytest.raises(TypeError):  # PyTorch's second positional argument means something else
        nn.CrossEntropyLoss(None, -100)


def test_weights_are_made_where_new_tensors_are_made():
    device = backend.register(strict_backend()).name
    minise.manual_seed(0)
    here = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).state_dict()
    minise.manual_seed(0)
    minise.use(device)
    try:
        there = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).state_dict()
    finally:
        minise.use("numpy")
    for path, tensor in there.items():
        assert tensor.backend == device
        np.testing.assert_array_equal(tensor.numpy(), here[path].numpy())


def test_a_net_does_the_same_on_another_backend():
    device = backend.register(strict_backend()).name
    build, shape = LAYERS["small net"]
    here, there = build(nn).double(), build(nn).double()
    there.load_state_dict(here.state_dict())
    there.to(device)
    for step in range(2):
        outputs = []
        for net, place in ((here, "numpy"), (there, device)):
            x = minise.tensor(normal(*shape, seed=step), backend=place)
            labels = minise.tensor([0, 1, 1, 0], backend=place)
            net.zero_grad()
            loss = nn.CrossEntropyLoss()(net(x), labels)
            loss.backward()
            outputs.append(loss.item())
            assert {p.grad.backend for p in net.parameters()} == {place}
            for p in net.parameters():
                p.data -= 0.1 * p.grad.data
        assert outputs[0] == pytest.approx(outputs[1], rel=1e-12)
    for path, tensor in there.state_dict().items():
        assert tensor.backend == device
        np.testing.assert_allclose(
            tensor.numpy(), here.state_dict()[path].numpy(), **CLOSE, err_msg=path
        )
