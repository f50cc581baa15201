"""Where each millisecond of a minise training step goes, by kind of operation.

The engine calls every op through two methods, `Function.__call__` (forward) and
`Function.contributions` (backward); for the duration of a measurement both are put under a clock.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from steps import SGD, inputs

import minise
from minise import functional as F
from minise import models, optim
from minise.autograd import Function


class Clock:
    """Seconds and bytes by (phase, kind of op); bytes if each array is read or written once."""

    def __init__(self) -> None:
        self.seconds: dict[tuple[str, str], float] = defaultdict(float)
        self.bytes = 0

    @contextmanager
    def installed(self) -> Iterator[None]:
        call, contributions = Function.__call__, Function.contributions

        def timed_call(op: Function, *inputs: Any) -> Any:
            start = time.perf_counter()
            output = call(op, *inputs)
            self.seconds["forward", kind(op, inputs)] += time.perf_counter() - start
            self.count(output, *inputs)
            return output

        def timed_contributions(op: Function, grad: Any, *rest: Any) -> Any:
            tensors = op.graph_inputs()
            start = time.perf_counter()
            result = contributions(op, grad, *rest)
            self.seconds["backward", kind(op, tensors)] += time.perf_counter() - start
            self.count(grad, *tensors, *(array for array in result if array is not None))
            return result

        Function.__call__ = timed_call  # type: ignore[method-assign]
        Function.contributions = timed_contributions  # type: ignore[method-assign]
        try:
            yield
        finally:
            Function.__call__ = call  # type: ignore[method-assign]
            Function.contributions = contributions  # type: ignore[method-assign]

    def count(self, *arrays: Any) -> None:
        for array in arrays:
            self.bytes += array.size * array.dtype.itemsize


def kind(op: Function, inputs: Any) -> str:
    """The op's name, convolutions with their shape: "conv2d 3×3/2 16→32"."""
    if op.name != "conv2d":
        return op.name
    O, _, R, S = inputs[1].shape
    stride = getattr(op, "stride", (1, 1))[0]
    return f"conv2d {R}×{S}{f'/{stride}' * (stride > 1)} {inputs[0].shape[1]}→{O}"


def measure(name: str, batch: int, rounds: int) -> dict[str, Any]:
    """Median milliseconds per training step, by (phase, kind), and megabytes per step."""
    net = models.create(name)
    images, labels = inputs(net, batch)
    sgd = optim.SGD(net.parameters(), **SGD)
    clocks = []
    for _ in range(rounds + 1):
        clock = Clock()
        with clock.installed():
            moments = [time.perf_counter()]
            loss = F.cross_entropy(net(minise.tensor(images)), minise.tensor(labels))
            moments.append(time.perf_counter())
            sgd.zero_grad()
            loss.backward()
            moments.append(time.perf_counter())
            sgd.step()
            moments.append(time.perf_counter())
        lengths = [b - a for a, b in itertools.pairwise(moments)]
        for phase, length in zip(("forward", "backward"), lengths):
            ops = sum(s for (when, _), s in clock.seconds.items() if when == phase)
            clock.seconds[phase, "everything between the ops"] = length - ops
        clock.seconds["update", "SGD"] = lengths[2]
        clocks.append(clock)
    del clocks[0]  # the warm-up
    rows = [
        {
            "phase": phase,
            "kind": what,
            "ms": 1e3 * statistics.median(clock.seconds[phase, what] for clock in clocks),
        }
        for phase, what in clocks[0].seconds
    ]
    return {
        "network": name, "batch": batch, "megabytes": clocks[0].bytes / 1e6,
        "multiply_adds": batch * models.summary(net, images.shape[1:]).macs, "rows": rows,
    }  # fmt: skip
