"""What is known about a graph after one walk forward and backward: data, and nothing to show it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from .rules import Source
from .values import Values


@dataclass(frozen=True)
class Node:
    """One tensor of the graph, and the op that made it.

    name        what its owner calls it ("u", "fc1.weight"), else its op, numbered ("linear₂")
    kind        "op", "parameter", "input" (another leaf that needs a gradient), "constant"
    named       whether its owner named it
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
    forward: Sequence[Source] = ()
    backward: Sequence[Source] = ()
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
    operands  what the rule needs besides dy: (symbol, node), here ("b", the node of b)
    gradient  came in: d(loss)/d(output of the op), complete
    value     the contribution
    total     the gradient of `source` so far, this contribution included
    arrival   1 for the first contribution to `source`, 2 for the second, ...
    repeated  axes of the output along which the op repeated this input: backward sums over them
    reduced   axes of this input that the op reduced: backward repeats along them
    cut       the gradients of leaves that are different if this contribution is left out, by node;
              None where that was not tried because the graph is large
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
class RecordedGraph:
    """Every tensor of a graph and every step of the walk back. `record.py` fills it in.

    nodes          every tensor, oldest first: the order of the forward pass; the last is the loss
    contributions  every step of the backward pass, in order
    modules        the class of each module, by its path, as far as modules are known
    title, lead    heading of the page, and some plain text to begin with
    """

    nodes: list[Node]
    contributions: list[Contribution]
    modules: dict[str, str]
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
