"""A captured training step with the GPU's own kernels: the CUDA sources, run on the CPU.

The stand-in for CUDA graphs (strict_recorder.py) records the launches themselves, so this shows
that no step needs cuBLAS, waits, reads the host's arrays, or bakes in a learning rate.
"""

from __future__ import annotations

import cuda_on_host
import numpy as np
import pytest
from strict_array import StrictArray, strict
from tiny_nets import FAMILIES
from tiny_step import OPTIMIZERS, batches, never, new_step, rate_as_number, recorded_numbers, train

from minise import backend, nn, optim
from minise.backend.gpu import kernels as cuda
from minise.backend.gpu.kernels import launch
from minise.train.captured import WARM_UP, CapturedStep
from minise.train.step import TrainingStep

pytestmark = cuda_on_host.needs_compiler


class Recordable:
    """Kernels whose launches a tape notes."""

    def __init__(self, kernels):
        self.kernels, self.launched, self.address = kernels, kernels.launched, kernels.address

    def kernel(self, name, real):
        run, addressed = self.kernels.kernel(name, real), self.kernels.addressed

        def launch_it(blocks, threads, arguments):
            hidden = [*addressed]  # what the kernel finds by an address in a struct

            def again():
                addressed[:] = hidden
                run(blocks, threads, arguments)

            if strict.tape:
                arrays = [a._array for a in arguments if isinstance(a, StrictArray)]
                strict.tape.note_kernel(name, arguments, [*arrays, *hidden], again)
            again()

        return launch_it


@pytest.fixture(scope="module")
def kernels(tmp_path_factory):
    return cuda_on_host.Kernels(launch.code(), tmp_path_factory.mktemp("kernels"))


@pytest.fixture(autouse=True)
def plugged_in(kernels, monkeypatch):
    with cuda_on_host.plugged_in(Recordable(kernels), monkeypatch):
        yield


UPDATES = {"sgd": {"sgd_step"}, "adam": {"adam_count", "adam_step"}}
UPDATES |= {"sgd, groups": UPDATES["sgd"], "adamw": UPDATES["adam"]}
optimizers = pytest.mark.parametrize("name", OPTIMIZERS)


@optimizers
def test_captured_equals_eager(kernels, name):
    make = OPTIMIZERS[name]
    eager, step = (new_step(make, label_smoothing=0.1) for _ in range(2))
    expected = train(eager, eager, batches())
    captured = CapturedStep(step, never)
    numbers, *state = train(step, captured, batches())
    assert [numbers, *state] == [*expected]
    assert captured.recorder.log.count("replay") == 4
    assert len(kernels.launched) > 15
    assert {"nll_backward", "log_softmax_forward", *UPDATES[name]} <= kernels.launched


@optimizers
def test_it_equals_the_plain_kernels(name):
    make = OPTIMIZERS[name]

    def captured(step):
        numbers, weights, *_ = train(step, CapturedStep(step, never), batches())
        return numbers, weights

    numbers, weights = captured(new_step(make))
    with backend.plain():
        plain = new_step(make)
        expected_numbers, expected, *_ = train(plain, plain, batches())
    np.testing.assert_allclose(numbers, expected_numbers, rtol=1e-4)
    for key, values in expected.items():
        np.testing.assert_allclose(weights[key], values, rtol=1e-3, atol=1e-5, err_msg=key)


@optimizers
def test_no_learning_rate_is_recorded_as_a_number(name):
    make = OPTIMIZERS[name]
    one, other = (recorded_numbers(new_step(make), lr) for lr in (0.1, 0.025))
    assert len(one) > 50
    assert one == other


def plug_in(monkeypatch, name, step):
    device = backend.get("strict")
    monkeypatch.setitem(vars(device), name, getattr(device, name)._replace(step=step))


def test_a_learning_rate_that_was_baked_in_is_found(monkeypatch):
    def baked(weights, gradients, velocities, lr, **options):
        fresh = strict.full((), baked.optimizer.number, dtype=np.float64)
        cuda.sgd.step(weights, gradients, velocities, fresh, **options)

    def new():
        step = new_step()
        baked.optimizer = step.optimizer
        rate_as_number(step.optimizer)
        return step

    plug_in(monkeypatch, "sgd", baked)
    one, other = (recorded_numbers(new(), lr) for lr in (0.1, 0.025))
    assert {a for a, b in zip(one, other) if a != b} == {("full", 0.1)}
    eager = new()
    expected = train(eager, eager, batches(), rate_as_number)
    step = new()
    captured = CapturedStep(step, never)
    assert train(step, captured, batches(), rate_as_number) != expected


def test_a_counter_that_was_baked_in_is_found(monkeypatch):
    def baked(weights, gradients, states, lr, **options):
        baked.count += 1
        fresh = [strict.full((), baked.count, dtype=np.int64) for _ in weights]
        cuda.adam.step(weights, gradients, {**states, "step": fresh}, lr, **options)

    plug_in(monkeypatch, "adam", baked)
    outcomes = []
    for capture in (False, True):
        baked.count, step = -1, new_step(OPTIMIZERS["adamw"])
        run = CapturedStep(step, never) if capture else step
        outcomes.append(train(step, run, batches()))
    assert outcomes[0] != outcomes[1]


@optimizers
def test_no_step_waits(name):
    make = OPTIMIZERS[name]
    for run in (new_step(make), CapturedStep(new_step(make), never)):
        strict.sync_count = 0
        for images, labels in batches():
            run(images, labels)
        assert strict.sync_count == 0


def test_a_convolution_by_columns_is_captured(kernels):
    """Its matrix products too, which the plain op leaves to cuBLAS."""
    eager, step = (
        new_step(layer=nn.Conv2d(8, 8, 3, stride=2, padding=2, dilation=2)) for _ in range(2)
    )
    step.model.load_state_dict(eager.model.state_dict())
    expected = train(eager, eager, batches())
    captured = CapturedStep(step, never)
    assert train(step, captured, batches()) == expected
    assert captured.recorder.log.count("replay") == 4
    assert {"im2col", "col2im"} <= kernels.launched


class Idle:
    """Kernels that do nothing: enough to see what a step asks for."""

    launched, addressed = set(), []

    def kernel(self, name, real):
        return lambda blocks, threads, arguments: None

    def address(self, array):
        return 0


# Those with dropout cannot: the shape of its mask, and where the first one is.
MASKS = {
    "senet": "(4, 512) comes from the host (in module dropout)",
    "vgg": "(4, 16) comes from the host (in module classifier.2)",
    "with dropout": "(4, 16) comes from the host (in module head.2)",
}


@pytest.mark.parametrize("family", FAMILIES)
def test_which_families_of_networks_can_be_captured(monkeypatch, family):
    build, side = FAMILIES[family]
    with cuda_on_host.plugged_in(Idle(), monkeypatch):
        model, said = build().to("strict"), []
        step = TrainingStep(model, optim.SGD(model.parameters(), 0.1, 0.9), 3)
        call = CapturedStep(step, said.append)
        with np.errstate(all="ignore"):
            for images, labels in batches(WARM_UP + 1, 4, side):
                call(images, labels)
    reasons = [line.partition("graph: ")[2] for line in said]
    assert reasons == ([f"an array of shape {MASKS[family]}"] if family in MASKS else [])
