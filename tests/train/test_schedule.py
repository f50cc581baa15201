"""The learning rate of every step against its formula."""

import math

import numpy as np
import pytest

import minise
from minise import optim
from minise.train import Config, schedule

LR, EPOCHS, STEPS = 0.1, 8, 5  # 40 steps


def rates(name, warmup=0, epochs=EPOCHS, steps=STEPS):
    """The rate at each step of a run."""
    config = Config(schedule=name, warmup=warmup, epochs=epochs, lr=LR)
    optimizer = optim.SGD([minise.zeros(1, requires_grad=True)], config.lr, momentum=0.9)
    moves = schedule.scheduler_for(config, optimizer, steps)
    result = []
    for _ in range(epochs * steps):
        result.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        moves.step()
        assert optimizer.param_groups[0]["momentum"] == 0.9
    return result


def cosine(start, end, share):
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


def test_constant():
    assert rates("constant") == [LR] * 40


def test_multistep_divides_by_ten_after_a_half_and_three_quarters():
    np.testing.assert_allclose(
        rates("multistep"), [LR] * 20 + [LR / 10] * 10 + [LR / 100] * 10, rtol=1e-12
    )
    assert rates("multistep", epochs=1, steps=1) == [LR]


def test_cosine_falls_to_zero():
    expected = [cosine(LR, 0, t / 40) for t in range(40)]
    np.testing.assert_allclose(rates("cosine"), expected, rtol=1e-9)


def test_onecycle_rises_for_three_tenths_of_the_steps():
    peak = 0.3 * 40 - 1
    up = [cosine(LR / 25, LR, t / peak) for t in range(12)]
    down = [cosine(LR, LR / 25e4, (t - peak) / (39 - peak)) for t in range(12, 40)]
    np.testing.assert_allclose(rates("onecycle"), up + down, rtol=1e-9)


@pytest.mark.parametrize(("name", "warmup"), [("constant", 2), ("cosine", 2), ("multistep", 1)])
def test_warmup_is_linear_and_the_rest_follows(name, warmup):
    W = warmup * STEPS
    ramp = [LR * (1 / W + (1 - 1 / W) * t / W) for t in range(W)]
    rest = {
        "constant": [LR] * (40 - W),
        "cosine": [cosine(LR, 0, t / (40 - W)) for t in range(40 - W)],
        "multistep": [LR] * (20 - W) + [LR / 10] * 10 + [LR / 100] * 10,
    }[name]
    np.testing.assert_allclose(rates(name, warmup), ramp + rest, rtol=1e-9)


def test_a_warmup_longer_than_half_of_multistep():
    assert rates("multistep", warmup=5)[25:] == pytest.approx([LR / 10] * 5 + [LR / 100] * 10)


@pytest.mark.parametrize("name", ["constant", "cosine", "multistep", "onecycle"])
def test_runs_of_one_step(name):
    (rate,) = rates(name, epochs=1, steps=1)
    assert 0 < rate <= LR
