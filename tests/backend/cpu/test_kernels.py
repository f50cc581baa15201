"""Every fast kernel against its plain twin: the same values and the same gradients.

The plain kernels are the specification (the other tests hold them against PyTorch). Here the same
expression runs with the fast kernels and inside `backend.plain()`, and everything that comes out
is compared: outputs, and the gradient of every input.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from math import prod
from typing import Any, NamedTuple
from unittest.mock import patch

import hypothesis.strategies as st
import numpy
import pytest
from hypothesis import given, settings
from kernel_cases import (
    CONVOLUTIONS,
    TOLERANCES,
    assert_close,
    channels_last,
    conv,
    elementwise,
    images,
    numbers,
)

import minise
from minise import Tensor, backend, optim
from minise import functional as F
from minise.backend import Kernel
from minise.backend.cpu.kernels import KERNELS, adam, products, sgd, window_products, winograd
from minise.models.fusion import se_add
from minise.ops.activation import ReLU
from minise.ops.conv import Conv2d
from minise.ops.fused import AddReLU

HOME = backend.get("numpy")
pytestmark = pytest.mark.fast_kernels

Array = numpy.ndarray
dtypes = pytest.mark.parametrize("dtype", TOLERANCES)


# --- running both ---------------------------------------------------------------------------------


class Outcome(NamedTuple):
    output: Array
    gradients: list[Array | None]
    ran_fast: bool


def run(f: Callable[..., Tensor], arrays: list[Array], upstream: Array, constant=()) -> Outcome:
    """f of the arrays; those whose index is in `constant` ask for no gradient."""
    tensors = [Tensor(array, i not in constant) for i, array in enumerate(arrays)]
    y = f(*tensors)
    ran_fast = y.op is not None and y.op.kernel is not None
    if y.requires_grad:
        y.backward(Tensor(upstream))
    gradients = [None if t.grad is None else t.grad.numpy() for t in tensors]
    return Outcome(y.numpy(), gradients, ran_fast)


def compare(
    f: Callable[..., Tensor], *arrays: Array, constant=(), upstream: Array | None = None
) -> Outcome:
    """AssertionError unless f gives the same with fast and with plain kernels."""
    __tracebackhide__ = True
    originals = [array.copy() for array in arrays]
    with backend.plain(), minise.no_grad():
        shape = f(*map(Tensor, arrays)).shape
    if upstream is None:
        upstream = numpy.random.RandomState(99).standard_normal(shape).astype(arrays[0].dtype)
    fast = run(f, list(arrays), upstream, constant)
    with backend.plain():
        plain = run(f, list(arrays), upstream, constant)
    assert not plain.ran_fast
    forward, backward = TOLERANCES[arrays[0].dtype.name]
    assert_close(fast.output, plain.output, forward, "output")
    for i, (ours, wanted) in enumerate(zip(fast.gradients, plain.gradients, strict=True)):
        assert (ours is None) == (wanted is None), f"gradient of input {i}: one is missing"
        if ours is not None:
            assert_close(ours, wanted, backward, f"gradient of input {i}")
    for array, original in zip(arrays, originals):
        numpy.testing.assert_array_equal(array, original, "an input was changed in place")
    return fast


def negative_strides(x: Array) -> Array:
    return x[:, ::-1, ::-1, ::-1].copy()[:, ::-1, ::-1, ::-1]


def with_gaps(x: Array) -> Array:
    wide = numpy.zeros((*x.shape[:3], 2 * x.shape[3]), x.dtype)
    wide[..., ::2] = x
    return wide[..., ::2]


def read_only(x: Array) -> Array:
    x = channels_last(x)
    x.flags.writeable = False
    return x


def one_for_all(x: Array) -> Array:
    """The first image N times, without a copy."""
    return numpy.broadcast_to(x[:1], x.shape)


def one_pixel(x: Array) -> Array:
    """One value per channel, at all pixels, without a copy: what SE's squeeze gives back."""
    return numpy.broadcast_to(x[:, :, :1, :1], x.shape)


LAYOUTS = {
    "NCHW": lambda x: x,
    "channels last": channels_last,
    "reversed": negative_strides,
    "gaps": with_gaps,
    "read-only": read_only,
    "one image": one_for_all,
    "one pixel": one_pixel,
}


# --- the ops, by the name of their kernel ---------------------------------------------------------

# name -> (expression, shapes of its arguments for images of a shape)
OPS: dict[str, tuple[Callable[..., Tensor], Callable[..., list[tuple[int, ...]]]]] = {
    "conv2d": (
        lambda x, w, b: F.conv2d(x, w, b, padding=1),
        lambda N, C, H, W: [(N, C, H, W), (6, C, 3, 3), (6,)],
    ),
    "conv2d_relu": (
        lambda x, w, b: F.conv2d_relu(x, w, b, padding=1),
        lambda N, C, H, W: [(N, C, H, W), (6, C, 3, 3), (6,)],
    ),
    "batch_norm": (
        lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True),
        lambda N, C, H, W: [(N, C, H, W), (C,), (C,)],
    ),
    "batch_norm_relu": (
        lambda x, w, b: F.batch_norm_relu(x, None, None, w, b, training=True),
        lambda N, C, H, W: [(N, C, H, W), (C,), (C,)],
    ),
    "adaptive_avg_pool2d": (
        lambda x: F.adaptive_avg_pool2d(x, 1),
        lambda N, C, H, W: [(N, C, H, W)],
    ),
    "axpy": (
        lambda s, u, x: F.axpy(s, u, x),
        lambda N, C, H, W: [(N, C, 1, 1), (N, C, H, W), (N, C, H, W)],
    ),
    "axpy_relu": (
        lambda s, u, x: F.axpy_relu(s, u, x),
        lambda N, C, H, W: [(N, C, 1, 1), (N, C, H, W), (N, C, H, W)],
    ),
    "add_relu": (
        lambda a, b: F.add_relu(a, b),
        lambda N, C, H, W: [(N, C, H, W), (N, C, H, W)],
    ),
    **{
        name: (lambda x, op=op: op()(x), lambda N, C, H, W: [(N, C, H, W)])
        for name, op in elementwise(HOME.offers).items()
    },
    "max_pool2d": (
        lambda x: F.max_pool2d(x, 3, 2, padding=1),
        lambda N, C, H, W: [(N, C, H, W)],
    ),
    "avg_pool2d": (
        lambda x: F.avg_pool2d(x, 3, 2, padding=1, count_include_pad=False),
        lambda N, C, H, W: [(N, C, H, W)],
    ),
    "multiply": (lambda u, s: u * s, lambda N, C, H, W: [(N, C, H, W), (N, C, 1, 1)]),
}
ops = pytest.mark.parametrize("name", OPS)

SHAPES = {
    "a pixel": (9, 1, 1, 1),
    "a row": (3, 2, 1, 7),
    "odd": (2, 3, 5, 7),
    "prime pixels": (2, 70, 13, 11),
    "one image": (1, 16, 32, 32),
    "shared out": (5, 16, 32, 32),  # more numbers than one thread takes alone
    "many channels": (2, 1100, 4, 4),
    "more channels than a row": (1, 4200, 3, 3),
    "long": (1, 24, 100, 90),
    "many pieces": (3, 64, 56, 56),  # more numbers than a thread takes at a time
}


def arguments(name: str, shape: tuple[int, ...], dtype: str) -> list[Array]:
    shapes = OPS[name][1](*shape)
    return [
        images(s, dtype, seed) if s == shape else numbers(s, dtype, seed)
        for seed, s in enumerate(shapes)
    ]


def upstream_of(name: str, arrays: list[Array]) -> Array | None:
    """The gradient that flows in; None: the usual one.

    The two forms of BatchNorm and convolution round differently, so the input of their ReLU may be
    a hair above 0 in one and below in the other. There the gradient is 0, and it does not matter
    which.
    """
    if name not in ("batch_norm_relu", "conv2d_relu"):
        return None
    with backend.plain(), minise.no_grad():
        before = OPS[name.removesuffix("_relu")][0](*map(Tensor, arrays)).numpy()
    gradient = numpy.random.RandomState(99).standard_normal(before.shape).astype(before.dtype)
    return numpy.where(numpy.abs(before) > 1e-4, gradient, 0).astype(before.dtype)


def check(name: str, arrays: list[Array], **options: Any) -> Outcome:
    __tracebackhide__ = True
    return compare(OPS[name][0], *arrays, upstream=upstream_of(name, arrays), **options)


def test_every_kernel_has_a_case():
    assert {*OPS, *LOSSES} == set(HOME.offers) == {op.name for op in HOME.kernels}


@ops
@dtypes
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_shapes(name, dtype, shape):
    assert check(name, arguments(name, shape, dtype)).ran_fast


@ops
@dtypes
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("gradient_layout", ["NCHW", "channels last", "one pixel", "reversed"])
def test_memory_orders(name, dtype, layout, gradient_layout):
    """Of the images and of the gradient that flows in."""
    shape = (2, 3, 4, 6)
    arrays = [LAYOUTS[layout](a) if a.ndim == 4 else a for a in arguments(name, shape, dtype)]
    upstream = upstream_of(name, arrays)
    if upstream is None:
        with backend.plain():
            upstream = numbers(OPS[name][0](*map(Tensor, arrays)).shape, dtype, 5)
    compare(OPS[name][0], *arrays, upstream=LAYOUTS[gradient_layout](upstream))


@ops
@dtypes
def test_mixed_memory_orders(name, dtype):
    """Each image its own."""
    arrays = arguments(name, (2, 3, 4, 6), dtype)
    for i, array in enumerate(arrays):
        if array.ndim == 4:
            for layout in LAYOUTS.values():
                check(name, [*arrays[:i], layout(array), *arrays[i + 1 :]])


@pytest.mark.parametrize("name", [name for name in OPS if "batch_norm" not in name])
@dtypes
def test_no_images(name, dtype):
    """Without statistics there is no BatchNorm; see test_batch_norm_evaluation."""
    check(name, arguments(name, (0, 3, 4, 4), dtype))


@ops
def test_float16_is_left_to_the_plain_kernel(name):
    arrays = [a.astype("float16") for a in arguments(name, (2, 3, 4, 4), "float32")]
    upstream = numpy.ones(OPS[name][0](*map(Tensor, arrays)).shape, "float16")
    fast = run(OPS[name][0], arrays, upstream)
    with backend.plain():
        plain = run(OPS[name][0], arrays, upstream)
    assert not fast.ran_fast
    numpy.testing.assert_array_equal(fast.output, plain.output)
    for ours, wanted in zip(fast.gradients, plain.gradients):
        numpy.testing.assert_array_equal(ours, wanted)


@ops
def test_constant_inputs(name):
    """No gradient for some of the inputs, every combination."""
    arrays = arguments(name, (2, 3, 4, 6), "float64")
    for count in range(len(arrays) + 1):
        for constant in itertools.combinations(range(len(arrays)), count):
            check(name, arrays, constant=constant)


NOT_FINITE = {"NaN": numpy.nan, "inf": numpy.inf, "-inf": -numpy.inf}


def struck(array: Array, place: tuple[int, ...], value: str) -> Array:
    array = array.copy(order="K")
    array[place] = NOT_FINITE[value]
    return array


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (name, value)
        for name, value in itertools.product(OPS, NOT_FINITE)
        if "conv2d" not in name and ("batch_norm" not in name or value == "NaN")  # see below
    ],
)
@dtypes
@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (2, 20, 6, 6)])
def test_nan_and_infinity_pass(name, dtype, value, shape):
    """In each of the inputs and in the gradient."""
    f, arrays = OPS[name][0], arguments(name, shape, dtype)
    upstream = upstream_of(name, arrays)
    if upstream is None:
        upstream = numbers(f(*map(Tensor, arrays)).shape, dtype, 5)
    with numpy.errstate(all="ignore"):
        for i, array in enumerate(arrays):
            place = (-1, *(0 for _ in array.shape[1:]))
            given = struck(array, place, value)
            compare(f, *arrays[:i], given, *arrays[i + 1 :], upstream=upstream)
        compare(f, *arrays, upstream=struck(upstream, (1, 2, 0, 0), value))


with_relu = pytest.mark.parametrize("name", [name for name in OPS if name.endswith("relu")])


@with_relu
@dtypes
def test_ties_at_zero(name, dtype):
    """Where a ReLU's input is exactly 0, no gradient passes."""
    shape = (2, 3, 4, 6)
    zeros = channels_last(numpy.zeros(shape, dtype))
    x = images(shape, dtype)
    tied = {
        "relu": [channels_last(numpy.where(x > 0, zeros, -zeros))],
        "add_relu": [x, -x],
        "conv2d_relu": [x, numpy.zeros((6, 3, 3, 3), dtype), numpy.zeros(6, dtype)],
        "axpy_relu": [numpy.ones((2, 3, 1, 1), dtype), x, -x],
        "batch_norm_relu": [x, numpy.zeros(3, dtype), numpy.zeros(3, dtype)],
    }
    outcome = compare(OPS[name][0], *tied[name])
    assert outcome.ran_fast
    assert not outcome.output.any()
    assert not any(gradient.any() for gradient in outcome.gradients)


@with_relu
@dtypes
def test_unfused_is_the_same_in_two_ops(name, dtype):
    """And the fused op is one: what flows in passes where the output is not 0."""
    arrays = arguments(name, (2, 3, 4, 6), dtype)
    upstream = upstream_of(name, arrays)
    upstream = numbers((2, 3, 4, 6), dtype, 5) if upstream is None else upstream
    fused = run(OPS[name][0], arrays, upstream)
    with minise.unfused():
        y = OPS[name][0](*(Tensor(a, True) for a in arrays))
        unfused = run(OPS[name][0], arrays, upstream)
    assert y.op.name == "relu"
    assert name == "relu" or y.op.inputs[0].op.name == {"add_relu": "add"}.get(name, name[:-5])
    assert OPS[name][0](*(Tensor(a, True) for a in arrays)).op.name == name
    forward, backward = TOLERANCES[dtype]
    assert_close(fused.output, unfused.output, forward, "output")
    for ours, wanted in zip(fused.gradients, unfused.gradients, strict=True):
        assert_close(ours, wanted, backward, "gradient")


@given(st.data())
@settings(max_examples=150)
def test_any_shape(data):
    name = data.draw(st.sampled_from([name for name in OPS if name != "conv2d"]))
    dtype = data.draw(st.sampled_from(list(TOLERANCES)))
    N, C, H, W = data.draw(st.tuples(*[st.integers(1, n) for n in (5, 70, 13, 13)]))
    if name.startswith("batch_norm") and N * H * W < 8:
        N = 8  # with two values the gradient cancels, and nothing but rounding is left
    arrays = arguments(name, (N, C, H, W), dtype)
    layouts = data.draw(st.lists(st.sampled_from(list(LAYOUTS)[:5]), min_size=3, max_size=3))
    check(name, [LAYOUTS[k](a) if a.ndim == 4 else a for a, k in zip(arrays, layouts)])


# --- convolution ----------------------------------------------------------------------------------


@contextmanager
def a_blas_with(small_product: int) -> Iterator[None]:
    """The kernels choose their products as with such a BLAS; any BLAS can compute them."""
    with (
        patch.object(products, "small_product", lambda: small_product),
        patch.object(window_products, "small_product", lambda: small_product),
        patch.object(winograd, "small_product", lambda: small_product),
    ):
        products.block_of.cache_clear()
        yield
    products.block_of.cache_clear()


@pytest.fixture(params=[0, 1_000_000], ids=["AVX2", "AVX-512"])
def every_blas(request):
    with a_blas_with(request.param):
        yield


@dtypes
@pytest.mark.parametrize(
    ("kernel", "x", "options"), CONVOLUTIONS, ids=[" ".join(map(str, c)) for c in CONVOLUTIONS]
)
def test_conv2d(dtype, kernel, x, options, every_blas):
    case = conv(kernel, x, dtype, bias=len(options) != 1, **options)
    assert compare(*case).ran_fast == ("dilation" not in options)
    if dtype == "float64":
        compare(*case, constant=(0,))  # the weights' gradient alone


@given(st.data())
@settings(max_examples=150)
def test_any_conv2d(data):
    draw = data.draw
    G = draw(st.sampled_from([1, 1, 1, 2, 5]))
    O, size = draw(st.integers(1, 35)) * G, draw(st.integers(1, 35))
    R, S = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    dilation = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    padding = draw(st.tuples(st.integers(0, 4), st.integers(0, 4)))
    if stride == (1, 1) and draw(st.booleans()):
        padding = "same"
    H = draw(st.integers(dilation[0] * (R - 1) + 1, 24))
    W = draw(st.integers(dilation[1] * (S - 1) + 1, 24))
    f, x, *others = conv(
        (O, size, R, S), (draw(st.integers(1, 4)), size * G, H, W),
        draw(st.sampled_from(list(TOLERANCES))), bias=draw(st.booleans()),
        stride=stride, padding=padding, dilation=dilation, groups=G,
    )  # fmt: skip
    x = LAYOUTS[draw(st.sampled_from(list(LAYOUTS)))](x)
    with a_blas_with(draw(st.sampled_from([0, 1_000_000]))):
        compare(f, x, *others, constant=draw(st.sampled_from([(), (0,), (1,), (0, 1)])))


@dtypes
@pytest.mark.parametrize("value", NOT_FINITE)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("reach", [1, 2])
def test_conv2d_nan_and_infinity(dtype, value, stride, reach, every_blas):
    """In the images, the weights, the bias and the gradient.

    Not where it meets the border: whether the zeros there are multiplied (0 · NaN is NaN) or left
    out is the kernel's affair.
    """
    options = {"stride": stride, "padding": reach, "dilation": reach}
    f, *arrays = conv((20, 20, 3, 3), (2, 20, 15, 15), dtype, **options)
    upstream = numbers(f(*map(Tensor, arrays)).shape, dtype)
    places = [(1, 0, 7, 7), (-1, 0, 1, 1), (-1,)]
    with numpy.errstate(all="ignore"):
        for i, place in enumerate(places):
            compare(f, *arrays[:i], struck(arrays[i], place, value), *arrays[i + 1 :])
        if stride == 1:  # else see the next test
            compare(f, *arrays, upstream=struck(upstream, (1, 2, 4, 4), value))


@pytest.mark.parametrize(("channels", "stride"), [(4, 1), (20, 2)])
def test_conv2d_nan_in_pairs_of_pixels(channels, stride, every_blas):
    """With few channels, and in the gradient with stride 2, NaN may reach the other pixel of a pair
    and no further.
    """
    f, x, w, b = conv(
        (channels, channels, 3, 3), (1, channels, 8, 8), "float64", padding=1, stride=stride
    )
    x = struck(x, (0, 0, 4, 4), "NaN")
    side = 8 // stride
    upstream = struck(numbers((1, channels, side, side), "float64"), (0, 0, 2, 2), "NaN")
    fast = run(f, [x, w, b], upstream)
    with backend.plain():
        plain = run(f, [x, w, b], upstream)
    for ours, wanted in ((fast.output, plain.output), (fast.gradients[0], plain.gradients[0])):
        due = numpy.isnan(wanted).any(axis=(0, 1))
        assert due.any()
        side = len(due)
        pairs = due.reshape(side, side // 2, 2).any(axis=2).repeat(2, axis=1)
        found = numpy.isnan(ours).any(axis=(0, 1))
        assert (found >= due).all()
        assert (found <= pairs).all()
        numpy.testing.assert_allclose(ours[..., ~pairs], wanted[..., ~pairs], 1e-10, 1e-12)
    for ours, wanted in zip(fast.gradients[1:], plain.gradients[1:]):
        numpy.testing.assert_allclose(ours, wanted, 1e-9, 1e-12)


@pytest.mark.parametrize("value", NOT_FINITE)
@pytest.mark.parametrize("row", [0, 3, 4, 7])
def test_conv2d_of_two_rows_at_once_keeps_nan_and_infinity_in_place(value, row, every_blas):
    """An infinity may become NaN; what does not see it is as it was."""
    f, x, w, b = conv((16, 16, 3, 3), (2, 16, 8, 6), "float64", padding=1)
    x = struck(x, (1, 0, row, 3), value)
    upstream = struck(numbers((2, 16, 8, 6), "float64"), (0, 0, row, 3), value)
    with numpy.errstate(invalid="ignore"):
        fast = run(f, [x, w, b], upstream)
        with backend.plain():
            plain = run(f, [x, w, b], upstream)
    for ours, wanted in ((fast.output, plain.output), (fast.gradients[0], plain.gradients[0])):
        due = ~numpy.isfinite(wanted)
        assert due.any()
        numpy.testing.assert_array_equal(~numpy.isfinite(ours), due)
        numpy.testing.assert_allclose(ours[~due], wanted[~due], 1e-10, 1e-12)
    assert numpy.isnan(fast.output).any()  # not the sum of nine products: that keeps infinities


def test_conv2d_knows_no_other_call(every_blas):
    """Buffers that one convolution leaves behind must not show in the next."""
    large = conv((20, 20, 3, 3), (3, 20, 40, 40), "float64", padding=1)
    small = [
        conv((20, 20, 3, 3), (2, 20, side, side), "float64", padding=padding)
        for side, padding in ((5, 2), (4, 1))
    ]
    full = numpy.full((3, 20, 40, 40), numpy.nan)
    run(large[0], [full, *large[2:]], full)
    for case in small:
        compare(*case)
    compare(*large)


# --- max pooling ----------------------------------------------------------------------------------


@dtypes
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 2},
        {"kernel_size": 3, "stride": 1},
        {"kernel_size": (1, 1), "stride": 2},
        {"kernel_size": (2, 3), "stride": (1, 2), "padding": (1, 0)},
        {"kernel_size": 3, "stride": 2, "ceil_mode": True},
        {"kernel_size": 2, "stride": 3, "dilation": (2, 1), "padding": 1},
        {"kernel_size": 5, "stride": 4, "padding": 2, "ceil_mode": True},
    ],
    ids=str,
)
def test_max_pool2d(dtype, ties, options):
    for shape in ((2, 3, 9, 10), (3, 16, 70, 71)):
        x = images(shape, dtype)
        x = channels_last(numpy.round(x)) if ties else x
        outcome = compare(lambda x: F.max_pool2d(x, **options), x)
        assert outcome.ran_fast


@dtypes
def test_max_pool2d_of_nan_and_infinity(dtype):
    x = images((2, 3, 8, 8), dtype)
    for value, place in zip(NOT_FINITE, [(0, 0, 2, 3), (0, 0, 2, 2), (1, 2, 7, 7)]):
        x = struck(x, place, value)
    x = struck(struck(x, (1, 0, 0, 0), "NaN"), (1, 0, 0, 1), "inf")
    compare(lambda x: F.max_pool2d(x, 3, 2, padding=1), x)


# --- average pooling ------------------------------------------------------------------------------


@dtypes
@pytest.mark.parametrize("counting", [{}, {"count_include_pad": False}, {"divisor_override": -3}])
@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 2},
        {"kernel_size": 3, "stride": 1},
        {"kernel_size": (1, 1), "stride": 2},
        {"kernel_size": (2, 3), "stride": (1, 2), "padding": (1, 0)},
        {"kernel_size": (4, 1), "stride": (5, 1), "padding": (2, 0)},
        {"kernel_size": 3, "stride": 2, "ceil_mode": True},
        {"kernel_size": 5, "stride": 4, "padding": 2, "ceil_mode": True},
        {"kernel_size": (9, 10)},
    ],
    ids=str,
)
def test_avg_pool2d(dtype, counting, options):
    for shape in ((2, 3, 9, 10), (3, 16, 70, 71)):
        x = images(shape, dtype)
        assert compare(lambda x: F.avg_pool2d(x, **options, **counting), x).ran_fast


@given(st.data())
@settings(max_examples=100)
def test_any_avg_pool2d(data):
    draw = data.draw
    R, S = kernel = draw(st.tuples(st.integers(1, 6), st.integers(1, 6)))
    options = {
        "stride": draw(st.tuples(st.integers(1, 7), st.integers(1, 7))),
        "padding": draw(st.tuples(st.integers(0, R // 2), st.integers(0, S // 2))),
        "ceil_mode": draw(st.booleans()),
        "count_include_pad": draw(st.booleans()),
        "divisor_override": draw(st.sampled_from([None, None, 7])),
    }
    N, C, H, W = draw(st.tuples(*[st.integers(1, n) for n in (4, 40, 14, 14)]))
    x = images((N, C, H + R - 1, W + S - 1), draw(st.sampled_from(list(TOLERANCES))))
    assert compare(lambda x: F.avg_pool2d(x, kernel, **options), x).ran_fast


# --- cross-entropy --------------------------------------------------------------------------------


def nll_loss(x: Tensor, weight: Tensor | None = None, dtype: str = "int64") -> Tensor:
    """With labels that repeat 0, 1, ...; class 1 is ignored."""
    N, C, *others = x.shape
    labels = Tensor(numpy.arange(N * prod(others)).reshape(N, *others).astype(dtype) % C)
    return F.nll_loss(x, labels, weight, ignore_index=1, reduction="none")


LOSSES: dict[str, Callable[..., Tensor]] = {
    "log_softmax": lambda x: F.log_softmax(x, 1),
    "nll_loss": nll_loss,
}
losses = pytest.mark.parametrize("name", LOSSES)
MANY = (70, 1000)  # more than the plain log-softmax gets


@losses
@dtypes
@pytest.mark.parametrize(
    "shape", [(40_000, 1), (5_000, 10), MANY, (600, 1000), (3, 300_000), (1, 40_000)]
)
def test_losses(name, dtype, shape):
    assert compare(LOSSES[name], numbers(shape, dtype)).ran_fast


@losses
@dtypes
@pytest.mark.parametrize("value", NOT_FINITE)
def test_losses_of_nan_and_infinity(name, dtype, value):
    """At a label that counts, at one that is ignored, at another class, and in a whole row."""
    x = numbers(MANY, dtype)
    for place in ((2, 2), (1, 1), (3, 500)):
        x = struck(x, place, value)
    x[40] = NOT_FINITE[value]
    with numpy.errstate(invalid="ignore"):
        assert compare(LOSSES[name], x).ran_fast


@dtypes
@pytest.mark.parametrize("value", NOT_FINITE)
def test_log_softmax_of_gradients_that_are_not_finite(dtype, value):
    with numpy.errstate(invalid="ignore"):
        compare(LOSSES["log_softmax"], numbers(MANY, dtype),
                upstream=struck(numbers(MANY, dtype, 5), (3, 4), value))  # fmt: skip


@dtypes
@pytest.mark.parametrize("value", NOT_FINITE)
def test_nll_loss_gives_other_classes_no_gradient(dtype, value):
    """Nor an ignored label: not even where 0 · inf would be NaN."""
    upstream = numpy.full(3, NOT_FINITE[value], dtype)
    expected = numpy.zeros((3, 4), dtype)
    expected[0, 0] = expected[2, 2] = -NOT_FINITE[value]
    for kernels in (nullcontext(), backend.plain()):
        with kernels:
            dx = run(nll_loss, [numbers((3, 4), dtype)], upstream).gradients[0]
        numpy.testing.assert_array_equal(dx, expected)


@dtypes
@pytest.mark.parametrize("labels", ["int8", "uint8", "int32", "uint64"])
@pytest.mark.parametrize("weight", [0, -1, 2.5, numpy.inf, numpy.nan])
def test_nll_loss_weights(dtype, labels, weight):
    """Of a class that counts, and of one that is ignored."""
    weights = numbers((7,), dtype, 1)
    weights[[1, 2]] = weight
    with numpy.errstate(invalid="ignore"):
        f = lambda x, w: nll_loss(x, w, labels)  # noqa: E731
        assert compare(f, numbers((20, 7), dtype), weights, constant=(1,)).ran_fast


@losses
@pytest.mark.parametrize(
    "x",
    [
        numbers((0, 5), "float32"),
        numbers(MANY, "float32").astype("float16"),
        numbers(MANY, "float32").T,
        numbers((20, 50, 40), "float32"),
    ],
    ids=lambda x: f"{x.shape} {x.dtype}",
)
def test_losses_left_to_the_plain_kernel(name, x):
    f = LOSSES[name]
    upstream = numpy.ones(f(Tensor(x)).shape, x.dtype)
    fast = run(f, [x], upstream)
    with backend.plain():
        plain = run(f, [x], upstream)
    assert not fast.ran_fast
    numpy.testing.assert_array_equal(fast.output, plain.output)
    numpy.testing.assert_array_equal(fast.gradients[0], plain.gradients[0])


@dtypes
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [0, 0.1])
@pytest.mark.parametrize("shape", [(128, 10), MANY, (4_000, 9)])
def test_cross_entropy(dtype, reduction, smoothing, shape):
    labels = Tensor(numpy.random.RandomState(1).randint(-1, shape[1], shape[0]))
    options = {"ignore_index": -1, "reduction": reduction, "label_smoothing": smoothing}
    weight = Tensor(numpy.abs(numbers(shape[1:], dtype, 2)))
    x = 20 * numbers(shape, dtype)
    compare(lambda x: F.cross_entropy(x, labels, weight, **options), x)
    compare(lambda x: F.cross_entropy(x, labels, **options), x)


# --- BatchNorm ------------------------------------------------------------------------------------


@dtypes
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("shape", [(3, 5, 4, 6), (1, 2, 1, 1), (0, 3, 4, 4), (9, 40, 28, 28)])
def test_batch_norm_evaluation(dtype, relu, affine, shape):
    C = shape[1]
    statistics = [numbers((C,), dtype, 3), numpy.abs(numbers((C,), dtype, 4)) + 0.5]
    given = [numbers((C,), dtype, 5), numbers((C,), dtype, 6)] if affine else []
    evaluate = F.batch_norm_relu if relu else F.batch_norm
    x = images(shape, dtype)
    with backend.plain(), minise.no_grad():
        before = F.batch_norm(*map(Tensor, [x, *statistics, *given])).numpy()
    upstream = numbers(shape, dtype, 7) * (numpy.abs(before) > 1e-4)
    compare(evaluate, x, *statistics, *given, constant=(1, 2), upstream=upstream)


@dtypes
@pytest.mark.parametrize("relu", [False, True])
def test_batch_norm_updates_the_running_statistics(dtype, relu):
    found, batch_norm = [], F.batch_norm_relu if relu else F.batch_norm
    for fast in (True, False):
        mean, var = minise.zeros(5, dtype=dtype), minise.ones(5, dtype=dtype)
        x = Tensor(images((6, 5, 8, 8), dtype) + 3)
        if fast:
            batch_norm(x, mean, var, training=True)
        else:
            with backend.plain():
                batch_norm(x, mean, var, training=True)
        found.append((mean.numpy(), var.numpy()))
    for ours, wanted in zip(*found):
        assert_close(ours, wanted, TOLERANCES[dtype][0], "running statistic")


@dtypes
@pytest.mark.parametrize("offset", [10, 1e3, -1e5])
def test_batch_norm_far_from_zero(dtype, offset):
    """The offset cancels; its rounding, offset / std times as large as usual, is all that is lost.

    The plain kernel works without the offset, which float64 subtracts exactly.
    """
    x = images((8, 3, 16, 16), "float64")
    weight, bias, upstream = (numbers(s, dtype, i) for i, s in enumerate(((3,), (3,), x.shape), 1))
    shifted = (x + offset).astype(dtype)
    fast = run(OPS["batch_norm"][0], [shifted, weight, bias], upstream)
    assert fast.ran_fast
    exact = [a.astype("float64") for a in (shifted, weight, bias)]
    exact[0] = exact[0] - offset
    with backend.plain():
        plain = run(OPS["batch_norm"][0], exact, upstream.astype("float64"))
    rounding = 8 * numpy.finfo(dtype).eps * abs(offset)
    for ours, wanted in zip([fast.output, *fast.gradients], [plain.output, *plain.gradients]):
        assert_close(ours.astype("float64"), wanted, rounding, "far from zero")


@dtypes
def test_batch_norm_of_a_channel_without_variance(dtype):
    x = images((4, 3, 4, 4), dtype)
    x[:, 1] = 0.5
    check("batch_norm", [x, numbers((3,), dtype, 1), numbers((3,), dtype, 2)])


@dtypes
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("place", [0, 1, 2], ids=["x", "weight", "bias"])
def test_batch_norm_of_infinity(dtype, relu, place):
    """It spoils its channel, as inf or as inf - inf = NaN, and no other."""
    f = OPS["batch_norm_relu" if relu else "batch_norm"][0]
    arrays = arguments("batch_norm", (2, 3, 5, 7), dtype)
    upstream = upstream_of("batch_norm_relu", arrays)
    arrays[place] = struck(arrays[place], (0, 1, 2, 3) if place == 0 else (1,), "inf")
    with numpy.errstate(all="ignore"):
        fast = run(f, arrays, upstream)
        with backend.plain():
            plain = run(f, arrays, upstream)
    assert fast.ran_fast
    assert not numpy.isfinite(fast.output[:, 1]).all()
    assert not numpy.isfinite(plain.output[:, 1]).all()
    others = numpy.array([True, False, True])
    forward, backward = TOLERANCES[dtype]
    assert_close(fast.output[:, others], plain.output[:, others], forward, "output")
    for i, (ours, wanted) in enumerate(zip(fast.gradients, plain.gradients)):
        channels = (slice(None), others) if i == 0 else others
        assert numpy.isfinite(wanted[channels]).all()
        assert_close(ours[channels], wanted[channels], backward, f"gradient of input {i}")


# --- sums of gradients ----------------------------------------------------------------------------


@dtypes
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_add(dtype, shape):
    a, b = images(shape, dtype), images(shape, dtype, 1)
    for other in (b, one_pixel(b), one_for_all(b), numbers(shape, dtype, 2), negative_strides(b)):
        for left, right in ((a, other), (other, a)):
            before = left.copy(), right.copy()
            total = HOME.add(left, right)
            numpy.testing.assert_array_equal(total, left + right)
            assert total.dtype == a.dtype
            assert not numpy.shares_memory(total, left)
            assert not numpy.shares_memory(total, right)
            numpy.testing.assert_array_equal(left, before[0])
            numpy.testing.assert_array_equal(right, before[1])


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (numpy.float32(2), numpy.float32(3)),
        (numbers((3,), "float64"), numbers((3,), "float64")),
        (images((0, 3, 2, 2), "float32"), images((0, 3, 2, 2), "float32")),
        (images((2, 3, 2, 2), "float16"), images((2, 3, 2, 2), "float16")),
        (images((2, 3, 2, 2), "float32"), images((2, 3, 2, 2), "float64")),
        (images((2, 3, 1, 4), "float32"), one_pixel(images((2, 3, 1, 4), "float32"))),
        (images((2, 3, 4, 1), "float32"), one_pixel(images((2, 3, 4, 1), "float32"))),
    ],
)
def test_add_of_anything_else(a, b):
    total = HOME.add(a, b)
    numpy.testing.assert_array_equal(total, a + b)
    assert total.dtype == (a + b).dtype


@dtypes
def test_the_gradient_of_an_se_block(dtype):
    """Squeeze and scale use u: its gradient is a sum, one part the same at all pixels."""
    minise.manual_seed(0)
    se = minise.nn.SEBlock(24, 4)
    se = se.double() if dtype == "float64" else se
    shape = (4, 24, 20, 20)
    compare(lambda u, x: se_add(se, u, x), images(shape, dtype), images(shape, dtype, 1))


# --- the comparison notices mistakes --------------------------------------------------------------


def loses_a_tap(op, x, weight, bias=None):
    weight = weight.copy()
    weight[-1, -1, -1, -1] = 0
    return FORWARD(op, x, weight) if bias is None else FORWARD(op, x, weight, bias)


SUITS, FORWARD, BACKWARD = KERNELS["conv2d"]


def one_pixel_wrong(op, grad):
    dx, *others = BACKWARD(op, grad)
    dx = dx.copy()
    dx[-1, 0, -1, -1] += 0.01
    return dx, *others


@dtypes
@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        ((loses_a_tap, BACKWARD), "^output: .* off"),
        ((FORWARD, one_pixel_wrong), "^gradient of input 0: .* off"),
        ((FORWARD, lambda op, grad: (None, *BACKWARD(op, grad)[1:])), "^gradient of input 0"),
    ],
    ids=["tap", "pixel", "no gradient"],
)
def test_a_mistake_is_noticed(monkeypatch, dtype, mistake, message):
    arrays = arguments("conv2d", (2, 3, 5, 7), dtype)
    monkeypatch.setitem(HOME.kernels, Conv2d, Kernel(SUITS, *mistake))
    with pytest.raises(AssertionError, match=message):
        check("conv2d", arrays)


def test_a_wrong_channel_is_noticed(monkeypatch):
    add = HOME.kernels[AddReLU]
    swapped = lambda op, a, b: add.forward(op, a, b[:, ::-1].copy(order="K"))  # noqa: E731
    monkeypatch.setitem(HOME.kernels, AddReLU, add._replace(forward=swapped))
    with pytest.raises(AssertionError, match=r"^output: .* off"):
        check("add_relu", arguments("add_relu", (2, 3, 5, 7), "float32"))


def test_a_gradient_at_a_tie_is_noticed(monkeypatch):
    mistake = HOME.kernels[ReLU]._replace(backward=lambda op, grad: grad)
    monkeypatch.setitem(HOME.kernels, ReLU, mistake)
    with pytest.raises(AssertionError, match=r"^gradient of input 0"):
        test_ties_at_zero("relu", "float64")


# --- SGD ------------------------------------------------------------------------------------------


@dtypes
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"momentum": 0.9},
        {"momentum": 0.9, "weight_decay": 0.1, "nesterov": True},
        {"momentum": 0.9, "weight_decay": 0.1, "dampening": 0.3, "maximize": True},
        {"weight_decay": 0.1, "maximize": True},
    ],
    ids=str,
)
def test_sgd_moves_every_number_as_the_plain_rule_does(monkeypatch, dtype, options):
    """To the last bit: parameters of several stretches, of one number, of none, on two threads."""
    monkeypatch.setattr(sgd, "STRETCH", 100)
    shapes = (7, 5, 3, 3), (1,), (0, 4), (100,), (), (3, 130)

    def moved():
        params = [Tensor(numbers(shape, dtype, i), True) for i, shape in enumerate(shapes)]
        optimizer = optim.SGD(params, lr=0.1, **options)
        for step in range(3):
            for i, param in enumerate(params):
                gradient = numbers(param.shape[::-1], dtype, 10 * step + i).T  # not in C order
                param.grad = None if (i, step) == (3, 0) else Tensor(gradient)
            optimizer.step()
        return [param.data for param in params]

    ours = moved()
    with backend.plain():
        wanted = moved()
    for array, twin in zip(ours, wanted, strict=True):
        numpy.testing.assert_array_equal(array, twin)


# --- Adam -----------------------------------------------------------------------------------------


def adam_steps(kind: str, arrays: list[Array], gradients: list[list[Array | None]], **options):
    """Weights, moments and number of steps of each parameter after steps with these gradients."""
    params = [Tensor(array.copy(), True) for array in arrays]
    optimizer = getattr(optim, kind)(params, **options)
    for of_step in gradients:
        for param, gradient in zip(params, of_step, strict=True):
            param.grad = None if gradient is None else Tensor(gradient)
        with numpy.errstate(all="ignore"):
            optimizer.step()
    for state in optimizer.state.values():  # the kernel's counters are arrays
        assert isinstance(state["step"], Array) == backend.using_fast_kernels()
    states = optimizer.state_dict()["state"]
    return [(param.data, states.get(i, {})) for i, param in enumerate(params)]


def assert_same_bits(ours, wanted):
    for (weights, state), (twin, its_state) in zip(ours, wanted, strict=True):
        numpy.testing.assert_array_equal(weights, twin, "weights")
        assert state.keys() == its_state.keys()
        for name, value in state.items():
            numpy.testing.assert_array_equal(value, its_state[name], name)


ADAM_OPTIONS = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(["Adam", "AdamW"]),
        "lr": st.floats(1e-4, 1),
        "betas": st.tuples(st.floats(0, 0.999), st.floats(0, 0.9999)),
        "eps": st.floats(0, 1e-2),
        "weight_decay": st.just(0) | st.floats(1e-4, 0.5),
        "amsgrad": st.booleans(),
        "maximize": st.booleans(),
    }
)


@dtypes
@given(st.data())
@settings(max_examples=150)
def test_adam_moves_every_number_as_the_plain_rule_does(dtype, data):
    """To the last bit: small parameters and some of several stretches, on two threads; not every
    one has a gradient in each step, nor are all gradients finite or in C order.
    """
    options = data.draw(ADAM_OPTIONS)
    sizes = st.integers(0, 60) | st.integers(0, 400)
    shapes = data.draw(st.lists(st.tuples(sizes) | st.tuples(st.integers(1, 9), sizes), max_size=9))
    shapes += [(), (401, 3)]
    arrays = [numbers(shape, dtype, i) for i, shape in enumerate(shapes)]
    gradients = []
    for step in range(3):
        of_step = [numbers(shape[::-1], dtype, 10 + step + i).T for i, shape in enumerate(shapes)]
        place = data.draw(st.integers(0, len(shapes) - 1))
        if data.draw(st.booleans()) and of_step[place].size:
            of_step[place].flat[0] = data.draw(st.sampled_from([*NOT_FINITE.values()]))
        absent = data.draw(st.sets(st.integers(0, len(shapes) - 1)))
        gradients.append([None if i in absent else g for i, g in enumerate(of_step)])
    with patch.object(adam, "STRETCH", 100), patch.object(adam, "SMALL", 40):
        ours = adam_steps(arrays=arrays, gradients=gradients, **options)
    with backend.plain():
        wanted = adam_steps(arrays=arrays, gradients=gradients, **options)
    assert_same_bits(ours, wanted)


@dtypes
@pytest.mark.parametrize("kind", ["Adam", "AdamW"])
def test_adam_moves_large_parameters_as_the_plain_rule_does(dtype, kind):
    sizes = 4 * adam.STRETCH + 3, adam.STRETCH, adam.SMALL, adam.SMALL - 1, 1
    arrays = [numbers((size,), dtype, i) for i, size in enumerate(sizes)]
    gradients = [[array[::-1] for array in arrays], [0.1 * array for array in arrays]]
    options = {"lr": 0.1, "weight_decay": 0.1, "amsgrad": True}
    ours = adam_steps(kind, arrays, gradients, **options)
    with backend.plain():
        wanted = adam_steps(kind, arrays, gradients, **options)
    assert_same_bits(ours, wanted)


@dtypes
def test_adam_goes_on_where_the_plain_rule_stopped_and_the_other_way_round(dtype):
    """In one run, and with a state that was saved in between.

    Not to the last bit in float64: the plain rule, given the kernel's counter, an array, leaves
    the power to NumPy, whose last bit may be another than that of Python's.
    """

    def moved(plain_steps, reload):
        param = Tensor(numbers((5, 7), dtype), True)
        optimizer = optim.Adam([param], lr=0.1, amsgrad=True)
        for step in range(6):
            param.grad = Tensor(numbers((5, 7), dtype, step))
            with backend.plain() if step in plain_steps else nullcontext():
                optimizer.step()
            if reload:
                saved = optimizer.state_dict()
                optimizer = optim.Adam([param])
                optimizer.load_state_dict(saved)
        return param.data, optimizer.state_dict()["state"][0]

    (wanted, its_state) = moved(range(6), reload=False)
    for plain_steps, reload in itertools.product([(), (0, 1), (2, 3), (1, 3, 5)], [False, True]):
        weights, state = moved(plain_steps, reload)
        assert_close(weights, wanted, 1e-14, "weights")
        assert type(state["step"]) is int
        for name, value in its_state.items():
            numpy.testing.assert_array_equal(state[name], value, name)
