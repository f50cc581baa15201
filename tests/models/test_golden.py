"""Networks without PyTorch: logits recorded from it, and a training step on the strict array."""

import numpy
import parity
import pytest
from golden import make_models as golden
from safetensors.numpy import load_file
from strict_array import strict_backend

import minise
from minise import backend, models
from minise import functional as F
from minise.models import blocks, resnet
from minise.models.options import Options

backend.register(strict_backend())


@pytest.fixture(scope="module")
def recorded():
    return load_file(golden.PATH)


def fill(net):
    """Float64 and the weights of the golden file."""
    shapes = {key: value.shape for key, value in net.state_dict().items()}
    net.double().load_state_dict(golden.weights(shapes))
    return net


@pytest.mark.parametrize("name", golden.IMAGES)
def test_logits_are_those_that_pytorch_gave(name, recorded):
    net = fill(models.create(name))
    x = minise.tensor(golden.images(*golden.IMAGES[name]))
    with minise.no_grad():
        for mode in ("train", "eval"):
            logits = net.train(mode == "train")(x).numpy()
            parity.assert_close(logits, recorded[f"{name}.{mode}"], 1e-9, f"{name}.{mode}")


@pytest.mark.parametrize("name", golden.IMAGES)
def test_pytorch_still_gives_the_recorded_logits(name, recorded):
    pytest.importorskip("torch")
    for key, logits in golden.torch_logits(name).items():
        parity.assert_close(logits, recorded[key], 1e-9, key)


def test_the_golden_file_is_small_and_says_something(recorded):
    assert golden.PATH.stat().st_size < 300_000
    for key, logits in recorded.items():
        assert numpy.isfinite(logits).all()
        assert logits.std(axis=0).min() > 1e-6, key  # the images do not all get the same answer


def training_step(net, home):
    """Logits, gradients and statistics of one step on `home`, as NumPy arrays by name."""
    net = fill(net).to(home)
    x = minise.tensor(golden.images(4, 3, 16, 16)).to(home)
    logits = net(x)
    F.cross_entropy(logits, minise.tensor(numpy.array([0, 3, 1, 2])).to(home)).backward()
    arrays = {"logits": logits.numpy()}
    arrays |= {f"gradient of {key}": p.grad.numpy() for key, p in net.named_parameters()}
    return arrays | {key: value.numpy() for key, value in net.named_buffers()}


@pytest.mark.parametrize(
    ("kind", "block", "choices"),
    [
        (resnet.CifarResNet, blocks.BasicBlock, {}),
        (resnet.CifarResNet, blocks.Bottleneck, {"placement": "inside", "gate": "hardsigmoid"}),
        (resnet.CifarResNet, blocks.BasicBlock, {"placement": "post", "squeeze": "max"}),
        (resnet.PreActCifarResNet, blocks.PreActBottleneck, {"shortcut": "A", "gate": "tanh"}),
        (resnet.PreActCifarResNet, blocks.PreActBlock, {"placement": "identity", "gate": "relu"}),
    ],
)
def test_a_training_step_on_the_strict_array_is_that_on_numpy(kind, block, choices):
    def small():
        return kind(block, 1, Options(num_classes=4, se=True, reduction=4, **choices))

    ours, strict = training_step(small(), "numpy"), training_step(small(), "strict")
    assert ours.keys() == strict.keys()
    for key, array in ours.items():
        parity.assert_close(strict[key], array, 1e-10, key)
