"""What would the gradients be without one edge? The engine runs again, with that edge cut."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..autograd import Array, Function, Step, backward_steps
from ..tensor import Tensor


def walk(loss: Tensor, gradient: Tensor | None) -> Iterator[Step]:
    """`backward_steps`, broken off after its last step: the graph is kept, no `.grad` changes."""
    waiting = {id(loss)}
    for step in backward_steps(loss, gradient, retain_graph=True):
        yield step
        waiting.discard(id(step.output))
        for tensor, needed in zip(step.op.graph_inputs(), step.op.needs):
            if needed and tensor.op is not None:
                waiting.add(id(tensor))
        if not waiting:
            return


def leaf_gradients(loss: Tensor, gradient: Tensor | None) -> dict[int, Array]:
    """What a backward would add to the leaves' `.grad`, by `id` of the leaf."""
    gradients: dict[int, Array] = {}
    for step in walk(loss, gradient):
        inputs, op = step.op.graph_inputs(), step.op
        for tensor, part, needed in zip(inputs, step.contributions, op.needs):
            if tensor.op is None and needed:
                part = op.xp.zeros_like(tensor.data) if part is None else part
                before = gradients.get(id(tensor))
                gradients[id(tensor)] = part if before is None else before + part
    return gradients


def changes_without(
    loss: Tensor, gradient: Tensor | None, op: Function, argument: int
) -> dict[int, Array]:
    """Those of `leaf_gradients` that are others if `op` sends nothing to its input `argument`."""
    right = leaf_gradients(loss, gradient)
    with silenced(op, argument):
        wrong = leaf_gradients(loss, gradient)
    return {
        key: array
        for key, array in wrong.items()
        if not ((array == right[key]) | ((array != array) & (right[key] != right[key]))).all()
    }


@contextmanager
def silenced(op: Function, argument: int) -> Iterator[None]:
    """Inside this block the op contributes nothing to its input number `argument`."""
    whole = op.contributions

    def contributions(grad: Array) -> tuple[Any, ...]:
        parts = whole(grad)
        return (*parts[:argument], None, *parts[argument + 1 :])

    vars(op)["contributions"] = contributions  # in front of the method, on this op alone
    try:
        yield
    finally:
        del vars(op)["contributions"]
