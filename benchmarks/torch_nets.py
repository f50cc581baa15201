"""The PyTorch twin of a minise network, with the same weights; the twins live beside the tests."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests" / "helpers"))
import torch_twins


def twin(net: Any) -> Any:
    """A torch.nn.Module that computes what `net`, made by `models.create`, computes."""
    name = net.config["name"]
    base = name.removeprefix("se_")
    options: dict[str, Any] = {"placement": "standard" if name != base else None}
    depth = int(base.removeprefix("resnet"))

    def make() -> Any:
        if net.image_size == 32:
            return torch_twins.cifar("basic", (depth - 2) // 6, **options)
        return torch_twins.imagenet("bottleneck", **options)

    return torch_twins.load(make, {key: value.numpy() for key, value in net.state_dict().items()})
