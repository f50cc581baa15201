"""The learning rate over a run, counted in steps."""

from __future__ import annotations

import math

from ..optim import Optimizer
from ..optim.lr_scheduler import (
    CosineAnnealingLR,
    LinearLR,
    LRScheduler,
    MultiStepLR,
    OneCycleLR,
    SequentialLR,
)
from .config import Config


def scheduler_for(config: Config, optimizer: Optimizer, steps_per_epoch: int) -> LRScheduler:
    """The schedule that `config` names, to be stepped after every step of the optimizer."""
    total = config.epochs * steps_per_epoch
    if config.schedule == "onecycle":
        # The momentum stays: it is a setting of its own.
        return OneCycleLR(optimizer, config.lr, total_steps=total, cycle_momentum=False)

    warmup = config.warmup * steps_per_epoch
    main: LRScheduler
    if config.schedule == "cosine":
        main = CosineAnnealingLR(optimizer, T_max=total - warmup)
    else:
        drops = (math.ceil(total / 2), math.ceil(total * 3 / 4))  # He et al. (2016), section 4.2
        milestones = [drop - warmup for drop in drops if config.schedule == "multistep"]
        main = MultiStepLR(optimizer, milestones)  # without milestones: constant
    if warmup == 0:
        return main
    ramp = LinearLR(optimizer, start_factor=1 / warmup, total_iters=warmup)
    return SequentialLR(optimizer, [ramp, main], milestones=[warmup])
