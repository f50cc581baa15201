"""What a network is made of: shapes, parameters and multiply-adds, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy

from ..autograd import no_grad
from ..nn import Conv2d, Identity, Linear, Module, SEBlock
from ..tensor import Tensor


@dataclass(frozen=True)
class Layer:
    """One line of the table."""

    path: str  # "layer1.0.se.fc1"
    kind: str  # "Linear"
    output: tuple[int, ...]  # without the batch axis
    params: int  # trainable numbers that this module itself holds
    macs: int  # multiply-adds for one image


@dataclass(frozen=True)
class Summary:
    """`print` it for a table; `params` and `macs` are the totals."""

    name: str
    input: tuple[int, ...]
    layers: list[Layer]
    params: int
    macs: int

    def __str__(self) -> str:
        width = max([len("layer"), *(len(layer.path) for layer in self.layers)])
        row = f"{{:<{width}}}  {{:<17}} {{:>16}} {{:>12}} {{:>15}}".format
        lines = [
            f"{self.name}, input {' × '.join(map(str, self.input))}",
            row("layer", "kind", "output", "parameters", "multiply-adds"),
        ]
        for layer in self.layers:
            shape = " × ".join(map(str, layer.output))
            params = f"{layer.params:,}" if layer.params else ""
            macs = f"{layer.macs:,}" if layer.macs else ""
            lines.append(row(layer.path, layer.kind, shape, params, macs))
        lines.append(row("total", "", "", f"{self.params:,}", f"{self.macs:,}"))
        return "\n".join(lines)


def summary(model: Module, input_size: Sequence[int]) -> Summary:
    """Output shapes, parameters and multiply-adds of every layer of `model`.

    input_size  (C, H, W) of one image, or (N, C, H, W), whose N does not matter

    Multiply-adds are counted per image for convolutions, linear layers and SE's scale (one
    multiplication per element); additions, BatchNorm, pooling and activations are not, as in the
    tables of most papers. Nothing is computed: the model sees a batch of no images, which has all
    the shapes and none of the work.
    """
    image = tuple(input_size)[-3:]
    if len(image) != 3 or any(n < 1 for n in image):
        raise ValueError(f"summary: input_size must be (C, H, W), got {tuple(input_size)}")
    layers: list[Layer] = []
    paths = {id(module): path for path, module in model.named_modules()}

    def record(module: Module, inputs: Any, output: Tensor) -> None:
        params = sum(parameter.size for parameter in module.parameters(recurse=False))
        macs = multiply_adds(module, output)
        leaf = next(module.children(), None) is None
        if params or macs or (leaf and not isinstance(module, Identity)):
            kind = type(module).__name__
            layers.append(Layer(paths[id(module)], kind, output.shape[1:], params, macs))

    handles = [module.register_forward_hook(record) for module in model.modules()]
    training = {module: module.training for module in model.modules()}
    gates = {module: module.gate for module in model.modules() if isinstance(module, SEBlock)}
    first = next(model.parameters(), None)
    try:
        model.eval()
        with no_grad():
            empty = numpy.empty((0, *image), dtype=numpy.float32 if first is None else first.dtype)
            x = Tensor(empty)
            model(x if first is None else x.to(first.backend))
    finally:
        for handle in handles:
            handle.remove()
        for module, mode in training.items():
            module.training = mode
        for block, gate in gates.items():
            block.gate = gate
    return Summary(
        name=getattr(model, "config", {}).get("name", type(model).__name__),
        input=image,
        layers=layers,
        params=sum(parameter.size for parameter in model.parameters()),
        macs=sum(layer.macs for layer in layers),
    )


def multiply_adds(module: Module, output: Tensor) -> int:
    """Those of the module itself, for one image; its output is (0, ...)."""
    per_image = int(numpy.prod(output.shape[1:]))
    if isinstance(module, (Conv2d, Linear)):  # each output element is a sum over a row of weights
        return per_image * (module.weight.size // module.weight.shape[0])
    return per_image if isinstance(module, SEBlock) else 0
