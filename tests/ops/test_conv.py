"""conv2d against PyTorch: a grid of strides, paddings, dilations, groups and kernels."""

from __future__ import annotations

import itertools

import hypothesis.strategies as st
import parity
from hypothesis import assume, given
from parity import case, constant, normal, values

NAN, INF = float("nan"), float("inf")


def conv(**options):
    return lambda F, *tensors: F.conv2d(*tensors, **options)


def grid_cases():
    """Every combination of options, for a kernel that is neither square nor odd."""
    for stride, padding, dilation, groups in itertools.product(
        (1, 2, (2, 3)), (0, 1, (2, 1)), (1, 2, (1, 3)), (1, 2)
    ):
        options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        name = " ".join(f"{key}={value}" for key, value in options.items())
        yield case(f"conv2d {name}", conv(**options), (2, 4, 7, 9), (2, 4 // groups, 2, 3), (2,),
                   golden=False)  # fmt: skip


def kernel_cases():
    for kernel in ((1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (1, 3), (3, 1), (2, 3), (5, 2)):
        R, S = kernel
        for name, options in {
            "": {},
            " stride 2": {"stride": 2},
            " padding 1": {"padding": 1},
            " same": {"padding": "same"},
            " valid": {"padding": "valid"},
            " same dilated": {"padding": "same", "dilation": 2},
        }.items():
            yield case(f"conv2d {R}x{S}{name}", conv(**options), (1, 2, 6, 5), (2, 2, R, S), (2,),
                       golden=R == S)  # fmt: skip


CASES = [
    *grid_cases(),
    *kernel_cases(),
    case("conv2d", conv(), (2, 3, 5, 5), (4, 3, 3, 3)),
    case("conv2d bias", conv(), (2, 3, 5, 5), (4, 3, 3, 3), (4,)),
    case("conv2d by position", lambda F, x, w, b: F.conv2d(x, w, b, 2, 1, 1, 1), (1, 2, 5, 5),
         (3, 2, 3, 3), (3,)),
    case("conv2d lists", conv(stride=[2, 1], padding=[0, 1], dilation=[1, 1]), (1, 2, 5, 5),
         (3, 2, 3, 3)),
    case("conv2d one-element tuples", conv(stride=(2,), padding=(1,)), (1, 2, 5, 5), (3, 2, 3, 3)),
    case("conv2d (C, H, W)", conv(padding=1), (3, 4, 5), (2, 3, 3, 3), (2,)),
    case("conv2d (C, H, W) same", conv(padding="same"), (3, 4, 5), (2, 3, 2, 2)),
    case("conv2d one pixel", conv(), (2, 3, 1, 1), (4, 3, 1, 1), (4,)),
    case("conv2d kernel as large as the input", conv(), (2, 3, 4, 5), (2, 3, 4, 5), (2,)),
    case("conv2d padding wider than the input", conv(padding=4), (1, 1, 2, 2), (1, 1, 3, 3)),
    case("conv2d stride larger than the kernel", conv(stride=3), (1, 2, 7, 8), (2, 2, 2, 2)),
    case("conv2d stride leaves a rest", conv(stride=2), (1, 1, 6, 8), (1, 1, 3, 3)),
    case("conv2d shortcut 1x1 stride 2", conv(stride=2), (2, 4, 5, 5), (3, 4, 1, 1)),
    case("conv2d bordered 1x1", conv(padding=1), (2, 2, 3, 3), (3, 2, 1, 1), (3,)),
    case("conv2d stem", conv(stride=2, padding=3), (1, 3, 9, 9), (2, 3, 7, 7)),
    case("conv2d depthwise", conv(padding=1, groups=4), (2, 4, 5, 5), (4, 1, 3, 3), (4,)),
    case("conv2d depthwise stride 2", conv(padding=1, stride=2, groups=4), (2, 4, 5, 6),
         (4, 1, 3, 3)),
    case("conv2d depthwise multiplier 2", conv(groups=3), (1, 3, 4, 4), (6, 1, 3, 3), (6,)),
    case("conv2d depthwise dilated", conv(groups=2, dilation=2), (1, 2, 6, 6), (2, 1, 3, 3)),
    case("conv2d groups", conv(groups=2, padding=1), (2, 4, 5, 5), (6, 2, 3, 3), (6,)),
    case("conv2d groups 1x1", conv(groups=4), (2, 8, 3, 3), (4, 2, 1, 1)),
    case("conv2d groups same", conv(groups=2, padding="same"), (1, 4, 4, 5), (2, 2, 2, 4)),
    case("conv2d no images", conv(), (0, 3, 5, 5), (4, 3, 3, 3), (4,)),
    case("conv2d one image, one channel", conv(), (1, 1, 3, 3), (1, 1, 3, 3)),
    case("conv2d constant input", conv(), constant((2, 3, 5, 5)), (4, 3, 3, 3), (4,)),
    case("conv2d constant weight", conv(), (2, 3, 5, 5), constant((4, 3, 3, 3)), (4,)),
    case("conv2d constant bias", conv(), (2, 3, 5, 5), (4, 3, 3, 3), constant((4,))),
    case("conv2d only the bias learns", conv(), constant((1, 2, 3, 3)), constant((2, 2, 2, 2)),
         (2,)),
    # Away from the border: whether the zeros there are multiplied is the kernel's affair.
    case("conv2d NaN and inf", conv(),
         values([[[[1.0, 2.0, 3.0, 0.5], [1.0, INF, 2.0, NAN], [3.0, -1.0, 4.0, 1.0]]]]),
         (1, 1, 2, 1), overflows=True),
    case("conv2d float16", conv(padding=1), normal(1, 2, 4, 4, dtype="float16"),
         normal(2, 2, 3, 3, dtype="float16")),
    case("conv2d twice", lambda F, x, w: F.conv2d(F.conv2d(x, w, padding=1), w, stride=2),
         (1, 2, 5, 5), (2, 2, 3, 3)),
    case("conv2d of a transposed image", lambda F, x, w: F.conv2d(x.transpose(2, 3), w),
         (1, 2, 4, 6), (2, 2, 3, 2)),
    case("conv2d of a part", lambda F, x, w: F.conv2d(x[:, 1:, ::2], w), (1, 3, 7, 4),
         (2, 2, 2, 2)),
    case("conv2d of an expanded image", lambda F, x, w: F.conv2d(x.expand(2, 3, 4, 4), w),
         (1, 3, 1, 1), (2, 3, 3, 3)),
    case("SE block", lambda F, x, w1, w2: x * F.sigmoid(
        F.conv2d(F.relu(F.conv2d(x.mean(axis=(2, 3), keepdims=True), w1)), w2)),
         (2, 4, 3, 3), (2, 4, 1, 1), (4, 2, 1, 1)),
]  # fmt: skip


@parity.every(CASES)
def test_parity(case, way):
    parity.check(case, way)


small = st.integers(1, 3)
pairs = st.one_of(small, st.tuples(small, small))


@given(st.data())
def test_any_convolution(data):
    N, G, per_group, out = (data.draw(small) for _ in range(4))
    R, S = data.draw(st.tuples(small, small))
    H, W = data.draw(st.tuples(st.integers(1, 8), st.integers(1, 8)))
    padding = data.draw(st.one_of(st.integers(0, 3), st.tuples(st.integers(0, 3), small)))
    stride, dilation = data.draw(pairs), data.draw(pairs)
    for n, k, pad, d in zip((H, W), (R, S), both(padding), both(dilation)):
        assume(n + 2 * pad >= d * (k - 1) + 1)
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": G}
    x, weight = (N, G * per_group, H, W), (G * out, per_group, R, S)
    name = f"conv2d {x} {weight} {options}"
    parity.check_live(case(name, conv(**options), x, weight, (G * out,)))


def both(value):
    return (value, value) if isinstance(value, int) else value
