"""What to draw of a graph: everything, or modules folded into one box each.

A view says which modules are open. Everything that happens in a call of a module that is not open
becomes one box. `views` lists all that a reader can step into: everything folded, each module
opened (with those around it), everything open.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .graph import Node, RecordedGraph
from .layout import Layout, layout

TOO_MANY = 250  # boxes in one picture
EVERYTHING = "*"  # the view in which all modules are open
SMALL = 45  # nodes; a graph of so many is first shown open, a larger one folded

HEIGHT, LETTER, MARGIN = 40.0, 7.2, 22.0  # of a box, and of its text


@dataclass(frozen=True)
class Box:
    """One node, or all nodes of a folded call: then `module` is its path."""

    nodes: tuple[int, ...]
    module: str
    title: str
    subtitle: str

    @property
    def size(self) -> tuple[float, float]:
        """(width, height) in pixels, wide enough for its two lines of text."""
        letters = max(len(self.title), len(self.subtitle) * 0.9)
        return max(letters * LETTER + MARGIN, 56.0), HEIGHT


@dataclass(frozen=True)
class View:
    """name: the path of the innermost open module, "" if none is, "*" if all are.

    boxes  in an order in which every edge leads from an earlier one to a later one
    edges  (op, argument) of what connects two boxes; `layout.routes` has one route for each
    """

    name: str
    boxes: list[Box]
    edges: list[tuple[int, int]]
    layout: Layout


def views(graph: RecordedGraph) -> list[View]:
    """All views that can be drawn, the first one to show first.

    Raises ValueError if not even the folded graph can be.
    """
    paths = {node.path for node in graph.nodes if node.op}
    modules = sorted({prefix for path in paths for prefix in prefixes(path)}, key=natural)
    folded = boxes_of(graph, {""})
    if len(folded) > TOO_MANY:
        raise ValueError(
            f"trace: the graph has {len(folded)} boxes with all its modules folded, and at most "
            f"{TOO_MANY} can be drawn; compute parts of it inside nn.Modules that you call (each "
            "call folds into one box), or trace a smaller part"
        )
    found = [make_view(graph, "", folded)]
    found += [make_view(graph, m, boxes_of(graph, {"", *prefixes(m)})) for m in modules]
    everything = boxes_of(graph, {"", *modules})
    if modules and len(everything) <= TOO_MANY:
        whole = make_view(graph, EVERYTHING, everything)
        found.insert(0 if len(graph.nodes) <= SMALL else len(found), whole)
    return [view for view in found if len(view.boxes) <= TOO_MANY]


def prefixes(path: str) -> Iterator[str]:
    """ "a.b.c" -> "a", "a.b", "a.b.c" """
    parts = path.split(".") if path else []
    return (".".join(parts[: i + 1]) for i in range(len(parts)))


def natural(path: str) -> list[tuple[int, str]]:
    """Sorts "layer1.10" behind "layer1.9"."""
    return [(int(part) if part.isdigit() else -1, part) for part in path.split(".")]


def boxes_of(graph: RecordedGraph, opened: set[str]) -> list[Box]:
    """The boxes of a view, by the order of their oldest op."""
    folded_into = {
        node.index: next((prefix for prefix in prefixes(node.path) if prefix not in opened), "")
        for node in graph.nodes
        if node.op
    }
    # One call is one run of consecutive ops: a module that is called twice makes two boxes, and
    # no path leaves a box and comes back to it.
    call_of: dict[int, int] = {}
    calls: list[str] = []
    for index, module in folded_into.items():
        if not (module and calls and calls[-1] == module):
            calls.append(module)
        call_of[index] = len(calls) - 1
    # A parameter, or a constant that nobody named, belongs to the call that alone uses it.
    used_in: dict[int, set[int]] = {}
    for node in graph.nodes:
        for source in node.inputs:
            used_in.setdefault(source, set()).add(call_of[node.index])
    members: list[list[int]] = [[] for _ in calls]
    leaves: list[Node] = []
    for node in graph.nodes:
        if node.op:
            members[call_of[node.index]].append(node.index)
            continue
        inside = node.kind == "parameter" or (node.kind == "constant" and not node.named)
        users = used_in.get(node.index, set())
        if inside and len(users) == 1 and calls[min(users)]:
            members[min(users)].append(node.index)
        else:
            leaves.append(node)
    boxes = [node_box(node) for node in leaves]
    for module, nodes in zip(calls, members):
        if module and len(nodes) > 1:
            boxes.append(module_box(graph, module, nodes))
        else:
            boxes.append(node_box(graph.nodes[nodes[0]]))
    return boxes


def node_box(node: Node) -> Box:
    """The box of a single tensor."""
    if node.kind == "constant" and node.value.shape == ():
        return Box((node.index,), "", node.name, f"= {node.value.shown.item():.6g}")
    op = f"{node.op} " if node.named and node.op else ""
    return Box((node.index,), "", node.name, f"{op}{node.value.shape}")


def module_box(graph: RecordedGraph, module: str, nodes: list[int]) -> Box:
    """The box of a module that is folded, with all its nodes inside."""
    kind = graph.modules.get(module, "module")
    ops = sum(bool(graph.nodes[index].op) for index in nodes)
    return Box(tuple(nodes), module, f"▸ {module}", f"{kind}, {ops} op{'s' * (ops != 1)}")


def make_view(graph: RecordedGraph, name: str, boxes: list[Box]) -> View:
    """The boxes laid out, with the edges between different ones."""
    box_of = {index: i for i, box in enumerate(boxes) for index in box.nodes}
    edges, pairs = [], []
    for node in graph.nodes:
        for argument, source in enumerate(node.inputs):
            pair = box_of[source], box_of[node.index]
            if pair[0] != pair[1]:
                edges.append((node.index, argument))
                pairs.append(pair)
    return View(name, boxes, edges, layout([box.size for box in boxes], pairs))
