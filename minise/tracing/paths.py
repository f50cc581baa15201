"""Which module every op of a graph belongs to.

Ops know nothing of modules. But a module leaves a mark on the op that made its output (see
minise/nn/module.py), tensors are numbered as they are made, and what was made between the start of
a call and its output was made in that call.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..autograd import Variable


def module_paths(tensors: Iterable[Variable]) -> dict[int, str]:
    """By the `order` of each of these tensors, the path of the innermost call that made it.

    tensors  all of a graph, or at least those that calls returned; "" is outside of any call
    """
    made = [tensor for tensor in tensors if tensor.op is not None]
    calls = [
        (call.start, tensor.order, call.path)
        for tensor in made
        for call in vars(tensor.op).get("calls", ())
    ]
    paths = {tensor.order: "" for tensor in made}
    for start, end, path in sorted(calls):  # an inner call starts later, and has the last word
        for order in paths:
            if start < order <= end:
                paths[order] = path
    return paths
