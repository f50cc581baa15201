"""The reference for cut edges: an SE block written out, op by op."""

import numpy

import minise
from minise import functional as F


def by_hand(tensors, dy, cut=None):
    """An SE block written out, where op number `cut[0]` sends nothing to its input `cut[1]`."""
    ops = iter(range(8))

    def inputs(*given):
        op = next(ops)
        return [t.detach() if (op, i) == cut else t for i, t in enumerate(given)]

    u, w1, b1, w2, b2 = (minise.tensor(t.numpy(), requires_grad=True) for t in tensors)
    z = F.adaptive_avg_pool2d(*inputs(u), 1)
    z = inputs(z)[0].flatten(1)
    h = F.linear(*inputs(z, w1, b1))
    h = F.relu(*inputs(h))
    a = F.linear(*inputs(h, w2, b2))
    s = F.sigmoid(*inputs(a))
    s = inputs(s)[0].reshape(*s.shape, 1, 1)
    a, b = inputs(u, s)
    y = a * b
    if y.op is not None:
        y.backward(dy)
    return [numpy.zeros(t.shape) if t.grad is None else t.grad.numpy() for t in (u, w1, b1, w2, b2)]
