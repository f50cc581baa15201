"""cross_entropy and nll_loss against PyTorch."""

from __future__ import annotations

import itertools

import hypothesis.strategies as st
import parity
from hypothesis import given
from parity import case, constant, labels, normal, positive, probabilities, values

NAN, INF = float("nan"), float("inf")
REDUCTIONS = ("mean", "sum", "none")
# Logits and labels: C = 4 classes, with extra axes, and one example alone.
TARGETS = {
    "": ((5, 4), labels(4, 5)),
    " (N, C, H, W)": ((2, 4, 2, 3), labels(4, 2, 2, 3)),
    " (N, C, L)": ((2, 4, 3), labels(4, 2, 3)),
    " (C,)": ((4,), values(2)),
}
IGNORED = {
    "": ((5, 4), values([0, 2, -100, 3, -100])),
    " (N, C, L)": ((2, 4, 2), values([[-100, 1], [3, -100]])),
    " (C,)": ((4,), values(-100)),
}


def loss(name, **options):
    def with_weight(F, x, target, weight=None):
        return getattr(F, name)(x, target, weight, **options)

    return with_weight


def label_cases():
    for name, reduction in itertools.product(("cross_entropy", "nll_loss"), REDUCTIONS):
        f = loss(name, reduction=reduction)
        for kind, (x, target) in TARGETS.items():
            yield case(f"{name} {reduction}{kind}", f, x, target)
            yield case(f"{name} {reduction} weight{kind}", f, x, target, constant(positive(4)))
        for kind, (x, target) in IGNORED.items():
            nothing_left = kind == " (C,)" and reduction == "mean"
            yield case(f"{name} {reduction} ignored{kind}", f, x, target, overflows=nothing_left)
            yield case(f"{name} {reduction} ignored, weight{kind}", f, x, target,
                       constant(positive(4)), overflows=nothing_left)  # fmt: skip
        yield case(f"{name} {reduction} all ignored", f, (2, 4), values([-100, -100]),
                   overflows=reduction == "mean")  # fmt: skip
        yield case(f"{name} {reduction} ignore_index=1", loss(name, reduction=reduction,
                   ignore_index=1), (5, 4), values([0, 1, 2, 1, 3]))  # fmt: skip
        yield case(f"{name} {reduction} ignore_index=-1", loss(name, reduction=reduction,
                   ignore_index=-1), (3, 4), values([0, -1, 2]), constant(positive(4)))  # fmt: skip
        yield case(f"{name} {reduction} no examples", f, (0, 4), values([], "int64"),
                   overflows=reduction == "mean")  # fmt: skip
        yield case(f"{name} {reduction} one class", f, (3, 1), values([0, 0, 0]))
        yield case(f"{name} {reduction} weight 0", f, (3, 3), values([0, 1, 2]),
                   constant(values([0.0, 1.0, 2.0])))  # fmt: skip


def large_cases():
    """So many numbers that the fast kernels take them all."""
    for reduction, smoothing in itertools.product(REDUCTIONS, (0.0, 0.1)):
        options = {"reduction": reduction, "ignore_index": 3, "label_smoothing": smoothing}
        for C, N in ((1000, 70), (9, 4000)):
            name = f"cross_entropy {reduction} smoothing {smoothing} {N} × {C}"
            f = loss("cross_entropy", **options)
            yield case(name, f, (N, C), labels(C, N), golden=False)
            yield case(f"{name} weight", f, (N, C), labels(C, N), constant(positive(C)),
                       golden=False)  # fmt: skip


def smoothing_cases():
    for reduction, smoothing in itertools.product(REDUCTIONS, (0.1, 1.0)):
        f = loss("cross_entropy", reduction=reduction, label_smoothing=smoothing)
        name = f"cross_entropy {reduction} smoothing {smoothing}"
        for kind, (x, target) in TARGETS.items():
            yield case(f"{name}{kind}", f, x, target)
            yield case(f"{name} weight{kind}", f, x, target, constant(positive(4)))
        yield case(f"{name} ignored", f, *IGNORED[""])
        yield case(f"{name} ignored weight", f, *IGNORED[" (N, C, L)"], constant(positive(4)))
        yield case(f"{name} all ignored", f, (2, 4), values([-100, -100]),
                   overflows=reduction == "mean")  # fmt: skip


def probability_cases():
    for reduction, smoothing in itertools.product(REDUCTIONS, (0.0, 0.2)):
        f = loss("cross_entropy", reduction=reduction, label_smoothing=smoothing)
        name = f"cross_entropy {reduction} probabilities smoothing {smoothing}"
        for shape in ((5, 4), (2, 4, 3), (2, 4, 2, 2)):
            target = constant(probabilities(*shape))
            yield case(f"{name} {shape}", f, shape, target)
            yield case(f"{name} {shape} weight", f, shape, target, constant(positive(4)))
        yield case(f"{name} (C,)", f, (4,), constant(probabilities(4, axis=0)))
        yield case(f"{name} (C,) weight", f, (4,), constant(probabilities(4, axis=0)),
                   constant(positive(4)))  # fmt: skip
        yield case(f"{name} that learn", f, (3, 4), probabilities(3, 4))
        yield case(f"{name} no examples", f, (0, 4), constant((0, 4)),
                   overflows=reduction == "mean")  # fmt: skip


CASES = [
    *label_cases(),
    *large_cases(),
    *smoothing_cases(),
    *probability_cases(),
    case("cross_entropy default", lambda F, x, t: F.cross_entropy(x, t), (5, 4), labels(4, 5)),
    case("cross_entropy of large logits", loss("cross_entropy"),
         values([[1e4, 0.0, -1e4], [800.0, 799.0, -INF]]), values([1, 0])),
    case("cross_entropy of -inf", loss("cross_entropy", reduction="none"),
         values([[-INF, 0.0, 1.0], [-INF, 0.0, 1.0]]), values([0, 2]), overflows=True),
    case("cross_entropy of NaN", loss("cross_entropy", reduction="none"),
         values([[NAN, 0.0, 1.0], [2.0, 0.0, 1.0]]), values([0, 2])),
    case("cross_entropy ignores NaN", loss("cross_entropy"),
         values([[NAN, 0.0, 1.0], [2.0, 3.0, 1.0]]), values([-100, 2])),
    case("nll_loss of -inf", loss("nll_loss", reduction="none"),
         values([[-INF, -1.0], [-INF, -1.0]]), values([0, 1])),
    case("nll_loss ignores NaN", loss("nll_loss"), values([[NAN, -1.0], [-2.0, -1.0]]),
         values([-100, 1])),
    case("nll_loss log_softmax", lambda F, x, t: F.nll_loss(F.log_softmax(x, 1), t), (5, 4),
         labels(4, 5)),
    case("cross_entropy float16", loss("cross_entropy"), normal(3, 4, dtype="float16"),
         labels(4, 3)),
    case("cross_entropy scaled", lambda F, x, t: F.cross_entropy(x * 3, t) * 2, (5, 4),
         labels(4, 5)),
]  # fmt: skip


@parity.every(CASES)
def test_parity(case, way):
    parity.check(case, way)


@given(
    st.lists(st.integers(0, 3) | st.just(-100), min_size=1, max_size=6),
    st.sampled_from(["sum", "none"]),
    st.sampled_from([0.0, 0.3]),
    st.booleans(),
)
def test_any_labels(target, reduction, smoothing, weighted):
    f = loss("cross_entropy", reduction=reduction, label_smoothing=smoothing)
    weight = [constant(positive(4))] * weighted
    parity.check_live(case(f"{target}", f, (len(target), 4), values(target), *weight))
