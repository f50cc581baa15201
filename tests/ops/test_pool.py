"""Pooling against PyTorch: windows that hang over the end, padding, ties, NaN, adaptive bins."""

from __future__ import annotations

import itertools

import hypothesis.strategies as st
import parity
from hypothesis import assume, given
from parity import case, constant, normal, values

NAN, INF = float("nan"), float("inf")


def max_pool(*args, **options):
    return lambda F, x: F.max_pool2d(x, *args, **options)


def avg_pool(*args, **options):
    return lambda F, x: F.avg_pool2d(x, *args, **options)


WINDOWS = list(
    itertools.product(
        (2, 3, (3, 2)),  # kernel_size
        (None, 1, 2, (2, 3)),  # stride
        (0, 1),  # padding
        (False, True),  # ceil_mode
    )
)


def window_cases():
    for kernel, stride, padding, ceil_mode in WINDOWS:
        options = {"stride": stride, "padding": padding, "ceil_mode": ceil_mode}
        name = f"{kernel} stride={stride} padding={padding} ceil={ceil_mode}"
        for dilation in (1, 2):
            yield case(f"max_pool2d {name} dilation={dilation}",
                       max_pool(kernel, dilation=dilation, **options), (1, 2, 7, 8),
                       golden=False)  # fmt: skip
        for counted in (True, False):
            yield case(f"avg_pool2d {name} count_include_pad={counted}",
                       avg_pool(kernel, count_include_pad=counted, **options), (1, 2, 7, 8),
                       golden=False)  # fmt: skip
        yield case(f"avg_pool2d {name} divisor_override=3",
                   avg_pool(kernel, divisor_override=3, **options), (1, 2, 7, 8),
                   golden=False)  # fmt: skip


def image(*rows):
    return values([[list(rows)]])


TIES = image([1.0, 1.0, 2.0, 2.0], [1.0, 1.0, 2.0, 0.0], [0.0, 0.0, 3.0, 3.0], [0.0, 5.0, 3.0, 3.0])
NANS = image(
    [1.0, NAN, 2.0, 2.0], [9.0, 1.0, NAN, NAN], [0.0, 0.0, -INF, -INF], [NAN, 5.0, -INF, -INF]
)
NEGATIVE = image([-1.0, -2.0, -3.0], [-4.0, -5.0, -6.0], [-7.0, -8.0, -9.0])

ADAPTIVE = {
    "1": ((2, 3, 4, 5), 1),
    "2": ((2, 3, 4, 6), 2),
    "(1, 1)": ((2, 3, 4, 5), (1, 1)),
    "3 of 7": ((1, 2, 7, 7), 3),
    "(3, 2) of (5, 7)": ((1, 2, 5, 7), (3, 2)),
    "larger than the input": ((1, 2, 3, 4), (5, 6)),
    "7 of 1": ((1, 2, 1, 1), 7),
    "same size": ((1, 2, 3, 4), (3, 4)),
    "(None, 2)": ((1, 2, 3, 5), (None, 2)),
    "(3, None)": ((1, 2, 5, 4), (3, None)),
    "(None, None)": ((1, 2, 3, 2), (None, None)),
    "(C, H, W)": ((2, 5, 6), (2, 3)),
    "list": ((1, 2, 5, 6), [2, 3]),
    "no images": ((0, 2, 4, 4), 2),
}


def adaptive_cases():
    for kind in ("adaptive_avg_pool2d", "adaptive_max_pool2d"):
        pool = lambda F, x, size, kind=kind: getattr(F, kind)(x, size)  # noqa: E731
        for name, (shape, size) in ADAPTIVE.items():
            yield case(f"{kind} {name}", lambda F, x, p=pool, s=size: p(F, x, s), shape)
        for name, given_image in {"ties": TIES, "NaN": NANS, "-inf": image([-INF, -INF])}.items():
            for size in (1, 2, 3):
                yield case(f"{kind} {size} {name}", lambda F, x, p=pool, s=size: p(F, x, s),
                           given_image, overflows=True)  # fmt: skip
        yield case(f"{kind} float16", lambda F, x, p=pool: p(F, x, 2),
                   normal(1, 2, 4, 4, dtype="float16"))  # fmt: skip


CASES = [
    *window_cases(),
    *adaptive_cases(),
    case("max_pool2d", max_pool(2), (2, 3, 4, 6)),
    case("max_pool2d 3 stride 2 padding 1", max_pool(3, 2, 1), (2, 2, 7, 7)),
    case("max_pool2d by position", max_pool(3, 2, 1, 1, True), (1, 2, 6, 6)),
    case("max_pool2d dilated", max_pool(2, stride=1, dilation=(2, 1)), (1, 2, 5, 5)),
    case("max_pool2d lists", max_pool([2, 3], [1, 2]), (1, 2, 5, 6)),
    case("max_pool2d one-element tuples", max_pool((2,), (1,)), (1, 2, 3, 4)),
    case("max_pool2d (C, H, W)", max_pool(2), (3, 4, 4)),
    case("max_pool2d (C, H, W) ceil_mode", max_pool(2, 2, ceil_mode=True), (3, 5, 5)),
    case("max_pool2d 1", max_pool(1), (1, 2, 3, 3)),
    case("max_pool2d 1 stride 2", max_pool(1, 2), (1, 2, 5, 4)),
    case("max_pool2d no images", max_pool(2), (0, 3, 4, 4)),
    case("max_pool2d the whole image", max_pool((4, 5)), (2, 2, 4, 5)),
    case("max_pool2d ties", max_pool(2), TIES),
    case("max_pool2d ties overlapping", max_pool(3, 1, 1), TIES),
    case("max_pool2d NaN", max_pool(2), NANS, overflows=True),
    case("max_pool2d NaN overlapping", max_pool(3, 1, 1), NANS, overflows=True),
    case("max_pool2d all -inf", max_pool(2), image([-INF, -INF], [-INF, -INF])),
    # Here PyTorch's gradient goes to an -inf of the image, minise's to one of the padding.
    case("max_pool2d all -inf padding", max_pool(2, padding=1), constant(image([-INF, -INF]))),
    case("max_pool2d negative numbers, padding", max_pool(3, 2, 1), NEGATIVE),
    case("max_pool2d float16", max_pool(2), normal(1, 2, 4, 4, dtype="float16")),
    case("avg_pool2d", avg_pool(2), (2, 3, 4, 6)),
    case("avg_pool2d 3 stride 2 padding 1", avg_pool(3, 2, 1), (2, 2, 7, 7)),
    case("avg_pool2d by position", avg_pool(3, 2, 1, True, False, None), (1, 2, 6, 6)),
    case("avg_pool2d divisor by position", avg_pool(3, 2, 1, False, True, 5), (1, 2, 6, 6)),
    case("avg_pool2d negative divisor", avg_pool(2, divisor_override=-2), (1, 2, 4, 4)),
    case("avg_pool2d ceil_mode", avg_pool(3, 2, ceil_mode=True), (1, 2, 6, 6)),
    case("avg_pool2d ceil_mode padding", avg_pool(3, 2, 1, ceil_mode=True), (1, 2, 6, 7)),
    case("avg_pool2d (C, H, W)", avg_pool(2), (3, 4, 4)),
    case("avg_pool2d 1", avg_pool(1), (1, 2, 3, 3)),
    case("avg_pool2d no images", avg_pool(2), (0, 3, 4, 4)),
    case("avg_pool2d the whole image", avg_pool((4, 5)), (2, 2, 4, 5)),
    case("avg_pool2d NaN", avg_pool(2), NANS, overflows=True),
    case("avg_pool2d float16", avg_pool(2), normal(1, 2, 4, 4, dtype="float16")),
]  # fmt: skip


@parity.every(CASES)
def test_parity(case, way):
    parity.check(case, way)


@st.composite
def windows(draw):
    """Shape and options of a pooling whose windows fit."""
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    stride = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    shape = (*draw(st.tuples(st.integers(1, 2), st.integers(1, 2))),
             *draw(st.tuples(st.integers(1, 9), st.integers(1, 9))))  # fmt: skip
    assume(all(n + 2 * p >= k for n, p, k in zip(shape[2:], padding, kernel)))
    options = {"stride": stride, "padding": padding, "ceil_mode": draw(st.booleans())}
    return shape, kernel, options


@given(windows())
def test_any_max_pool(drawn):
    shape, kernel, options = drawn
    parity.check_live(case(f"max_pool2d {drawn}", max_pool(kernel, **options), shape))


@given(windows(), st.booleans(), st.sampled_from([None, 1, 3, -2]))
def test_any_avg_pool(drawn, counted, divisor):
    shape, kernel, options = drawn
    pool = avg_pool(kernel, count_include_pad=counted, divisor_override=divisor, **options)
    parity.check_live(case(f"avg_pool2d {drawn}", pool, shape))


@given(st.tuples(*[st.integers(1, 7)] * 4), st.booleans())
def test_any_adaptive_pool(lengths, largest):
    H, W, P, Q = lengths
    kind = "adaptive_max_pool2d" if largest else "adaptive_avg_pool2d"
    pool = lambda F, x: getattr(F, kind)(x, (P, Q))  # noqa: E731
    parity.check_live(case(f"{kind} {lengths}", pool, (1, 2, H, W)))
