"""The backward pass of an SE block as text, one line per op: what `minise demo` prints."""

from __future__ import annotations

from typing import Any

import numpy

from ..autograd import Tensor, backward_steps
from ..backend import random
from ..nn import SEBlock


def walk(channels: int = 4, size: int = 3, seed: int = 0) -> str:
    """Runs an SE block on u (1, C, size, size), steps backward from a random dL/dy, and tells.

    The sum at the end is the point of it: u has two consumers, so it receives two gradients.
    """
    random.manual_seed(seed)
    stream = random.generator()
    block = SEBlock(channels, reduction=2)
    shape = (1, channels, size, size)
    u = Tensor(stream.standard_normal(shape).astype("float32"), requires_grad=True)
    y = block(u)
    gates = block.excite(block.squeeze(u.detach())).numpy()
    upstream = Tensor(stream.standard_normal(shape).astype("float32"))

    lines = [
        f"u {shape} → SE block with {channels} channels → y {y.shape}",
        "gates: " + "  ".join(f"{gate:.3f}" for gate in gates.ravel()),
        "",
        f"{'op':<20} {'module':<7} {'its rule, backward':<50} gradient of u",
    ]
    paths: list[Any] = []
    for step in backward_steps(y, upstream):
        arrived = ""
        for source, contribution in zip(step.op.inputs or (), step.contributions):
            if source is u and contribution is not None:
                paths.append(contribution)
                arrived = f"+= contribution {len(paths)}"
        row = f"{step.op.name:<20} {step.op.path or '-':<7} {step.op.derivative:<50} {arrived}"
        lines.append(row.rstrip())
    direct, gate = paths
    total = direct + gate
    one_value = gate.reshape(channels, -1)
    lines += [
        "",
        f"scale path (dy · s):      {abs(direct).mean():.4f} on average",
        f"gate path  (dz / (H·W)):  {abs(gate).mean():.4f} on average; the same at every pixel of "
        f"a channel: {bool((one_value == one_value[:, :1]).all())}",
        f"u.grad is their sum: {bool((total == numpy.asarray(u.grad)).all())}",
    ]
    return "\n".join(lines)
