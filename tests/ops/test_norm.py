"""batch_norm against PyTorch: values, gradients and the running statistics after the step."""

from __future__ import annotations

from functools import partial

import parity
from parity import case, constant, normal, positive, values

SHAPES = {
    "2-D": (5, 3),
    "3-D": (3, 2, 4),
    "4-D": (2, 3, 3, 2),
    "5-D": (2, 2, 2, 1, 3),
    "one image": (1, 2, 3, 3),
    "one channel": (4, 1, 2, 2),
}


def training(F, x, mean, var, weight=None, bias=None, **options):
    """The output and what the running statistics, copied first, have become."""
    mean, var = mean * 1, var * 1
    return F.batch_norm(x, mean, var, weight, bias, training=True, **options), mean, var


def evaluation(F, x, mean, var, weight=None, bias=None, **options):
    return F.batch_norm(x, mean, var, weight, bias, **options)


def batch_only(F, x, weight, bias):
    """Without running statistics."""
    return F.batch_norm(x, None, None, weight, bias, training=True)


def with_relu(F, x, weight, bias):
    return F.batch_norm_relu(x, None, None, weight, bias, True)


def relu_behind(F, x, weight, bias):
    return F.relu(batch_only(F, x, weight, bias))


def evaluation_with_relu(F, x, mean, var, weight, bias):
    return F.batch_norm_relu(x, mean, var, weight, bias)


def relu_behind_evaluation(F, x, mean, var, weight, bias):
    return F.relu(F.batch_norm(x, mean, var, weight, bias))


def batch_norm_cases():
    for name, shape in SHAPES.items():
        C = shape[1]
        running, affine = (constant((C,)), constant(positive(C))), ((C,), (C,))
        yield case(f"batch_norm training {name}", training, shape, *running, *affine)
        yield case(f"batch_norm training {name}, not affine", training, shape, *running)
        yield case(f"batch_norm evaluation {name}", evaluation, shape, *running, *affine)
        yield case(f"batch_norm evaluation {name}, not affine", evaluation, shape, *running)
        yield case(f"batch_norm without statistics {name}", batch_only, shape, *affine)
        yield case(f"batch_norm and relu {name}", with_relu, shape, *affine, theirs=relu_behind)
        yield case(f"batch_norm and relu evaluation {name}", evaluation_with_relu, shape, *running,
                   *affine, theirs=relu_behind_evaluation)  # fmt: skip
    shape, running, affine = (3, 2, 2, 3), (constant((2,)), constant(positive(2))), ((2,), (2,))
    given = (shape, *running, *affine)
    for momentum in (0.0, 0.1, 0.5, 1.0):
        yield case(f"batch_norm momentum={momentum}", partial(training, momentum=momentum), *given)
    for eps in (1e-12, 1e-3, 1.0):
        yield case(f"batch_norm training eps={eps}", partial(training, eps=eps), *given)
        yield case(f"batch_norm evaluation eps={eps}", partial(evaluation, eps=eps), *given)


def running_statistics_with_relu(F, x, mean, var):
    mean, var = mean * 1, var * 1
    return F.batch_norm_relu(x, mean, var, training=True), mean, var


def running_statistics_and_relu(F, x, mean, var):
    y, mean, var = training(F, x, mean, var)
    return F.relu(y), mean, var


X, MEAN, VAR = (3, 2, 2, 3), constant((2,)), constant(positive(2))

CASES = [
    *batch_norm_cases(),
    case("batch_norm by position",
         lambda F, x, m, v, w, b: F.batch_norm(x, m, v, w, b, False, 0.3, 1e-2),
         X, MEAN, VAR, (2,), (2,)),
    case("batch_norm weight only", lambda F, x, w: F.batch_norm(x, None, None, w, training=True),
         X, (2,)),
    case("batch_norm bias only",
         lambda F, x, b: F.batch_norm(x, None, None, bias=b, training=True), X, (2,)),
    case("batch_norm evaluation, bias only", lambda F, x, m, v, b: F.batch_norm(x, m, v, bias=b),
         X, MEAN, VAR, (2,)),
    case("batch_norm constant input", training, constant(X), MEAN, VAR, (2,), (2,)),
    case("batch_norm constant parameters", training, X, MEAN, VAR, constant((2,)), constant((2,))),
    # With two values the gradient nearly cancels; ε = 0.5 leaves digits to compare.
    case("batch_norm of pairs", lambda F, x, w, b: F.batch_norm(x, None, None, w, b, True, eps=0.5),
         (2, 3), (3,), (3,)),
    # In float32 PyTorch loses four digits here: it computes x · γ/σ + (β - mean · γ/σ).
    case("batch_norm of equal numbers", batch_only,
         values([[2.0, 0.0], [2.0, 0.0], [2.0, 0.0]], "float64"), normal(2, dtype="float64"),
         normal(2, dtype="float64")),
    case("batch_norm of a large offset",
         lambda F, x, w, b: batch_only(F, x + 100, w, b), (6, 2, 2, 2), (2,), (2,)),
    case("batch_norm no images, evaluation", evaluation, (0, 2, 3, 3), MEAN, VAR, (2,), (2,)),
    case("batch_norm one value, evaluation", evaluation, (1, 2), MEAN, VAR, (2,), (2,)),
    case("batch_norm float16", batch_only,
         normal(4, 2, 3, dtype="float16"), normal(2, dtype="float16"), normal(2, dtype="float16")),
    case("batch_norm and relu, statistics", running_statistics_with_relu, X, MEAN, VAR,
         theirs=running_statistics_and_relu),
    case("batch_norm and relu of zeros", with_relu, X, constant(values([0.0, 0.0])),
         constant(values([0.0, 0.0])), theirs=relu_behind),
    case("batch_norm twice",
         lambda F, x, w, b: batch_only(F, F.relu(batch_only(F, x, w, b)), w, b), X, (2,), (2,)),
    case("conv2d, batch_norm, relu",
         lambda F, x, k, w, b: F.relu(batch_only(F, F.conv2d(x, k), w, b)),
         (2, 2, 4, 4), (3, 2, 3, 3), (3,), (3,)),
]  # fmt: skip


@parity.every(CASES)
def test_parity(case, way):
    parity.check(case, way)
