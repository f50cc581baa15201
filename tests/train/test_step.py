"""The training step, asked for op by op and recorded: the same numbers, and no waiting.

The device is the strict array with its stand-in for CUDA graphs; on a real GPU see
tests/backend/gpu/test_device.py.
"""

from __future__ import annotations

import itertools

import numpy as np
import parity  # noqa: F401  (registers the backend "strict")
import pytest
import strict_recorder
from strict_array import strict
from tiny_step import (
    OPTIMIZERS,
    STEPS,
    batches,
    never,
    new_step,
    rate_as_number,
    recorded_numbers,
    train,
)

from minise import backend, models, nn, optim
from minise.tensor import Tensor
from minise.train.captured import WARM_UP, CapturedStep, capture_if_possible
from minise.train.step import TrainingStep


@pytest.fixture
def own_kernels(monkeypatch):
    """Matrix products by kernels of our own, instead of cuBLAS, which nobody can record."""
    for op, kernel in strict_recorder.own_kernels().items():
        monkeypatch.setitem(backend.get("strict").kernels, op, kernel)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_captured_equals_eager(own_kernels, name):
    eager, step = (new_step(OPTIMIZERS[name], label_smoothing=0.1) for _ in range(2))
    expected = train(eager, eager, batches())
    captured = CapturedStep(step, never)
    assert train(step, captured, batches()) == expected
    assert captured.recorder.log == ["warm up"] * WARM_UP + ["record"] + ["replay"] * 4


def test_no_step_waits_for_the_device(own_kernels):
    for run in (new_step(), CapturedStep(new_step(), never)):
        strict.sync_count = 0
        for images, labels in batches():
            run(images, labels)
        assert strict.sync_count == 0


def test_a_smaller_batch_runs_op_by_op(own_kernels):
    """As at the end of every epoch; and a run may be resumed there."""
    sizes = [2, 4, 4, 2, 4, 4, 4, 2, 4, 4, 2, 4]
    given = [batch for size in sizes for batch in batches(1, size)]
    eager, step = new_step(), new_step()
    captured = CapturedStep(step, never)
    assert train(step, captured, given) == train(eager, eager, given)
    log = captured.recorder.log
    assert log == ["warm up"] * 5 + ["record"] + ["replay"] * 5


def test_other_options_are_recorded_anew(own_kernels):
    def change(optimizer, number):
        if number == WARM_UP + 1:
            for group in optimizer.param_groups:
                group["momentum"] = 0.5

    eager, step = new_step(), new_step()
    expected = train(eager, eager, batches(2 * STEPS), change)
    captured = CapturedStep(step, never)
    assert train(step, captured, batches(2 * STEPS), change) == expected
    log = captured.recorder.log
    assert log[:10] == ["warm up"] * 3 + ["record"] + ["replay"] * 2 + ["warm up"] * 3 + ["record"]


def test_tf32_is_recorded_anew(own_kernels):
    """A GPU's recorded kernels round, or do not, whatever holds when they are replayed."""
    captured = CapturedStep(new_step(), never)
    for images, labels in batches():
        captured(images, labels)
    assert captured.recorder.log.count("record") == 1
    with backend.tf32():
        for images, labels in batches():
            captured(images, labels)
    assert captured.recorder.log.count("record") == 2


def test_going_on_from_a_saved_state(own_kernels):
    """Loading replaces the optimizer's arrays, so what was recorded must not go on with the old."""
    given = [*batches(2 * STEPS)]
    for name in ("sgd", "adam"):
        whole = new_step(OPTIMIZERS[name])
        expected = train(whole, whole, given)
        first, second = new_step(OPTIMIZERS[name]), new_step(OPTIMIZERS[name])
        train(first, CapturedStep(first, never), given[:STEPS])
        second.model.load_state_dict(first.model.state_dict())
        second.optimizer.load_state_dict(first.optimizer.state_dict())
        _, *state = train(second, CapturedStep(second, never), given[STEPS:])
        assert state == [*expected[1:]]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_loading_a_state_into_a_captured_step(own_kernels, name):
    given, outcomes = [*batches()], []
    for capture in (False, True):
        step = new_step(OPTIMIZERS[name])
        run = CapturedStep(step, never) if capture else step
        train(step, run, given)
        model = {key: value.numpy() for key, value in step.model.state_dict().items()}
        saved = step.optimizer.state_dict()
        train(step, run, given)
        step.model.load_state_dict(model)
        step.optimizer.load_state_dict(saved)
        outcomes.append(train(step, run, given))
    assert outcomes[0] == outcomes[1]


def test_a_parameter_group_that_comes_later(own_kernels):
    outcomes = []
    for capture in (False, True):
        step = new_step()
        late = step.optimizer.param_groups[0]["params"].pop()
        run = CapturedStep(step, never) if capture else step
        train(step, run, batches())
        step.optimizer.add_param_group({"params": [late], "lr": 0.3})
        outcomes.append(train(step, run, batches()))
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("label", [-1, 3])
@pytest.mark.parametrize("captured", [False, True])
def test_a_label_that_is_no_class(own_kernels, label, captured):
    step = new_step()
    run = CapturedStep(step, never) if captured else step
    for images, labels in batches():
        run(images, labels)
    before = {key: value.numpy().tolist() for key, value in step.model.state_dict().items()}
    labels[0] = label
    with pytest.raises(IndexError, match=r"training: labels must lie in \[0, 2\], got "):
        run(images, labels)
    after = {key: value.numpy().tolist() for key, value in step.model.state_dict().items()}
    assert after == before


def test_where_steps_are_captured():
    assert isinstance(capture_if_possible(new_step()), CapturedStep)
    model = models.create("resnet8")
    step = TrainingStep(model, optim.SGD(model.parameters()), 10)
    assert capture_if_possible(step) is step


# --- what cannot be recorded -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "why"),
    [
        (nn.Dropout(0.5), "an array of shape (4, 8, 8, 8) comes from the host (in module layer)"),
        (nn.BatchNorm2d(8, momentum=None),
         "operation not permitted when stream is capturing (in module layer)"),
    ],
)  # fmt: skip
def test_it_says_why_and_goes_on_op_by_op(own_kernels, layer, why):
    step, said = new_step(layer=layer), []
    results, *state = train(step, CapturedStep(step, said.append), batches())
    assert said == [f"training op by op, the step cannot be captured as a CUDA graph: {why}"]
    assert np.isfinite(results).all()
    if isinstance(layer, nn.BatchNorm2d):  # the recording that failed has drawn a mask of Dropout
        layer.reset_parameters()
        eager = new_step(layer=layer)
        assert train(eager, eager, batches()) == (results, *state)


def test_cublas_is_refused():
    """Then the memory of the warm-up serves on: its pool gives nothing back to others."""
    step, said = new_step(), []
    run = CapturedStep(step, said.append)
    for images, labels in batches():
        run(images, labels)
    (line,) = said
    assert line.endswith("calling cuBLAS API during stream capture (matmul) (in module conv1)")
    assert run.recorder.log == ["warm up"] * WARM_UP + ["record"] + ["warm up"] * (STEPS - WARM_UP)


# --- mistakes that the comparison has to find --------------------------------------------------


class BakesTheRate(optim.SGD):
    """Reads the rate where it is a number: between the steps, see `rate_as_number`."""

    number = None

    def update(self, weights, gradient, state, options):
        super().update(weights, gradient, state, {**options, "lr": self.number or options["lr"]})


class BakesTheCounter(optim.Adam):
    def update(self, weights, gradient, state, options):
        state = dict(state, step=int(self.counted)) if state else state
        super().update(weights, gradient, state, options)

    counted = 0

    def step(self, closure=None):
        super().step(closure)
        self.counted += 1


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_no_learning_rate_is_recorded_as_a_number(own_kernels, name):
    one, other = (recorded_numbers(new_step(OPTIMIZERS[name]), lr) for lr in (0.1, 0.025))
    assert len(one) > 50
    assert one == other


def test_a_learning_rate_that_was_baked_in_is_found(own_kernels):
    def make(params):
        return BakesTheRate(params, 0.1, 0.9)

    one, other = (recorded_numbers(new_step(make), lr) for lr in (0.1, 0.025))
    different = [pair for pair in zip(one, other) if pair[0] != pair[1]]
    assert set(different) == {(("multiply", 0.1), ("multiply", 0.025))}
    eager, step = new_step(make), new_step(make)
    expected = train(eager, eager, batches(), rate_as_number)
    assert train(step, CapturedStep(step, never), batches(), rate_as_number) != expected


class ReadsTheGroup(optim.SGD):
    def update(self, weights, gradient, state, options):
        super().update(weights, gradient, state, {**options, "lr": self.param_groups[0]["lr"]})


def test_a_rule_that_reads_its_group_is_recorded_with_the_rate_of_the_device(own_kernels):
    eager, step = (new_step(lambda params: ReadsTheGroup(params, 0.1, 0.9)) for _ in range(2))
    expected = train(eager, eager, batches())
    assert train(step, CapturedStep(step, never), batches()) == expected


def test_a_counter_that_was_baked_in_is_found(own_kernels):
    eager, step = (new_step(lambda params: BakesTheCounter(params, 0.1)) for _ in range(2))
    expected = train(eager, eager, batches())
    assert train(step, CapturedStep(step, never), batches()) != expected


def test_a_buffer_that_is_replaced_is_found(own_kernels, monkeypatch):
    """A step that makes a new array for what has to stay leaves the next step without it."""

    def replacing(self):
        self.running_mean.data = self.running_mean.data * 1.0
        return whole(self)

    whole = nn.BatchNorm2d._step
    monkeypatch.setattr(nn.BatchNorm2d, "_step", replacing)
    eager, step = new_step(), new_step()
    expected = train(eager, eager, batches())
    assert train(step, CapturedStep(step, never), batches()) != expected


# --- the stand-in itself -----------------------------------------------------------------------


def record(work):
    recorder = strict_recorder.StandIn()
    with recorder.stream():
        return recorder, recorder.record(work)


def test_a_recording_computes_nothing_and_replays_everything():
    x, total = Tensor(strict.ones(3)).data, strict.zeros(())
    view = x.reshape(3, 1)

    def work():
        nonlocal total
        y = view.T[0] * 2
        total += y.sum()
        x[1:] = 7.0
        return y.reshape(1, 3)

    recorder, y = record(work)
    assert np.isnan(y.get()).all()
    assert (total.get(), x.get().tolist()) == (0, [1, 1, 1])
    with recorder.stream():
        for expected in ([2, 2, 2], [2, 14, 14]):
            recorder.replay()
            assert y.get().tolist() == [expected]
        recorder.send(np.array([1.0, 2.0, 3.0]), x)
        recorder.replay()
    assert y.get().tolist() == [[2, 4, 6]]
    assert total.get() == 6 + 30 + 12


@pytest.mark.parametrize(
    ("work", "why"),
    [
        (lambda x: float(x.sum()), "not permitted when stream is capturing"),
        (lambda x: strict.nonzero(x), "not permitted when stream is capturing"),
        (lambda x: x @ x, "cuBLAS"),
        (lambda x: strict.einsum("i,i", x, x), "cuBLAS"),
        (lambda x: strict.asarray(np.ones(2)), "a host array would be recorded"),
    ],
)
def test_what_a_stream_in_capture_refuses(work, why):
    with pytest.raises(backend.CaptureError, match=why):
        record(lambda: work(strict.ones(3)))
    assert strict.tape is None


def test_host_numbers_are_noted():
    x = strict.ones(3)
    rates = itertools.count(1)
    one, other = (record(lambda: x * float(next(rates)))[0].tape.numbers for _ in range(2))
    assert (one, other) == ([("multiply", 1.0)], [("multiply", 2.0)])
