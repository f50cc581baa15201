"""Lesson 06: an SE block, forward, what it costs, and folding gates into a convolution.

In the lesson's letters (J hidden units, J = C // r):

    z = mean of x over H and W           squeeze       (N, C)
    h = ReLU(z @ W1.T + b1)                            (N, J)
    s = σ(h @ W2.T + b2)                 excite        (N, C)
    y = s[:, :, None, None] * x          scale         (N, C, H, W)

What is expected of each step is computed by minise's own engine. A test holds the engine against
PyTorch on the same numbers.
"""

from __future__ import annotations

from pathlib import Path

import numpy
from safetensors.numpy import load_file

from minise import Tensor, nn
from minise import functional as F
from minise.teach import Check, Exercise, Mistake, Point

Array = numpy.ndarray

INPUTS = ("x", "W1", "b1", "W2", "b2")

RECORDED = load_file(Path(__file__).with_name("numbers.safetensors"))


def numbers() -> list[Array]:
    """The lesson's x, W1, b1, W2 and b2: 2 images, 8 channels of 4x4, 2 hidden units."""
    return [RECORDED[name].copy() for name in INPUTS]


def pytorch() -> dict[str, Array]:
    """What PyTorch gave for these numbers: "z", "s" and "y"."""
    return {name: array.copy() for name, array in RECORDED.items() if name not in INPUTS}


def draw(N: int, C: int, J: int, H: int, W: int, seed: int) -> list[Array]:
    """Random x, W1, b1, W2 and b2, in float64."""
    stream = numpy.random.RandomState(seed)
    shapes = [(N, C, H, W), (J, C), (J,), (C, J), (C,)]
    return [stream.standard_normal(shape) for shape in shapes]


def count(C: int, r: int) -> Point:
    """The number of parameters of minise's block."""
    return {"C": C, "r": r, "count": sum(p.size for p in nn.SEBlock(C, r).parameters())}


def point(x: Array, W1: Array, b1: Array, W2: Array, b2: Array, *, inputs: int) -> Point:
    """All values of the forward pass by name, computed by minise.

    inputs    channels that enter the convolution whose weight is folded
    """
    z = Tensor(x).mean(axis=(2, 3))
    h = F.relu(F.linear(z, Tensor(W1), Tensor(b1)))
    s = F.sigmoid(F.linear(h, Tensor(W2), Tensor(b2)))
    y = s.reshape(*s.shape, 1, 1) * Tensor(x)
    J, C = W1.shape
    weight = numpy.random.RandomState(inputs).standard_normal((C, inputs, 3, 3))
    gates = s.numpy()[0]
    return {
        "x": x, "W1": W1, "b1": b1, "W2": W2, "b2": b2,
        "z": z.numpy(), "s": s.numpy(), "y": y.numpy(),
        "weight": weight, "gates": gates,
        "folded": numpy.stack([gate * kernel for gate, kernel in zip(gates, weight)]),
        **count(C, C // J),
    }  # fmt: skip


# --- the mistakes -------------------------------------------------------------------------------

SQUEEZE = [
    Mistake(
        "A sum instead of a mean. On a larger map the same picture would then get other gates.",
        lambda x: x.sum(axis=(2, 3)),
    ),
    Mistake(
        "The largest pixel instead of the mean. That works nearly as well (the paper tried it), "
        "but here it is the mean.",
        lambda x: x.max(axis=(2, 3)),
    ),
    Mistake(
        "The mean runs over the images too. Every image has gates of its own: only H and W.",
        lambda x: x.mean(axis=(0, 2, 3)),
    ),
    Mistake(
        "The numbers are right; the two averaged axes should be gone. Leave out keepdims.",
        lambda x: x.mean(axis=(2, 3), keepdims=True),
    ),
    Mistake(
        "The mean runs over the channels. Squeeze keeps the channels and averages the pixels: axes "
        "2 and 3.",
        lambda x: x.mean(axis=1),
    ),
    Mistake(
        "Two axes go into one pair of brackets: axis=(2, 3). The second argument is a data type.",
        lambda x: x.mean(2, 3),
    ),
]


def sigmoid(v: Array) -> Array:
    return 1 / (1 + numpy.exp(-v))


def relu(a: Array) -> Array:
    return numpy.maximum(a, 0)


def softmax(v: Array) -> Array:
    return numpy.exp(v) / numpy.exp(v).sum(axis=1, keepdims=True)


EXCITE = [
    Mistake(
        "ReLU is missing. Without it the two layers are no more than one matrix product.",
        lambda z, W1, b1, W2, b2: sigmoid((z @ W1.T + b1) @ W2.T + b2),
    ),
    Mistake(
        "The sigmoid is missing, so these numbers may have any size and sign.",
        lambda z, W1, b1, W2, b2: relu(z @ W1.T + b1) @ W2.T + b2,
    ),
    Mistake(
        "ReLU and sigmoid are exchanged: ReLU between the two layers, the sigmoid at the end.",
        lambda z, W1, b1, W2, b2: relu(sigmoid(z @ W1.T + b1) @ W2.T + b2),
    ),
    Mistake(
        "A softmax makes the channels compete for a sum of 1. Each gate is a sigmoid of its own; "
        "what the other one does comes later in this lesson.",
        lambda z, W1, b1, W2, b2: softmax(relu(z @ W1.T + b1) @ W2.T + b2),
    ),
    Mistake(
        "A ReLU in front of the sigmoid: no gate can fall below 0.5. One ReLU, between the layers.",
        lambda z, W1, b1, W2, b2: sigmoid(relu(relu(z @ W1.T + b1) @ W2.T + b2)),
    ),
    Mistake(
        "Both biases are missing.",
        lambda z, W1, b1, W2, b2: sigmoid(relu(z @ W1.T) @ W2.T),
    ),
    Mistake(
        "The bias b1 of the first layer is missing.",
        lambda z, W1, b1, W2, b2: sigmoid(relu(z @ W1.T) @ W2.T + b2),
    ),
    Mistake(
        "The bias b2 of the second layer is missing.",
        lambda z, W1, b1, W2, b2: sigmoid(relu(z @ W1.T + b1) @ W2.T),
    ),
    Mistake(
        "The bias b1 comes before ReLU, not after it: the layer is z @ W1.T + b1.",
        lambda z, W1, b1, W2, b2: sigmoid((relu(z @ W1.T) + b1) @ W2.T + b2),
    ),
    Mistake(
        "The minus in exp(−v) is missing: these are 1 − s, small where the gate should be large.",
        lambda z, W1, b1, W2, b2: sigmoid(-(relu(z @ W1.T + b1) @ W2.T + b2)),
    ),
    Mistake(
        "np.max takes the largest along an axis; np.maximum compares element by element.",
        lambda z, W1, b1, W2, b2: sigmoid((z @ W1.T + b1).max(axis=0) @ W2.T + b2),
    ),
    Mistake(
        "The rows of z are images, those of W1 hidden units: z @ W1.T, (N, C) @ (C, J).",
        lambda z, W1, b1, W2, b2: sigmoid(relu(z @ W1 + b1) @ W2.T + b2),
    ),
    Mistake(
        "The second layer is transposed like the first: h @ W2.T, (N, J) @ (J, C).",
        lambda z, W1, b1, W2, b2: sigmoid(relu(z @ W1.T + b1) @ W2 + b2),
    ),
]

SCALE = [
    Mistake(
        "s is (N, C) and has to line up with (N, C, H, W): write s[:, :, None, None].",
        lambda x, s: s * x,
    ),
    Mistake(
        "s is (N, C) and has to line up with (N, C, H, W): write s[:, :, None, None].",
        lambda x, s: x * s,
    ),
    Mistake("The gates are added. They multiply.", lambda x, s: x + s[:, :, None, None]),
    Mistake(
        "That is x + s · x. In a residual net there is such a sum, but it is the block's that "
        "holds SE; SE itself only scales.",
        lambda x, s: x + x * s[:, :, None, None],
    ),
    Mistake(
        "All images got the gates of image 0. Each has its own.",
        lambda x, s: x * s[0][:, None, None],
    ),
    Mistake(
        "All images got the same, averaged gates. Each has its own.",
        lambda x, s: x * s.mean(axis=0)[:, None, None],
    ),
]

PARAMETERS = [
    Mistake(
        "The biases are missing: one per hidden unit and one per channel.",
        lambda C, r: 2 * C * (C // r),
    ),
    Mistake(
        "Only one of the two layers was counted.",
        lambda C, r: C * (C // r) + C // r,
    ),
    Mistake(
        "Only one of the two layers was counted.",
        lambda C, r: C * (C // r) + C,
    ),
    Mistake(
        "The second layer has one bias per channel: it has C outputs, not C // r.",
        lambda C, r: 2 * C * (C // r) + 2 * (C // r),
    ),
    Mistake(
        "The first layer has one bias per hidden unit: it has C // r outputs, not C.",
        lambda C, r: 2 * C * (C // r) + 2 * C,
    ),
    Mistake(
        "There are no fractions of a hidden unit: C // r of them, rounded down.",
        lambda C, r: 2 * C * C / r + C / r + C,
    ),
    Mistake(
        "Round first, then multiply: C · J with J = C // r is not always C * C // r.",
        lambda C, r: 2 * C * C // r + C // r + C,
    ),
    Mistake(
        "r is not the number of hidden units, but what C is divided by: J = C // r.",
        lambda C, r: 2 * C * r + r + C,
    ),
]

FOLD = [
    Mistake(
        "That scales what enters the convolution: axis 1 are the input channels. Gates scale what "
        "comes out, axis 0: write gates[:, None, None, None].",
        lambda weight, gates: weight * gates[:, None, None],
    ),
    Mistake(
        "That lines the gates up with the kernel's columns. They belong to axis 0: write "
        "gates[:, None, None, None].",
        lambda weight, gates: weight * gates,
    ),
    Mistake(
        "Divided. A gate of 0.5 has to halve the kernel of its channel.",
        lambda weight, gates: weight / gates[:, None, None, None],
    ),
    Mistake(
        "The gates are added. They multiply: half of every factor makes half of the sum.",
        lambda weight, gates: weight + gates[:, None, None, None],
    ),
    Mistake(
        "One common factor. Each output channel has a gate of its own.",
        lambda weight, gates: weight * gates.mean(),
    ),
]

check = Check(
    {
        "the lesson's numbers": point(*numbers(), inputs=8),
        "N, C, H, W = 3, 6, 2, 5": point(*draw(3, 6, 3, 2, 5, seed=606), inputs=4),
        "C = 40, r = 16": count(40, 16),
    },
    [
        Exercise("squeeze", "x", "z", SQUEEZE),
        Exercise("excite", "z W1 b1 W2 b2", "s", EXCITE),
        Exercise("scale", "x s", "y", SCALE),
        Exercise("parameters", "C r", "count", PARAMETERS),
        Exercise("fold", "weight gates", "folded", FOLD),
    ],
)
