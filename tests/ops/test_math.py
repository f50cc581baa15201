"""Operators, functions of one number, comparisons and dtype promotion against PyTorch."""

from __future__ import annotations

import itertools
import operator

import hypothesis.extra.numpy as arrays
import hypothesis.strategies as st
import parity
import pytest
from hypothesis import given
from parity import booleans, case, constant, integers, normal, positive, values

import minise

NAN, INF = float("nan"), float("inf")

BINARY = {
    "a + b": operator.add,
    "a - b": operator.sub,
    "a * b": operator.mul,
    "a / b": operator.truediv,
}
COMPARISONS = {
    "a == b": operator.eq,
    "a != b": operator.ne,
    "a < b": operator.lt,
    "a <= b": operator.le,
    "a > b": operator.gt,
    "a >= b": operator.ge,
}
BROADCASTS = {
    "same shape": ((2, 3), (2, 3)),
    "rows": ((2, 3), (3,)),
    "columns": ((2, 1), (2, 3)),
    "outer": ((3, 1), (1, 4)),
    "new axes": ((3,), (2, 4, 3)),
    "gate": ((2, 3, 2, 2), (2, 3, 1, 1)),
    "no axes": ((), (2, 3)),
    "neither has axes": ((), ()),
    "ones": ((1, 1), (1,)),
    "empty": ((0, 3), (1, 3)),
    "nothing to repeat": ((2, 0), (1,)),
}
PAIRS = {"maximum": lambda F, a, b: F.maximum(a, b), "minimum": lambda F, a, b: F.minimum(a, b)}


def add_relu(F, a, b):
    return F.add_relu(a, b)


def add_then_relu(F, a, b):
    return F.relu(a + b)


def arithmetic_cases():
    for name, op in BINARY.items():
        f = lambda F, a, b, op=op: op(a, b)  # noqa: E731
        for kind, (a, b) in BROADCASTS.items():
            yield case(f"{name} {kind}", f, a, b)
        for number in (2, -3, 0.5, -1.5):
            yield case(f"{name} b={number}", lambda F, a, op=op, n=number: op(a, n), (2, 3))
            yield case(f"{name} a={number}", lambda F, b, op=op, n=number: op(n, b), (2, 3))
        yield case(f"{name} itself", lambda F, a, op=op: op(a, a), (2, 3))
        yield case(f"{name} constant a", f, constant((2, 3)), (3,))
        yield case(f"{name} constant b", f, (2, 3), constant((1, 3)))
        yield case(f"{name} inf", f, values([INF, -INF, INF, 1.0, NAN]),
                   values([INF, 1.0, -INF, INF, 1.0]), overflows=True)  # fmt: skip
    for name, f in PAIRS.items():
        for kind, (a, b) in BROADCASTS.items():
            yield case(f"{name} {kind}", f, a, b)
        yield case(f"{name} ties", f, values([[1.0, 2.0, 3.0]]), values([[1.0], [2.0]]))
        yield case(f"{name} NaN", f, values([NAN, 1.0, NAN, INF]), values([0.0, NAN, NAN, INF]))
        yield case(f"{name} itself", lambda F, a, f=f: f(F, a, a), (2, 3))
        yield case(f"a.{name}", lambda F, a, b, n=name: getattr(a, n)(b), (2, 3), (3,))
    for kind, (a, b) in BROADCASTS.items():
        yield case(f"add_relu {kind}", add_relu, a, b, theirs=add_then_relu)
    yield case("add_relu images", add_relu, *2 * [(2, 3, 4, 5)], theirs=add_then_relu)
    yield case("add_relu itself", lambda F, a: F.add_relu(a, a), (2, 3),
               theirs=lambda F, a: F.relu(a + a))  # fmt: skip
    yield case("add_relu ties", add_relu, values([[1.0, -2.0, 0.0]]),
               values([[-1.0], [2.0], [0.0]]), theirs=add_then_relu)  # fmt: skip
    yield case("add_relu NaN", add_relu, values([NAN, 1.0, INF, -INF]),
               values([0.0, NAN, 1.0, 1.0]), theirs=add_then_relu)  # fmt: skip
    yield case("add_relu constant a", add_relu, constant((2, 3)), (2, 3), theirs=add_then_relu)
    for number in (True, False):
        together = lambda F, a, n=number: (a + n, n + a, a * n, n * a, a / 2, n / a)  # noqa: E731
        yield case(f"arithmetic with {number}", together, positive(2, 3))
    yield case("a / 0", lambda F, a, b: a / b, values([1.0, -1.0, 0.0]), values([0.0, 0.0, 0.0]),
               overflows=True)  # fmt: skip


def power_cases():
    def power(F, a, b):
        return a**b

    yield case("a ** b", power, positive(2, 3), (2, 3))
    yield case("a ** b outer", power, positive(2, 1), (1, 3))
    yield case("a ** b constant base", power, constant(positive(3)), (3,))
    for n in (0, 1, 2, 3, -1, -2, 0.5, -0.5, 2.5):
        yield case(f"a ** {n}", lambda F, a, n=n: a**n, positive(2, 3))
    for n in (0, 1, 2, 3, -1, 2.0, -3.0):
        yield case(f"negative ** {n}", lambda F, a, n=n: (-a) ** n, positive(2, 3))
    for n in (2, 0.5, 1, 0):
        yield case(f"{n} ** b", lambda F, b, n=n: n**b, positive(2, 3))
    zeros = values([0.0, 0.0, 0.0, 0.0, 1.0, -2.0])
    for n in (0, 1, 2, 3):
        yield case(f"0 ** {n}", lambda F, a, n=n: a**n, zeros)
    for n in (0.5, -1):
        yield case(f"0 ** {n}", lambda F, a, n=n: a**n, zeros, overflows=True)
    yield case("zeros ** b", power, values([0.0, 0.0, 0.0]), values([0.0, 1.0, 2.5]))
    yield case("zeros ** negative", power, values([0.0, 0.0]), values([-1.0, -0.5]), overflows=True)
    yield case("negative ** b", power, values([-2.0, -2.0, -1.5]), values([2.0, 0.5, -1.0]),
               overflows=True)  # fmt: skip
    yield case("inf ** b", power, values([INF, INF, -INF, 2.0, NAN, 1.0]),
               values([2.0, -1.0, 3.0, INF, 0.0, NAN]), overflows=True)  # fmt: skip
    yield case("integers ** 2", lambda F, a: a**2, integers(-3, 4, 5))
    yield case("integers ** 0.5", lambda F, a: a**0.5, integers(0, 5, 5))
    yield case("2 ** integers", lambda F, a: 2**a, integers(0, 5, 5))
    yield case("0.5 ** integers", lambda F, a: 0.5**a, integers(0, 5, 5))
    yield case("integers ** floats", power, integers(1, 5, 5), (5,))
    yield case("floats ** integers", power, (5,), integers(-3, 4, 5))
    yield case("integers ** integers", power, integers(-3, 4, 5), integers(0, 4, 5))
    yield case("float16 ** 2", lambda F, a: a**2, normal(5, dtype="float16"))


FUNCTIONS = {
    "exp": lambda F, x: x.exp(),
    "sqrt": lambda F, x: x.sqrt(),
    "log": lambda F, x: x.log(),
    "abs": lambda F, x: x.abs(),
    "neg": lambda F, x: -x,
    "__abs__": lambda F, x: abs(x),
    "clamp min": lambda F, x: x.clamp(min=-0.5),
    "clamp max": lambda F, x: x.clamp(max=0.5),
    "clamp": lambda F, x: x.clamp(-0.5, 0.5),
    "clamp integers": lambda F, x: x.clamp(0, 1),
    "clamp crossed": lambda F, x: x.clamp(0.5, -0.5),
}


def function_cases():
    for name, f in FUNCTIONS.items():
        yield case(name, f, positive(2, 3) if name in ("sqrt", "log") else (2, 3))
        yield case(f"{name} no axes", f, values(0.75))
        yield case(f"{name} empty", f, (2, 0))
        yield case(f"{name} float16", f, parity.values([0.5, 1.0, 2.0, 3.0], "float16"))
        yield case(f"{name} special", f, values([NAN, INF, -INF, 0.0, -0.0, 0.5, -0.5]),
                   overflows=True)  # fmt: skip
        yield case(f"{name} of integers", f, integers(-4 * (name not in ("sqrt", "log")), 5, 6),
                   overflows=True)  # fmt: skip
    yield case("exp overflow", lambda F, x: x.exp(), values([1e3, -1e3, 88.0]), overflows=True)
    yield case("exp log sqrt chain", lambda F, x: ((x.exp() + 1).log() * x.sqrt()), positive(3))
    yield case("used twice", lambda F, x: x * x + x.exp() - 3 * x, (2, 3))


def promotion_cases():
    kinds = ("bool", "uint8", "int32", "int64", "float16", "float32", "float64")
    together = lambda F, a, b: (a + b, a * b, a / b, a < b)  # noqa: E731
    difference = lambda F, a, b: a - b  # noqa: E731
    for a, b in itertools.product(kinds, kinds):
        given = [values([[1, 0, 3]], a), values([[2], [1]], b)]
        joined = lambda F, a, b: (F.where(b > 1, a, b), F.cat([a.T, b], 0))  # noqa: E731
        yield case(f"promotion {a} {b}", together, *given, golden=False)
        yield case(f"promotion {a} {b}, no axes", together, given[0], values(2, b), golden=False)
        yield case(f"joining {a} {b}", joined, *given, golden=False)
        if "bool" not in (a, b):  # PyTorch has no difference of booleans
            yield case(f"promotion {a} - {b}", difference, *given, golden=False)
    for a, number in itertools.product(kinds, (2, 0.5, True)):
        left = lambda F, a, n=number: (n + a, n * a, n / a, n < a)  # noqa: E731
        right = lambda F, a, n=number: (a + n, a * n, a / n, a < n)  # noqa: E731
        yield case(f"promotion {number} {a}", left, values([1, 2, 3], a), golden=False)
        yield case(f"promotion {a} {number}", right, values([1, 2, 3], a), golden=False)


def comparison_cases():
    for name, op in COMPARISONS.items():
        f = lambda F, a, b, op=op: op(a, b)  # noqa: E731
        yield case(name, f, (3, 1), (1, 4))
        yield case(f"{name} ties", f, values([1.0, 2.0, 3.0, NAN]), values([1.0, 3.0, 2.0, NAN]))
        yield case(f"{name} integers", f, integers(0, 3, 8), integers(0, 3, 8))
        yield case(f"{name} integers floats", f, integers(0, 3, 3), values([0.5, 1.0, 2.0]))
        yield case(f"{name} integers and 0.5", lambda F, a, op=op: op(a, 0.5), integers(0, 3, 4))
        yield case(f"{name} b=0", lambda F, a, op=op: op(a, 0), values([-1.0, 0.0, 1.0]))
        yield case(f"{name} a=0", lambda F, a, op=op: op(0, a), values([-1.0, 0.0, 1.0]))
        yield case(f"{name} booleans", f, booleans(4), booleans(4))


def matmul(F, a, b):
    return a @ b


MATRICES = {
    "matrix, matrix": ((2, 3), (3, 4)),
    "vector, vector": ((3,), (3,)),
    "matrix, vector": ((2, 3), (3,)),
    "vector, matrix": ((3,), (3, 2)),
    "batch, batch": ((2, 2, 3), (2, 3, 2)),
    "batch, matrix": ((2, 2, 3), (3, 4)),
    "matrix, batch": ((2, 3), (2, 3, 4)),
    "batch, vector": ((2, 2, 3), (3,)),
    "vector, batch": ((3,), (2, 3, 4)),
    "batches broadcast": ((2, 1, 2, 3), (3, 3, 2)),
    "1 × 1": ((1, 1), (1, 1)),
    "no rows": ((0, 3), (3, 2)),
    "nothing to sum": ((2, 0), (0, 3)),
}

CASES = [
    *arithmetic_cases(),
    *power_cases(),
    *function_cases(),
    *comparison_cases(),
    *(case(f"a @ b {name}", matmul, a, b) for name, (a, b) in MATRICES.items()),
    case("a.matmul", lambda F, a, b: a.matmul(b), (2, 3), (3, 2)),
    case("a @ b integers", matmul, integers(-3, 4, 2, 3), integers(-3, 4, 3, 2)),
    case("a @ a.T", lambda F, a: a @ a.T, (2, 3)),
    case("linear", lambda F, x, w, b: F.linear(x, w, b), (4, 3), (2, 3), (2,)),
    case("linear no bias", lambda F, x, w: F.linear(x, w), (4, 3), (2, 3)),
    case("linear one row", lambda F, x, w, b: F.linear(x, w, b), (3,), (2, 3), (2,)),
    case("linear one row, no bias", lambda F, x, w: F.linear(x, w), (3,), (2, 3)),
    case("linear 3-D", lambda F, x, w, b: F.linear(x, w, b), (2, 4, 3), (2, 3), (2,)),
    case("linear 4-D", lambda F, x, w, b: F.linear(x, w, b), (2, 2, 2, 3), (2, 3), (2,)),
    case("linear constant input", lambda F, x, w: F.linear(x, w), constant((4, 3)), (2, 3)),
    case("linear constant weight", lambda F, x, w: F.linear(x, w), (4, 3), constant((2, 3))),
    case("linear no rows", lambda F, x, w, b: F.linear(x, w, b), (0, 3), (2, 3), (2,)),
    case("where", lambda F, c, a, b: F.where(c, a, b), booleans(2, 3), (2, 3), (2, 3)),
    case("where broadcast", lambda F, c, a, b: F.where(c, a, b), booleans(2, 1), (3,), (1, 1)),
    case("where number", lambda F, c, a: F.where(c, a, 0.5), booleans(2, 3), (2, 3)),
    case("where number first", lambda F, c, a: F.where(c, 1, a), booleans(2, 3), (2, 3)),
    case("where numbers", lambda F, c: F.where(c, 1.5, -2.0), booleans(2, 3)),
    case("where integer numbers", lambda F, c: F.where(c, 1, 0), booleans(2, 3)),
    case("where mixed numbers", lambda F, c: F.where(c, 1, 0.5), booleans(2, 3)),
    case("where boolean numbers", lambda F, c: F.where(c, True, False), booleans(2, 3)),
    case("where stops NaN", lambda F, x: F.where(x > 0, x.log(), x), values([-1.0, 0.5, 2.0]),
         overflows=True),
    case("where comparison", lambda F, a, b: F.where(a > b, a, b), (2, 3), (2, 3)),
    case("mask by product", lambda F, a: a * (a > 0), (2, 3)),
    case("dtype double", lambda F, x: x.double(), (3,)),
    case("dtype float", lambda F, x: x.float(), (3,)),
    case("dtype long", lambda F, x: x.long(), values([-1.5, 0.5, 2.9])),
    case("dtype float of integers", lambda F, x: x.float() / 2, integers(0, 9, 4)),
    *promotion_cases(),
]  # fmt: skip


@parity.every(CASES)
def test_parity(case, way):
    parity.check(case, way)


@given(st.data())
def test_any_shapes_that_broadcast(data):
    shapes = data.draw(arrays.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, max_side=3))
    name = data.draw(st.sampled_from(sorted(BINARY | COMPARISONS)))
    op = (BINARY | COMPARISONS)[name]
    a, b = shapes.input_shapes
    parity.check_live(case(f"{name} {a} {b}", lambda F, a, b: op(a, b), a, b))


@pytest.mark.parametrize(
    "difference",
    [lambda x, m: x - m, lambda x, m: m - x, lambda x, m: 1 - m, lambda x, m: x - True,
     lambda x, m: m - m, lambda x, m: -m],
)  # fmt: skip
def test_booleans_have_no_difference(difference):
    x = minise.ones(2)
    with pytest.raises(RuntimeError, match="got booleans"):
        difference(x, x > 0)


def test_clamp_takes_no_tensors_as_bounds():
    x = minise.zeros(3)
    with pytest.raises(TypeError, match="clamp"):
        x.clamp(min=minise.ones(3))
