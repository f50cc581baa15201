"""Networks against the same networks in plain PyTorch (torch_twins.py), one training step each.

In float64, because float32's rounding flips ReLUs: there PyTorch's own gradients are percents off.
"""

import itertools

import devices
import fresh_weights
import numpy
import parity
import pytest
from golden import make_models as golden

import minise
from minise import backend, models, nn, optim
from minise import functional as F
from minise.models import blocks, resnet
from minise.models.options import Options
from minise.ops.fused import AxpyReLU

torch = pytest.importorskip("torch")
import torch_twins as twins  # noqa: E402  (needs torch)

TOLERANCE = 1e-9
SGD = {"lr": 0.05, "momentum": 0.9, "weight_decay": 5e-4, "nesterov": True}

# minise's blocks, and what they are in the twins
KINDS = {
    "basic": (resnet.CifarResNet, blocks.BasicBlock, "basic", False),
    "bottleneck": (resnet.CifarResNet, blocks.Bottleneck, "bottleneck", False),
    "preact basic": (resnet.PreActCifarResNet, blocks.PreActBlock, "basic", True),
    "preact bottleneck": (resnet.PreActCifarResNet, blocks.PreActBottleneck, "bottleneck", True),
}
PLACEMENTS = ("standard", "pre", "post", "identity", "inside")
kinds = pytest.mark.parametrize("kind", KINDS)
placements = pytest.mark.parametrize("placement", PLACEMENTS)


@pytest.fixture(autouse=True)
def no_fresh_weights(monkeypatch):
    """`fill` draws all weights."""
    fresh_weights.leave_out(monkeypatch)


def fill(net):
    """Float64, with every parameter and statistic away from its start (γ = 1, β = 0, mean 0)."""
    shapes = {key: value.shape for key, value in net.state_dict().items()}
    net.double().load_state_dict(golden.weights(shapes))
    return net


def twin_of(net, make):
    """The PyTorch network with the weights of `net`."""
    return twins.load(make, {key: value.numpy() for key, value in net.state_dict().items()})


def logits(net, x):
    """In evaluation mode."""
    if isinstance(net, torch.nn.Module):
        with torch.no_grad():
            return net.eval()(torch.tensor(x)).numpy()
    with minise.no_grad():
        return net.eval()(on_device_of(net, x)).numpy()


def on_device_of(net, array):
    return minise.tensor(array, backend=next(net.parameters()).backend)


def step(net, x, labels):
    """What one training step of minise does, as arrays by name, in the order things happen."""
    optimizer = optim.SGD(net.parameters(), **SGD)
    y = net.train()(on_device_of(net, x))
    loss = F.cross_entropy(y, on_device_of(net, labels))
    loss.backward()
    optimizer.step()
    return {
        "logits": y.numpy(),
        "loss": loss.numpy(),
        **{f"statistic {key}": value.numpy() for key, value in net.named_buffers()},
        **{f"gradient of {key}": value.grad.numpy() for key, value in net.named_parameters()},
        **{f"weight {key} afterwards": value.numpy() for key, value in net.named_parameters()},
    }


def torch_step(net, x, labels):
    """The same in PyTorch."""
    optimizer = torch.optim.SGD(net.parameters(), **SGD)
    y = net.train()(torch.tensor(x))
    loss = torch.nn.functional.cross_entropy(y, torch.tensor(labels))
    loss.backward()
    optimizer.step()
    tensors = {
        "logits": y,
        "loss": loss,
        **{f"statistic {key}": value for key, value in net.named_buffers()},
        **{f"gradient of {key}": value.grad for key, value in net.named_parameters()},
        **{f"weight {key} afterwards": value for key, value in net.named_parameters()},
    }
    return {key: value.detach().numpy() for key, value in tensors.items()}


def compare(net, make, *shape, device="numpy"):
    """A training step and the logits after it, minise beside PyTorch (on the CPU)."""
    __tracebackhide__ = True
    fill(net)
    twin = twin_of(net, make)
    net.to(device)
    x = golden.images(*shape)
    labels = numpy.random.RandomState(1).randint(0, net.fc.out_features, shape[0])
    ours, theirs = step(net, x, labels), torch_step(twin, x, labels)
    assert ours.keys() == theirs.keys()
    for key, array in ours.items():
        parity.assert_close(array, theirs[key], TOLERANCE, key)
    parity.assert_close(logits(net, x), logits(twin, x), TOLERANCE, "logits afterwards")


def compare_logits(net, make, *shape, device="numpy"):
    """In evaluation mode, in float64 and in float32; PyTorch computes in float64."""
    __tracebackhide__ = True
    x, twin = golden.images(*shape), twin_of(fill(net), make)
    net.to(device)
    exact = logits(twin, x)
    parity.assert_close(logits(net, x), exact, TOLERANCE, "logits")
    ours, rounded = logits(net.float(), x.astype("float32")), exact.astype("float32")
    parity.assert_close(ours, rounded, 1e-4, "float32 logits")


def small(kind, **choices):
    """A net of three blocks, narrow, with four hidden units and more in SE; and its twin."""
    build, block, unit, preactivation = KINDS[kind]
    planes = (16, 24, 32)
    options = {"reduction": 4, **choices}
    net = build(block, 1, Options(num_classes=5, se=True, **options), planes)

    def make():
        renamed = {"stages": "se_stages", "se_bias": "bias"}
        theirs = {renamed.get(key, key): value for key, value in options.items()}
        theirs.pop("variant", None)
        theirs_unit = "caffe" if options.get("variant") == "caffe" else unit
        return twins.cifar(
            theirs_unit, 1, classes=5, planes=planes, preactivation=preactivation, **theirs
        )

    return net, make


SMALL = (4, 3, 12, 12)


# --- the block ------------------------------------------------------------------------------------


@pytest.mark.parametrize("gate", twins.GATES)
@pytest.mark.parametrize("squeeze", ["avg", "max"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("hidden", [None, 5])
def test_se_block(gate, squeeze, bias, hidden):
    options = {"hidden": hidden, "bias": bias, "squeeze": squeeze, "gate": gate}
    net = fill(nn.SEBlock(16, 4, **options))
    twin = twin_of(net, lambda: twins.SE(16, 4, **options))
    u, upstream = golden.images(2, 3, 16, 5, 6).transpose(1, 0, 2, 3, 4)[:2]
    ours, theirs = minise.tensor(u, requires_grad=True), torch.tensor(u, requires_grad=True)
    y, expected = net(ours), twin(theirs)
    y.backward(minise.tensor(upstream))
    expected.backward(torch.tensor(upstream))
    parity.assert_close(y.numpy(), expected.detach().numpy(), TOLERANCE, "y")
    parity.assert_close(ours.grad.numpy(), theirs.grad.numpy(), TOLERANCE, "du")
    wanted = dict(twin.named_parameters())
    for key, parameter in net.named_parameters():
        parity.assert_close(parameter.grad.numpy(), wanted[key].grad.numpy(), TOLERANCE, key)


# --- small networks: every choice -----------------------------------------------------------------


@kinds
@placements
def test_placement(kind, placement):
    compare(*small(kind, placement=placement), *SMALL)


@kinds
@devices.every
def test_on_a_device(kind, device):
    compare(*small(kind), *SMALL, device=device)


@kinds
@placements
@devices.gpu_only
def test_placement_on_a_gpu(kind, placement, device):
    compare(*small(kind, placement=placement), *SMALL, device=device)


def test_every_placement_is_another_network():
    """So each of the tests above would notice SE in the wrong place."""
    for kind in KINDS:
        results = []
        for placement in PLACEMENTS:
            net, make = small(kind, placement=placement)
            results.append(logits(twin_of(fill(net), make), golden.images(*SMALL)))
        for one, other in itertools.combinations(results, 2):
            assert numpy.abs(one - other).max() > 1e-3


@kinds
def test_shortcut_of_zeros(kind):
    compare(*small(kind, shortcut="A"), *SMALL)


@kinds
@pytest.mark.parametrize("stages", [(), (1,), (2, 3)])
def test_se_in_some_stages_only(kind, stages):
    compare(*small(kind, stages=stages), *SMALL)


@kinds
@pytest.mark.parametrize("gate", ["tanh", "relu", "hardsigmoid"])
@pytest.mark.parametrize("squeeze", ["avg", "max"])
def test_gate_and_squeeze(kind, gate, squeeze):
    compare(*small(kind, gate=gate, squeeze=squeeze, se_bias=False), *SMALL)


def test_stride_in_the_first_convolution():
    compare(*small("bottleneck", variant="caffe"), *SMALL)


# --- what the comparison notices ------------------------------------------------------------------


def test_a_cut_gate_path_is_noticed(monkeypatch):
    """The logits stay right; only the gradient through the squeeze is missing."""
    squeeze = nn.SEBlock.squeeze
    monkeypatch.setattr(nn.SEBlock, "squeeze", lambda self, u: squeeze(self, u.detach()))
    for placement in PLACEMENTS:
        with pytest.raises(AssertionError, match=r"^gradient of .* elements differ"):
            compare(*small("basic", placement=placement), *SMALL)


@pytest.mark.fast_kernels
def test_a_cut_scale_path_is_noticed(monkeypatch):
    """In the plain kernel and in the fast one."""

    def without_scale(backward):
        def cut(op, grad):
            dscale, _, dshortcut = backward(op, grad)
            return dscale, dshortcut, dshortcut

        return cut

    kernels = backend.get("numpy").kernels
    kernel = kernels[AxpyReLU]
    monkeypatch.setattr(AxpyReLU, "backward", without_scale(AxpyReLU.backward))
    with backend.plain(), pytest.raises(AssertionError, match=r"^gradient of .* elements differ"):
        compare(*small("basic"), *SMALL)
    compare(*small("basic"), *SMALL)  # the fast one is still whole
    mistaken = kernel._replace(backward=without_scale(kernel.backward))
    monkeypatch.setitem(kernels, AxpyReLU, mistaken)
    with pytest.raises(AssertionError, match=r"^gradient of .* elements differ"):
        compare(*small("basic"), *SMALL)


# --- the networks of the paper --------------------------------------------------------------------


def deep_preactivation():
    """Pre-activation SE-ResNet-110, with 2 blocks a stage instead of 18."""
    options = Options(num_classes=10, se=True)
    return resnet.PreActCifarResNet(blocks.PreActBlock, 2, options)


class ShortSENet(resnet.SENet154):
    def __init__(self, options):
        resnet.ResNet.__init__(self, blocks.SENetBottleneck, (1, 1, 1, 1), options)


def without_dropout(net):
    """Random numbers differ between the libraries."""
    net.dropout = 0.0 if isinstance(net, torch.nn.Module) else nn.Identity()
    return net


NETS = {
    "se_resnet20": (
        lambda: models.create("se_resnet20"),
        lambda: twins.cifar("basic", 3),
        (4, 3, 32, 32),
    ),
    "se_preact_resnet110": (
        deep_preactivation,
        lambda: twins.cifar("basic", 2, preactivation=True),
        (4, 3, 32, 32),
    ),
    "se_resnet50": (
        lambda: models.create("se_resnet50", num_classes=10),
        lambda: twins.imagenet("bottleneck", classes=10),
        (2, 3, 64, 64),
    ),
    "se_resnet50 caffe, fewer blocks": (
        lambda: resnet.ResNet(
            blocks.Bottleneck, (2, 1, 1, 1), Options(num_classes=10, se=True, variant="caffe")
        ),
        lambda: twins.imagenet("bottleneck", (2, 1, 1, 1), classes=10, variant="caffe"),
        (2, 3, 64, 64),
    ),
    "se_resnet18, fewer blocks": (
        lambda: resnet.ResNet(blocks.BasicBlock, (2, 1, 1, 1), Options(num_classes=10, se=True)),
        lambda: twins.imagenet("basic", (2, 1, 1, 1), classes=10),
        (2, 3, 64, 64),
    ),
    "se_resnext50_32x4d": (
        lambda: models.create("se_resnext50_32x4d", num_classes=10),
        lambda: twins.imagenet("resnext", classes=10),
        (2, 3, 64, 64),
    ),
    "senet154 without dropout, fewer blocks": (
        lambda: without_dropout(ShortSENet(Options(num_classes=10, se=True, variant="caffe"))),
        lambda: without_dropout(twins.senet154((1, 1, 1, 1), classes=10, variant="caffe")),
        (2, 3, 48, 48),
    ),
    "wrn_16_8 narrowed": (
        lambda: resnet.PreActCifarResNet(
            blocks.PreActBlock, 2, Options(num_classes=10), (32, 64, 128)
        ),
        lambda: twins.cifar("basic", 2, planes=(32, 64, 128), preactivation=True, se_stages=()),
        (4, 3, 16, 16),
    ),
}


@pytest.mark.parametrize("name", NETS)
def test_training_step(name):
    build, make, shape = NETS[name]
    compare(build(), make, *shape)


@pytest.mark.parametrize(
    "name", ["se_resnet20", "se_preact_resnet110", "se_resnet50", "se_resnext50_32x4d"]
)
def test_logits(name):
    build, make, shape = NETS[name]
    compare_logits(build(), make, *shape)


@pytest.mark.parametrize("name", NETS)
@devices.gpu_only
def test_training_step_on_a_gpu(name, device):
    build, make, shape = NETS[name]
    compare(build(), make, *shape, device=device)


@pytest.mark.parametrize("name", ["se_resnet20", "se_resnet50", "se_resnext50_32x4d"])
@devices.gpu_only
def test_logits_on_a_gpu(name, device):
    build, make, shape = NETS[name]
    compare_logits(build(), make, *shape, device=device)


@devices.gpu_only
def test_float32_training_step_on_a_gpu(device):
    """Rounding flips a ReLU here and there, so gradients agree to some percent only."""
    build, make, shape = NETS["se_resnet20"]
    net = fill(build()).float()
    twin = twin_of(net, make)
    x, labels = golden.images(*shape).astype("float32"), numpy.arange(shape[0])
    ours, theirs = step(net.to(device), x, labels), torch_step(twin, x, labels)
    for key, array in ours.items():
        allowed = 5e-2 if key.startswith("gradient") else 1e-3 if "after" in key else 1e-4
        size = numpy.linalg.norm(theirs[key].astype("float64"))
        error = numpy.linalg.norm(array.astype("float64") - theirs[key])
        assert error <= allowed * size, (key, error / size)


@pytest.mark.slow
def test_senet154_logits():
    net = models.create("senet154", num_classes=10)
    compare_logits(net, lambda: twins.senet154(classes=10), 1, 3, 64, 64)
