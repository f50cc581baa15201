"""A training step of a small network on the strict array, and the batches to call it with."""

from __future__ import annotations

import numpy as np
from strict_array import StrictArray

import minise
from minise import nn, optim
from minise.train.captured import WARM_UP, CapturedStep
from minise.train.step import TrainingStep

STEPS = WARM_UP + 4
OPTIMIZERS = {
    "sgd": lambda params: optim.SGD(params, 0.1, 0.9, weight_decay=1e-3, nesterov=True),
    "sgd, groups": lambda params: optim.SGD(
        [{"params": params[:-2]}, {"params": params[-2:], "lr": 0.5}], 0.1, 0.9, 0.1
    ),
    "adam": lambda params: optim.Adam(params, 0.01, weight_decay=1e-3, amsgrad=True),
    "adamw": lambda params: optim.AdamW(params, 0.01),
}


class Small(nn.Module):
    """One layer of each kind; `layer` comes after the convolution."""

    def __init__(self, layer=None):
        super().__init__()
        self.conv1, self.layer = nn.Conv2d(3, 8, 3, padding=1, bias=False), layer
        self.bn1, self.se, self.fc = nn.BatchNorm2d(8), nn.SEBlock(8, 4), nn.Linear(8, 3)

    def forward(self, x):
        u = self.conv1(x) if self.layer is None else self.layer(self.conv1(x))
        return self.fc(self.se(self.bn1(u).relu()).mean((2, 3)))


def new_step(make=OPTIMIZERS["sgd"], layer=None, **options):
    minise.manual_seed(0)
    model = Small(layer).to("strict")
    return TrainingStep(model, make([*model.parameters()]), 3, **options)


def batches(count=STEPS, size=4, side=8):
    random = np.random.RandomState(0)
    for _ in range(count):
        images = random.standard_normal((size, 3, side, side)).astype("float32")
        yield images, random.randint(0, 3, size)


def train(step, run, given, change=lambda optimizer, number: None):
    """Losses, hits and everything that the steps leave behind; the rate halves with each step."""
    step.model.train()
    results = []
    for number, (images, labels) in enumerate(given):
        results.append(run(images, labels))
        for group in step.optimizer.param_groups:
            group["lr"] /= 2
        change(step.optimizer, number)
    numbers = [[array.get().tolist() for array in result] for result in results]
    state = {key: value.numpy().tolist() for key, value in step.model.state_dict().items()}
    optimizer = step.optimizer.state_dict()
    saved = [
        (index, name, value.get().tolist() if isinstance(value, StrictArray) else value)
        for index, values in optimizer["state"].items()
        for name, value in values.items()
    ]
    return numbers, state, saved, optimizer["param_groups"]


def never(line):
    raise AssertionError(line)


def rate_as_number(optimizer, step=None):
    """For planted mistakes: a number that a recorded step would find unchanged."""
    optimizer.number = optimizer.param_groups[0]["lr"]


def recorded_numbers(step, lr):
    """The host numbers in a recording at that learning rate, after some steps."""
    captured = CapturedStep(step, never)
    for group in step.optimizer.param_groups:
        group["lr"] = lr
    rate_as_number(step.optimizer)
    for images, labels in batches(WARM_UP + 1):
        captured(images, labels)
    return captured.recorder.tape.numbers
