"""Reductions against PyTorch: every way to name axes, ties, NaN, nothing to reduce."""

from __future__ import annotations

import hypothesis.extra.numpy as arrays
import hypothesis.strategies as st
import parity
from hypothesis import given
from parity import booleans, case, constant, integers, normal, values

NAN, INF = float("nan"), float("inf")
AXES = (None, 0, 1, -1, (0, 2), (-1, 0), (0, 1, 2), ())
TIES = [[1.0, 3.0, 3.0, 2.0], [0.0, 0.0, 0.0, 0.0], [-1.0, -2.0, -2.0, -1.0]]


def along_axes(name, **options):
    """The reduction of that name over some axes. PyTorch writes all axes as None or ()."""

    def ours(axis, keepdims):
        return lambda F, x: getattr(x, name)(axis=axis, keepdims=keepdims, **options)

    def theirs(axis, keepdims):
        if axis is None and name in ("amax", "amin"):
            axis = ()
        return lambda F, x: getattr(F, name)(x, dim=axis, keepdim=keepdims, **options)

    return ours, theirs


REDUCTIONS = {
    "sum": along_axes("sum"),
    "mean": along_axes("mean"),
    "var": along_axes("var"),
    "var correction=0": along_axes("var", correction=0),
    "var correction=2": along_axes("var", correction=2),
    "amax": along_axes("amax"),
    "amin": along_axes("amin"),
}


def extreme(name):
    """max, min: PyTorch gives the positions too when it is given an axis."""

    def ours(axis, keepdims):
        return lambda F, x: getattr(x, name)(axis=axis, keepdims=keepdims)

    def theirs(axis, keepdims):
        return lambda F, x: getattr(x, name)(dim=axis, keepdim=keepdims).values

    return ours, theirs


def position(name):
    def ours(axis, keepdims):
        return lambda F, x: getattr(x, name)(axis=axis, keepdims=keepdims)

    def theirs(axis, keepdims):
        return lambda F, x: getattr(x, name)(dim=axis, keepdim=keepdims)

    return ours, theirs


ONE_AXIS = {
    "max": extreme("max"),
    "min": extreme("min"),
    "argmax": position("argmax"),
    "argmin": position("argmin"),
}


def reduction_cases():
    for name, (ours, theirs) in REDUCTIONS.items():
        for axis in AXES:
            if axis == () and name.startswith("var"):
                continue  # PyTorch reduces over all axes, but differentiates as if over none
            for keepdims in (False, True):
                yield case(f"{name} axis={axis} keepdims={keepdims}", ours(axis, keepdims),
                           (3, 4, 3), theirs=theirs(axis, keepdims))  # fmt: skip
        short = [ours(None, False), theirs(None, False)]
        last = [ours(-1, False), theirs(-1, False)]
        undefined = name.startswith("var")
        yield case(f"{name} no axes", short[0], (), theirs=short[1], overflows=undefined)
        yield case(f"{name} no axes, axis=-1", last[0], (), theirs=last[1], overflows=undefined)
        yield case(f"{name} one element", short[0], (1, 1), theirs=short[1], overflows=undefined)
        if name != "var correction=2":  # fewer numbers than the correction: has no meaning
            yield case(f"{name} length 1", last[0], (3, 1), theirs=last[1], overflows=undefined)
        yield case(f"{name} no rows", last[0], (0, 3), theirs=last[1])
        yield case(f"{name} channels", ours((0, 2, 3), False), (2, 3, 4, 2),
                   theirs=theirs((0, 2, 3), False))  # fmt: skip
        yield case(f"{name} ties", last[0], values(TIES), theirs=last[1])
        yield case(f"{name} ties over all", short[0], values(TIES), theirs=short[1])
        nans = values([[1.0, NAN, 3.0], [NAN, NAN, 0.0]])
        if name in ("amax", "amin"):  # PyTorch's gradient is NaN; minise's is that of x.max()
            nans = constant(nans)
        yield case(f"{name} NaN", last[0], nans, theirs=last[1])
        yield case(f"{name} inf", last[0], values([[1.0, INF, -INF], [INF, INF, 0.0]]),
                   theirs=last[1], overflows=True)  # fmt: skip
        yield case(f"{name} float16", last[0], normal(3, 4, dtype="float16"), theirs=last[1])
        yield case(f"x.{name}()", short[0], (2, 3), theirs=short[1])
    for name in ("sum", "mean", "var"):
        yield case(f"{name} of nothing", lambda F, x, n=name: getattr(x, n)(), (0,), overflows=True)
        yield case(f"{name} along nothing", lambda F, x, n=name: getattr(x, n)(axis=1), (2, 0),
                   overflows=True)  # fmt: skip


def one_axis_cases():
    for name, (ours, theirs) in ONE_AXIS.items():
        for axis in (0, 1, 2, -1, -2):
            for keepdims in (False, True):
                yield case(f"{name} axis={axis} keepdims={keepdims}", ours(axis, keepdims),
                           (3, 4, 2), theirs=theirs(axis, keepdims))  # fmt: skip
        last = [ours(1, False), theirs(1, False)]
        yield case(f"{name} ties", last[0], values(TIES), theirs=last[1])
        yield case(f"{name} NaN", last[0], values([[1.0, NAN, 3.0, NAN], [NAN, 2.0, 1.0, 0.0]]),
                   theirs=last[1])  # fmt: skip
        yield case(f"{name} no axes", ours(0, False), (), theirs=theirs(0, False))
        yield case(f"{name} no axes, axis=-1", ours(-1, True), (), theirs=theirs(-1, True))
        yield case(f"{name} no rows", last[0], (0, 3), theirs=last[1])
        yield case(f"{name} integers", last[0], integers(-2, 3, 3, 4), theirs=last[1])
        for kind, x in {
            "": (2, 3, 2), " ties": values(TIES), " NaN": values([1.0, NAN, 2.0, NAN]),
            " no axes": (), " integers": integers(-5, 6, 2, 3),
        }.items():  # fmt: skip
            yield case(f"x.{name}(){kind}", lambda F, x, n=name: getattr(x, n)(), x)


CASES = [
    *reduction_cases(),
    *one_axis_cases(),
    case("sum of integers", lambda F, x: x.sum(), integers(-5, 6, 3, 4)),
    case("sum of int32", lambda F, x: x.sum(axis=0), integers(-5, 6, 3, 4, dtype="int32")),
    case("sum of uint8", lambda F, x: x.sum(), integers(0, 256, 300, dtype="uint8")),
    case("sum of booleans", lambda F, x: x.sum(axis=1), booleans(3, 4)),
    case("amax of integers", lambda F, x: x.amax(axis=0), integers(-5, 6, 3, 4)),
    case("amax of booleans", lambda F, x: x.amax(axis=0), booleans(3, 4)),
    case("sum twice", lambda F, x: x.sum(axis=0).sum(), (3, 4)),
    case("mean of squares", lambda F, x: (x * x).mean(axis=(1, 2)), (2, 3, 4)),
    case("normalise", lambda F, x: (x - x.mean(axis=0)) / x.var(axis=0, correction=0).sqrt(),
         (5, 3)),
    case("var of a large offset", lambda F, x: (x + 100.0).var(axis=0), (20, 2)),
    case("parts of a sum", lambda F, x: x / x.sum(axis=1, keepdims=True), parity.positive(3, 4)),
    case("sum of 10,000", lambda F, x: x.sum(), parity.positive(10_000), golden=False),
    case("SE squeeze", lambda F, x: x.mean(axis=(2, 3)), (2, 3, 4, 4)),
    case("SE squeeze by max", lambda F, x: x.amax(axis=(2, 3)), (2, 3, 4, 4)),
]  # fmt: skip


@parity.every(CASES)
def test_parity(case, way):
    parity.check(case, way)


@given(st.data())
def test_any_shape_and_axes(data):
    shape = data.draw(arrays.array_shapes(min_dims=1, max_dims=5, max_side=4))
    axes = data.draw(arrays.valid_tuple_axes(len(shape), min_size=1))
    keepdims = data.draw(st.booleans())
    name = data.draw(st.sampled_from(["sum", "mean", "var correction=0", "amax", "amin"]))
    ours, theirs = (make(axes, keepdims) for make in REDUCTIONS[name])
    parity.check_live(case(f"{name} {shape} {axes}", ours, shape, theirs=theirs))


@given(st.data())
def test_any_ties(data):
    """Few different numbers, so that extremes tie in every way."""
    numbers = data.draw(arrays.arrays("float64", (3, 4), elements=st.sampled_from([0.0, 1.0, NAN])))
    name = data.draw(st.sampled_from(["max", "min", "argmax", "argmin"]))
    axis = data.draw(st.integers(-2, 1))
    ours, theirs = (make(axis, False) for make in ONE_AXIS[name])
    parity.check_live(case(f"{name} of ties", ours, values(numbers), theirs=theirs))
