"""An optimizer whose step can be recorded once and replayed: see minise/backend/capture.py."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy

from .. import backend
from ..autograd import Array
from .fused import on_device
from .optimizer import Optimizer


class Capturable:
    """Keeps on the device what changes from step to step, so that a recorded step reads it there.

    That is the learning rate of each group and the counter of steps of each parameter. What a step
    computes stays the same.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self.rates: list[Array] = []  # by group, as arrays without axes; none before `prepare`

    def prepare(self) -> None:
        """Make the arrays: before the recording, or it would contain their making.

        To be repeated when the optimizer has got another group or has loaded a state.
        """
        self.rates = []
        for group in self.optimizer.param_groups:
            xp = backend.of(group["params"][0].data).xp
            self.rates.append(on_device(xp, group["lr"], numpy.float64))
        for param, state in self.optimizer.state.items():
            if "step" in state:
                xp = backend.of(param.data).xp
                state["step"] = on_device(xp, state["step"], numpy.int64)

    @contextmanager
    def rates_on_device(self) -> Iterator[None]:
        """Inside, group["lr"] is the array that a recorded step reads, with the rate of now.

        Whatever looks at the rate there, be it a `step` of one's own, sees that array: nothing can
        be recorded with the number. Before `prepare` nothing is exchanged.
        """
        groups = self.optimizer.param_groups
        numbers = [group["lr"] for group in groups]
        for group, rate in zip(groups, self.rates):
            rate.fill(group["lr"])
            group["lr"] = rate
        try:
            yield
        finally:
            for group, number in zip(groups, numbers):
                group["lr"] = number
