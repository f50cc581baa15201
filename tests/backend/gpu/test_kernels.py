"""The CUDA kernels without a GPU: they compile for three generations, and compute what they should.

NVRTC, CUDA's own compiler, needs no GPU. What the kernels compute is tried on the CPU, with the
same sources and with all of minise's own Python around them: see cuda_on_host.py.
"""

from __future__ import annotations

import gc
import importlib
import io
import math
import os
import re
import weakref
from contextlib import nullcontext
from functools import partial
from types import SimpleNamespace

import cuda_on_host
import numpy
import op_cases
import parity
import pytest
import strict_array
from cuda_on_host import needs_compiler, plugged_in
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
from strict_array import StrictArray, from_strict, strict, to_strict

import minise
from minise import Tensor, backend, models
from minise import functional as F
from minise.backend.gpu import kernels as cuda
from minise.backend.gpu.kernels import launch

dtypes = pytest.mark.parametrize("dtype", TOLERANCES)

def missing_compilers() -> list[str]:
    """Why tests in this file are skipped."""
    found = [] if cuda_on_host.COMPILER else ["g++ is not installed"]
    try:
        importlib.import_module("cupy.cuda.compiler")._get_nvrtc_version()
    except ImportError:
        found.append("CuPy is not installed")
    except Exception as error:  # of whatever looked for the library in vain
        found.append(f"NVRTC is not installed: {error}")
    return found


@pytest.mark.skipif("CI" not in os.environ, reason="only a build (.ci/run) has to have everything")
def test_a_build_skips_none_of_these_tests():
    assert missing_compilers() == []


def test_a_compiler_that_is_missing_is_noticed(monkeypatch):
    pytest.importorskip("cupy.cuda.compiler", reason="CuPy is not installed")
    monkeypatch.setattr(cuda_on_host, "COMPILER", None)
    monkeypatch.setattr("cupy.cuda.compiler._get_nvrtc_version", lambda: 1 / 0)
    reasons = ["g++ is not installed", "NVRTC is not installed: division by zero"]
    assert missing_compilers() == reasons
    with pytest.raises(pytest.skip.Exception, match=reasons[1]):
        nvrtc("", "float", "sm_90")


# --- they compile ---------------------------------------------------------------------------------


def nvrtc(code: str, real: str, architecture: str) -> tuple[bytes, str]:
    """The code for a GPU of that architecture, and what the assembler says about every kernel.

    Skips the test where CuPy or NVRTC is missing.
    """
    for reason in missing_compilers():
        if not reason.startswith("g++"):
            pytest.skip(reason)
    compiler = importlib.import_module("cupy.cuda.compiler")
    program = compiler._NVRTCProgram(code, "minise.cu", method="cubin")
    cupys_own = ("-ftz=true", "--device-as-default-execution-space", f"-arch={architecture}")
    report = io.StringIO()
    options = (*launch.options(real), *cupys_own, "--ptxas-options=-v")
    return program.compile(options, report)[0], report.getvalue()


def spilled(report: str) -> dict[str, int]:
    """Bytes of registers that a kernel has to keep in memory, because it has too few of them."""
    found = re.findall(r"properties for (\w+)\n.* (\d+) bytes spill stores", report)
    return {name: int(size) for name, size in found}


ARCHITECTURES = ("sm_75", "sm_80", "sm_90")  # Turing, Ampere, Hopper


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("real", launch.REAL.values())
def test_nvrtc_compiles_the_kernels(real, architecture):
    machine_code, report = nvrtc(launch.code(), real, architecture)
    assert machine_code.startswith(b"\x7fELF")
    most = 0 if real == "float" else 100  # a tile of doubles needs nearly all registers
    assert set(cuda_on_host.kernel_names(launch.code())) <= set(spilled(report))
    assert max(spilled(report).values()) <= most, spilled(report)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ARCHITECTURES[1:])
def test_nvrtc_compiles_the_kernels_for_tensor_cores(architecture):
    machine_code, report = nvrtc(launch.code(launch.TF32_SOURCES), "tf32", architecture)
    assert machine_code.startswith(b"\x7fELF")
    assert set(spilled(report).values()) == {0}, spilled(report)


def test_a_kernel_with_too_few_registers_is_noticed():
    code = launch.code(("threads", "product", "conv"))
    assert "AT_A_TIME = sizeof(Real) == 4 ? 3 : 2" in code
    _, report = nvrtc(code.replace("? 3 : 2", "? 8 : 6"), "float", "sm_90")
    assert spilled(report)["conv_forward_64"] > 1000
    assert spilled(report)["bias_gradient"] == 0


def test_the_sources_can_be_written_in_any_encoding():
    assert launch.code().isascii()
    assert launch.code(launch.TF32_SOURCES).isascii()


def test_a_gpu_without_tf32():
    launch.check_has_tf32("80")
    launch.check_has_tf32("121")
    with pytest.raises(RuntimeError, match=r"^tf32: .* 8\.0 \(Ampere\) or newer, .* has 7\.5$"):
        launch.check_has_tf32("75")


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (("__device__ Real relu(Real v)", "__device__ Real relu(Real v"), "threads.cu"),
        (("Tap tap;", "int tap;"), "conv.cu"),
        (("Tile<M_W, N, 32,", "Tile<M_W, N, 64,"), "a thread's k are neighbours"),
        (("A_ROW = M + 8", "A_ROW = M + 800"), "shared data"),
    ],
    ids=["syntax", "type", "tile", "shared memory"],
)
def test_nvrtc_finds_a_mistake(mistake, message):
    compiler = pytest.importorskip("cupy.cuda.compiler", reason="CuPy is not installed")
    code = launch.code(("threads", "product", "conv"))
    assert mistake[0] in code
    with pytest.raises(compiler.CompileException, match=message):
        nvrtc(code.replace(*mistake), "float", "sm_90")


def test_cupy_takes_the_sources(monkeypatch):
    """As far as that goes without a GPU: the names of the arguments."""
    cupy = pytest.importorskip("cupy")
    assert isinstance(launch.module.__wrapped__("float"), cupy.RawModule)
    monkeypatch.setattr(cupy.cuda, "Device", lambda: SimpleNamespace(compute_capability="90"))
    assert isinstance(launch.module.__wrapped__("tf32"), cupy.RawModule)


# --- they compute the right numbers ---------------------------------------------------------------


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    return cuda_on_host.Kernels(launch.code(), tmp_path_factory.mktemp("kernels"))


@pytest.fixture
def device(compiled, monkeypatch):
    """Strict arrays with the kernels of the GPU, run on the CPU."""
    with plugged_in(compiled, monkeypatch) as home:
        yield home


def outcome(f, arrays, upstream, place, constant=()):
    """Output and gradients on the host; whether a fast kernel ran."""
    tensors = [Tensor(place(array), i not in constant) for i, array in enumerate(arrays)]
    y = f(*tensors)
    ran_fast = y.op is not None and y.op.kernel is not None
    if y.requires_grad:
        y.backward(Tensor(place(upstream)))
    return [y.numpy(), *(None if t.grad is None else t.grad.numpy() for t in tensors)], ran_fast


def compare(f, *arrays, constant=(), upstream=None):
    """AssertionError unless f gives the same with the kernels and with NumPy's plain ones."""
    __tracebackhide__ = True
    dtype = arrays[0].dtype.name
    with backend.plain():
        if upstream is None:
            shape = f(*map(Tensor, arrays)).shape
            upstream = numbers(shape, dtype, 99)
        wanted, _ = outcome(f, arrays, upstream, numpy.array, constant)
    found, ran_fast = outcome(f, arrays, upstream, to_strict, constant)
    for i, (ours, theirs) in enumerate(zip(found, wanted, strict=True)):
        assert (ours is None) == (theirs is None), f"gradient of input {i - 1}: one is missing"
        if ours is not None:
            what = f"gradient of input {i - 1}" if i else "output"
            assert_close(ours, theirs, TOLERANCES[dtype][i > 0], what)
    return ran_fast


# The cases of every op that has a kernel, of those whose answer from PyTorch is recorded.
WITH_KERNELS = ("activation", "conv", "loss", "math", "norm", "pool", "se")
CASES = [case for case in op_cases.of(*WITH_KERNELS) if case.golden]


@needs_compiler
@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_parity_with_pytorch(device, case):
    dtype = case.dtypes[-1]  # float32, where a case does not say otherwise
    wanted = parity.expected(case, dtype)
    with numpy.errstate(all="ignore") if case.overflows else nullcontext():
        found = parity.run(case, parity.Way("strict", dtype))
    parity.assert_same_outcome(case, "cuda", found, wanted)


# Those that do not take long.
SMALL = [case for case in CONVOLUTIONS if math.prod(case[0]) * math.prod(case[1][2:]) < 2e6]


@needs_compiler
@pytest.mark.parametrize(
    ("kernel", "x", "options"), SMALL, ids=[" ".join(map(str, case)) for case in SMALL]
)
def test_conv2d(device, kernel, x, options):
    assert compare(*conv(kernel, x, "float64", bias=len(options) != 1, **options))


@needs_compiler
@dtypes
@pytest.mark.parametrize(
    ("kernel", "x", "options"), SMALL, ids=[" ".join(map(str, case)) for case in SMALL]
)
def test_conv2d_by_columns(device, compiled, monkeypatch, dtype, kernel, x, options):
    monkeypatch.setattr(cuda.layers, "WAYS", (cuda.columns,))
    assert compare(*conv(kernel, x, dtype, bias=len(options) != 1, **options))
    assert {"im2col", "col2im"} <= compiled.launched


@needs_compiler
@pytest.mark.parametrize("dilation", [(1, 1), (1, 2), (2, 3)])
def test_only_a_stride_with_a_dilation_goes_by_columns(device, compiled, dilation):
    options = {"stride": (2, 1), "padding": (2, 1), "dilation": dilation, "groups": 2}
    assert compare(*conv((6, 3, 3, 2), (2, 6, 9, 8), "float32", **options))
    columns = {"im2col", "col2im"} if max(dilation) > 1 else set()
    assert compiled.launched & {"im2col", "col2im"} == columns


@needs_compiler
def test_more_groups_than_a_grid_has_room_for(device, compiled, monkeypatch):
    """The input's gradient has blocks for each of 2 groups and 2 × 2 classes of pixels."""
    case = conv((4, 2, 3, 3), (1, 4, 7, 7), "float64", stride=2, padding=1, groups=2)
    for most, by_columns in ((8, False), (7, True)):
        monkeypatch.setattr(cuda.conv, "MOST_BLOCKS", most)
        compiled.launched.clear()
        assert compare(*case)
        assert ("im2col" in compiled.launched) == by_columns


@needs_compiler
def test_columns_too_large_for_the_indices(device, compiled, monkeypatch):
    f, *arrays = conv((4, 3, 3, 3), (1, 3, 7, 7), "float64", stride=2, dilation=2)
    size = 2 * 2 * 3 * 3 * 3  # P, Q, R, S, C
    for most, fits in ((size + 1, True), (size, False)):
        monkeypatch.setattr(cuda.columns, "MOST", most)
        compiled.launched.clear()
        assert compare(f, *arrays) == fits
        assert bool(compiled.launched) == fits


@needs_compiler
def test_more_columns_than_a_grid_has_room_for(device, monkeypatch):
    """A block has 64 numbers of a row; here there is room for one block."""
    monkeypatch.setattr(cuda.conv, "MOST_BLOCKS", 1)
    for C, fits in ((16, True), (17, False)):
        case = conv((3, C, 2, 2), (1, C, 5, 5), "float64", stride=2, dilation=2)
        assert compare(*case) == fits


@needs_compiler
@dtypes
def test_every_tile_of_the_convolution(device, compiled, monkeypatch, dtype):
    """Few and many output channels, few and many input channels."""
    monkeypatch.setattr(cuda.conv, "ENOUGH", 1)  # or a high tile would want many pixels
    for O, C in ((16, 20), (20, 70), (70, 16)):
        assert compare(*conv((O, C, 1, 1), (2, C, 9, 11), dtype))
    tiles = {name for name in cuda_on_host.kernel_names(compiled.code) if name[:5] == "conv_"}
    assert len(tiles) == 9
    assert tiles <= compiled.launched


@needs_compiler
def test_sums_that_are_split(device, compiled):
    """The gradient of a small kernel over many pixels, the last stretch shorter than the others."""
    assert compare(*conv((4, 3, 3, 3), (3, 3, 41, 37), "float64", padding=1))
    assert "sum_of_splits" in compiled.launched


@needs_compiler
@dtypes
@pytest.mark.parametrize("shape", [(5, 7), (2, 3, 4, 9), (130,)], ids=str)
@pytest.mark.parametrize("bias", [True, False])
def test_linear(device, dtype, shape, bias):
    arrays = [numbers(shape, dtype), numbers((11, shape[-1]), dtype, 1)]
    assert compare(F.linear, *arrays, *([numbers((11,), dtype, 2)] if bias else []))
    for constant in ((0,), (1,), (0, 1)):
        compare(F.linear, *arrays, constant=constant)


@needs_compiler
def test_a_linear_layer_with_too_many_outputs_for_the_indices(device, monkeypatch):
    arrays = numbers((5, 7), "float64"), numbers((11, 7), "float64", 1)
    assert compare(F.linear, *arrays)
    monkeypatch.setattr(cuda.conv, "MOST", 55)
    assert not compare(F.linear, *arrays)


@needs_compiler
def test_more_channels_than_a_grid_has_room_for(device, monkeypatch):
    """A block has 64 of them; here there is room for one block."""
    monkeypatch.setattr(cuda.conv, "MOST_BLOCKS", 1)
    for wide, fits in ((64, True), (65, False)):
        for O, C in ((wide, 3), (3, wide)):
            x, weight = numbers((2, C, 4, 4), "float64"), numbers((O, C, 1, 1), "float64", 1)
            assert compare(F.conv2d, x, weight) == fits
            assert compare(F.linear, x[:, :, 0, 0], weight[:, :, 0, 0]) == fits


@needs_compiler
@pytest.mark.parametrize("pool", [F.max_pool2d, F.avg_pool2d])
def test_a_pooled_image_too_large_for_the_indices(device, monkeypatch, pool):
    """With padding the result, 2 · 3 · 3, is larger than the input."""
    pooled = partial(pool, kernel_size=2, stride=1, padding=1)
    x = numbers((1, 2, 2, 2), "float64")
    assert compare(pooled, x)
    monkeypatch.setattr(cuda.pool, "MOST", 18)
    assert not compare(pooled, x)


def test_the_index_of_a_loop_does_not_overflow():
    """FOR_EACH stops at an index up to a grid's width beyond the last number."""
    blocks = launch.blocks_for(launch.MOST - 1, cuda.elementwise.EACH * launch.THREADS)
    assert launch.MOST - 2 + blocks * launch.THREADS < 2**31


# --- tensor cores ---------------------------------------------------------------------------------

# Their instructions are left out: cuda_on_host.h has others. The columns, which are not rounded,
# and the gradients' copies come from the usual module.
USUAL = ("pool", "columns", "parameters")
ON_HOST = [*(name for name in launch.TF32_SOURCES if name != "tensor_cores"), *USUAL]


@pytest.fixture(scope="module")
def compiled_tf32(tmp_path_factory):
    return cuda_on_host.Kernels(launch.code(ON_HOST), tmp_path_factory.mktemp("tf32"))


@pytest.fixture
def tensor_cores(compiled_tf32, monkeypatch):
    with plugged_in(compiled_tf32, monkeypatch) as home:
        yield home


def nearest_tf32(x):
    """1 + 10 significant bits; of two equally near numbers the one farther from 0."""
    fraction, exponent = numpy.frexp(x.astype("float64"))  # 0.5 <= |fraction| < 1
    steps = numpy.copysign(numpy.floor(abs(fraction) * 2**11 + 0.5), fraction)
    return numpy.ldexp(steps / 2**11, exponent)


def compare_tf32(f, x, weight, bias):
    """AssertionError unless f multiplies numbers that were rounded to TF32, and nothing else is."""
    __tracebackhide__ = True
    given, exact = [x, weight, bias], [a.astype("float64") for a in (x, weight, bias)]
    rounded = [nearest_tf32(x), nearest_tf32(weight), exact[2]]
    with backend.plain():
        upstream = numbers(f(*map(Tensor, given)).shape, "float32", 99)
        dy = upstream.astype("float64")
        of_rounded, _ = outcome(f, rounded, nearest_tf32(upstream), numpy.array)
        of_exact, _ = outcome(f, exact, dy, numpy.array)
    of_rounded[-1] = of_exact[-1]  # the sum over dy is not a product
    with backend.tf32():
        found, ran_fast = outcome(f, given, upstream, to_strict)
    assert ran_fast
    for name, ours, theirs, true in zip(("y", "dx", "dw", "db"), found, of_rounded, of_exact):
        ours = ours.astype("float64")
        assert_close(ours, theirs, 1e-5, name)
        assert_close(ours, true, 2e-3, f"{name}, exact")
        if name != "db":
            with pytest.raises(AssertionError, match="off"):
                assert_close(ours, true, 1e-5, f"{name}, exact")


TF32_CONVOLUTIONS = [
    ((16, 20, 1, 1), (2, 20, 9, 11), {}),
    ((20, 70, 1, 1), (2, 70, 9, 11), {}),
    ((70, 16, 1, 1), (2, 16, 9, 11), {}),
    ((5, 3, 3, 3), (2, 3, 9, 8), {"padding": 1}),
    ((8, 6, 3, 3), (2, 6, 9, 10), {"padding": 1, "stride": 2}),
    ((6, 4, 3, 2), (2, 4, 9, 10), {"padding": (2, 1), "dilation": (2, 1)}),
    ((8, 4, 3, 3), (2, 8, 7, 6), {"padding": 1, "groups": 2}),
    ((4, 3, 3, 3), (3, 3, 41, 37), {"padding": 1}),  # split sums
    ((8, 4, 3, 3), (2, 4, 9, 10), {"padding": 1, "stride": 2, "dilation": 2}),  # by columns
]


@needs_compiler
@pytest.mark.parametrize(("kernel", "x", "options"), TF32_CONVOLUTIONS, ids=str)
def test_tf32_convolutions(tensor_cores, monkeypatch, kernel, x, options):
    monkeypatch.setattr(cuda.conv, "ENOUGH", 1)  # or a high tile would want many pixels
    compare_tf32(*conv(kernel, x, "float32", **options))


@needs_compiler
def test_tf32_linear(tensor_cores):
    shapes = (9, 50), (11, 50), (11,)
    compare_tf32(F.linear, *(numbers(shape, "float32", i) for i, shape in enumerate(shapes)))


@needs_compiler
def test_tf32_is_a_choice_for_float32_alone(device):
    """In float64, and outside of the block, the kernels are the usual ones."""
    f, *arrays = conv((5, 3, 3, 3), (2, 3, 9, 8), "float64", padding=1)
    with backend.tf32():
        assert compare(f, *arrays)
    assert not backend.using_tf32()
    assert compare(*conv((5, 3, 3, 3), (2, 3, 9, 8), "float32", padding=1))


@needs_compiler
@pytest.mark.parametrize("value", [numpy.nan, numpy.inf, -numpy.inf])
def test_tf32_lets_nan_and_infinity_pass(tensor_cores, value):
    f, *arrays = conv((5, 3, 1, 1), (2, 3, 4, 4), "float32")
    arrays[0][0, 1, 2, 3] = value
    with backend.plain():
        wanted = f(*map(Tensor, arrays)).numpy()
    with backend.tf32():
        found = f(*(Tensor(to_strict(array)) for array in arrays)).numpy()
    numpy.testing.assert_allclose(found, wanted, rtol=0.1, atol=0.1)


TF32_MISTAKES = {
    "fragment of a": ("a[k + j][low], a[k + j + 4][top]", "a[k + j + 4][top], a[k + j][low]"),
    "fragment of b": ("{b[k + j][side], b[k + j + 4][side]}", "{b[k + j][side], b[k + j][side]}"),
    "fragment of c": ("sum[m + 1][n] = c[2]", "sum[m + 1][n] = c[3]"),
    "row": ("lane() / 4 + 8 * m", "lane() / 4 * 2 + 8 * m"),
    "column": ("lane() % 4 * 2 + n % 2", "lane() % 4 + n % 2 * 4"),
    "cut off, not rounded": ("return round_to_tf32(value)", "return value"),
}


@needs_compiler
@pytest.mark.parametrize("mistake", TF32_MISTAKES)
def test_a_mistake_with_tensor_cores_is_noticed(tmp_path, monkeypatch, mistake):
    right, wrong = TF32_MISTAKES[mistake]
    code = launch.code(ON_HOST)
    assert right in code
    kernels = cuda_on_host.Kernels(code.replace(right, wrong, 1), tmp_path)
    noticed = pytest.raises(AssertionError, match=r"^y: .* off|order of threads")
    with plugged_in(kernels, monkeypatch), noticed:
        compare_tf32(*conv((16, 20, 1, 1), (2, 20, 9, 11), "float32"))


# --- the other kernels ----------------------------------------------------------------------------

N, C, H, W = IMAGES = (3, 5, 6, 7)
GATES = (N, C, 1, 1)

ONE_BY_ONE = elementwise(cuda.KERNELS)
OPS = {
    "conv2d": (lambda x, w: F.conv2d(x, w, padding=1), IMAGES, (4, C, 3, 3)),
    "conv2d by columns": (
        lambda x, w: F.conv2d(x, w, stride=(2, 1), padding=2, dilation=(1, 2)), IMAGES, (4, C, 3, 3)
    ),
    "linear": (F.linear, (3, 7), (4, 7)),
    "batch_norm": (lambda x, w, b: F.batch_norm(x, None, None, w, b, True), IMAGES, (C,), (C,)),
    "batch_norm_relu": (
        lambda x, w, b: F.batch_norm_relu(x, None, None, w, b, True), IMAGES, (C,), (C,)
    ),
    "adaptive_avg_pool2d": (lambda x: F.adaptive_avg_pool2d(x, 1), IMAGES),
    "axpy": (F.axpy, GATES, IMAGES, IMAGES),
    "axpy_relu": (lambda s, u, x: F.axpy_relu(s, u, x), GATES, IMAGES, IMAGES),
    "multiply": (lambda u, s: u * s, IMAGES, GATES),
    "add_relu": (F.add_relu, IMAGES, IMAGES),
    "max_pool2d": (lambda x: F.max_pool2d(x, 3, 2, 1), IMAGES),
    "avg_pool2d": (lambda x: F.avg_pool2d(x, 3, 2, 1), IMAGES),
    "log_softmax": (lambda x: F.log_softmax(x, -1), (7, 70)),
    "nll_loss": (lambda x: F.nll_loss(x, labels_like(x), reduction="none"), (7, 11)),
    **{name: (lambda x, op=op: op()(x), IMAGES) for name, op in ONE_BY_ONE.items()},
}  # fmt: skip
ops = pytest.mark.parametrize("name", OPS)


def labels_like(x):
    labels = numpy.random.RandomState(3).randint(0, x.shape[1], x.shape[0])
    return Tensor(backend.of(x.data).as_array(labels))


def arguments(name, dtype):
    return [numbers(shape, dtype, seed) for seed, shape in enumerate(OPS[name][1:])]


def reversed_axes(x):
    return x.T.copy().T


def with_gaps(x):
    return x.repeat(2, axis=-1)[..., ::2]


def one_for_all(x):
    return numpy.broadcast_to(x[:1], x.shape)


def test_every_op_with_a_kernel_has_a_case():
    tried = {name.removesuffix(" by columns") for name in OPS}
    assert {*tried, "index"} == set(cuda.KERNELS)  # array code, which every strict array runs


@needs_compiler
@ops
@dtypes
def test_ops(device, name, dtype):
    assert compare(OPS[name][0], *arguments(name, dtype))


@needs_compiler
@ops
def test_a_graph_that_nobody_walks_back_is_freed_at_once(device, name):
    """Not by the garbage collector, which does not know how much memory of a GPU waits for it."""
    gc.collect()
    gc.disable()
    try:
        y = OPS[name][0](*(Tensor(to_strict(a), True) for a in arguments(name, "float32")))
        op = weakref.ref(y.op)
        del y
        assert op() is None
    finally:
        gc.enable()


@needs_compiler
@ops
@pytest.mark.parametrize("layout", [reversed_axes, with_gaps, one_for_all])
def test_memory_orders(device, name, layout, monkeypatch):
    """Kernels read memory as it lies there: whatever is not in C order has to be copied first."""
    monkeypatch.setitem(globals(), "to_strict", StrictArray)  # keeps the strides
    f, arrays = OPS[name][0], [layout(array) for array in arguments(name, "float64")]
    with backend.plain():
        upstream = numbers(f(*map(Tensor, arrays)).shape, "float64", 5)
    assert compare(f, *arrays, upstream=layout(upstream))


WITH_IMAGES = [name for name in OPS if IMAGES in OPS[name][1:]]
# These keep the order that they find, and so do not ask for channels last.
ELEMENTWISE = {"add_relu", *ONE_BY_ONE}


def in_channels_last(array):
    return channels_last(array) if array.ndim == 4 else array


def orders(*arrays):
    """Whether each that has pixels lies in channels-last memory."""
    shapes = [a for a in arrays if a.ndim == 4 and a.shape[2] * a.shape[3] > 1]
    return {a.transpose(0, 2, 3, 1).flags.c_contiguous for a in shapes}


@needs_compiler
@pytest.mark.parametrize("name", [name for name in WITH_IMAGES if name != "adaptive_avg_pool2d"])
@pytest.mark.parametrize("given", [in_channels_last, numpy.array], ids=["last", "first"])
@pytest.mark.parametrize("upstream", [in_channels_last, numpy.array], ids=["dy last", "dy first"])
def test_channels_come_last_in_memory(device, name, given, upstream):
    """In outputs and in gradients of images, in whatever order inputs and gradient come.

    (The gradient of SE's squeeze is not written out at all.)
    """
    tensors = [Tensor(StrictArray(given(a)), True) for a in arguments(name, "float32")]
    y = OPS[name][0](*tensors)
    y.backward(Tensor(StrictArray(upstream(numbers(y.shape, "float32")))))
    gradients = [t.grad.data for t in tensors if t.shape == IMAGES]
    assert gradients
    wanted = name not in ELEMENTWISE or given is in_channels_last
    assert orders(y.data, *gradients) == {wanted}
    if name.startswith("conv2d"):  # its weights and their gradient lie as the optimiser wants them
        assert tensors[1].grad.data.flags.c_contiguous


@needs_compiler
@pytest.mark.parametrize("name", WITH_IMAGES)
@pytest.mark.parametrize("first", [0, 1])
def test_inputs_in_different_orders(device, name, first, monkeypatch):
    monkeypatch.setitem(globals(), "to_strict", StrictArray)  # keeps the strides
    arrays = arguments(name, "float64")
    arrays[first::2] = map(in_channels_last, arrays[first::2])
    with backend.plain():
        upstream = numbers(OPS[name][0](*map(Tensor, arrays)).shape, "float64", 5)
    for order in (numpy.array, in_channels_last):
        assert compare(OPS[name][0], *arrays, upstream=order(upstream))


@needs_compiler
@dtypes
def test_images_that_do_not_lie_at_a_multiple_of_four_numbers(device, dtype, monkeypatch):
    """An instruction that reads four numbers would stop the kernel."""

    def shifted(array):
        memory = numpy.empty(array.size + 1, dtype)
        view = memory[1:].reshape(array.transpose(0, 2, 3, 1).shape).transpose(0, 3, 1, 2)
        view[...] = array
        return StrictArray(view)

    f, *arrays = conv((8, 8, 3, 3), (2, 8, 5, 6), dtype, bias=False, padding=1)
    monkeypatch.setitem(globals(), "to_strict", shifted)
    assert compare(f, *arrays)


@needs_compiler
def test_sums_of_gradients_have_channels_last(device):
    a, b = images(IMAGES, "float32"), numbers(IMAGES, "float32", 1)
    share = numpy.broadcast_to(numbers(GATES, "float32", 2), IMAGES)
    for left, right in ((a, a), (a, b), (b, a), (a, share), (share, a)):
        total = device.add(StrictArray(left), StrictArray(right))
        assert orders(total) == {True}
        assert numpy.array_equal(from_strict(total), left + right)
    for left, right in ((b, b), (b, share), (b[0], b[0])):
        total = device.add(StrictArray(left), StrictArray(right))
        assert total.flags.c_contiguous
        assert numpy.array_equal(from_strict(total), left + right)


@needs_compiler
@ops
def test_float16_and_empty_batches_are_left_to_the_plain_kernels(device, name):
    f, arrays = OPS[name][0], arguments(name, "float64")
    _, ran_fast = outcome(f, [a.astype("float16") for a in arrays], None, to_strict, range(9))
    assert not ran_fast
    if not name.startswith("batch_norm"):
        batch = [array[:0] if array.shape[0] in (N, 7) else array for array in arrays]
        assert not compare(f, *batch)


@needs_compiler
def test_plain_turns_the_kernels_off(device, compiled):
    x = numbers(IMAGES, "float32")
    with backend.plain():
        _, ran_fast = outcome(F.relu, [x], x, to_strict)
        F.cross_entropy(Tensor(to_strict(x[:, 0, 0])), Tensor(to_strict(numpy.arange(3))))
    assert not ran_fast
    assert not compiled.launched


@needs_compiler
@pytest.mark.parametrize("kernel", [(3, 5), (4, 2)])
@pytest.mark.parametrize("stride", [(2, 1), (1, 3), (5, 5)])
@pytest.mark.parametrize("padding", [(1, 0), (0, 1), (1, 1)])
@pytest.mark.parametrize("ceil", [False, True])
def test_pools_that_differ_in_height_and_width(device, kernel, stride, padding, ceil):
    x = numbers((2, 3, 9, 11), "float64")
    assert compare(lambda x: F.max_pool2d(x, kernel, stride, padding, (1, 2), ceil), x)
    assert compare(lambda x: F.avg_pool2d(x, kernel, stride, padding, ceil, True), x)
    assert compare(lambda x: F.avg_pool2d(x, kernel, stride, padding, ceil, False), x)


@needs_compiler
@pytest.mark.parametrize("enough", [1, 10, 10_000])
@pytest.mark.parametrize("name", ["batch_norm", "batch_norm_relu"])
def test_batch_norm_sums_in_one_or_several_splits(device, monkeypatch, name, enough):
    monkeypatch.setattr(cuda.norm, "ENOUGH", enough)
    shapes = (19, 3, 5, 8), (3,), (3,)
    assert compare(OPS[name][0], *(numbers(s, "float64", i) for i, s in enumerate(shapes)))


@needs_compiler
@dtypes
@pytest.mark.parametrize("step", [1, 2])
def test_batch_norm_updates_the_running_statistics(device, compiled, dtype, step):
    """step  apart of the statistics in memory: others than 1 are left to the plain kernels"""
    found = []
    for place in (to_strict, numpy.array):
        mean, var = (Tensor(place(numbers((2 * C,), dtype, i) ** 2)[::step][:C]) for i in range(2))
        x = Tensor(place(numbers(IMAGES, dtype, 2) + 3))
        with backend.plain() if place is numpy.array else nullcontext():
            y = F.batch_norm(x, mean, var, training=True, momentum=0.3)
        found.append([y.numpy(), mean.numpy(), var.numpy()])
    assert ("bn_moments" in compiled.launched) == (step == 1)
    for ours, wanted in zip(*found):
        assert_close(ours, wanted, TOLERANCES[dtype][0], "output or statistic")


@needs_compiler
@dtypes
@pytest.mark.parametrize("offset", [10, 1e3, -1e5])
def test_batch_norm_far_from_zero(device, dtype, offset):
    """The offset cancels; only its rounding is lost, offset / std times as large as usual."""
    f = OPS["batch_norm"][0]
    weight, bias, upstream = (numbers(s, dtype, i) for i, s in enumerate(((C,), (C,), IMAGES)))
    x = (numbers(IMAGES, "float64", 7) + offset).astype(dtype)
    found, ran_fast = outcome(f, [x, weight, bias], upstream, to_strict)
    assert ran_fast
    with backend.plain():
        exact = [x.astype("float64") - offset, *(a.astype("float64") for a in (weight, bias))]
        wanted, _ = outcome(f, exact, upstream.astype("float64"), numpy.array)
    for ours, theirs in zip(found, wanted):
        rounding = 8 * numpy.finfo(dtype).eps * abs(offset)
        assert_close(ours.astype("float64"), theirs, rounding, "far from zero")


@needs_compiler
@pytest.mark.parametrize("value", [numpy.nan, numpy.inf, -numpy.inf])
@pytest.mark.parametrize("name", [name for name in OPS if "batch_norm" not in name])
def test_nan_and_infinity_pass(device, name, value):
    """In each of the inputs and in the gradient.

    Not in the gradient of two ops whose plain kernels multiply by 0 what does not get it.
    """
    f, arrays = OPS[name][0], arguments(name, "float64")
    upstream = numbers(f(*map(Tensor, arrays)).shape, "float64", 5)
    for array in arrays if name in ("max_pool2d", "nll_loss") else (*arrays, upstream):
        place = (-1, *(size // 2 for size in array.shape[1:]))
        before, array[place] = array[place], value
        with numpy.errstate(all="ignore"):
            compare(f, *arrays, upstream=upstream)
        array[place] = before


# --- labels ---------------------------------------------------------------------------------------


@needs_compiler
def test_a_wrong_label_is_reported_when_a_value_is_read(device):
    logits = Tensor(to_strict(numbers((4, 10), "float32")), True)
    wrong = Tensor(to_strict(numpy.array([3, 12, -100, 99])))
    loss = F.cross_entropy(logits, wrong)
    assert strict.sync_count == 0
    assert numpy.isnan(from_strict(loss.data))
    with pytest.raises(IndexError, match=r"cross_entropy: labels must lie in \[0, 9\], got 12"):
        device.synchronize()
    device.synchronize()  # it was said once
    F.nll_loss(logits, Tensor(to_strict(numpy.array([1, -1, 0, 0]))))
    with pytest.raises(IndexError, match=r"nll_loss: labels must lie in \[0, 9\], got -1"):
        device.synchronize()


@needs_compiler
@pytest.mark.parametrize(
    ("label", "said"),
    [
        (2**40, "2147483647 or more"),
        (2**40 + 3, "2147483647 or more"),  # 3, a class, in its lower half
        (2**31, "2147483647 or more"),
        (2**31 - 2, "2147483646"),
        (3 - 2**40, "-2147483648 or less"),
        (-(2**31) + 1, "-2147483647"),
    ],
)
def test_labels_beyond_32_bits(device, label, said):
    logits = numbers((4, 10), "float64")
    labels = Tensor(to_strict(numpy.array([3, label, 0, 1])))
    x = Tensor(to_strict(logits), True)
    losses = F.nll_loss(x, labels, reduction="none")
    losses.sum().backward()
    with pytest.raises(IndexError, match=rf"nll_loss: labels must lie in \[0, 9\], got {said}$"):
        device.synchronize()
    found = from_strict(losses.data)
    assert numpy.isnan(found[1])
    assert found[0] == -logits[0, 3]
    assert not from_strict(x.grad.data)[1].any()


@needs_compiler
@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64"])
def test_labels_of_any_integers(device, dtype):
    logits = numbers((7, 11), "float64")
    labels = numpy.arange(7).astype(dtype)
    with backend.plain():
        wanted = F.cross_entropy(Tensor(logits), Tensor(labels)).item()
    loss = F.cross_entropy(Tensor(to_strict(logits)), Tensor(to_strict(labels)))
    assert loss.item() == pytest.approx(wanted, rel=1e-12)
    device.synchronize()


# --- a whole network ------------------------------------------------------------------------------


def training_step(place, dtype, x):
    """Logits, gradients and buffers, and how often the host waited for the device."""
    minise.manual_seed(0)
    net = models.create("se_resnet20", num_classes=10)
    for tensor in (*net.parameters(), *net.buffers()):
        tensor.data = place(tensor.data.astype(dtype))
    labels = Tensor(place(numpy.array([1, 9, 0, 5])))
    strict.sync_count = 0
    logits = net(Tensor(place(x.astype(dtype))))
    F.cross_entropy(logits, labels).backward()
    waits = strict.sync_count
    gradients = [p.grad.numpy() for p in net.parameters()]
    return logits.numpy(), gradients, [b.numpy() for b in net.buffers()], waits


@needs_compiler
@pytest.mark.parametrize(
    ("dtype", "tolerance", "of_gradients"), [("float64", 1e-9, 1e-9), ("float32", 1e-4, 5e-2)]
)
def test_a_network(device, compiled, dtype, tolerance, of_gradients):
    """In float32 a ReLU whose input is nearly 0 may open in one of two steps and not in the other:
    that changes gradients by far more than rounding does."""
    x = numbers((4, 3, 8, 8), dtype)
    logits, gradients, buffers, waits = training_step(to_strict, dtype, x)
    assert waits == 0, "the host waited for the device"
    assert {array.dtype for array in (logits, *gradients)} == {numpy.dtype(dtype)}
    launched = {name.rstrip("0123456789").rstrip("_") for name in compiled.launched}
    assert {"conv_forward", "bn_sums", "se_axpy_backward", "nll_backward"} <= launched
    with backend.plain():
        exact, exact_gradients, exact_buffers, _ = training_step(numpy.array, "float64", x)
    for ours, theirs in zip([logits, *buffers], [exact, *exact_buffers], strict=True):
        assert_close(ours.astype("float64"), theirs, tolerance, "logits or buffer")
    for ours, theirs in zip(gradients, exact_gradients, strict=True):
        if dtype == "float64":
            assert_close(ours, theirs, of_gradients, "gradient")
        else:
            off = numpy.linalg.norm(ours - theirs)
            assert off <= of_gradients * numpy.linalg.norm(theirs)


@needs_compiler
def test_what_a_step_of_a_network_copies_into_another_order(device, monkeypatch):
    """The batch, and the weights of its 3 × 3 convolutions.

    (And two gradients are written out that are one number for all, those of means.)
    """
    copied = []

    def ascontiguousarray(array, dtype=None):
        result = numpy.ascontiguousarray(array, dtype)
        copied.extend([] if numpy.may_share_memory(result, array) else [result.shape])
        return result

    monkeypatch.setitem(strict_array.REPLACED, "ascontiguousarray", ascontiguousarray)
    training_step(to_strict, "float32", numbers((4, 3, 8, 8), "float32"))
    net = models.create("se_resnet20", num_classes=10)
    kernels = [p.shape for p in net.parameters() if p.ndim == 4 and p.shape[2:] != (1, 1)]
    weights = [(O, R, S, C) for O, C, R, S in kernels]
    means = [(4,), (4, 2, 2, 64)]  # of the losses, and of the last pixels
    assert sorted(copied) == sorted([(4, 8, 8, 3), *weights, *means])


@needs_compiler
def test_an_array_that_is_read_and_written_is_noticed(device):
    x = to_strict(numbers((7,), "float32"))
    for result in (x, x[1:6]):
        with pytest.raises(AssertionError, match=r"relu_forward: .* another argument overlaps"):
            launch.launch("relu_forward", x.dtype, (1,), x, result, result.size)


# --- the comparison notices mistakes --------------------------------------------------------------

# op, its sources, what stands there, what is put in its place, what is said about it
CONV, NORM, POOL = ("product", "conv"), ("norm",), ("pool",)
COLUMNS = (*CONV, *POOL, "columns")
MISTAKES = {
    "index": (
        "conv2d", CONV, "+ right) * from.all + tap.channel", "+ right) * from.all",
        "^output: .* off",
    ),
    "tail": ("conv2d", CONV, "inside = tap.r < R &&", "inside = tap.r <= R &&", "its arrays"),
    "border": ("conv2d", CONV, "{outputs, 0, 1, -padding", "{outputs, 0, 1, padding", "^output"),
    "order of k": (
        "conv2d", CONV, "return row % (K / 4) * 4 + row / (K / 4)", "return row", "^gradient",
    ),
    "four": (
        "conv2d", CONV, "if (inside) four = *", "if (inside && count > 4) four = *", "^gradient",
    ),
    "barrier": ("conv2d", CONV, "__syncthreads();  // the tile", "// the tile", "order of threads"),
    "barrier in a branch": (
        "batch_norm", NORM, "        __syncthreads();\n    }",
        "        if (half > place) __syncthreads();\n    }", "others do not come to",
    ),
    "outside": ("relu", ("elementwise",), "i < count; i +=", "i <= count; i +=", "wrote outside"),
    "forgotten": (
        "max_pool2d", POOL, "    dx[i] = sum;", "    if (sum != 0) dx[i] = sum;",
        "^gradient of input 0",
    ),
    "type": ("batch_norm", NORM, "double eps, int rect", "float eps, int rect", "8 is f8"),
    "tap": ("conv2d by columns", COLUMNS, "+ s * conv.dilation_w", "+ s", "^output"),
    "border of the columns": (
        "conv2d by columns", COLUMNS, "conv.H) && within(w", "conv.H) || within(w",
        "^output|its arrays",
    ),
    "turned": (
        "conv2d by columns", COLUMNS, "conv.S + tap)", "conv.S + conv.R * conv.S - 1 - tap)",
        "^gradient of input 0",
    ),
    "before the first window": (
        "conv2d by columns", COLUMNS, "column < 0 || ", "", "^gradient of input 0|its arrays",
    ),
    "row": ("log_softmax", ("loss",), "rows ? start + C :", "rows ? start + C - 1 :", "^output"),
}  # fmt: skip


@needs_compiler
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_noticed(tmp_path, monkeypatch, mistake):
    name, sources, right, wrong, message = MISTAKES[mistake]
    code = launch.code(("threads", *sources, "parameters"))
    assert right in code
    kernels = cuda_on_host.Kernels(code.replace(right, wrong, 1), tmp_path)
    with plugged_in(kernels, monkeypatch), pytest.raises(AssertionError, match=message):
        compare(OPS[name][0], *arguments(name, "float64"))
