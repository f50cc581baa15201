"""What to call the tensors of a graph: tensors do not know their names, but their owners do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from ..autograd import Function
from ..nn import Module, SEBlock
from ..tensor import Tensor

# The two ways from an SE block's input to its output, by the op that each begins with.
SE_PATHS = {
    "multiply": "scale path",
    "axpy": "scale path",
    "axpy_relu": "scale path",
    "adaptive_avg_pool2d": "squeeze path",
    "adaptive_max_pool2d": "squeeze path",
}


class Names:
    """Looks the tensors of a graph up among the variables of the caller and in their modules.

    variables  name -> value; what is neither a tensor nor a module is passed over, and so are
               names that begin with "_"
    tensors    those of the graph

    A parameter is called by its path in the outermost module that holds it ("fc1.weight"). A tensor
    that nobody names is called after the op that made it, numbered where there are several.
    """

    def __init__(self, variables: Mapping[str, Any], tensors: Iterable[Tensor]) -> None:
        public = {name: v for name, v in variables.items() if not name.startswith("_")}
        in_graph = {id(tensor) for tensor in tensors}
        roots = [
            value
            for value in public.values()
            if isinstance(value, Module) and any(id(p) in in_graph for p in value.parameters())
        ]
        roots.sort(key=lambda root: -sum(1 for _ in root.modules()))  # outermost first
        self.modules: dict[str, Module] = {}
        self.by_id: dict[int, str] = {}
        for root in roots:
            for path, module in root.named_modules():
                self.modules.setdefault(path, module)
            for path, parameter in root.named_parameters():
                self.by_id.setdefault(id(parameter), path)
        for name, value in public.items():
            if isinstance(value, Tensor):
                self.by_id.setdefault(id(value), name)

    def knows(self, tensor: Tensor) -> bool:
        """Whether the owner named this tensor."""
        return id(tensor) in self.by_id

    def of(self, tensors: Iterable[Tensor]) -> list[str]:
        """One name for each, no two alike."""
        plain = [self.by_id.get(id(t)) or (t.op.name if t.op else "constant") for t in tensors]
        times, seen = Counter(plain), Counter[str]()
        names = []
        for name in plain:
            seen[name] += 1
            names.append(name if times[name] == 1 else name + subscript(seen[name]))
        return names

    def role(
        self, op: Function, path: str, argument: int, parameters: tuple[str, ...], ways: int
    ) -> str:
        """What the way back through `op` to one of its inputs is called, one way of so many."""
        parameter = parameters[argument]
        if ways > 1 and isinstance(self.modules.get(path), SEBlock) and op.name in SE_PATHS:
            return "shortcut" if parameter == "shortcut" else SE_PATHS[op.name]
        inputs = op.graph_inputs()
        twice = sum(inputs[argument] is other for other in inputs) > 1
        return (
            f"through {op.name}"
            + (f", as {parameter}" if twice else "")
            + (f" in {path}" if path else "")
        )


def subscript(number: int) -> str:
    """12 as `₁₂`."""
    return str(number).translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))
