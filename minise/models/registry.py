"""Networks by name."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

from ..nn import Module
from .inception import BNInception
from .mobilenet import MobileNet
from .options import Choices, Options
from .resnet import CIFAR_NETS, IMAGENET_NETS
from .vgg import VGG16

Builder = Callable[[Options], Any]

_RESIDUAL: dict[str, Builder] = {**CIFAR_NETS, **IMAGENET_NETS}
_OTHER: dict[str, Builder] = {
    "bn_inception": BNInception,
    "vgg16_bn": VGG16,
    "mobilenet": MobileNet,
}
_BUILDERS = {**_RESIDUAL, **_OTHER}


def names() -> list[str]:
    """Every network that `create` knows; `se_` before a name adds SE, senet154 always has it."""
    plain = [name for name in _BUILDERS if name != "senet154"]
    return [*plain, *(f"se_{name}" for name in plain), "senet154"]


def image_size(name: str) -> int:
    """Side in pixels of the pictures that a network is made for. ValueError as `create`."""
    return 32 if _base(name) in CIFAR_NETS else 224


def _base(name: str) -> str:
    """The name without `se_`; ValueError for one that nobody knows."""
    if name not in names():
        close = difflib.get_close_matches(str(name), names(), n=3, cutoff=0.4)
        hint = f"did you mean {', '.join(close)}?" if close else "see minise.models.names()"
        raise ValueError(f"create: unknown network {name!r}; {hint}")
    return name.removeprefix("se_")


def create(name: str, num_classes: int | None = None, *values: Any, **choices: Any) -> Module:
    """A network with fresh weights, drawn from minise's own stream (`minise.manual_seed`).

    What follows num_classes is declared, with its defaults, in `models.options.Choices`.

    name         one of `names()`
    num_classes  10 for CIFAR nets, 1000 for ImageNet nets if left out
    reduction    SE's r;  se_bias, squeeze ("avg", "max") and gate: see `nn.SEBlock`
    placement    where SE sits in a residual block: "standard", "pre", "post", "identity" or
                 "inside" (after the 3×3): see models/blocks.py
    stages       numbers of the stages (from 1) whose blocks get SE; None: all
    shortcut     "B" projects where the shape changes, "A" pads with zeros
    variant      "torch": stride in a bottleneck's 3×3, stem pool with a border; "caffe", as in the
                 paper: stride in its first 1×1, stem pool without border and with ceil_mode
    zero_init_residual  each branch starts at zero: γ = 0 in its last BatchNorm
    se_width     hidden units of SE: "paper" C // r, "timm" C / r rounded to a multiple of 8

    The net knows `config` (these arguments) and `image_size` (32 or 224, what it is made for).
    Raises ValueError for an unknown name (with the nearest ones) or a choice the net lacks.
    """
    base = _base(name)
    chosen = Choices(*values, **choices)
    if isinstance(chosen.stages, int):
        raise ValueError(f"create: stages must be a tuple of numbers, got {chosen.stages}")
    if base not in _RESIDUAL and chosen.placement != "standard":
        raise ValueError(f"create: {name} has no residual blocks, so only placement 'standard'")
    if chosen.stages is not None:
        chosen = replace(chosen, stages=tuple(chosen.stages))
    if num_classes is None:
        num_classes = 10 if base in CIFAR_NETS else 1000
    config = {"num_classes": num_classes, **chosen.choices()}
    net = _BUILDERS[base](Options(se=name != base or name == "senet154", **config))
    for stage in chosen.stages or ():
        if stage not in net.se_stages:
            raise ValueError(f"create: {name} has SE in stages {net.se_stages}, not in {stage}")
    net.config = {"name": name, **config}  # what `save_weights` notes, to build the net again
    net.image_size = image_size(name)
    return net


def _signature() -> inspect.Signature:
    """Of `create`, with each choice by name, for `help` and editors that look."""
    parameters = dict(inspect.signature(create).parameters)
    kind = parameters["num_classes"].kind
    choices = [
        inspect.Parameter(choice.name, kind, default=choice.default, annotation=choice.type)
        for choice in fields(Choices)
    ]
    named = [parameters["name"], parameters["num_classes"], *choices]
    return inspect.Signature(named, return_annotation="Module")


create.__signature__ = _signature()  # type: ignore[attr-defined]
