"""Lesson 07: the ten steps from dy back to dx through an SE block, and what goes wrong in them.

Forward, in the lesson's letters (J hidden units):

    z = mean of x over H and W     (N, C)
    a = z @ W1.T + b1              (N, J)
    h = ReLU(a)                    (N, J)
    v = h @ W2.T + b2              (N, C)
    s = σ(v)                       (N, C)
    y = s[:, :, None, None] * x    (N, C, H, W)

What is expected of each step is computed by minise's own engine. A test holds the engine against
PyTorch on the same numbers.
"""

from __future__ import annotations

from pathlib import Path

import numpy
from safetensors.numpy import load_file

from minise import Tensor
from minise import functional as F
from minise.teach import Check, Exercise, Mistake, Point

Array = numpy.ndarray

INPUTS = ("x", "W1", "b1", "W2", "b2", "dy")

RECORDED = load_file(Path(__file__).with_name("numbers.safetensors"))


def numbers() -> list[Array]:
    """The lesson's x, W1, b1, W2, b2 and dy: 2 images, 4 channels of 3x3, 2 hidden units."""
    return [RECORDED[name].copy() for name in INPUTS]


def pytorch() -> dict[str, Array]:
    """What PyTorch gave for these numbers: "ds", "dW2", …, "dx", and "direct" and "gate" alone."""
    return {name: array.copy() for name, array in RECORDED.items() if name not in INPUTS}


def point(x: Array, W1: Array, b1: Array, W2: Array, b2: Array, dy: Array) -> Point:
    """All values of the forward and the backward pass by name, computed by minise."""
    values = {"x": x, "W1": W1, "b1": b1, "W2": W2, "b2": b2}

    def run(scaled, gated):
        """Forward and backward where y = scaled(x) · s and s is made from gated(x)."""
        at = {name: Tensor(array, requires_grad=True) for name, array in values.items()}
        at["z"] = gated(at["x"]).mean(axis=(2, 3))
        at["a"] = F.linear(at["z"], at["W1"], at["b1"])
        at["h"] = F.relu(at["a"])
        at["v"] = F.linear(at["h"], at["W2"], at["b2"])
        at["s"] = F.sigmoid(at["v"])
        y = scaled(at["x"]) * at["s"].reshape(*at["s"].shape, 1, 1)
        for tensor in at.values():
            if tensor.requires_grad:
                tensor.retain_grad()
        y.backward(Tensor(dy))
        return at

    def whole(tensor):
        return tensor

    at = run(whole, whole)
    return {
        **{name: tensor.numpy() for name, tensor in at.items()},
        **{f"d{name}": tensor.grad.numpy() for name, tensor in at.items()},
        "dy": dy,
        "direct": run(whole, Tensor.detach)["x"].grad.numpy(),
        "gate": run(Tensor.detach, whole)["x"].grad.numpy(),
    }


def draw(N: int, C: int, J: int, H: int, W: int, seed: int) -> list[Array]:
    """Random x, W1, b1, W2, b2 and dy, in float64."""
    stream = numpy.random.RandomState(seed)
    shapes = [(N, C, H, W), (J, C), (J,), (C, J), (C,), (N, C, H, W)]
    return [stream.standard_normal(shape) for shape in shapes]


def everywhere(values: Array, x: Array) -> Array:
    """One value per channel (N, C), repeated at every pixel: (N, C, H, W)."""
    return numpy.broadcast_to(values[:, :, None, None], x.shape)


# --- the mistakes -------------------------------------------------------------------------------

GRAD_S = [
    Mistake(
        "Σ over H and W is a sum, not a mean. One gate was used at every pixel, and what those "
        "uses send back adds up. (The mean belongs to the squeeze, and comes later.)",
        lambda dy, x: (dy * x).mean(axis=(2, 3)),
    ),
    Mistake(
        "Σ over H and W is missing. One gate was used at all H·W pixels, so the contributions of "
        "these pixels have to be added.",
        lambda dy, x: dy * x,
    ),
    Mistake(
        "The numbers are right; the two summed axes should be gone. Leave out keepdims.",
        lambda dy, x: (dy * x).sum(axis=(2, 3), keepdims=True),
    ),
    Mistake(
        "The factor x is missing: y = s · x, so ∂y/∂s is x.",
        lambda dy, x: dy.sum(axis=(2, 3)),
    ),
    Mistake(
        "The sum runs over the images too. Every image has gates of its own: only H and W.",
        lambda dy, x: (dy * x).sum(axis=(0, 2, 3)),
    ),
    Mistake(
        "The sum runs over the channels. Axes are counted from 0: H and W are axes 2 and 3.",
        lambda dy, x: (dy * x).sum(axis=(1, 2)),
    ),
]

GRAD_V = [
    Mistake(
        "σ′ is missing: what arrives at s has to be multiplied by σ′(v) = s · (1 - s).",
        lambda ds, s: ds,
    ),
    Mistake("Half of σ′ is missing: it is s · (1 - s).", lambda ds, s: ds * s),
    Mistake("Half of σ′ is missing: it is s · (1 - s).", lambda ds, s: ds * (1 - s)),
    Mistake(
        "σ was applied once more. s is σ(v) already, so σ′(v) is s · (1 - s).",
        lambda ds, s: ds / (1 + numpy.exp(-s)) * (1 - 1 / (1 + numpy.exp(-s))),
    ),
]

GRAD_H = [
    Mistake(
        "The weight is transposed. Forward used h @ W2.T, so backward uses W2 as it is: every "
        "channel hands its gradient back along the weights that it was reached by.",
        lambda dv, W2: dv @ W2.T,
    ),
]

GRAD_A = [
    Mistake(
        "The ReLU mask is missing: where a <= 0 the output did not depend on a, so nothing goes "
        "back there.",
        lambda dh, a: dh,
    ),
    Mistake(
        "The mask looks at the wrong array. Whether ReLU lets a gradient through depends on the "
        "sign of its input a, not on the sign of the gradient.",
        lambda dh, a: dh * (dh > 0),
    ),
    Mistake(
        "That is dh times ReLU(a). The local derivative is the slope of ReLU: 1 or 0.",
        lambda dh, a: dh * numpy.maximum(a, 0),
    ),
    Mistake(
        "That is the mask alone, the slope of ReLU. What arrives, dh, is multiplied by it.",
        lambda dh, a: a > 0,
    ),
]

GRAD_Z = [
    Mistake(
        "The weight is transposed. Forward used z @ W1.T, so backward uses W1 as it is.",
        lambda da, W1: da @ W1.T,
    ),
]


def of_weight(gradient: str, source: str) -> list[Mistake]:
    """For dW = dᵀ @ source, where the layer was source @ W.T."""
    return [
        Mistake(
            f"The weight's gradient is transposed: it needs the weight's shape. Its row j belongs "
            f"to output j, so {gradient} comes first: {gradient}.T @ …",
            lambda d, source: source.T @ d,
        ),
        Mistake(
            "Only the last image is left: it has overwritten the others. All images used the same "
            "weight, so their contributions add: += instead of =.",
            lambda d, source: numpy.outer(d[-1], source[-1]),
        ),
        Mistake(
            "This is the mean over the images, but their contributions add.",
            lambda d, source: d.T @ source / len(d),
        ),
        Mistake(
            f"The factor {source} is missing: the weight was multiplied by {source}.",
            lambda d, source: d.T @ numpy.ones_like(source),
        ),
        Mistake(
            f"The sum should run over the images, the first axis of both. `@` sums over the last "
            f"axis of its left factor, so transpose that: {gradient}.T @ …",
            lambda d, source: d @ source,
        ),
    ]


def of_bias(gradient: str) -> list[Mistake]:
    """For db = Σ_n d."""
    return [
        Mistake(
            "Σ over the images is missing. Broadcasting gave every image a copy of the bias; "
            "backward, the copies' gradients add up.",
            lambda d: d,
        ),
        Mistake(
            "Only the last image is left: it has overwritten the others. The contributions of all "
            "images add: += instead of =.",
            lambda d: d[-1],
        ),
        Mistake(
            "This is the mean over the images, but their contributions add.",
            lambda d: d.mean(axis=0),
        ),
        Mistake(
            f"The wrong axis: there is one bias per output, so sum {gradient} over the images, "
            "axis 0.",
            lambda d: d.sum(axis=1),
        ),
        Mistake(
            "The sum runs over the outputs too, but each has a bias of its own: only axis 0.",
            lambda d: d.sum(),
        ),
    ]


REPEAT = (
    "The share of one pixel is right; now every pixel needs its copy. Repeat it over H and W, for "
    "example with np.broadcast_to(…, x.shape)."
)

GATE_PATH = [
    Mistake(
        "1/(H·W) is lost. The squeeze is a mean: each pixel had a share of 1/(H·W) in it and gets "
        "that share of dz back.",
        lambda dz, x: everywhere(dz, x),
    ),
    Mistake(REPEAT, lambda dz, x: dz / (x.shape[2] * x.shape[3])),
    Mistake(REPEAT, lambda dz, x: (dz / (x.shape[2] * x.shape[3]))[:, :, None, None]),
    Mistake(
        "Divided by the size of all of x. One mean runs over the H·W pixels of one channel.",
        lambda dz, x: everywhere(dz, x) / x.size,
    ),
    Mistake(
        "The factor x does not belong here: the mean is linear, so its derivative is 1/(H·W) "
        "whatever x is.",
        lambda dz, x: everywhere(dz, x) * x / (x.shape[2] * x.shape[3]),
    ),
]

GRAD_X = [
    Mistake(
        "The gate path is lost. x also decides the gates; that contribution has to be added.",
        lambda dy, s, gate: dy * s[:, :, None, None],
    ),
    Mistake(
        "Only the gate path is left. If the second contribution overwrote the first, write += "
        "instead of =.",
        lambda dy, s, gate: gate,
    ),
    Mistake(
        "The factor s is missing on the direct path: y = s · x, so ∂y/∂x is s where the gates are "
        "held fixed.",
        lambda dy, s, gate: dy + gate,
    ),
    Mistake(
        "The two paths are multiplied. Contributions to one gradient add.",
        lambda dy, s, gate: dy * s[:, :, None, None] * gate,
    ),
    Mistake(
        "s is (N, C) and has to line up with (N, C, H, W): write s[:, :, None, None].",
        lambda dy, s, gate: dy * s + gate,
    ),
]

check = Check(
    {
        "the lesson's numbers": point(*numbers()),
        "x of shape (3, 6, 2, 5)": point(*draw(3, 6, 4, 2, 5, seed=402)),
    },
    [
        Exercise("grad_s", "dy x", "ds", GRAD_S),
        Exercise("grad_v", "ds s", "dv", GRAD_V),
        Exercise("grad_W2", "dv h", "dW2", of_weight("dv", "h")),
        Exercise("grad_b2", "dv", "db2", of_bias("dv")),
        Exercise("grad_h", "dv W2", "dh", GRAD_H),
        Exercise("grad_a", "dh a", "da", GRAD_A),
        Exercise("grad_W1", "da z", "dW1", of_weight("da", "z")),
        Exercise("grad_b1", "da", "db1", of_bias("da")),
        Exercise("grad_z", "da W1", "dz", GRAD_Z),
        Exercise("gate_path", "dz x", "gate", GATE_PATH),
        Exercise("grad_x", "dy s gate", "dx", GRAD_X),
    ],
)
