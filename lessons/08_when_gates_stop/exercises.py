"""Lesson 08: the three factors of a gate's gradient, and what is left where one of them is zero.

In the letters of lesson 07, the weights of the second layer receive

    dW2[c, j] = Σ_n ds[n, c] · σ′(v[n, c]) · h[n, j]

so a gate stops learning where nobody asks it to change (ds), where the sigmoid is flat (σ′) or
where the bottleneck is dead (h).

What is expected is computed by minise's own engine, block and optimiser, and for the chance of a
dead bottleneck by counting. A test holds all of it against PyTorch or a closed formula.
"""

from __future__ import annotations

from itertools import product

import numpy

from minise import Tensor
from minise import functional as F
from minise.nn import Parameter, SEBlock
from minise.optim import SGD
from minise.teach import Check, Exercise, Mistake, Point

Array = numpy.ndarray


def sigmoid(v: Array) -> Array:
    return 1 / (1 + numpy.exp(-v))


# --- what is expected -----------------------------------------------------------------------------


def slope(v: Array) -> Array:
    """σ′(v), as the engine computes it."""
    leaf = Tensor(v, requires_grad=True)
    F.sigmoid(leaf).sum().backward()
    assert leaf.grad is not None
    return leaf.grad.numpy()


def grad_W2(ds: Array, W2: Array, h: Array) -> Array:
    """The gradient of W2 (C, J) where s = σ(h @ W2.T)."""
    weight = Tensor(W2, requires_grad=True)
    F.sigmoid(F.linear(Tensor(h), weight)).backward(Tensor(ds))
    assert weight.grad is not None
    return weight.grad.numpy()


def dead_gates(b2: Array) -> Array:
    """The gates (C,) of a block whose only hidden unit is off."""
    block = SEBlock(len(b2), hidden=1).double()
    off = {"fc1.weight": -numpy.ones((1, len(b2))), "fc1.bias": numpy.zeros(1), "fc2.bias": b2}
    block.load_state_dict({**block.state_dict(), **off})
    return block.excite(Tensor(numpy.ones((1, len(b2))))).numpy().ravel()


def chance_all_off(J: Array) -> Array:
    """Which share of all on/off patterns of J units has no unit on."""
    patterns = [product((False, True), repeat=units) for units in J]
    return numpy.array([numpy.mean([not any(p) for p in every]) for every in patterns])


def decayed(W: Array, lr: float, weight_decay: float, steps: int) -> Array:
    """W after so many steps of SGD in which the loss asks for nothing."""
    weight = Parameter(W.copy())
    weight.grad = Tensor(numpy.zeros_like(W))
    optimizer = SGD([weight], lr=lr, weight_decay=weight_decay)
    for _ in range(steps):
        optimizer.step()
    return weight.numpy()


def point(N: int, C: int, J: int, lr: float, weight_decay: float, steps: int, seed: int) -> Point:
    """Random numbers of these shapes, and every answer."""
    stream = numpy.random.RandomState(seed)
    ds, v, b2 = (stream.standard_normal(shape) for shape in [(N, C), (N, C), (C,)])
    h = numpy.maximum(stream.standard_normal((N, J)), 0)
    W = stream.standard_normal((C, J))
    units = numpy.arange(1, J + 4)
    return {
        "ds": ds, "v": v, "s": sigmoid(h @ W.T), "h": h, "b2": b2, "W": W, "J": units,
        "lr": lr, "weight_decay": weight_decay, "steps": steps,
        "slope": slope(v),
        "dW2": grad_W2(ds, W, h),
        "gates": dead_gates(b2),
        "chance": chance_all_off(units),
        "W_after": decayed(W, lr, weight_decay, steps),
    }  # fmt: skip


# --- the mistakes ---------------------------------------------------------------------------------

SLOPE = [
    Mistake("That is σ(v) itself. Its slope is σ(v) · (1 - σ(v)).", sigmoid),
    Mistake(
        "v was taken for σ(v). The slope is σ(v) · (1 - σ(v)): apply σ first.",
        lambda v: v * (1 - v),
    ),
    Mistake(
        "That is the slope of tanh, 1 - tanh². For the sigmoid it is σ(v) · (1 - σ(v)).",
        lambda v: 1 - numpy.tanh(v) ** 2,
    ),
    Mistake("Half of the slope is missing: it is σ(v) · (1 - σ(v)).", lambda v: 1 - sigmoid(v)),
]

GRAD_W2 = [
    Mistake(
        "The factor σ′ is missing: what arrives at a gate passes the sigmoid before it meets W2.",
        lambda ds, s, h: ds.T @ h,
    ),
    Mistake(
        "The factor h is missing: a weight was multiplied by h, so its gradient is too.",
        lambda ds, s, h: (ds * s * (1 - s)).T @ numpy.ones_like(h),
    ),
    Mistake(
        "Half of σ′ is missing: it is s · (1 - s).",
        lambda ds, s, h: (ds * s).T @ h,
    ),
    Mistake(
        "The result is transposed: dW2 has the shape of W2, (C, J), so the gates come first.",
        lambda ds, s, h: h.T @ (ds * s * (1 - s)),
    ),
    Mistake(
        "This is the mean over the images, but their contributions add.",
        lambda ds, s, h: (ds * s * (1 - s)).T @ h / len(h),
    ),
]

GATES_WHEN_DEAD = [
    Mistake(
        "Nothing closes: a dead bottleneck makes v equal to b2, not -∞, so the gate is σ(b2).",
        numpy.zeros_like,
    ),
    Mistake(
        "That is right without a bias only. Here v is 0 + b2.",
        lambda b2: numpy.full_like(b2, 0.5),
    ),
    Mistake("That is v. The gate is σ(v).", lambda b2: b2),
    Mistake(
        "ReLU sits between the two layers. Behind the second one comes the sigmoid alone.",
        lambda b2: sigmoid(numpy.maximum(b2, 0)),
    ),
]

CHANCE_ALL_OFF = [
    Mistake(
        "That is the chance that at least one unit is on. All of them have to be off.",
        lambda J: 1 - 0.5**J,
    ),
    Mistake(
        "Chances of independent events multiply: ½ · ½ · … with one factor per unit.",
        lambda J: 0.5 / J,
    ),
    Mistake(
        "That falls like 1/(J + 1), as if the number of units that are on were equally likely to "
        "be anything. There are 2 · 2 · … patterns, and one of them has every unit off.",
        lambda J: 1 / (J + 1),
    ),
    Mistake(
        "One coin too many, or one too few: there is one factor ½ for each of the J units.",
        lambda J: 0.5 ** (J - 1),
    ),
]

DECAYED = [
    Mistake(
        "That is one step. Each step multiplies what the one before has left.",
        lambda W, lr, weight_decay, steps: W * (1 - lr * weight_decay),
    ),
    Mistake(
        "The learning rate is missing: the decay is part of the gradient, and a step is lr times "
        "the gradient.",
        lambda W, lr, weight_decay, steps: W * (1 - weight_decay) ** steps,
    ),
    Mistake(
        "The steps were added up. Each one takes its share of what is left, so the factors "
        "multiply.",
        lambda W, lr, weight_decay, steps: W * (1 - steps * lr * weight_decay),
    ),
    Mistake(
        "A constant was subtracted. The decay is in proportion to the weight: W ← W - lr · "
        "weight_decay · W.",
        lambda W, lr, weight_decay, steps: W - steps * lr * weight_decay,
    ),
    Mistake(
        "Close, but not equal: exp(-x) is the limit of many tiny steps. A step multiplies by "
        "1 - lr · weight_decay.",
        lambda W, lr, weight_decay, steps: W * numpy.exp(-steps * lr * weight_decay),
    ),
]

check = Check(
    {
        "6 images and 4 channels": point(6, 4, 2, lr=0.1, weight_decay=0.05, steps=30, seed=801),
        "5 images and 7 channels": point(5, 7, 3, lr=0.5, weight_decay=0.01, steps=40, seed=802),
    },
    [
        Exercise("slope", "v", "slope", SLOPE),
        Exercise("grad_W2", "ds s h", "dW2", GRAD_W2),
        Exercise("gates_when_dead", "b2", "gates", GATES_WHEN_DEAD),
        Exercise("chance_all_off", "J", "chance", CHANCE_ALL_OFF),
        Exercise("decayed", "W lr weight_decay steps", "W_after", DECAYED),
    ],
)
