"""Gates over a data set: against the formula, against PyTorch's, and their statistics by hand."""

from __future__ import annotations

import numpy as np
import pytest

import minise
from minise import models, nn
from minise.data import DataLoader, Dataset
from minise.gates import activations as gates

RANDOM = np.random.default_rng(0)


def pictures(count, channels=3, side=8):
    return RANDOM.standard_normal((count, channels, side, side)).astype(np.float32)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize(
    ("options", "squeeze", "sigma"),
    [({}, np.mean, sigmoid), ({"squeeze": "max", "gate": "tanh"}, np.max, np.tanh)],
)
def test_the_formula(options, squeeze, sigma):
    """s = σ(W2 · ReLU(W1 · z + b1) + b2), spelled out in float64, over batches of unequal size."""
    block = nn.SEBlock(6, 2, **options)
    weights = {key: value.numpy().astype(float) for key, value in block.state_dict().items()}
    x = pictures(7, 6)
    z = squeeze(x.astype(float), axis=(2, 3))
    h = np.maximum(z @ weights["fc1.weight"].T + weights["fc1.bias"], 0)
    expected = sigma(h @ weights["fc2.weight"].T + weights["fc2.bias"])
    found = gates.collect(block, [x[:4], x[4:6], x[6:]])
    assert [*found] == [""]
    assert found[""].dtype == np.float32
    np.testing.assert_allclose(found[""], expected, rtol=1e-5)


def test_every_block_of_a_network_against_pytorch():
    torch = pytest.importorskip("torch")
    import torch_twins

    net = models.create("se_resnet20", reduction=4).double()
    for key, value in net.state_dict().items():  # a network that has seen something
        if key.endswith("running_mean"):
            value.data[...] = RANDOM.normal(0, 0.1, value.shape)
    state = {key: value.numpy() for key, value in net.state_dict().items()}
    twin = torch_twins.load(lambda: torch_twins.cifar("basic", 3, reduction=4), state).eval()
    expected = {}
    for path, module in twin.named_modules():
        if isinstance(module, torch_twins.SE):
            module.fc2.register_forward_hook(
                lambda *call, path=path: expected.update({path: torch.sigmoid(call[2])})
            )
    x = pictures(5, side=32) + RANDOM.normal(0, 2.0, (5, 3, 1, 1))  # float64, of many colours
    with torch.no_grad():
        twin(torch.tensor(x))
    found = gates.collect(net, [x[:3], x[3:]])
    assert [*found] == [*expected]
    assert len(found) == 9
    for path, values in found.items():
        np.testing.assert_allclose(values, expected[path].numpy(), rtol=1e-10)
    varied = [path for path, values in found.items() if values.std(axis=0).max() > 1e-3]
    assert len(varied) > 4  # a hidden layer may be dead, but pictures do make a difference


def test_rows_come_in_the_order_of_the_data_set():
    net = models.create("se_resnet8")
    images = RANDOM.integers(0, 256, (5, 3, 32, 32), np.uint8)
    loader = DataLoader(Dataset(images, np.zeros(5, int), ["a"]), batch_size=2)
    found = gates.collect(net, loader)["layer3.0.se"]
    for index in range(5):
        alone = gates.collect(net, [images[index : index + 1] / np.float32(255)])["layer3.0.se"]
        np.testing.assert_allclose(found[index], alone[0], rtol=1e-4)


def test_the_model_stays_as_it_was():
    net = models.create("se_resnet8")
    before = {key: value.numpy().copy() for key, value in net.state_dict().items()}
    gates.collect(net.train(), [pictures(2, side=32)])
    assert all(module.training for module in net.modules())
    assert not any(module._forward_hooks for module in net.modules())
    for key, value in net.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[key])


def test_an_error_on_the_way_leaves_no_hook():
    net = models.create("se_resnet8").train()
    with pytest.raises(RuntimeError, match="conv2d"):
        gates.collect(net, [pictures(2, channels=4)])
    assert net.training
    assert not any(module._forward_hooks for module in net.modules())


def test_recording_in_training():
    block = nn.SEBlock(4, 2)
    with gates.recording(block) as found:
        first = block(minise.tensor(pictures(2, 4)))
        gate = block.gate.numpy()
        block(minise.tensor(pictures(3, 4)))
    assert found[""].shape == (5, 4)
    np.testing.assert_array_equal(found[""][:2], gate[:, :, 0, 0])
    first.sum().backward()  # the graph is whole
    block(minise.tensor(pictures(1, 4)))
    assert found[""].shape == (5, 4)  # no longer recorded


def test_without_se_or_pictures():
    with pytest.raises(ValueError, match="resnet8 has no SE blocks"):
        gates.collect(models.create("resnet8"), [pictures(1, side=32)])
    with pytest.raises(ValueError, match="no pictures"):
        gates.collect(nn.SEBlock(4, 2), [])


# Statistics


def test_groups_by_hand():
    values = np.array([[0.0, 1.0], [1.0, 1.0], [0.5, 0.2], [0.5, 0.4]])
    mean, std = gates.by_group(values, np.array([0, 0, 2, 2]))
    np.testing.assert_allclose(mean, [[0.5, 1.0], [np.nan, np.nan], [0.5, 0.3]])
    np.testing.assert_allclose(std, [[0.5, 0.0], [np.nan, np.nan], [0.0, 0.1]], atol=1e-15)
    assert gates.by_group(values, np.array([0, 0, 0, 1]), 5).mean.shape == (5, 2)


def test_groups_against_a_loop():
    values, group = RANDOM.random((50, 6), np.float32), RANDOM.integers(0, 4, 50)
    mean, std = gates.by_group(values, group, 4)
    for number in range(4):
        members = values[group == number].astype(float)
        np.testing.assert_allclose(mean[number], members.mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(std[number], members.std(axis=0), rtol=1e-9)


def test_explained_variance():
    explained = gates.variance_explained
    group = np.array([0, 0, 1, 1])
    assert explained(np.array([[0.1], [0.1], [0.7], [0.7]]), group) == pytest.approx(1)
    assert explained(np.array([[0.1], [0.7], [0.1], [0.7]]), group) == pytest.approx(0)
    # Deviations from the overall mean 0.5: -0.3, -0.1, 0.1, 0.3; from the groups' means: ±0.1.
    assert explained(np.array([[0.2], [0.4], [0.6], [0.8]]), group) == pytest.approx(0.8)
    # Channels count by their variance: one explained wholly, one of the same variance not at all.
    both = np.array([[0.1, 0.1], [0.1, 0.7], [0.7, 0.1], [0.7, 0.7]])
    assert explained(both, group) == pytest.approx(0.5)
    assert np.isnan(explained(np.full((4, 3), 0.5), group))


@pytest.mark.parametrize(
    ("values", "group", "count", "message"),
    [
        (np.ones((3, 2)), np.zeros(2, int), None, r"got \(3, 2\) and \(2,\)"),
        (np.ones(3), np.zeros(3, int), None, r"got \(3,\) and \(3,\)"),
        (np.ones((0, 2)), np.zeros(0, int), None, r"got \(0, 2\)"),
        (np.ones((2, 2)), np.array([0, -1]), None, "must be 0 to 0, got -1 to 0"),
        (np.ones((2, 2)), np.array([0, 3]), 3, "must be 0 to 2, got 0 to 3"),
    ],
)
def test_wrong_groups(values, group, count, message):
    with pytest.raises(ValueError, match=f"by_group: .*{message}"):
        gates.by_group(values, group, count)


def test_the_last_block_of_each_stage():
    paths = ["layer1.0.se", "layer1.1.se", "layer2.0.se", "layer10.0.se", "layer10.9.se"]
    assert gates.last_of_stages(paths) == ["layer1.1.se", "layer2.0.se", "layer10.9.se"]
    paths = ["inception_3a.se", "inception_3b.se", "inception_4a.se"]
    assert gates.last_of_stages(paths) == ["inception_3b.se", "inception_4a.se"]
    assert gates.last_of_stages([""]) == [""]
