"""What the tests of the CPU's and of the GPU's kernels share: arrays, tolerances, convolutions."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any

import numpy

from minise import functional as F
from minise.autograd import Function
from minise.backend import registry

Array = numpy.ndarray

# Largest difference of values and of gradients, relative to the largest value.
TOLERANCES = {"float64": (1e-10, 1e-9), "float32": (1e-5, 1e-4)}


def elementwise(offers: Iterable[str]) -> dict[str, type[Function]]:
    """By name, the ops with such kernels that make one array of one and ask for no options."""

    def asked_for(method: Callable[..., Any]) -> list[str]:
        parameters = [*inspect.signature(method).parameters.values()][1:]
        required = [p for p in parameters if p.default is p.empty]
        return [p.name for p in required if p.kind is p.POSITIONAL_OR_KEYWORD]

    ops = {name: registry._op_classes[name] for name in offers}
    return {
        name: op
        for name, op in ops.items()
        if asked_for(op.forward) == ["x"] and not asked_for(op.__init__)
    }


def assert_close(actual: Array, wanted: Array, tolerance: float, what: str) -> None:
    """Same shape and dtype, NaN and infinities in the same places, the rest close."""
    __tracebackhide__ = True
    assert (actual.shape, actual.dtype) == (wanted.shape, wanted.dtype), what
    finite = numpy.isfinite(wanted)
    numpy.testing.assert_array_equal(actual[~finite], wanted[~finite], what)
    largest = numpy.abs(wanted[finite]).max(initial=0)
    difference = numpy.abs(actual[finite] - wanted[finite]).max(initial=0)  # NaN stays NaN
    assert difference <= tolerance * largest, f"{what}: {difference:.1e} off, largest {largest:.1e}"


def numbers(shape: tuple[int, ...], dtype: str, seed: int = 0) -> Array:
    return numpy.random.RandomState(seed).standard_normal(shape).astype(dtype)


def images(shape: tuple[int, ...], dtype: str, seed: int = 0) -> Array:
    """Standard normal (N, C, H, W) in channels-last memory, as a convolution gives them."""
    return channels_last(numbers(shape, dtype, seed))


def channels_last(x: Array) -> Array:
    return numpy.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def conv(kernel: tuple[int, ...], x: tuple[int, ...], dtype: str, *, bias=True, **options: Any):
    """Arguments for `compare`; the weights are small, so that sums stay of ordinary size."""
    weight = numbers(kernel, dtype, 1) / numpy.sqrt(numpy.prod(kernel[1:])).astype(dtype)
    arrays = [images(x, dtype), weight, *([numbers(kernel[:1], dtype, 2)] if bias else [])]
    return (lambda *given: F.conv2d(*given, **options)), *arrays


# kernel (O, C/G, R, S), images (N, C, H, W), options
CONVOLUTIONS = [
    # two pixels in a row of the product: few outputs, even widths; forward, backward, both
    *(
        ((O, C, *k), (3, C, 12, W), {"padding": "same"})
        for O, C in ((16, 16), (16, 3), (3, 16), (1, 1), (16, 40), (40, 16), (17, 16), (16, 17))
        for k in ((3, 3), (1, 3), (5, 5), (2, 2))
        for W in (10, 11)
    ),
    ((8, 8, 3, 3), (2, 8, 9, 10), {"stride": (2, 1), "padding": 1}),
    ((8, 8, 3, 3), (2, 8, 9, 10), {"stride": (1, 2), "padding": 1}),
    ((8, 8, 3, 3), (2, 8, 9, 10), {"dilation": (2, 1), "padding": (2, 1)}),
    ((8, 8, 3, 3), (2, 8, 9, 12), {"dilation": (1, 2), "padding": (1, 2)}),
    # every kernel with every stride
    *(
        ((20, 6, R, S), (2, 6, 15, 14), {"stride": stride, "padding": padding})
        for R, S in ((1, 1), (3, 3), (5, 5), (7, 7), (3, 1), (1, 4), (2, 3))
        for stride in (1, 2, 3, (2, 1))
        for padding in (0, (R // 2, S // 2), (0, 2))
    ),
    # padding wider than the kernel reaches
    ((4, 5, 1, 1), (2, 5, 4, 6), {"padding": 2}),
    ((4, 5, 2, 2), (2, 5, 4, 6), {"padding": (3, 1), "dilation": 2}),
    # stride beyond the kernel, and rows that no window reaches
    ((4, 5, 1, 1), (2, 5, 7, 7), {"stride": 4}),
    ((4, 5, 2, 2), (2, 5, 12, 11), {"stride": (5, 3)}),
    # dilation
    *(
        ((18, 4, 3, 3), (2, 4, 13, 12), {"dilation": d, "padding": p, "stride": s})
        for d, p, s in ((2, 2, 1), ((1, 3), (1, 3), 1), (3, 0, 1), (2, 2, 2), ((2, 1), 1, (1, 2)))
    ),
    ((6, 6, 4, 4), (2, 6, 10, 11), {"padding": "same", "dilation": 3}),
    # groups, one channel each at the end
    *(
        ((O, C // G, 3, 3), (2, C, 8, 10), {"groups": G, "stride": stride, "padding": 1})
        for O, C, G in ((8, 4, 2), (6, 9, 3), (32, 32, 4), (12, 12, 12), (24, 12, 12))
        for stride in (1, 2)
    ),
    ((12, 1, 1, 1), (2, 12, 8, 10), {"groups": 12}),
    ((64, 1, 3, 3), (2, 64, 14, 14), {"groups": 64, "padding": 1}),
    # fewer multiplications: one pair of rows, one column, pieces of unequal size, many channels
    *(
        ((O, C, 3, 3), x, {"padding": 1})
        for (O, C), x in (
            ((16, 16), (1, 16, 2, 1)),
            ((24, 17), (3, 17, 2, 9)),
            ((16, 40), (9, 40, 12, 7)),
            ((33, 16), (37, 16, 32, 32)),
            ((260, 130), (2, 130, 4, 6)),
        )
    ),
    # blocks of rows: many and few multiply-adds a row, counts of pixels with and without divisors
    ((70, 70, 3, 3), (2, 70, 9, 11), {"padding": 1}),
    ((64, 64, 3, 3), (5, 64, 8, 8), {"padding": 1}),
    ((70, 33, 1, 1), (2, 33, 7, 13), {}),
    ((128, 256, 3, 3), (1, 256, 7, 7), {"padding": 1}),
    ((31, 17, 5, 5), (1, 17, 5, 5), {}),
    # pieces: bands of one image, several images, shared by the threads
    ((24, 24, 3, 3), (1, 24, 100, 90), {"padding": 1}),
    ((16, 16, 3, 3), (1, 16, 120, 130), {"padding": 1}),
    ((24, 24, 3, 3), (2, 24, 101, 90), {"padding": 1, "stride": 2}),
    ((8, 24, 3, 3), (1, 24, 100, 91), {"padding": 4, "dilation": 4}),
    ((20, 24, 7, 7), (1, 24, 60, 60), {"padding": 3}),
    ((24, 6, 3, 3), (1, 24, 120, 90), {"padding": 1, "groups": 4}),
    ((24, 24, 1, 1), (1, 24, 130, 120), {}),
    ((4, 3, 7, 7), (2, 3, 112, 112), {"padding": 3, "stride": 2}),
    ((16, 16, 3, 3), (33, 16, 16, 16), {"padding": 1}),
    ((32, 16, 3, 3), (33, 16, 16, 16), {"padding": 1, "stride": 2}),
    ((32, 32, 3, 3), (33, 32, 9, 8), {"padding": 1}),
    ((64, 64, 3, 3), (33, 64, 4, 4), {"padding": 1}),
    ((64, 32, 3, 3), (33, 32, 7, 7), {"padding": 1, "stride": 2}),
    ((20, 20, 3, 3), (2, 20, 3, 1200), {"padding": 1}),  # one row fills the cache
    ((20, 20, 9, 1), (1, 20, 5, 1200), {"padding": (6, 0)}),  # bands that see nothing but border
]
