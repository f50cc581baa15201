"""Lesson 12: a GPU's queue, a benchmark that waits for it, and the bytes and roofs of ops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy

from minise.teach import Check, Exercise, Mistake, Point
from roofline import attainable, bytes_moved
from simulated_gpu import SimulatedGPU

Array = numpy.ndarray


def timed(
    step: Callable[[], Any],
    clock: Callable[[], float],
    synchronize: Callable[[], Any],
    before: bool = True,
    after: bool = True,
) -> float:
    """How long step() takes; wrong unless it waits for the device both before and after."""
    if before:
        synchronize()
    start = clock()
    step()
    if after:
        synchronize()
    return clock() - start


def queue_point(works: list[float], launch: float) -> Point:
    """A GPU that still works on an earlier step, and one step more."""
    gpu = SimulatedGPU(works, launch)
    gpu.step()  # nobody waited for this one
    alone = SimulatedGPU(works, launch)
    alone.step()
    return {
        "asked": numpy.array([job.asked for job in alone.jobs]),
        "work": numpy.array(works),
        "done": numpy.array([job.end for job in alone.jobs]),
        "step": gpu.step,
        "clock": gpu.clock,
        "synchronize": gpu.synchronize,
        "ticks": alone.free,
    }


def roofline_point(batch: int, activations: list[int], weights: list[int], flops: Array) -> Point:
    point: dict[str, Any] = {
        "batch": batch,
        "activations": numpy.array(activations, dtype=float),
        "weights": numpy.array(weights, dtype=float),
        "peak": 60.0,
        "bandwidth": 3.0,
    }
    moved = bytes_moved(batch, point["activations"], point["weights"])
    intensity = batch * flops / moved
    speed = attainable(intensity, point["peak"], point["bandwidth"])
    return {**point, "moved": moved, "intensity": intensity, "speed": speed}


# --- the mistakes -------------------------------------------------------------------------------


def starts(asked: Array, work: Array) -> Array:
    """When each op starts."""
    gpu = SimulatedGPU(list(work), asked[0])
    gpu.step()
    return numpy.array([job.start for job in gpu.jobs])


def absolute(step, clock, synchronize):
    timed(step, clock, synchronize)
    return clock()


FINISH_TIMES = [
    Mistake(
        "The queue is missing: an op cannot start before the one in front of it is done.",
        lambda asked, work: asked + work,
    ),
    Mistake(
        "The program is missing: an op cannot start before it was asked for.",
        lambda asked, work: numpy.cumsum(work),
    ),
    Mistake(
        "Only the first op waits for the program. Any op may find the GPU idle: it starts at the "
        "later of two moments, when it was asked for and when the one before was done.",
        lambda asked, work: asked[0] + numpy.cumsum(work),
    ),
    Mistake(
        "These are the moments at which the ops start. Add the work.",
        starts,
    ),
]

MEASURE = [
    Mistake(
        "The clock is read while the GPU is still at work: this is how long it took to ask. Wait "
        "for it, synchronize(), before the clock is read for the second time.",
        lambda step, clock, synchronize: timed(step, clock, synchronize, after=False),
    ),
    Mistake(
        "Work that was asked for earlier is counted too. Wait for it, synchronize(), before the "
        "clock is read for the first time.",
        lambda step, clock, synchronize: timed(step, clock, synchronize, before=False),
    ),
    Mistake(
        "This is the time on the clock. Subtract what it showed at the start.",
        absolute,
    ),
    Mistake(
        "No step was run in between. It is a function: step().",
        lambda step, clock, synchronize: clock() - clock(),
    ),
]

BYTES_MOVED = [
    Mistake(
        "These are numbers. A float32 has 4 bytes.",
        lambda batch, activations, weights: batch * activations + weights,
    ),
    Mistake(
        "The weights are counted for every image, but all images of a batch share them: they are "
        "read once.",
        lambda batch, activations, weights: 4 * batch * (activations + weights),
    ),
    Mistake(
        "The batch is missing: activations are counted for one image.",
        lambda batch, activations, weights: 4 * (activations + weights),
    ),
    Mistake(
        "The weights are missing; they have to be read too.",
        lambda batch, activations, weights: 4 * batch * activations,
    ),
    Mistake(
        "The 4 bytes are missing for the weights: brackets.",
        lambda batch, activations, weights: 4 * batch * activations + weights,
    ),
]

ATTAINABLE = [
    Mistake(
        "The higher of the two roofs. Both limit, so the lower one counts: np.minimum.",
        lambda intensity, peak, bandwidth: numpy.maximum(peak, bandwidth * intensity),
    ),
    Mistake(
        "This is the slanted roof alone. No op is faster than the peak.",
        lambda intensity, peak, bandwidth: bandwidth * intensity,
    ),
    Mistake(
        "This is the flat roof alone. With few operations per byte the memory is the limit.",
        lambda intensity, peak, bandwidth: numpy.full_like(intensity, peak),
    ),
    Mistake(
        "Upside down: bytes a second times operations per byte are operations a second.",
        lambda intensity, peak, bandwidth: numpy.minimum(peak, bandwidth / intensity),
    ),
]

check = Check(
    {
        "large ops": queue_point([0.5, 8.0, 0.25, 3.0, 9.0, 4.0], launch=2.0),
        "small ops": queue_point([0.5, 0.25, 4.0, 0.5], launch=3.0),
        "a batch of 8": roofline_point(
            8, [32_768, 16_400, 49_152], [2_304, 0, 16], numpy.array([4_718_592.0, 16_384.0, 60.0])
        ),
        "a batch of 1": roofline_point(
            1, [8_192, 4_160], [36_864, 128], numpy.array([4_718_592.0, 8_192.0])
        ),
    },
    [
        Exercise("finish_times", "asked work", "done", FINISH_TIMES),
        Exercise("measure", "step clock synchronize", "ticks", MEASURE),
        Exercise("bytes_moved", "batch activations weights", "moved", BYTES_MOVED),
        Exercise("attainable", "intensity peak bandwidth", "speed", ATTAINABLE),
    ],
)
