"""What `minise step` shows: an SE block alone, or a whole network with its loss."""

from __future__ import annotations

from .. import backend, models
from .. import functional as F
from ..autograd import Tensor
from ..backend import random
from ..creation import randn, tensor
from ..nn import Module, SEBlock
from .trace import Trace, trace

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
        self.fc2.register_forward_pre_hook(self.keep_hidden)

    def squeeze(self, u: Tensor) -> Tensor:
        self.z = super().squeeze(u)
        return self.z

    def excite(self, z: Tensor) -> Tensor:
        self.s = super().excite(z)
        return self.s

    def keep_hidden(self, module: Module, inputs: tuple[Tensor, ...]) -> None:
        (self.h,) = inputs


def se_block(channels: int = 4, seed: int = 4) -> Trace:
    """One SE block on u (1, C, 3, 2) with a random gradient dy, through the plain kernels."""
    random.manual_seed(seed)
    block = Recalled(channels, reduction=2)
    for layer in (block.fc1, block.fc2):  # stronger gates than at first, so that both paths show
        layer.weight.data *= 3
    u = Tensor(randn(1, channels, 3, 2).data, requires_grad=True)
    with backend.plain():  # so that the lines that ran are the ones to read
        y = block(u)
        dy = randn(*y.shape)
        names = {"u": u, "z": block.z, "h": block.h, "s": block.s, "y": y, "se": block}
        return trace(y, dy, names=names)


def network(name: str, size: int | None = None, seed: int = 0) -> Trace:
    """The cross-entropy of a network of `minise.models` on two random images.

    Raises ValueError for an unknown name, as `models.create`.
    """
    random.manual_seed(seed)
    net = models.create(name, num_classes=10)
    side = net.image_size if size is None else size
    images, labels = randn(2, 3, side, side), tensor([3, 1])
    loss = F.cross_entropy(net(images), labels)
    return trace(loss, names={"images": images, "labels": labels, "loss": loss, "net": net})
