"""Update rules and learning-rate schedules, with PyTorch's names, defaults and numbers.

A schedule moves the rate of its optimizer, and the optimizer moves the weights:

    optimizer = optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)
    ...
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()      # per batch
    schedule.step()       # per epoch
"""

from __future__ import annotations

from . import fused, lr_scheduler
from .adam import Adam, AdamW
from .optimizer import Optimizer
from .sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "lr_scheduler"]
