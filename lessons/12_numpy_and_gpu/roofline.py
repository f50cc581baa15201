"""Lesson 12: what an op costs at least, from its arithmetic and the bytes that it moves.

The roofline model (Williams, Waterman, Patterson 2009): a chip that does at most `peak` operations
a second and reads or writes at most `bandwidth` bytes a second needs at least the longer of
operations / peak and bytes / bandwidth.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy

from minise import Tensor, backward_steps
from minise.autograd import Function
from minise.nn import Module, Parameter
from minise.tracing.paths import module_paths

Array = numpy.ndarray


class Chip(NamedTuple):
    peak: float  # operations a second
    bandwidth: float  # bytes a second


# Float32 without tensor cores, as the maker states it: NVIDIA's data sheets of the H100 and H200
# (SXM): 67 teraFLOPS each, 3.35 and 4.8 TB/s. Upper bounds; nothing here was measured.
CHIPS = {"H100": Chip(67e12, 3.35e12), "H200": Chip(67e12, 4.8e12)}

# Per number that comes out. Products with weights and pooling depend on more, see `flops`.
PER_OUTPUT = {"batch_norm": 2, "batch_norm_relu": 3, "add_relu": 2, "axpy_relu": 3}


class Op(NamedTuple):
    """An op of the forward pass. Activations are counted for one image, weights once per batch."""

    path: str  # "layer1.0.se.fc1"
    name: str  # "linear"
    flops: int  # multiplications and additions, for one image
    activations: int  # numbers read or written, for one image
    weights: int  # numbers read, however many images there are


def operations(model: Module, input_size: tuple[int, int, int]) -> list[Op]:
    """The ops that the engine runs for an image (C, H, W), in evaluation mode, in their order.

    Views (reshape) are left out: they move nothing. The model's mode is set to evaluation.
    """
    output = model.eval()(Tensor(numpy.zeros((1, *input_size), dtype=numpy.float32)))
    steps = [*backward_steps(output, Tensor(numpy.ones_like(output.data)), retain_graph=True)]
    paths = module_paths(step.output for step in steps)
    ops = []
    for op, result, *_ in steps:
        if op.name == "reshape":
            continue
        inputs = op.graph_inputs()
        weights = [tensor for tensor in inputs if isinstance(tensor, Parameter)]
        read = sum(t.size for t in inputs if not isinstance(t, Parameter))
        ops.append(
            Op(
                paths[result.order],
                op.name,
                flops(op, result),
                read + result.size,
                sum(w.size for w in weights),
            )
        )
    return ops[::-1]


def bytes_moved(batch: int, activations: Array, weights: Array) -> Array:
    """Of each op for a batch, in float32: 4 bytes a number."""
    return 4 * batch * activations + 4 * weights


def attainable(intensity: Array, peak: float, bandwidth: float) -> Array:
    """Operations a second, at most, for ops with `intensity` operations per byte."""
    return numpy.where(intensity * bandwidth < peak, intensity * bandwidth, peak)


def flops(op: Function, result: Tensor) -> int:
    """Of the forward pass; an op without an entry above counts as one per number."""
    inputs = op.graph_inputs()
    if op.name in ("conv2d", "linear"):  # a multiplication and an addition for each weight
        return 2 * result.size * math.prod(inputs[1].shape[1:])
    if op.name == "adaptive_avg_pool2d":  # an addition for each number that goes in
        return inputs[0].size
    return PER_OUTPUT.get(op.name, 1) * result.size
