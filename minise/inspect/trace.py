"""What happened in a graph, forward and backward, recorded from the engine while it runs.

`trace(loss)` walks the graph with `backward_steps` and keeps, for every tensor, what it is and what
values it has, and for every edge, which gradient went along it. The unit of the backward pass is
the edge: an op receives the gradient of its output and contributes to the gradient of one input.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ..autograd import Array, Tensor
from ..nn import Parameter
from .cut import changes_without, walk
from .names import Names
from .rules import (
    Source,
    axes_reduced,
    axes_repeated,
    equation_of,
    operands_of,
    parameters_of,
    rule_of,
    sources_of,
)
from .values import Values

# A graph is tried without each of its edges if (edges · nodes, edges · elements) stay below:
SMALL = (3_000, 2_000_000)


@dataclass(frozen=True)
class Node:
    """One tensor of the graph, and the op that made it.

    name        what its owner calls it ("u", "fc1.weight"), else its op, numbered ("linear₂")
    kind        "op", "parameter", "input" (another leaf that needs a gradient), "constant"
    named       whether the caller or a module named it
    op          the name of the op that made it; this and what follows is empty for a leaf
    formula     "y = a · b"
    derivative  "da = dy · b,  db = dy · a"
    path        the module that called the op: "layer1.0.se.fc1"
    forward     the source lines that computed it, and
    backward    those that compute the gradients of its inputs
    inputs      the nodes it was made from, by index, and
    parameters  what the op's forward calls them: "a", "weight"
    """

    index: int
    name: str
    kind: str
    named: bool
    value: Values
    op: str = ""
    formula: str = ""
    derivative: str = ""
    path: str = ""
    forward: Source | None = None
    backward: Source | None = None
    inputs: tuple[int, ...] = ()
    parameters: tuple[str, ...] = ()


@dataclass(frozen=True)
class Contribution:
    """What one op adds to the gradient of one of its inputs: one step of the backward pass.

    op        the node whose op it is, by index
    argument  the number of the input
    source    the node that is this input: its gradient grows
    role      what this way back is called: "scale path", "through multiply"
    rule      the part of the op's derivative that was used: "da = dy · b", and
    equation  the same with the names of this graph: "∂L/∂u += ∂L/∂y · s"
    operands  what it needs besides dy: (symbol, node), here ("b", the node of b)
    gradient  came in: d(loss)/d(output of the op), complete
    value     the contribution
    total     the gradient of `source` so far, this contribution included
    arrival   1 for the first contribution to `source`, 2 for the second, ...
    repeated  axes of the output along which the op repeated this input: backward sums over them
    reduced   axes of this input that the op reduced: backward repeats along them
    cut       the leaf gradients that are different if this contribution is left out, by node; None
              where that was not tried because the graph is large
    """

    op: int
    argument: int
    source: int
    role: str
    rule: str
    equation: str
    operands: tuple[tuple[str, int], ...]
    gradient: Values
    value: Values
    total: Values
    arrival: int
    repeated: tuple[int, ...]
    reduced: tuple[int, ...]
    cut: dict[int, Values] | None


@dataclass(frozen=True)
class Trace:
    """A recorded graph: `print` it, show it in a notebook, or `save` it as a page to step through.

    nodes          every tensor, oldest first: the order of the forward pass; the last is the loss
    contributions  every step of the backward pass, in order
    modules        the class of each module, by its path, as far as modules are known
    title, lead    heading of the page, and some plain text to begin with
    """

    nodes: list[Node]
    contributions: list[Contribution]
    modules: dict[str, str] = field(default_factory=dict)
    title: str = ""
    lead: str = ""

    def node(self, name: str) -> Node:
        """The node of that name; KeyError lists the names there are."""
        for node in self.nodes:
            if node.name == name:
                return node
        known = ", ".join(node.name for node in self.nodes)
        raise KeyError(f"trace: no tensor is called {name!r}, only: {known}")

    def ledger(self, name: str) -> list[Contribution]:
        """Everything that was added up to the gradient of the tensor of that name, in order."""
        index = self.node(name).index
        return [step for step in self.contributions if step.source == index]

    @cached_property
    def arrivals(self) -> Counter[int]:
        """How many contributions each node gets in all."""
        return Counter(step.source for step in self.contributions)

    def save(self, path: str | Path) -> None:
        """Write one HTML page that needs nothing else: no network, no Python, no other file.

        Raises ValueError for a graph that is too big to draw.
        """
        from .stepper import save

        save(self, Path(path))

    def __str__(self) -> str:
        from .text import text

        return text(self)

    __repr__ = __str__

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]:
        from .stepper import fragment

        return {"text/html": fragment(self), "text/plain": str(self)}


def trace(
    loss: Tensor, gradient: Tensor | None = None, *, names: Mapping[str, Any] | None = None
) -> Trace:
    """Run backward from `loss` through the engine and record everything on the way.

    The graph is kept and no `.grad` changes: `loss.backward()` still works afterwards. What is
    recorded are copies.

    loss      the tensor to start from
    gradient  d(final loss)/d(loss), same shape; may be left out if `loss` has one element
    names     name -> tensor or module, to call the tensors by; left out, the variables of the
              caller, so a tensor `u` is called "u" and the weights of a module "fc1.weight"

    Raises TypeError if `loss` is no tensor, RuntimeError if it has no graph, or as `backward_steps`.
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
        names = {**caller.f_globals, **caller.f_locals}
    return _record(loss, gradient, names)


def _record(loss: Tensor, gradient: Tensor | None, names: Mapping[str, Any]) -> Trace:
    tensors = {id(loss): loss}
    events = []  # (output, argument, gradient that came in, contribution, total so far)
    totals: dict[int, Array] = {}
    for step in walk(loss, gradient):
        inputs = step.op.graph_inputs()
        tensors.update((id(tensor), tensor) for tensor in inputs)
        totals.pop(id(step.output), None)
        came_in = Values.of(step.gradient)
        for argument, (source, part) in enumerate(zip(inputs, step.contributions)):
            if part is None:
                continue
            total = step.accumulated[argument]
            if any(source is later for later in inputs[argument + 1 :]):  # not yet all of the step
                total = totals[id(source)] + part if id(source) in totals else part
            totals[id(source)] = total
            events.append((step.output, argument, came_in, Values.of(part), Values.of(total)))

    ordered = sorted(tensors.values(), key=lambda tensor: tensor.order)
    index = {id(tensor): i for i, tensor in enumerate(ordered)}
    called = Names(names, ordered)
    nodes = [
        _node(i, tensor, name, called.knows(tensor), index)
        for i, (tensor, name) in enumerate(zip(ordered, called.of(ordered)))
    ]
    size = sum(tensor.size for tensor in ordered)
    small = len(events) * len(nodes) <= SMALL[0] and len(events) * size <= SMALL[1]
    arrivals = Counter(
        id(output.op.graph_inputs()[argument]) for output, argument, *_ in events
    )
    seen: Counter[int] = Counter()
    contributions = []
    for output, argument, came_in, part, total in events:
        op, node = output.op, nodes[index[id(output)]]
        inputs = op.graph_inputs()
        source = inputs[argument]
        seen[id(source)] += 1
        rule = rule_of(op, argument, node.parameters)
        operands = tuple(
            (symbol, node.index if place is None else node.inputs[place])
            for symbol, place in operands_of(rule, node.parameters)
        )
        changes = changes_without(loss, gradient, op, argument) if small else None
        contributions.append(
            Contribution(
                op=node.index,
                argument=argument,
                source=index[id(source)],
                role=called.role(op, argument, node.parameters, arrivals[id(source)]),
                rule=rule,
                equation=equation_of(
                    rule,
                    {symbol: nodes[k].name for symbol, k in operands},
                    node.name,
                    nodes[index[id(source)]].name,
                ),
                operands=operands,
                gradient=came_in,
                value=part,
                total=total,
                arrival=seen[id(source)],
                repeated=axes_repeated(op, source.shape, output.shape),
                reduced=axes_reduced(op, source.shape, output.shape),
                cut=None
                if changes is None
                else {index[key]: Values.of(array) for key, array in changes.items()},
            )
        )
    modules = {path: type(module).__name__ for path, module in called.modules.items()}
    return Trace(nodes, contributions, modules)


def _node(index: int, tensor: Tensor, name: str, named: bool, by_id: dict[int, int]) -> Node:
    value = Values.of(tensor.data)
    op = tensor.op
    if op is None:
        kind = "parameter" if isinstance(tensor, Parameter) else "input"
        return Node(index, name, kind if tensor.requires_grad else "constant", named, value)
    inputs = op.graph_inputs()
    forward, backward = sources_of(op, tensor.data)
    return Node(
        index=index,
        name=name,
        kind="op",
        named=named,
        value=value,
        op=op.name,
        formula=op.formula,
        derivative=op.derivative,
        path=op.path,
        forward=forward,
        backward=backward,
        inputs=tuple(by_id[id(source)] for source in inputs),
        parameters=parameters_of(op, len(inputs)),
    )
