"""Lesson 12: a GPU's queue in logical time, so that it runs the same on every machine.

A program does not wait for a GPU. It asks for an op, which costs it a little, and goes on; the GPU
does one op after the other, each as soon as it was asked for and the one before is done. Here both
count in ticks of a pretended clock. Nothing is computed and no real time is measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Job(NamedTuple):
    """One op on its way, in ticks."""

    asked: float
    start: float
    end: float


class SimulatedGPU:
    """Runs a program of ops: `step()` asks for all of them, `synchronize()` waits for the last.

    works     how long the GPU needs for each op, in ticks
    launch    what it costs the program to ask for one, in ticks
    """

    def __init__(self, works: Sequence[float], launch: float = 1.0) -> None:
        self.works, self.launch = list(works), launch
        self.now = 0.0  # the program's clock
        self.free = 0.0  # when the GPU has done all that it was asked for so far
        self.jobs: list[Job] = []

    def step(self) -> None:
        for work in self.works:
            self.now += self.launch
            start = max(self.now, self.free)
            self.free = start + work
            self.jobs.append(Job(self.now, start, self.free))

    def clock(self) -> float:
        return self.now

    def synchronize(self) -> None:
        self.now = max(self.now, self.free)
