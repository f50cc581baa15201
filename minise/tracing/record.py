"""Records what the engine does while it walks back through a graph.

`trace(loss)` runs `backward_steps` and keeps, for every tensor, what it is and what values it has,
and for every edge, which gradient went along it. The unit of the backward pass is the edge: an op
receives the gradient of its output and contributes to the gradient of one input.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

from .. import backend
from ..autograd import Array, Function
from ..nn import Parameter
from ..tensor import Tensor
from .cut import changes_without, walk
from .graph import Contribution, Node
from .names import Names
from .paths import module_paths
from .rules import (
    axes_reduced,
    axes_repeated,
    equation_of,
    operands_of,
    parameters_of,
    rule_of,
    sources_of,
)
from .trace import Trace
from .values import Values

# A graph is tried without each of its edges if there are not more than so many nodes · edges and
# elements · edges.
FEW_NODES, FEW_ELEMENTS = 3_000, 2_000_000


def trace(
    loss: Tensor, gradient: Tensor | None = None, *, names: Mapping[str, Any] | None = None
) -> Trace:
    """Run backward from `loss` through the engine and record everything on the way.

    The graph is kept and no `.grad` changes: `loss.backward()` works afterwards as if nothing had
    happened. What is recorded are copies: whole arrays where they are small, else a corner and
    minimum, maximum and norm.

    loss      the tensor to start from
    gradient  d(final loss)/d(loss), same shape; may be left out if `loss` has one element
    names     name -> tensor or module, to call the tensors by; left out, the variables of the
              caller, so a tensor `u` is called "u" and a weight of a module "fc1.weight"

    Raises TypeError if `loss` is no tensor, RuntimeError if it has no graph, or as
    `backward_steps`.
    """
    if not isinstance(loss, Tensor):
        raise TypeError(f"trace: loss must be a Tensor, got {type(loss).__name__}")
    if loss.op is None:
        raise RuntimeError(
            "trace: this tensor has no graph; it has to be computed, outside of no_grad(), from a "
            "tensor that requires a gradient"
        )
    if names is None:
        caller = sys._getframe(1)
        names = {**caller.f_locals, **caller.f_globals, **caller.f_locals}  # locals come first
    tensors, arrivals = follow(loss, gradient)
    paths = module_paths(tensors)
    called = Names(names, tensors)
    index = {id(tensor): i for i, tensor in enumerate(tensors)}
    nodes = [
        make_node(i, tensor, name, called.knows(tensor), index, paths.get(tensor.order, ""))
        for i, (tensor, name) in enumerate(zip(tensors, called.of(tensors)))
    ]
    size = sum(tensor.size for tensor in tensors)
    small = len(arrivals) * len(nodes) <= FEW_NODES and len(arrivals) * size <= FEW_ELEMENTS
    expected = Counter(id(arrival.source) for arrival in arrivals)
    seen: Counter[int] = Counter()
    contributions = []
    for arrival in arrivals:
        op, argument, source = arrival.op, arrival.argument, id(arrival.source)
        seen[source] += 1
        node = nodes[index[id(arrival.output)]]
        role = called.role(op, node.path, argument, node.parameters, expected[source])
        cut = None
        if small:
            wrong = changes_without(loss, gradient, op, argument)
            cut = {index[leaf]: Values.of(array) for leaf, array in wrong.items()}
        contributions.append(
            make_contribution(arrival, node, nodes[index[source]], nodes, role, seen[source], cut)
        )
    modules = {path: type(module).__name__ for path, module in called.modules.items()}
    return Trace(nodes, contributions, modules)


class Arrival(NamedTuple):
    """One contribution, as the walk meets it."""

    op: Function
    output: Tensor
    argument: int
    source: Tensor
    gradient: Values
    value: Values
    total: Values


def follow(loss: Tensor, gradient: Tensor | None) -> tuple[list[Tensor], list[Arrival]]:
    """The tensors of the graph, oldest first, and the contributions, in the engine's order."""
    tensors = {id(loss): loss}
    arrivals = []
    # Of the tensors whose turn has not come yet: the gradient so far, and what is kept of it.
    totals: dict[int, tuple[Array, Values]] = {}
    for step in walk(loss, gradient):
        inputs = step.op.graph_inputs()
        tensors.update((id(tensor), tensor) for tensor in inputs)
        _, came_in = totals.pop(id(step.output), (None, None))
        came_in = came_in or Values.of(step.gradient)
        for argument, (source, part) in enumerate(zip(inputs, step.contributions)):
            if part is None:
                continue
            value = Values.of(part)
            before, _ = totals.get(id(source), (None, None))
            total = part if before is None else backend.of(source.data).add(before, part)
            kept = value if before is None else Values.of(total)
            totals[id(source)] = total, kept
            arrivals.append(Arrival(step.op, step.output, argument, source, came_in, value, kept))
    return sorted(tensors.values(), key=lambda tensor: tensor.order), arrivals


def make_node(
    index: int, tensor: Tensor, name: str, named: bool, by_id: dict[int, int], path: str
) -> Node:
    """What is kept of a tensor; by_id gives the index of each by its id, path its module."""
    value, op = Values.of(tensor.data), tensor.op
    if op is None:
        kind = "parameter" if isinstance(tensor, Parameter) else "input"
        return Node(index, name, kind if tensor.requires_grad else "constant", named, value)
    inputs = op.graph_inputs()
    forward, backward = sources_of(op)
    return Node(
        index=index,
        name=name,
        kind="op",
        named=named,
        value=value,
        op=op.name,
        formula=op.formula,
        derivative=op.derivative,
        path=path,
        forward=forward,
        backward=backward,
        inputs=tuple(by_id[id(source)] for source in inputs),
        parameters=parameters_of(op, len(inputs)),
    )


def make_contribution(
    arrival: Arrival,
    node: Node,
    source: Node,
    nodes: list[Node],
    role: str,
    number: int,
    cut: dict[int, Values] | None,
) -> Contribution:
    """node is the op's output, source its input, nodes are all; number counts the arrivals."""
    op = arrival.op
    rule = rule_of(op, arrival.argument, node.parameters)
    operands = tuple(
        (symbol, node.index if place is None else node.inputs[place])
        for symbol, place in operands_of(rule, node.parameters)
    )
    symbols = {symbol: nodes[k].name for symbol, k in operands}
    return Contribution(
        op=node.index,
        argument=arrival.argument,
        source=source.index,
        role=role,
        rule=rule,
        equation=equation_of(rule, symbols, node.name, source.name),
        operands=operands,
        gradient=arrival.gradient,
        value=arrival.value,
        total=arrival.total,
        arrival=number,
        repeated=axes_repeated(op, source.value.shape, node.value.shape),
        reduced=axes_reduced(op, source.value.shape, node.value.shape),
        cut=cut,
    )
