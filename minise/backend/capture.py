"""Recording what is asked of a device, so that it can be asked again without Python.

A training step of a small network is several hundred short kernels, and Python needs longer to ask
for one than a GPU needs to run it. A recorder notes them all while a step is written down once, in
a graph that the GPU then runs as a whole, as often as it is told to.

A replay repeats exactly what was recorded: the same kernels on the same addresses with the same
host numbers. So whatever differs from step to step has to lie on the device, at a fixed address,
and be overwritten there before the replay: the batch, the learning rate, counters. And nothing may
be recorded that needs an answer from the device (`if loss > 3`), because no kernel runs meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy


class CaptureError(RuntimeError):
    """A computation cannot be recorded; the message says why."""


class Recorder(Protocol):
    """A recorded computation and what it needs: a stream and memory of its own.

    Everything that touches its arrays belongs inside `with recorder.stream():`.
    """

    def stream(self) -> AbstractContextManager[Any]:
        """Inside, the device works in order: after what came before, before what comes after."""

    def warm_up(self, work: Callable[[], Any]) -> Any:
        """Just run `work`, and return what it returns, with the memory that `record` will use.

        Compiles the kernels and makes the arrays that stay from step to step.
        """

    def record(self, work: Callable[[], Any]) -> Any:
        """Call `work` without running its kernels; returns what it returns: arrays without values.

        `replay` fills them, always the same ones: copy what has to outlive the next replay.
        Raises CaptureError where something cannot be recorded; then nothing has happened.
        """

    def replay(self) -> None:
        """Ask the device for everything that was recorded last. Does not wait for it."""

    def send(self, source: numpy.ndarray, target: Any) -> None:
        """Overwrite the array `target` of the device with `source`. Does not wait for the device.

        `source` may be changed at once: it has been copied into page-locked memory.
        """
