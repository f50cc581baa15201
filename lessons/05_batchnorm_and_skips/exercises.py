"""Lesson 05: back through BatchNorm, one half at a time, and back through a skip.

Forward, in the lesson's letters; means run over N, H and W, one per channel:

    u    = x - mean of x                 centred       (N, C, H, W)
    std  = √(mean of u² + eps)                         (1, C, 1, 1)
    xhat = u / std                       scaled        (N, C, H, W)
    y    = gamma · xhat + beta                         (N, C, H, W)

    a = h @ W.T                          the branch    (N, C)
    z = h + ReLU(a)                      the skip      (N, C)

What is expected of each step is computed by minise's own engine, from these elementary operations.
Tests hold it against PyTorch's batch_norm, and against minise's.
"""

from __future__ import annotations

from typing import Any

import numpy

from minise import Tensor
from minise import functional as F
from minise.teach import Check, Exercise, Mistake, Point

Array = numpy.ndarray

AXES = (0, 2, 3)  # all but the channels


def draw(N: int, C: int, H: int, W: int, seed: int) -> dict[str, Array]:
    """x, gamma, beta and dy of BatchNorm, and h, W and dz of a skip, in float64.

    Every channel of x has a mean and a spread of its own, so that there is something to normalise.
    """
    stream = numpy.random.RandomState(seed)
    spread = stream.uniform(0.5, 3, (1, C, 1, 1))
    mean = 2 * stream.standard_normal((1, C, 1, 1))
    values = {
        "x": mean + spread * stream.standard_normal((N, C, H, W)),
        "gamma": 1 + 0.5 * stream.standard_normal(C),
        "beta": stream.standard_normal(C),
        "dy": stream.standard_normal((N, C, H, W)),
        "h": stream.standard_normal((N, C)),
        "W": stream.standard_normal((C, C)),
        "dz": stream.standard_normal((N, C)),
    }
    return {name: array.round(2) for name, array in values.items()}


def numbers() -> list[Array]:
    """The lesson's x, gamma, beta and dy: 4 images, 3 channels of 2x2."""
    return [LESSON[name].copy() for name in ("x", "gamma", "beta", "dy")]


def point(values: dict[str, Array], eps: float) -> Point:
    """All values of the forward and the backward pass by name, computed by minise."""
    wanted = ("x", "gamma", "beta", "h", "W")
    at: dict[str, Any] = {name: Tensor(values[name], requires_grad=True) for name in wanted}
    at["u"] = at["x"] - at["x"].mean(axis=AXES, keepdims=True)
    at["std"] = ((at["u"] * at["u"]).mean(axis=AXES, keepdims=True) + eps).sqrt()
    at["xhat"] = at["u"] / at["std"]
    y = at["xhat"] * at["gamma"].reshape(-1, 1, 1) + at["beta"].reshape(-1, 1, 1)
    at["a"] = at["h"] @ at["W"].transpose(0, 1)
    z = at["h"] + F.relu(at["a"])
    for tensor in at.values():
        tensor.retain_grad()
    y.backward(Tensor(values["dy"]))
    z.backward(Tensor(values["dz"]))
    return {
        **{name: tensor.numpy() for name, tensor in at.items()},
        **{f"d{name}": tensor.grad.numpy() for name, tensor in at.items()},
        "eps": eps,
        "dy": values["dy"],
        "dz": values["dz"],
    }


LESSON = draw(4, 3, 2, 2, seed=5)


# --- the mistakes -------------------------------------------------------------------------------


def mean(array: Array, axes: tuple[int, ...] | None = AXES) -> Array:
    return array.mean(axis=axes, keepdims=True)


def normalised(x: Array, eps: float, axes: tuple[int, ...] | None) -> Array:
    return (x - mean(x, axes)) / numpy.sqrt(x.var(axis=axes, keepdims=True) + eps)


NORMALISE = [
    Mistake(
        "The mean runs over H and W only, so every image is normalised by itself. That is instance "
        "normalisation; BatchNorm takes all images of the batch together: axes 0, 2 and 3.",
        lambda x, eps: normalised(x, eps, (2, 3)),
    ),
    Mistake(
        "The mean runs over the images only, one for each pixel. A convolution treats all pixels "
        "alike, and so does BatchNorm: axes 0, 2 and 3.",
        lambda x, eps: normalised(x, eps, (0,)),
    ),
    Mistake(
        "One mean for all channels together. Each channel has its own: leave axis 1 out.",
        lambda x, eps: normalised(x, eps, None),
    ),
    Mistake(
        "The variance is divided by m - 1. BatchNorm normalises by the batch it sees, not by an "
        "estimate for others: divide by m, which is NumPy's default.",
        lambda x, eps: (x - mean(x)) / numpy.sqrt(x.var(axis=AXES, keepdims=True, ddof=1) + eps),
    ),
    Mistake(
        "eps stands outside the root. It belongs inside: √(var + eps).",
        lambda x, eps: (x - mean(x)) / (x.std(axis=AXES, keepdims=True) + eps),
    ),
    Mistake(
        "The root is missing: divided by the variance instead of the standard deviation.",
        lambda x, eps: (x - mean(x)) / (x.var(axis=AXES, keepdims=True) + eps),
    ),
    Mistake(
        "The mean was not subtracted: x̂ is (x - mean) / √(var + eps).",
        lambda x, eps: x / numpy.sqrt(x.var(axis=AXES, keepdims=True) + eps),
    ),
]

GRAD_GAMMA = [
    Mistake(
        "Σ is a sum, not a mean: gamma was used at every pixel of every image, and what those uses "
        "send back adds up.",
        lambda dy, xhat: (dy * xhat).mean(axis=AXES),
    ),
    Mistake(
        "The factor xhat is missing: y = gamma · xhat + beta, so ∂y/∂gamma is xhat.",
        lambda dy, xhat: dy.sum(axis=AXES),
    ),
    Mistake(
        "The sum stops at the pixels. All images used the same gamma: sum over axis 0 as well.",
        lambda dy, xhat: (dy * xhat).sum(axis=(2, 3)),
    ),
    Mistake(
        "The numbers are right; the summed axes should be gone. Leave out keepdims.",
        lambda dy, xhat: (dy * xhat).sum(axis=AXES, keepdims=True),
    ),
]

THROUGH_SCALING = [
    Mistake(
        "std was taken as a constant. It is made from u: a u that grows along xhat makes std grow "
        "with it, and nothing is won. Subtract xhat · mean(g · xhat).",
        lambda g, xhat, std: g / std,
    ),
    Mistake(
        "The component along xhat is added, but it has to go: minus.",
        lambda g, xhat, std: (g + xhat * mean(g * xhat)) / std,
    ),
    Mistake(
        "A sum where a mean belongs: std is made from a mean over m values, each with a share of "
        "1/m.",
        lambda g, xhat, std: (g - xhat * (g * xhat).sum(axis=AXES, keepdims=True)) / std,
    ),
    Mistake(
        "1/std is lost: xhat = u / std passes on 1/std of what arrives.",
        lambda g, xhat, std: g - xhat * mean(g * xhat),
    ),
    Mistake(
        "The mean runs over H and W only. The channel's std was made from all images: axes 0, 2 "
        "and 3.",
        lambda g, xhat, std: (g - xhat * mean(g * xhat, (2, 3))) / std,
    ),
]

THROUGH_CENTRING = [
    Mistake(
        "The mean was taken as a constant. Raise all m values of a channel by the same amount: the "
        "mean rises with them, u stays. So dx must not have a mean: subtract it.",
        lambda du: du,
    ),
    Mistake(
        "A sum where a mean belongs: each value has a share of 1/m in the mean.",
        lambda du: du - du.sum(axis=AXES, keepdims=True),
    ),
    Mistake("The mean is added, but u = x - mean(x): minus.", lambda du: du + mean(du)),
    Mistake(
        "The mean runs over H and W only, but the channel's mean was made from all images: axes 0, "
        "2 and 3.",
        lambda du: du - mean(du, (2, 3)),
    ),
    Mistake("One mean over all channels. Each has its own.", lambda du: du - mean(du, None)),
]


def three_terms(dy: Array, gamma: Array, xhat: Array, std: Array) -> Array:
    return gamma[:, None, None] / std * (dy - mean(dy) - xhat * mean(dy * xhat))


GRAD_X = [
    Mistake(
        "The third term is lost: - xhat · mean(dy · xhat). dx still has a component along xhat.",
        lambda dy, gamma, xhat, std: gamma[:, None, None] / std * (dy - mean(dy)),
    ),
    Mistake(
        "The second term is lost: - mean(dy). dx still has a mean.",
        lambda dy, gamma, xhat, std: gamma[:, None, None] / std * (dy - xhat * mean(dy * xhat)),
    ),
    Mistake(
        "Mean and std were taken as constants, as if in evaluation. They are made from x.",
        lambda dy, gamma, xhat, std: gamma[:, None, None] / std * dy,
    ),
    Mistake(
        "gamma is lost: the gradient that arrives at xhat is gamma · dy.",
        lambda dy, gamma, xhat, std: three_terms(dy, numpy.ones_like(gamma), xhat, std),
    ),
    Mistake(
        "1/std is lost. It is what makes BatchNorm's gradient independent of the scale of x.",
        lambda dy, gamma, xhat, std: three_terms(dy, gamma, xhat, numpy.ones_like(std)),
    ),
    Mistake(
        "Multiplied by std instead of divided.",
        lambda dy, gamma, xhat, std: three_terms(dy, gamma, xhat, 1 / std),
    ),
    Mistake(
        "A mean in the third term, a sum in the second, or the other way round: both are means.",
        lambda dy, gamma, xhat, std: (
            gamma[:, None, None] / std * (dy - dy.sum(axis=AXES, keepdims=True))
            - gamma[:, None, None] / std * xhat * mean(dy * xhat)
        ),
    ),
    Mistake(
        "A mean in the second term, a sum in the third, or the other way round: both are means.",
        lambda dy, gamma, xhat, std: (
            gamma[:, None, None]
            / std
            * (dy - mean(dy) - xhat * (dy * xhat).sum(axis=AXES, keepdims=True))
        ),
    ),
]

GRAD_H = [
    Mistake(
        "The skip is lost: h is used twice, in the branch and in the sum. The sum hands dz on as "
        "it is.",
        lambda dz, a, W: (dz * (a > 0)) @ W,
    ),
    Mistake(
        "The branch is lost: h also goes through W and ReLU.",
        lambda dz, a, W: dz.copy(),
    ),
    Mistake(
        "The ReLU mask is missing: where a <= 0 the branch did not depend on a.",
        lambda dz, a, W: dz + dz @ W,
    ),
    Mistake(
        "The mask lies on the skip too. ReLU sits on the branch only; the skip lets all of dz "
        "through.",
        lambda dz, a, W: dz * (a > 0) + (dz * (a > 0)) @ W,
    ),
    Mistake(
        "The weight is transposed. Forward used h @ W.T, so backward uses W as it is.",
        lambda dz, a, W: dz + (dz * (a > 0)) @ W.T,
    ),
    Mistake(
        "The two ways are multiplied. Contributions to one gradient add.",
        lambda dz, a, W: dz * ((dz * (a > 0)) @ W),
    ),
]

check = Check(
    {
        "the lesson's numbers": point(LESSON, eps=1e-5),
        "x of shape (2, 5, 3, 4), eps 0.1": point(draw(2, 5, 3, 4, seed=505), eps=0.1),
    },
    [
        Exercise("normalise", "x eps", "xhat", NORMALISE),
        Exercise("grad_gamma", "dy xhat", "dgamma", GRAD_GAMMA),
        Exercise("through_scaling", "dxhat xhat std", "du", THROUGH_SCALING),
        Exercise("through_centring", "du", "dx", THROUGH_CENTRING),
        Exercise("grad_x", "dy gamma xhat std", "dx", GRAD_X),
        Exercise("grad_h", "dz a W", "dh", GRAD_H),
    ],
)
