"""What a GPU has to do as the CPU does: on the strict array here, on a GPU with `pytest -m gpu`.

Single ops are compared in the files of their own (parity.WAYS), networks with PyTorch in
tests/models/test_parity.py, optimisers in tests/optim/test_optim.py.
"""

from __future__ import annotations

import devices
import numpy as np
import pytest
import tiny_run
from golden import make_models as golden
from tiny_nets import FAMILIES

import minise
from minise import backend, models, nn, optim
from minise import functional as F
from minise.data import DataLoader
from minise.tensor import Tensor
from minise.train import Config, datasets, train
from minise.train.captured import WARM_UP, CapturedStep
from minise.train.step import TrainingStep


def batch(side, size=4, dtype="float64"):
    random = np.random.RandomState(3)
    images = random.standard_normal((size, 3, side, side)).astype(dtype)
    return images, random.randint(0, 3, size)


def one_step(net, images, labels):
    """All that a step computes, by name."""
    place = next(net.parameters()).backend
    x, target = (minise.tensor(array, backend=place) for array in (images, labels))
    minise.manual_seed(1)  # for dropout
    logits = net.train()(x)
    loss = F.cross_entropy(logits, target, label_smoothing=0.1)
    loss.backward()
    found = {"logits": logits.numpy(), "loss": loss.numpy()}
    found |= {f"gradient of {key}": p.grad.numpy() for key, p in net.named_parameters()}
    optim.SGD(net.parameters(), 0.05, 0.9, weight_decay=1e-3, nesterov=True).step()
    return found | {key: value.numpy() for key, value in net.state_dict().items()}


@pytest.mark.parametrize("family", FAMILIES)
@devices.every
def test_a_step_of_every_family_of_networks(device, family):
    build, side = FAMILIES[family]
    here, there = build().double(), build().double()
    weights = golden.weights({key: value.shape for key, value in here.state_dict().items()})
    here.load_state_dict(weights)
    there.load_state_dict(weights)
    there.to(device)
    expected, found = (one_step(net, *batch(side)) for net in (here, there))
    assert found.keys() == expected.keys()
    for key, array in expected.items():
        size = max(np.abs(array).max(), 1e-3)
        np.testing.assert_allclose(found[key], array, rtol=1e-9, atol=1e-9 * size, err_msg=key)


@devices.gpu_only
def test_vgg16_on_a_gpu(device):
    """Its first fully connected layer alone has 100 million weights."""
    minise.manual_seed(0)
    here = models.create("se_vgg16_bn", 3)
    there = models.create("se_vgg16_bn", 3)
    there.load_state_dict(here.state_dict())
    images, _ = batch(224, 2, "float32")
    outputs = []
    for net, place in ((here, "numpy"), (there.to(device), device)):
        with minise.no_grad():
            outputs.append(net.eval()(minise.tensor(images, backend=place)))
    np.testing.assert_allclose(outputs[1].numpy(), outputs[0].numpy(), rtol=1e-3, atol=1e-4)


@devices.gpu_only  # on the strict array: test_kernels.py
def test_tf32_on_a_gpu(device):
    """Products of rounded numbers; how exactly a tensor core adds them up is its own affair."""

    def gradients(arrays, place):
        x, weight = (minise.tensor(a, requires_grad=True, backend=place) for a in arrays)
        y = F.conv2d(x, weight, padding=1)
        (y * y.detach()).sum().backward()
        return [t.numpy() for t in (y, x.grad, weight.grad)]

    random = np.random.RandomState(0)
    arrays = [random.standard_normal(s).astype("float32") for s in ((4, 70, 9, 8), (40, 70, 3, 3))]
    exact = gradients([a.astype("float64") for a in arrays], "numpy")
    usual = gradients(arrays, device)
    with backend.tf32():
        rounded = gradients(arrays, device)
    for true, ours, coarse in zip(exact, usual, rounded):
        size = np.abs(true).max()
        np.testing.assert_allclose(ours, true, rtol=0, atol=1e-5 * size)
        np.testing.assert_allclose(coarse, true, rtol=0, atol=2e-3 * size)
        assert np.abs(coarse - true).max() > 1e-5 * size
    again = gradients(arrays, device)
    assert all(np.array_equal(a, b) for a, b in zip(usual, again))


@devices.every
def test_the_same_seed_gives_the_same_network_and_batches(device, pictures):
    nets = []
    for place in ("numpy", device):
        minise.manual_seed(7)
        nets.append(models.create("se_resnet8", 2).to(place).state_dict())
    for key, value in nets[0].items():
        assert np.array_equal(value.numpy(), nets[1][key].numpy())
        assert nets[1][key].backend == device
    data = datasets.load(Config(**tiny_run.settings(pictures)))
    loaders = [DataLoader(data.train, 8, True, data.transform, seed=7) for _ in range(2)]
    for (images, labels), (same, same_labels) in zip(*loaders):
        moved = Tensor(backend.get(device).as_array(images))
        assert np.array_equal(moved.numpy(), same)
        assert np.array_equal(labels, same_labels)


@devices.gpu_only  # on the strict array: tests/train/test_loop.py
def test_an_epoch_of_the_training_loop(device, pictures, tmp_path):
    results = []
    with devices.own_kernels():
        for place in ("numpy", device):
            settings = tiny_run.settings(
                pictures, backend=place, epochs=2, batch_size=4, limit=18, lr=0.01
            )
            out = train(Config(**settings), tmp_path / place, progress=False)
            results.append(tiny_run.metrics(out))
    for here, there in zip(*results):
        for name in ("train_loss", "test_loss", "lr"):
            assert there[name] == pytest.approx(here[name], rel=1e-2)


# --- the training step -------------------------------------------------------------------------


def new_step(device, make=optim.SGD, **choices):
    minise.manual_seed(0)
    model = models.create("se_resnet8", 3, 4).to(device).train()
    return TrainingStep(model, make(model.parameters(), **choices), 3)


def run(step, size=(4, 8), call=None, count=WARM_UP + 4):
    """Losses, hits and weights after some steps with a learning rate that changes.

    size  pictures in a batch, side of a picture
    """
    results = []
    images, labels = batch(size[1], size[0], "float32")
    for number in range(count):
        results.append((call or step)(np.roll(images, number, 0), np.roll(labels, number)))
        for group in step.optimizer.param_groups:
            group["lr"] *= 0.8
    numbers = [[Tensor(array).item() for array in result] for result in results]
    return numbers, {key: value.numpy() for key, value in step.model.state_dict().items()}


RULES = {
    "sgd": {"make": optim.SGD, "lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-3},
    "adamw": {"make": optim.AdamW, "lr": 0.01},
}


# At the larger size the sums of BatchNorm and of the gradients of weights are split.
every_size = pytest.mark.parametrize(
    ("device", "size"),
    [
        pytest.param("strict", (4, 8)),
        pytest.param("cupy", (4, 8), marks=pytest.mark.gpu),
        pytest.param("cupy", (32, 32), marks=pytest.mark.gpu),
    ],
    indirect=["device"],
)


@pytest.mark.parametrize("rule", RULES)
@every_size
def test_captured_equals_eager(device, size, rule):
    eager, step = (new_step(device, **RULES[rule]) for _ in range(2))
    said = []
    with devices.own_kernels():
        expected, weights = run(eager, size)
        found, others = run(step, size, CapturedStep(step, said.append))
    assert said == []
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    for key, value in weights.items():
        np.testing.assert_allclose(others[key], value, rtol=1e-4, atol=1e-6, err_msg=key)


@devices.every
def test_captured_steps_take_their_turn(device):
    """On a stream of their own: after what was asked before them, and before what comes later."""
    losses = []
    images, labels = batch(8, dtype="float32")
    for captured in (False, True):
        with devices.own_kernels():
            step = new_step(device, **RULES["sgd"])
            call = CapturedStep(step) if captured else step
            for _ in range(WARM_UP + 4):
                for param in step.model.parameters():
                    param.data *= 0.9
                losses.append(call(images, labels)[0])
    eager, found = np.split(np.array([Tensor(loss).item() for loss in losses]), 2)
    np.testing.assert_allclose(found, eager, rtol=1e-5)


@pytest.mark.parametrize("captured", [False, True])
@every_size
def test_two_runs_give_the_same_bits(device, size, captured):
    outcomes = []
    with devices.own_kernels():
        for _ in range(2):
            step = new_step(device, **RULES["sgd"])
            outcomes.append(run(step, size, CapturedStep(step) if captured else None))
    assert outcomes[0][0] == outcomes[1][0]
    for key, value in outcomes[0][1].items():
        assert value.tobytes() == outcomes[1][1][key].tobytes(), key


@pytest.mark.parametrize("captured", [False, True])
@devices.every
def test_no_step_waits_for_the_device(device, captured):
    with devices.own_kernels():
        step = new_step(device, **RULES["sgd"])
        call = CapturedStep(step) if captured else step
        images, labels = batch(8, dtype="float32")
        for _ in range(WARM_UP + 1):
            call(images, labels)
        devices.never_waits(device, lambda: call(images, labels))


@devices.gpu_only
def test_memory_comes_back_after_a_step(device):
    import cupy

    step = new_step(device, **RULES["sgd"])
    images, labels = batch(32, 64, "float32")
    used = []
    for _ in range(6):
        step(images, labels)
        step.optimizer.zero_grad()
        backend.synchronize()
        used.append(cupy.get_default_memory_pool().used_bytes())
    assert used[1:] == used[1:2] * 5
    loss = F.cross_entropy(
        step.model(minise.tensor(images, backend=device)), minise.tensor(labels, backend=device),
        check=False,  # or the first check of the process leaves a number on the GPU
    )  # fmt: skip
    assert cupy.get_default_memory_pool().used_bytes() > used[-1]
    del loss  # the graph dies by reference counting alone
    for module in step.model.modules():
        if isinstance(module, nn.SEBlock):
            module.gate = None
    assert cupy.get_default_memory_pool().used_bytes() <= used[-1]


# --- bad input ---------------------------------------------------------------------------------


@devices.every
def test_arrays_of_the_host_for_a_model_on_a_device(device):
    model = models.create("se_resnet8").to(device)
    images, labels = batch(8, dtype="float32")
    with pytest.raises(RuntimeError) as caught:
        model(minise.tensor(images))
    assert str(caught.value) == (
        f"conv2d: expected all operands on one backend, got numpy (4, 3, 8, 8), {device} "
        "(16, 3, 3, 3); move them with .to(name) (in module conv1)"
    )
    with pytest.raises(TypeError, match=r"conv2d: input must be a Tensor, got ndarray; make one"):
        model(images)
    logits = model(minise.tensor(images, backend=device))
    with pytest.raises(RuntimeError, match=f"got {device} .*, numpy .*; move them with"):
        F.cross_entropy(logits, minise.tensor(labels))
    for added in (lambda a, b: a + b, lambda a, b: b + a):
        with pytest.raises(TypeError, match=r"^add: expected a Tensor or a number, got ndarray; m"):
            added(Tensor(logits.data), images[:, 0, 0, :1])


@devices.every
def test_what_a_recording_refuses(device):
    """A sync, and an array that comes from the host; and the recorder works on after that."""
    home = backend.get(device)
    recorder = home.recorder()
    x = home.as_array(np.ones(3, "float32"))
    with recorder.stream():
        recorder.warm_up(lambda: x * 2)
        for work in (lambda: float((x * 2).sum()), lambda: x + home.as_array(np.float32([1]))):
            with pytest.raises(backend.CaptureError):
                recorder.record(work)
        y = recorder.record(lambda: x * 2)
        recorder.send(np.array([1, 2, 3], "float32"), x)
        recorder.replay()
    assert Tensor(y).numpy().tolist() == [2, 4, 6]
    with recorder.stream():
        for number in range(5):  # more than there are page-locked buffers
            recorder.send(np.full(3, number, "float32"), x)
            recorder.replay()
    assert Tensor(y).numpy().tolist() == [8, 8, 8]
