"""Lesson 03: the backward pass of linear ops, which are the adjoints of their forward pass.

Forward, in the lesson's letters:

    s = x.sum(axis=1)              x (I, J)       -> s (I,)
    y = c, broadcast               c (1, K, 1)    -> y (…, I, K, J), say
    m = a @ b                      (I, K), (K, J) -> (I, J)
    M = A @ B                      (N, I, K), (K, J) -> (N, I, J)

What is expected is computed by minise's own engine, except for `dg`, half-way from dy to dc: there
the copies along new axes are added up one by one. A test holds all of it against PyTorch.
"""

from __future__ import annotations

import numpy

from minise import Tensor
from minise.teach import Check, Exercise, Mistake, Point

Array = numpy.ndarray


def point(c_shape: tuple[int, ...], y_shape: tuple[int, ...], seed: int) -> Point:
    """Random inputs of the lesson's ops and all gradients, in float64."""
    draw = numpy.random.RandomState(seed).standard_normal
    N, I, K, J = 2, 3, 4, 5
    shapes = {"x": (I, J), "c": c_shape, "a": (I, K), "b": (K, J), "A": (N, I, K), "B": (K, J)}
    at = {name: Tensor(draw(shape), requires_grad=True) for name, shape in shapes.items()}
    forward = {
        "s": at["x"].sum(axis=1),
        "y": at["c"].broadcast_to(y_shape),
        "m": at["a"] @ at["b"],
        "M": at["A"] @ at["B"],
    }
    upstream = {f"d{name}": draw(output.shape) for name, output in forward.items()}
    for name, output in forward.items():
        output.backward(Tensor(upstream[f"d{name}"]))
    copies = upstream["dy"].reshape(-1, *y_shape[len(y_shape) - len(c_shape) :])
    return {
        **{name: tensor.numpy() for name, tensor in at.items()},
        **{f"d{name}": gradient(tensor) for name, tensor in at.items()},
        **upstream,
        "dg": numpy.array(sum(copies)),
    }


def gradient(tensor):
    """Its .grad, which it must have by now, as an array."""
    return tensor.grad.numpy()


def added(dy: Array, c: Array) -> tuple[int, ...]:
    """The axes that broadcasting c put in front."""
    return tuple(range(dy.ndim - c.ndim))


def stretched(c: Array) -> tuple[int, ...]:
    """The axes of length 1, which broadcasting stretched."""
    return tuple(i for i, n in enumerate(c.shape) if n == 1)


# --- the mistakes -------------------------------------------------------------------------------

MEAN = "This is a mean. Every copy was used once, and what the copies send back adds up."

SUM_BACKWARD = [
    Mistake(
        "The numbers are right, but each summand needs its copy: repeat them along axis 1, for "
        "example with np.broadcast_to(…, x.shape).",
        lambda ds, x: ds[:, None],
    ),
    Mistake(
        "ds has one number per row, and NumPy lines shapes up from the right: write ds[:, None].",
        lambda ds, x: numpy.broadcast_to(ds, x.shape),
    ),
    Mistake(
        "Divided by the number of summands: that is the backward of a mean. In a sum every "
        "summand counts fully.",
        lambda ds, x: numpy.broadcast_to(ds[:, None], x.shape) / x.shape[1],
    ),
    Mistake(
        "The factor x does not belong here: a sum is linear, so its slope is 1 whatever x is.",
        lambda ds, x: ds[:, None] * x,
    ),
]

SUM_ADDED = [
    Mistake(MEAN, lambda dy, c: dy.mean(axis=added(dy, c))),
    Mistake(
        "Only the first copy is left. Each copy sends its own gradient: add them all.",
        lambda dy, c: dy[(0,) * (dy.ndim - c.ndim)],
    ),
    Mistake(
        "These are the last axes. Shapes are lined up from the right, so the new axes stand in "
        "front.",
        lambda dy, c: dy.sum(axis=tuple(range(c.ndim, dy.ndim))),
    ),
    Mistake(
        "The numbers are right; the summed axes should be gone. Leave out keepdims.",
        lambda dy, c: dy.sum(axis=added(dy, c), keepdims=True),
    ),
    Mistake(
        "Only axis 0 was summed. Broadcasting may put any number of axes in front: "
        "dy.ndim - c.ndim of them.",
        lambda dy, c: dy.sum(axis=0),
    ),
]

SUM_STRETCHED = [
    Mistake(MEAN, lambda dg, c: dg.mean(axis=stretched(c), keepdims=True)),
    Mistake(
        "Only the first copy is left. Each copy sends its own gradient: add them all.",
        lambda dg, c: dg[tuple(slice(0, 1) if n == 1 else slice(None) for n in c.shape)],
    ),
    Mistake(
        "The numbers are right, but c has axes of length 1 there: keepdims=True keeps them.",
        lambda dg, c: dg.sum(axis=stretched(c)),
    ),
    Mistake(
        "Everything was summed. Only axes where c has length 1 were stretched; the others hold "
        "different numbers.",
        lambda dg, c: dg.sum(keepdims=True),
    ),
    Mistake(
        "These are the axes that were not stretched. Sum where c.shape is 1.",
        lambda dg, c: dg.sum(axis=tuple(i for i, n in enumerate(c.shape) if n != 1), keepdims=True),
    ),
]

GRAD_A = [
    Mistake(
        "b is not transposed. Σ_j dm[i, j] · b[k, j] runs along the rows of both, and a matrix "
        "product runs along a row and a column.",
        lambda dm, b: dm @ b,
    ),
    Mistake(
        "The order is exchanged: i comes from dm, so dm stands in front.",
        lambda dm, b: b.T @ dm,
    ),
    Mistake(
        "The factor b is missing: a[i, k] was multiplied by b[k, j].",
        lambda dm, b: dm @ numpy.ones_like(b).T,
    ),
    Mistake("This is a mean over j. All products add up.", lambda dm, b: dm @ b.T / dm.shape[1]),
]

GRAD_B = [
    Mistake(
        "a is not transposed. Σ_i a[i, k] · dm[i, j] runs down the columns of both, and a matrix "
        "product runs along a row and a column.",
        lambda dm, a: a @ dm,
    ),
    Mistake(
        "The order is exchanged: k comes from a, so a stands in front.",
        lambda dm, a: dm @ a.T,
    ),
    Mistake(
        "Only the last row is left: it has overwritten the others. Every row of a met the same b, "
        "so their contributions add: += instead of =.",
        lambda dm, a: numpy.outer(a[-1], dm[-1]),
    ),
    Mistake(
        "This is the mean over the rows, but their contributions add.",
        lambda dm, a: a.T @ dm / len(a),
    ),
    Mistake(
        "The factor a is missing: b[k, j] was multiplied by a[i, k].",
        lambda dm, a: numpy.ones_like(a).T @ dm,
    ),
]

GRAD_BATCHED = [
    Mistake(
        "Σ over the batch is missing. Broadcasting gave every matrix of the batch a copy of B; "
        "backward, the copies' gradients add up.",
        lambda dM, A: A.swapaxes(1, 2) @ dM,
    ),
    Mistake(
        "Only the last matrix of the batch is left. The contributions of all of them add.",
        lambda dM, A: A[-1].T @ dM[-1],
    ),
    Mistake(
        "This is the mean over the batch, but the contributions add.",
        lambda dM, A: (A.swapaxes(1, 2) @ dM).mean(axis=0),
    ),
    Mistake(
        ".T reverses all three axes. Each matrix of the batch is to be transposed by itself: "
        "A.swapaxes(1, 2).",
        lambda dM, A: A.T @ dM,
    ),
    Mistake(
        ".T reverses all three axes. Each matrix of the batch is to be transposed by itself: "
        "A.swapaxes(1, 2).",
        lambda dM, A: (A.T @ dM).sum(axis=0),
    ),
]

check = Check(
    {
        "c of shape (3, 1), y of shape (2, 3, 4)": point((3, 1), (2, 3, 4), seed=301),
        "c of shape (1, 4, 1), y of shape (2, 3, 5, 4, 6)": point(
            (1, 4, 1), (2, 3, 5, 4, 6), seed=302
        ),
    },
    [
        Exercise("sum_backward", "ds x", "dx", SUM_BACKWARD),
        Exercise("sum_added", "dy c", "dg", SUM_ADDED),
        Exercise("sum_stretched", "dg c", "dc", SUM_STRETCHED),
        Exercise("grad_a", "dm b", "da", GRAD_A),
        Exercise("grad_b", "dm a", "db", GRAD_B),
        Exercise("grad_B", "dM A", "dB", GRAD_BATCHED),
    ],
)
