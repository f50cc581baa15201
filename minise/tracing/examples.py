"""What `minise step` shows: an SE block alone, or a whole network with its loss."""

from __future__ import annotations

from dataclasses import replace

from .. import backend, models
from .. import functional as F
from ..backend import random
from ..creation import randn, tensor
from ..nn import SEBlock
from ..tensor import Tensor
from .record import trace
from .trace import Trace

SE_TITLE = "Backprop through an SE block: why does u receive two gradients?"
SE_LEAD = (
    "y = s · u, and the input u is used twice: the last op scales it (scale path), and before that "
    "the gate s was computed from it (squeeze path). Each use sends back a gradient of its own. "
    "The scale path gives every pixel its own value, dy · s. The squeeze path went through a mean, "
    "so it gives all pixels of a channel the same value, dz / (H·W). u.grad is their sum."
)


class Recalled(SEBlock):
    """An SE block that keeps its inner tensors, so that they can be called by the paper's names."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__(channels, reduction)
        seen: dict[str, Tensor] = {}
        self.fc1.register_forward_hook(lambda _, z, a: seen.update({"z": z[0], "a₁": a}))
        self.fc2.register_forward_hook(lambda _, h, a: seen.update({"h": h[0], "a₂": a}))
        self.seen = seen

    def squeeze(self, u: Tensor) -> Tensor:
        """As in `SEBlock`; keeps the mean."""
        z = super().squeeze(u)
        if z.op is not None:
            self.seen["mean"] = z.op.graph_inputs()[0]
        return z

    def excite(self, z: Tensor) -> Tensor:
        """As in `SEBlock`; keeps the gate s."""
        self.seen["s"] = super().excite(z)
        return self.seen["s"]


def trace_example(name: str, size: int | None = None, seed: int | None = None) -> Trace:
    """An SE block for "se", else a network of `minise.models` with its cross-entropy.

    size  H = W of the images; each has its own default
    seed  of the random weights and images

    Raises ValueError for an unknown name, as `models.create`, and for a size below 1.
    """
    if size is not None and size < 1:
        raise ValueError(f"size must be at least 1, got {size}")
    return se_block(size, seed) if name == "se" else network(name, size, seed)


def se_block(size: int | None = None, seed: int | None = None) -> Trace:
    """One SE block on u (1, 4, H, W), with a random gradient dy, through the plain kernels."""
    random.manual_seed(4 if seed is None else seed)
    block = Recalled(channels=4, reduction=2)
    for layer in (block.fc1, block.fc2):  # stronger gates than at first, so that both paths show
        layer.weight.data *= 3
    height, width = (3, 2) if size is None else (size, size)
    u = Tensor(randn(1, 4, height, width).data, requires_grad=True)
    with backend.plain():  # so that the lines that ran are the ones to read
        y = block(u)
        dy = randn(*y.shape)
        recorded = trace(y, dy, names={"u": u, "y": y, "se": block, **block.seen})
    return replace(recorded, title=SE_TITLE, lead=SE_LEAD)


def network(name: str, size: int | None = None, seed: int | None = None) -> Trace:
    """The loss of a network with ten classes on two random images."""
    random.manual_seed(0 if seed is None else seed)
    net = models.create(name, num_classes=10)
    side = net.image_size if size is None else size
    images, labels = randn(2, 3, side, side), tensor([3, 1])
    loss = F.cross_entropy(net(images), labels)
    names = {"images": images, "labels": labels, "loss": loss, "net": net}
    return replace(trace(loss, names=names), title=f"Backprop through {name}")
