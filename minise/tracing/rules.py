"""What can be said about an op from the outside: its rule, its source lines, its axes."""

from __future__ import annotations

import inspect
import re
import textwrap
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy

from ..autograd import Function
from ..ops.reduce import Reduction
from ..ops.shape import Expand

Shape = tuple[int, ...]

# What `formula` and `derivative` call an argument of `forward` that has a longer name there.
SYMBOLS = {"weight": "Wγ", "bias": "bβ", "scale": "s", "shortcut": "x"}
PARTS = r",\s+(?=d\w+ = )"  # what stands between two equations of a derivative
WORD = r"\w+\b(?!\u0302)"  # x̂ is another word than x
LONGEST = 60  # source lines: of longer functions the beginning


@dataclass(frozen=True)
class Source:
    """Lines of a file: `place` is "minise/ops/math.py:47"."""

    place: str
    lines: str


def parameters_of(op: Function, count: int) -> tuple[str, ...]:
    """What `forward` calls its `count` inputs: ("x", "weight", "bias"); numbered for *arrays."""
    for forward in definitions(op, "forward"):
        parameters = [*inspect.signature(forward).parameters.values()][1:]
        if all(parameter.kind is not parameter.VAR_POSITIONAL for parameter in parameters):
            return tuple(parameter.name for parameter in parameters)[:count]
    return tuple(f"x_{i}" for i in range(1, count + 1))


def definitions(op: Function, method: str) -> list[Any]:
    """The method of the op's class, and those of its base classes that it calls with super()."""
    found: list[Any] = []
    for cls in type(op).__mro__:
        if method in vars(cls):
            found.append(vars(cls)[method])
            if "super" not in found[-1].__code__.co_names:
                break
    return found


def rule_of(op: Function, argument: int, parameters: tuple[str, ...]) -> str:
    """The part of `derivative` that is about one input; all of it where it has no such part.

    What that part refers to comes along: "du = dv · s,  dv = dy where y > 0, else 0".
    """
    parts = dict(part.split(" = ", 1) for part in re.split(PARTS, op.derivative) if " = " in part)
    name = parameters[argument]
    wanted = [f"d{symbol}" for symbol in (name, *SYMBOLS.get(name, "")) if f"d{symbol}" in parts]
    if not wanted and len(parts) == len(parameters) > 1:
        wanted = [[*parts][argument]]
    if not wanted:
        return op.derivative
    chosen = wanted[:1]
    chosen += [left for left in parts if left in re.findall(WORD, parts[chosen[0]])]
    return ",  ".join(f"{left} = {parts[left]}" for left in chosen)


def operands_of(rule: str, parameters: tuple[str, ...]) -> list[tuple[str, int | None]]:
    """What a rule mentions on its right side: (symbol, number of the input, None for the output).

    "da = dy · b" of a product: [("b", 1)]
    """
    tokens = re.findall(WORD, rule.partition(" = ")[2])
    found: list[tuple[str, int | None]] = []
    for place, name in enumerate(parameters):
        symbols = (name, *SYMBOLS.get(name, ""))
        found += [(symbol, place) for symbol in symbols if symbol in tokens]
    return found + [("y", None)] * ("y" in tokens)


def equation_of(rule: str, names: dict[str, str], output: str, source: str) -> str:
    """The rule with the names of this graph: "∂L/∂u += ∂L/∂y · s"."""
    left, equals, right = rule.partition(" = ")
    if not equals or not re.fullmatch(r"d\w+", left):
        return rule
    right = right.replace("dyᵀ", "(dy)ᵀ")
    right = re.sub(WORD, lambda word: names.get(word[0], word[0]), right)
    return f"∂L/∂{source} += " + re.sub(r"\bdy\b", f"∂L/∂{output}", right)


def sources_of(op: Function) -> tuple[list[Source], list[Source]]:
    """The lines that ran, forward and backward: of the class, or of the backend's fast kernel."""
    if op.kernel is not None:
        forward, backward = [op.kernel.forward], [op.kernel.backward]
    else:
        forward, backward = definitions(op, "forward"), definitions(op, "backward")
    return [*filter(None, map(source, forward))], [*filter(None, map(source, backward))]


@lru_cache(maxsize=1024)
def source(function: Any) -> Source | None:
    """None for a function without a file, such as one that was typed at a prompt."""
    try:
        lines, start = inspect.getsourcelines(function)
        path = Path(inspect.getsourcefile(function) or "")
    except (OSError, TypeError):
        return None
    package = Path(__file__).parents[1]
    inside = package in path.parents
    place = path.relative_to(package.parent).as_posix() if inside else path.name
    if len(lines) > LONGEST:
        lines = [*lines[:LONGEST], "..."]
    return Source(f"{place}:{start}", textwrap.dedent("".join(lines)).rstrip())


def axes_repeated(op: Function, shape: Shape, output: Shape) -> tuple[int, ...]:
    """Axes of the output along which an input of `shape` was repeated; backward sums over them.

    By NumPy's rule where the output has the broadcast shape of all inputs; a vector of C numbers
    that is used beside others to make (N, C, ...) is repeated along all axes but C.
    """
    inputs = op.graph_inputs()
    try:
        together = numpy.broadcast_shapes(*(tensor.shape for tensor in inputs))
    except ValueError:
        together = None
    if together == output or isinstance(op, Expand):
        aligned = (1,) * (len(output) - len(shape)) + shape
        return tuple(i for i, (n, m) in enumerate(zip(aligned, output)) if n == 1 != m)
    if len(inputs) > 1 and shape == output[1:2]:
        return tuple(i for i in range(len(output)) if i != 1)
    return ()


def axes_reduced(op: Function, shape: Shape, output: Shape) -> tuple[int, ...]:
    """Axes of an input of `shape` that the op made one number of; backward repeats along them."""
    if isinstance(op, Reduction):
        axes = range(len(shape)) if op.axis is None else op.axis
        return (axes,) if isinstance(axes, int) else tuple(axes)
    if len(shape) == len(output) and all(n == m or m == 1 for n, m in zip(shape, output)):
        return tuple(i for i, (n, m) in enumerate(zip(shape, output)) if n != m)
    return ()
