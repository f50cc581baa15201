"""Timing several contestants against each other on a machine that is not quiet.

They take turns, so whatever slows the machine down slows all of them, and ratios are taken turn by
turn. Absolute times are the machine's and the hour's; ratios are what counts.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

SHORTEST_TURN = 0.05  # seconds: quick contestants are called several times in a turn
LONGEST = 1.5         # seconds: slower contestants sit out all rounds but the first three
PAUSE = 0.1           # seconds: lets the other library's threads stop spinning
WARM_UP = 0.1         # seconds at least: calls at the beginning of a turn that do not count


@dataclass(frozen=True)
class Timing:
    """Seconds per call, one value for each round that the contestant took part in."""

    seconds: list[float]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def quartiles(self) -> tuple[float, float]:
        if len(self.seconds) == 1:
            return self.seconds[0], self.seconds[0]
        low, _, high = statistics.quantiles(self.seconds, n=4, method="inclusive")
        return low, high


def contest(
    contestants: dict[str, Callable[[], object]], rounds: int, *, warm_up: bool = True
) -> dict[str, Timing]:
    """Time every contestant in turn, `rounds` times, after two calls each to warm up.

    With `warm_up` a turn begins with calls that do not count, for everybody but those who sit out.
    Caches hold another's data, and for 50 ms after a pause Linux often puts all of minise's threads
    on one processor: a call of 11 ms takes 17.
    """
    calls = {}
    for name, run in contestants.items():
        run()
        calls[name] = max(1, round(SHORTEST_TURN / once(run, 1)))
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    order = list(contestants)
    for turn in range(rounds):
        for name in order:
            slow = turn > 0 and statistics.median(seconds[name]) > LONGEST
            if turn < 3 or not slow:
                time.sleep(PAUSE)
                if warm_up and not slow:
                    start = time.perf_counter()
                    while time.perf_counter() < start + WARM_UP:
                        contestants[name]()
                seconds[name].append(once(contestants[name], calls[name]))
        order = order[1:] + order[:1]  # nobody follows the same neighbour every time
    return {name: Timing(values) for name, values in seconds.items()}


def once(run: Callable[[], object], calls: int) -> float:
    """Seconds per call."""
    start = time.perf_counter()
    for _ in range(calls):
        run()
    return (time.perf_counter() - start) / calls


def ratio(one: Timing, other: Timing) -> float:
    """Median over the rounds of one / other, over those in which both took part."""
    return statistics.median(a / b for a, b in zip(one.seconds, other.seconds))
