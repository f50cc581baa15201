"""Schedules against PyTorch: recorded numbers always, PyTorch itself where it is installed."""

import json

import numpy
import pytest
from golden import make_optim as golden
from safetensors.numpy import load_file

from minise import optim
from minise.optim import lr_scheduler
from minise.tensor import Tensor

schedules = pytest.mark.parametrize("case", golden.SCHEDULES)


@pytest.fixture(scope="module")
def recorded():
    return load_file(golden.PATH)


def two_groups(kind="SGD", library=optim, parameter=lambda: Tensor(numpy.zeros(1, "float32"))):
    groups = [{"params": [parameter()], "lr": lr} for lr in (0.1, 0.02)]
    return getattr(library, kind)(groups)


def made(case):
    kind, make = golden.SCHEDULES[case]
    optimizer = two_groups(kind)
    return optimizer, make(lr_scheduler, optimizer)


def check(actual, expected):
    numpy.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-15)


@schedules
def test_rates_over_sixty_epochs_are_pytorchs(recorded, case):
    optimizer, schedule = made(case)
    check(golden.rates(optimizer, schedule), recorded[f"rates.{case}"])


@pytest.mark.slow
@schedules
def test_recorded_rates_are_what_pytorch_gives(recorded, case):
    pytest.importorskip("torch")
    check(golden.torch_rates(case), recorded[f"rates.{case}"])


@schedules
def test_get_last_lr_and_last_epoch(case):
    optimizer, schedule = made(case)
    for epoch in range(55):
        assert schedule.last_epoch == epoch
        assert schedule.get_last_lr() == [group["lr"] for group in optimizer.param_groups]
        optimizer.step()
        schedule.step()


@pytest.mark.parametrize("epoch", [0, 1, 5, 12, 17, 30, 40])
@schedules
def test_going_on_from_a_checkpoint(case, epoch):
    optimizer, schedule = made(case)
    golden.rates(optimizer, schedule, epoch)
    text = json.dumps([optimizer.state_dict(), schedule.state_dict()])
    expected = golden.rates(optimizer, schedule, 60 - epoch)

    optimizer, schedule = made(case)
    of_optimizer, of_schedule = json.loads(text)
    optimizer.load_state_dict(of_optimizer)
    schedule.load_state_dict(of_schedule)
    assert json.dumps([optimizer.state_dict(), schedule.state_dict()]) == text
    assert numpy.array_equal(golden.rates(optimizer, schedule, 60 - epoch), expected)


@schedules
def test_state_dict_is_a_snapshot(case):
    optimizer, schedule = made(case)
    saved = schedule.state_dict()
    text = json.dumps(saved)
    schedule.load_state_dict(saved)
    golden.rates(optimizer, schedule, 30)
    assert json.dumps(saved) == text


@pytest.mark.parametrize(
    "make",
    [
        lambda s, o, last: s.StepLR(o, 4, last_epoch=last),
        lambda s, o, last: s.MultiStepLR(o, [4, 9], last_epoch=last),
        lambda s, o, last: s.CosineAnnealingLR(o, 12, last_epoch=last),
        lambda s, o, last: s.LinearLR(o, 0.1, total_iters=12, last_epoch=last),
        lambda s, o, last: s.OneCycleLR(o, 0.7, 30, last_epoch=last),
    ],
)
@pytest.mark.parametrize("last", [2, 3, 7, 8])
def test_last_epoch_goes_on_as_in_pytorch(make, last):
    torch = pytest.importorskip("torch")

    def resumed(library, parameter):
        before = two_groups("SGD", library, parameter)
        schedule = make(library.lr_scheduler, before, -1)
        for _ in range(last):
            before.step()
            schedule.step()
        optimizer = two_groups("SGD", library, parameter)
        optimizer.load_state_dict(before.state_dict())
        return golden.rates(optimizer, make(library.lr_scheduler, optimizer, last), 12)

    ours = resumed(optim, lambda: Tensor(numpy.zeros(1)))
    check(ours, resumed(torch.optim, lambda: torch.zeros(1)))


def test_side_by_side_schedules_multiply_as_in_pytorch():
    torch = pytest.importorskip("torch")

    def both(library, parameter):
        optimizer = two_groups("SGD", library, parameter)
        parts = [
            library.lr_scheduler.LinearLR(optimizer, 0.2, total_iters=8),
            library.lr_scheduler.CosineAnnealingLR(optimizer, 20),
            library.lr_scheduler.StepLR(optimizer, 6),
        ]
        seen = []
        for epoch in range(20):
            if epoch == 10:
                optimizer.param_groups[0]["lr"] = 0.5  # by hand
            seen.append([group["lr"] for group in optimizer.param_groups])
            optimizer.step()
            for part in parts:
                part.step()
        return seen

    ours = both(optim, lambda: Tensor(numpy.zeros(1)))
    check(ours, both(torch.optim, lambda: torch.zeros(1)))


# Written by hand, from the definitions.
@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda s, o: s.StepLR(o, 2, 0.5), [1, 1, 0.5, 0.5, 0.25]),
        (lambda s, o: s.MultiStepLR(o, [1, 4], 0.5), [1, 0.5, 0.5, 0.5, 0.25]),
        (lambda s, o: s.CosineAnnealingLR(o, 4), [1, 0.5 + 8**-0.5, 0.5, 0.5 - 8**-0.5, 0]),
        (lambda s, o: s.LinearLR(o, 0.25, total_iters=3), [0.25, 0.5, 0.75, 1, 1]),
        (
            lambda s, o: s.OneCycleLR(o, 1.0, 5, pct_start=0.6, div_factor=4.0),
            [0.25, 0.625, 1, 0.5000125, 0.000025],
        ),
        (
            lambda s, o: s.SequentialLR(
                o, [s.LinearLR(o, 0.5, total_iters=2), s.StepLR(o, 1, 0.5)], [2]
            ),
            [0.5, 0.75, 1, 0.5, 0.25],
        ),
    ],
)
def test_by_hand(make, expected):
    optimizer = optim.SGD([Tensor(numpy.zeros(1, "float32"))], lr=1.0)
    actual = golden.rates(optimizer, make(lr_scheduler, optimizer), 5)[:, 0, 0]
    numpy.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-15)


class DecaysOneEpochLate(lr_scheduler.StepLR):
    def next_lr(self, group, base_lr):
        late = self.last_epoch > 1 and self.last_epoch % self.step_size == 1
        return group["lr"] * self.gamma if late else group["lr"]


def test_a_planted_mistake_is_caught(recorded):
    optimizer = two_groups()
    rates = golden.rates(optimizer, DecaysOneEpochLate(optimizer, 7, 0.5))
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        check(rates, recorded["rates.step"])


def test_one_cycle_has_an_end():
    optimizer = two_groups()
    schedule = lr_scheduler.OneCycleLR(optimizer, 1.0, total_steps=10)
    golden.rates(optimizer, schedule, 10)
    with pytest.raises(ValueError, match="made for 10 steps, this is step 11"):
        schedule.step()


@pytest.mark.parametrize(("pct_start", "peak"), [(0.1, 0), (1.0, 9), (0.0, None)])
def test_one_cycle_with_a_phase_of_no_length(pct_start, peak):
    optimizer = two_groups()
    schedule = lr_scheduler.OneCycleLR(optimizer, 1.0, total_steps=10, pct_start=pct_start)
    rates = golden.rates(optimizer, schedule, 10)[:, 0, 0]  # steps past the last one, too
    assert numpy.isfinite(rates).all()
    assert peak is None or rates.argmax() == peak


def test_stepping_before_the_optimizer_warns():
    optimizer = two_groups()
    schedule = lr_scheduler.StepLR(optimizer, 1)
    with pytest.warns(UserWarning, match=r"before optimizer.step\(\)"):
        schedule.step()
    schedule.step()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda s, o: s.StepLR(None, 1), TypeError, "StepLR: expected an Optimizer, got NoneType"),
        (lambda s, o: s.OneCycleLR(None, 1), TypeError, "OneCycleLR: expected an Optimizer"),
        (lambda s, o: s.StepLR(o, 2, last_epoch=3), KeyError, r"param_groups\[0\] has no 'initial"),
        (lambda s, o: s.StepLR(o, 0), ValueError, "step_size must not be 0"),
        (lambda s, o: s.CosineAnnealingLR(o, 0), ValueError, "T_max must not be 0"),
        (lambda s, o: s.LinearLR(o, 0), ValueError, r"start_factor must be in \(0, 1\], got 0"),
        (lambda s, o: s.LinearLR(o, 1.5), ValueError, "start_factor"),
        (lambda s, o: s.LinearLR(o, 0.5, -0.1), ValueError, "end_factor must be in"),
        (lambda s, o: s.OneCycleLR(o, 1.0), ValueError, "expected total_steps, or both epochs"),
        (lambda s, o: s.OneCycleLR(o, 1.0, epochs=3), ValueError, "steps_per_epoch=None"),
        (lambda s, o: s.OneCycleLR(o, 1.0, 0), ValueError, "total_steps must be an integer > 0"),
        (lambda s, o: s.OneCycleLR(o, 1.0, 2.5), ValueError, "total_steps must be an integer"),
        (lambda s, o: s.OneCycleLR(o, 1.0, None, 0, 3), ValueError, "epochs must be an integer"),
        (lambda s, o: s.OneCycleLR(o, 1.0, None, 3, 0), ValueError, "steps_per_epoch must be"),
        (lambda s, o: s.OneCycleLR(o, 1.0, 9, pct_start=1.5), ValueError, "pct_start must be"),
        (lambda s, o: s.OneCycleLR(o, 1.0, 9, pct_start=1), ValueError, "pct_start must be"),
        (lambda s, o: s.OneCycleLR(o, 1.0, 9, anneal_strategy="x"), ValueError, "'cos' or 'linear"),
        (lambda s, o: s.OneCycleLR(o, [1.0], 9), ValueError, "max_lr has 1 values for 2 parameter"),
        (lambda s, o: s.OneCycleLR(o, 1.0, 9, max_momentum=[0.9]), ValueError, "max_momentum has"),
        (lambda s, o: s.SequentialLR(o, [], []), ValueError, "schedulers is empty"),
        (
            lambda s, o: s.SequentialLR(o, [s.StepLR(o, 1)], [3]),
            ValueError,
            "1 schedulers need 0 milestones, got 1",
        ),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make(lr_scheduler, two_groups())


def test_errors_are_of_pytorchs_type():
    torch = pytest.importorskip("torch")
    scheduler = torch.optim.lr_scheduler
    for make, error in [
        (lambda o: scheduler.StepLR(None, 1), TypeError),
        (lambda o: scheduler.StepLR(o, 2, last_epoch=3), KeyError),
        (lambda o: scheduler.LinearLR(o, 0), ValueError),
        (lambda o: scheduler.OneCycleLR(o, 1.0), ValueError),
        (lambda o: scheduler.OneCycleLR(o, 1.0, 9, pct_start=1), ValueError),
        (lambda o: scheduler.OneCycleLR(o, [1.0], 9), ValueError),
        (lambda o: scheduler.SequentialLR(o, [], []), ValueError),
        (lambda o: scheduler.SequentialLR(o, [scheduler.StepLR(o, 1)], [3]), ValueError),
    ]:
        with pytest.raises(error):
            make(two_groups("SGD", torch.optim, lambda: torch.zeros(1)))


def test_sequential_refuses_parts_that_do_not_belong():
    ours, other = two_groups(), two_groups()
    part = lr_scheduler.StepLR(ours, 1)
    with pytest.raises(ValueError, match=r"schedulers\[1\] belongs to another optimizer"):
        lr_scheduler.SequentialLR(ours, [part, lr_scheduler.StepLR(other, 1)], [3])
    with pytest.raises(TypeError, match=r"schedulers\[0\] must be a schedule, got int"):
        lr_scheduler.SequentialLR(ours, [1, part], [3])
    whole = lr_scheduler.SequentialLR(ours, [part, lr_scheduler.StepLR(ours, 1)], [3])
    with pytest.raises(ValueError, match="nesting is not supported"):
        lr_scheduler.SequentialLR(ours, [whole, part], [3])
    alone = lr_scheduler.SequentialLR(ours, [part], [])
    with pytest.raises(ValueError, match="expected 1 schedules, got 2"):
        alone.load_state_dict(whole.state_dict())


def test_cycling_momentum_needs_momentum():
    class Plain(optim.Optimizer):
        pass

    optimizer = Plain([Tensor(numpy.zeros(1))], {"lr": 0.1, "maximize": False})
    with pytest.raises(ValueError, match="needs an optimizer with momentum or betas, Plain has"):
        lr_scheduler.OneCycleLR(optimizer, 1.0, 10)
    lr_scheduler.OneCycleLR(optimizer, 1.0, 10, cycle_momentum=False)


def test_a_group_added_afterwards():
    optimizer = two_groups()
    schedule = lr_scheduler.StepLR(optimizer, 1)
    optimizer.add_param_group({"params": Tensor(numpy.zeros(1))})
    optimizer.step()
    with pytest.raises(ValueError, match="made for 2 parameter groups, the optimizer has 3 now"):
        schedule.step()
    with pytest.raises(NotImplementedError, match="next_lr is not written"):
        lr_scheduler.LRScheduler(optimizer)
