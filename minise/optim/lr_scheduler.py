"""Learning-rate schedules: they set `group["lr"]` of every parameter group of an optimizer.

A schedule is made after its optimizer, sets the rate for epoch 0 right away, and moves on by one
with each `step()`. "Epoch" stands for whatever is counted: `OneCycleLR` is stepped per batch.

Each rate is computed from the one before it, not from the epoch alone. So two schedules may be
stepped side by side (their effects multiply), and a rate that was changed by hand is respected.
"""

from __future__ import annotations

import math
import warnings
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from typing import Any

from .optimizer import Optimizer, Options


class LRScheduler:
    """Base of all schedules: subclasses write `next_lr` and, where it is not lr, `first_lr`.

    last_epoch   -1 for a new run. k to go on after epoch k: the groups must then hold
                 "initial_lr", as they do after `optimizer.load_state_dict`; KeyError otherwise.

    Raises TypeError if `optimizer` is not an Optimizer.
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        self.optimizer = _checked(optimizer, type(self).__name__)
        for index, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise KeyError(
                    f"{type(self).__name__}: last_epoch={last_epoch} goes on with an earlier run, "
                    f"but param_groups[{index}] has no 'initial_lr'; load the optimizer's state "
                    "first"
                )
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._start()

    def _start(self) -> None:
        """The step that sets the first rate."""
        self._step_count = 0
        self.step()

    def next_lr(self, group: Options, base_lr: float) -> float:
        """The rate for epoch `self.last_epoch`, where group["lr"] is that of the epoch before."""
        raise NotImplementedError(f"{type(self).__name__}: next_lr is not written")

    def first_lr(self, group: Options, base_lr: float) -> float:
        """The rate for epoch 0 when the schedule takes over from another one."""
        return base_lr

    def step(self) -> None:
        """Go on to the next epoch. Call it after `optimizer.step()`, or a rate goes unused."""
        if self._step_count == 1 and not self.optimizer.has_stepped:
            warnings.warn(
                f"{type(self).__name__}: step() was called before optimizer.step(), so the first "
                "learning rate of the schedule was never used",
                UserWarning,
                stacklevel=2,
            )
        self._step_count += 1
        self.last_epoch += 1
        self._set(self.next_lr)

    def _take_over(self) -> None:
        """Begin at epoch 0 in the middle of a run."""
        self.last_epoch = 0
        self._set(self.first_lr)

    def _set(self, rule: Callable[[Options, float], float]) -> None:
        groups = self.optimizer.param_groups
        if len(groups) != len(self.base_lrs):
            raise ValueError(
                f"{type(self).__name__}: made for {len(self.base_lrs)} parameter groups, the "
                f"optimizer has {len(groups)} now; add groups before making the schedule"
            )
        for group, base_lr in zip(groups, self.base_lrs):
            group["lr"] = rule(group, base_lr)
        self._last_lr = [group["lr"] for group in groups]

    def _is_starting(self) -> bool:
        """True while `_start` runs; when going on after epoch k, the loaded rate then stays."""
        return self._step_count == 1

    def get_last_lr(self) -> list[float]:
        """The rate that this schedule set last, one per parameter group."""
        return list(self._last_lr)

    def state_dict(self) -> dict[str, Any]:
        """A snapshot of everything but the optimizer; can be written as JSON.

        The rates themselves are in the optimizer's state: save both.
        """
        return deepcopy({k: v for k, v in self.__dict__.items() if k != "optimizer"})

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict()` of such a schedule gave.

        Load the optimizer's state too, in any order, but after this schedule was made: making it
        sets the rates of epoch 0.
        """
        self.__dict__.update(deepcopy(state_dict))


class StepLR(LRScheduler):
    """Multiply the rate by `gamma` every `step_size` epochs. ValueError if step_size is 0."""

    def __init__(
        self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        if step_size == 0:
            raise ValueError("StepLR: step_size must not be 0")
        self.step_size = step_size
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def next_lr(self, group: Options, base_lr: float) -> float:
        """The rate before, times gamma where an epoch is a multiple of step_size."""
        lr: float = group["lr"]
        decays = self.last_epoch > 0 and self.last_epoch % self.step_size == 0
        return lr * self.gamma if decays else lr


class MultiStepLR(LRScheduler):
    """Multiply the rate by `gamma` at each epoch in `milestones`, twice if it is in it twice."""

    def __init__(
        self,
        optimizer: Optimizer,
        milestones: Iterable[int],
        gamma: float = 0.1,
        last_epoch: int = -1,
    ) -> None:
        self.milestones = sorted(milestones)
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def next_lr(self, group: Options, base_lr: float) -> float:
        """The rate before, times gamma for each milestone at this epoch."""
        lr: float = group["lr"]
        return lr * self.gamma ** self.milestones.count(self.last_epoch)

    def first_lr(self, group: Options, base_lr: float) -> float:
        """base_lr, times gamma for each milestone at 0 or before."""
        return base_lr * self.gamma ** bisect_right(self.milestones, 0)


class LinearLR(LRScheduler):
    """A ramp from `start_factor` to `end_factor` times the rate, over `total_iters` epochs.

        lr(t) = base_lr · (start + (end − start) · min(t, total_iters) / total_iters)

    Raises ValueError unless 0 < start_factor <= 1 and 0 <= end_factor <= 1.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not 0 < start_factor <= 1:
            raise ValueError(f"LinearLR: start_factor must be in (0, 1], got {start_factor}")
        if not 0 <= end_factor <= 1:
            raise ValueError(f"LinearLR: end_factor must be in [0, 1], got {end_factor}")
        self.start_factor = start_factor
        self.end_factor = end_factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def next_lr(self, group: Options, base_lr: float) -> float:
        """The rate before, times lr(t) / lr(t − 1)."""
        lr: float = group["lr"]
        if self.last_epoch == 0:
            return lr * self.start_factor
        if self._is_starting() or self.last_epoch > self.total_iters:
            return lr
        # lr(t) / lr(t - 1) of the ramp above
        rise = self.end_factor - self.start_factor
        before = self.total_iters * self.start_factor + (self.last_epoch - 1) * rise
        return lr * (1 + rise / before)

    def first_lr(self, group: Options, base_lr: float) -> float:
        """base_lr · start_factor."""
        return base_lr * self.start_factor


class CosineAnnealingLR(LRScheduler):
    """Half a cosine wave from the rate down to `eta_min`, over `T_max` epochs; then up again.

        lr(t) = eta_min + (base_lr − eta_min) · (1 + cos(π · t / T_max)) / 2

    Raises ValueError if T_max is 0.
    Source: Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR
    2017, equation 5 (without the restarts).
    """

    def __init__(
        self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        if T_max == 0:
            raise ValueError("CosineAnnealingLR: T_max must not be 0")
        self.T_max = T_max
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def next_lr(self, group: Options, base_lr: float) -> float:
        """The rate before, moved along the cosine from epoch t − 1 to t."""
        lr: float = group["lr"]
        if self._is_starting():
            return lr
        if (self.last_epoch - 1 - self.T_max) % (2 * self.T_max) == 0:
            # The epoch before was at the bottom, where the ratio below would divide by zero.
            rise = (base_lr - self.eta_min) * (1 - math.cos(math.pi / self.T_max)) / 2
            return lr + rise
        now = 1 + math.cos(math.pi * self.last_epoch / self.T_max)
        before = 1 + math.cos(math.pi * (self.last_epoch - 1) / self.T_max)
        return now / before * (lr - self.eta_min) + self.eta_min


class OneCycleLR(LRScheduler):
    """Up to `max_lr` and down again, far below the start; stepped after every batch.

        lr:         max_lr / div_factor  ->  max_lr  ->  max_lr / div_factor / final_div_factor
        momentum:   max_momentum         ->  base_momentum  ->  max_momentum

    The first phase takes the share `pct_start` of the steps. With `three_phase` the way down takes
    as many steps as the way up and ends at the first rate; a third phase goes from there to the
    last one. `anneal_strategy` is the shape of the phases, "cos" or "linear". `cycle_momentum`
    moves the momentum (for Adam: β1) the other way.

    Give `total_steps`, or `epochs` and `steps_per_epoch`. max_lr, base_momentum and max_momentum
    may be lists with one value per parameter group.

    Raises ValueError for values out of range, for lists of another length, when the optimizer has
    no momentum to cycle, and when stepped more than total_steps times.
    Source: Smith and Topin, "Super-convergence: very fast training of neural networks using large
    learning rates", 2018; arXiv:1708.07120.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | Sequence[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | Sequence[float] = 0.85,
        max_momentum: float | Sequence[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        groups = _checked(optimizer, "OneCycleLR").param_groups
        if total_steps is not None:
            self.total_steps = _positive_integer("total_steps", total_steps)
        elif epochs is not None and steps_per_epoch is not None:
            self.total_steps = _positive_integer("epochs", epochs) * _positive_integer(
                "steps_per_epoch", steps_per_epoch
            )
        else:
            raise ValueError(
                "OneCycleLR: expected total_steps, or both epochs and steps_per_epoch, "
                f"got epochs={epochs}, steps_per_epoch={steps_per_epoch}"
            )
        if not isinstance(pct_start, float) or not 0 <= pct_start <= 1:
            raise ValueError(f"OneCycleLR: pct_start must be a float in [0, 1], got {pct_start}")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                f"OneCycleLR: anneal_strategy must be 'cos' or 'linear', got {anneal_strategy!r}"
            )
        if cycle_momentum and not {"momentum", "betas"} & optimizer.defaults.keys():
            raise ValueError(
                f"OneCycleLR: cycle_momentum needs an optimizer with momentum or betas, "
                f"{type(optimizer).__name__} has neither"
            )
        self.pct_start = pct_start
        self.anneal_strategy = anneal_strategy
        self.cycle_momentum = cycle_momentum
        self.three_phase = three_phase

        max_lrs = _per_group("max_lr", max_lr, groups)
        max_momentums = _per_group("max_momentum", max_momentum, groups)
        base_momentums = _per_group("base_momentum", base_momentum, groups)
        if last_epoch == -1:
            for group, peak, high, low in zip(groups, max_lrs, max_momentums, base_momentums):
                group["initial_lr"] = peak / div_factor
                group["max_lr"] = peak
                group["min_lr"] = group["initial_lr"] / final_div_factor
                if cycle_momentum:
                    group["max_momentum"] = high
                    group["base_momentum"] = low
        super().__init__(optimizer, last_epoch)

    def _phases(self) -> list[tuple[float, tuple[str, str], tuple[str, str]]]:
        """Per phase: its last step, the ends of the rate and the ends of the momentum."""
        peak = self.pct_start * self.total_steps - 1
        up = (peak, ("initial_lr", "max_lr"), ("max_momentum", "base_momentum"))
        end = self.total_steps - 1
        if not self.three_phase:
            return [up, (end, ("max_lr", "min_lr"), ("base_momentum", "max_momentum"))]
        back = 2 * self.pct_start * self.total_steps - 2
        return [
            up,
            (back, ("max_lr", "initial_lr"), ("base_momentum", "max_momentum")),
            (end, ("initial_lr", "min_lr"), ("max_momentum", "max_momentum")),
        ]

    def next_lr(self, group: Options, base_lr: float) -> float:
        """The rate of this step; sets the momentum of `group` too."""
        if self.last_epoch > self.total_steps:
            raise ValueError(
                f"OneCycleLR: made for {self.total_steps} steps, this is step {self.last_epoch}"
            )
        phases = self._phases()
        last = len(phases) - 1
        index = next((i for i, phase in enumerate(phases) if self.last_epoch <= phase[0]), last)
        end, rates, momentums = phases[index]
        start = 0.0 if index == 0 else phases[index - 1][0]
        # A phase of no length is over at once.
        progress = 1.0 if end == start else (self.last_epoch - start) / (end - start)

        if self.cycle_momentum:
            momentum = self._anneal(group[momentums[0]], group[momentums[1]], progress)
            if "betas" in group:
                group["betas"] = (momentum, *group["betas"][1:])
            else:
                group["momentum"] = momentum
        return self._anneal(group[rates[0]], group[rates[1]], progress)

    def first_lr(self, group: Options, base_lr: float) -> float:
        """As `next_lr`: nothing depends on the rate before."""
        return self.next_lr(group, base_lr)

    def _anneal(self, start: float, end: float, progress: float) -> float:
        if self.anneal_strategy == "linear":
            return start + (end - start) * progress
        return end + (start - end) / 2 * (1 + math.cos(math.pi * progress))


class SequentialLR(LRScheduler):
    """One schedule after the other: `schedulers[i + 1]` takes over at epoch `milestones[i]`.

    A schedule that takes over begins with its own epoch 0 and the optimizer's initial rate.

    Raises ValueError unless all schedules belong to `optimizer`, none is a SequentialLR, and there
    is one milestone less than there are schedules; TypeError for what is not a schedule.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: list[LRScheduler],
        milestones: list[int],
        last_epoch: int = -1,
    ) -> None:
        if not schedulers:
            raise ValueError("SequentialLR: schedulers is empty, expected at least one")
        for index, scheduler in enumerate(schedulers):
            if not isinstance(scheduler, LRScheduler):
                raise TypeError(
                    f"SequentialLR: schedulers[{index}] must be a schedule, got "
                    f"{type(scheduler).__name__}"
                )
            if isinstance(scheduler, SequentialLR):
                raise ValueError(
                    f"SequentialLR: schedulers[{index}] is a SequentialLR; nesting is not "
                    "supported, list its schedules here"
                )
            if scheduler.optimizer is not optimizer:
                raise ValueError(
                    f"SequentialLR: schedulers[{index}] belongs to another optimizer than the "
                    "one given"
                )
        if len(milestones) != len(schedulers) - 1:
            raise ValueError(
                f"SequentialLR: {len(schedulers)} schedulers need {len(schedulers) - 1} "
                f"milestones, got {len(milestones)}"
            )
        self.optimizer = optimizer
        self._schedulers = list(schedulers)
        self._milestones = list(milestones)
        self.last_epoch = last_epoch + 1

        # Making the schedules has set the first rate of every one of them: take that back.
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"]
        for scheduler in schedulers:
            scheduler.last_epoch -= 1
        first = self._current()
        first._start()
        self._last_lr = first.get_last_lr()

    def _current(self) -> LRScheduler:
        return self._schedulers[bisect_right(self._milestones, self.last_epoch)]

    def step(self) -> None:
        """Go on to the next epoch, with the schedule whose turn it is."""
        self.last_epoch += 1
        scheduler = self._current()
        if self.last_epoch in self._milestones:
            scheduler._take_over()
        else:
            scheduler.step()
        self._last_lr = scheduler.get_last_lr()

    def state_dict(self) -> dict[str, Any]:
        """As of every schedule; the states of the parts are under "_schedulers"."""
        state = {k: v for k, v in self.__dict__.items() if k not in ("optimizer", "_schedulers")}
        return {**deepcopy(state), "_schedulers": [s.state_dict() for s in self._schedulers]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As of every schedule. ValueError if the number of parts differs."""
        parts = state_dict["_schedulers"]
        if len(parts) != len(self._schedulers):
            raise ValueError(
                f"SequentialLR.load_state_dict: expected {len(self._schedulers)} schedules, "
                f"got {len(parts)}"
            )
        super().load_state_dict({k: v for k, v in state_dict.items() if k != "_schedulers"})
        for scheduler, part in zip(self._schedulers, parts):
            scheduler.load_state_dict(part)


def _checked(optimizer: Any, name: str) -> Optimizer:
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{name}: expected an Optimizer, got {type(optimizer).__name__}")
    return optimizer


def _positive_integer(name: str, value: Any) -> int:
    if not isinstance(value, int) or value <= 0:
        raise ValueError(f"OneCycleLR: {name} must be an integer > 0, got {value!r}")
    return value


def _per_group(name: str, value: Any, groups: list[Options]) -> list[float]:
    values = list(value) if isinstance(value, (list, tuple)) else [value] * len(groups)
    if len(values) != len(groups):
        raise ValueError(
            f"OneCycleLR: {name} has {len(values)} values for {len(groups)} parameter groups"
        )
    return values
