"""The CUDA kernels, without a GPU: they compile for three generations, and compute the right numbers.

NVRTC, CUDA's own compiler, needs no GPU. What the kernels compute is tried on the CPU, with the
same sources and with all of minise's own Python around them: see cuda_on_host.py.
"""

from __future__ import annotations

import re
from contextlib import nullcontext
from dataclasses import replace

import cuda_on_host
import numpy
import parity
import pytest
import test_ops_activation
import test_ops_conv
import test_ops_loss
import test_ops_math
import test_ops_norm
import test_ops_pool
import test_ops_se
from strict_array import StrictArray, from_strict, strict, strict_backend, to_strict
from test_backend_fast import CONVOLUTIONS, TOLERANCES, assert_close, conv, numbers

import minise
from minise import Tensor, backend, models, optim
from minise import functional as F
from minise.backend import cuda
from minise.backend.cuda import launch

dtypes = pytest.mark.parametrize("dtype", TOLERANCES)
reals = pytest.mark.parametrize("real", launch.REAL.values())


# --- they compile ---------------------------------------------------------------------------------


def nvrtc(code: str, real: str, architecture: str) -> bytes:
    """The code for a GPU of that architecture; skips the test where NVRTC or its headers miss."""
    compiler = pytest.importorskip("cupy.cuda.compiler", reason="CuPy is not installed")
    program = compiler._NVRTCProgram(code, "minise.cu", method="cubin")
    try:
        return program.compile((*launch.options(real), f"-arch={architecture}"))[0]
    except RuntimeError as error:
        if "nvrtc" in str(error).lower():  # the library could not be loaded
            pytest.skip(f"NVRTC is not installed: {error}")
        raise


@pytest.mark.slow
@reals
@pytest.mark.parametrize("architecture", ["sm_75", "sm_80", "sm_90"])
def test_nvrtc_compiles_the_kernels(real, architecture):
    assert nvrtc(launch.code(), real, architecture).startswith(b"\x7fELF")


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (("__device__ Real relu(Real v)", "__device__ Real relu(Real v"), "threads.cu"),
        (("double* parts, double first", "double& parts, double first"), "norm.cu"),
        (("Tile<M, N, 16, PER_M", "Tile<M, N, 256, PER_M"), "a thread always loads the same k"),
        (("a[T::K][T::A_ROW]", "a[40 * T::K][T::A_ROW]"), "shared data"),
    ],
    ids=["syntax", "type", "tile", "shared memory"],
)
def test_nvrtc_finds_a_mistake(mistake, message):
    compiler = pytest.importorskip("cupy.cuda.compiler", reason="CuPy is not installed")
    assert launch.code().count(mistake[0]) >= 1
    with pytest.raises(compiler.CompileException, match=message):
        nvrtc(launch.code().replace(*mistake), "double", "sm_90")


# --- they compute the right numbers ---------------------------------------------------------------

needs_compiler = pytest.mark.skipif(cuda_on_host.COMPILER is None, reason="g++ is not installed")


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    return cuda_on_host.Kernels(launch.code(), tmp_path_factory.mktemp("kernels"))


@pytest.fixture
def device(compiled, monkeypatch):
    """Strict arrays with the kernels of the GPU, run on the CPU."""
    yield from plugged_in(compiled, monkeypatch)


def plugged_in(kernels, monkeypatch):
    monkeypatch.setattr(launch, "kernel", kernels.kernel)
    monkeypatch.setattr(cuda.sgd, "address", cuda_on_host.address)
    labels = cuda.LabelCheck(strict, from_strict)
    before = strict_backend()
    home = backend.register(
        replace(
            before,
            fast=dict(cuda.KERNELS),
            check_labels=labels.check,
            synchronize=labels.raise_if_wrong,
        )
    )
    strict.sync_count = 0
    kernels.launched.clear()
    yield home
    backend.register(before)


def outcome(f, arrays, upstream, place, constant=()):
    """Output and gradients on the host; whether a fast kernel ran."""
    tensors = [Tensor(place(array), i not in constant) for i, array in enumerate(arrays)]
    y = f(*tensors)
    ran_fast = y.op is not None and y.op.fast_backward is not None
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


def cases_of(*modules):
    """Those that PyTorch has answered already, in both dtypes."""
    return [
        pytest.param(case, dtype, id=f"{case.id}-{dtype}")
        for module in modules
        for case in module.CASES
        for dtype in case.dtypes
        if case.golden and parity.golden_outcomes()
    ]


@needs_compiler
@pytest.mark.parametrize(
    ("case", "dtype"),
    cases_of(
        test_ops_activation, test_ops_conv, test_ops_loss, test_ops_math, test_ops_norm,
        test_ops_pool, test_ops_se,
    ),
)  # fmt: skip
def test_parity_with_pytorch(device, case, dtype):
    way = parity.Way("strict", dtype)
    wanted = parity.expected(case, dtype)
    with numpy.errstate(all="ignore") if case.overflows else nullcontext():
        parity.assert_same_outcome(case, "cuda", parity.run(case, way), wanted)


SMALL = [
    case for case in CONVOLUTIONS if numpy.prod(case[0]) * numpy.prod(case[1][2:]) < 2e6
]  # fmt: skip


@needs_compiler
@dtypes
@pytest.mark.parametrize(
    ("kernel", "x", "options"), SMALL, ids=[" ".join(map(str, case)) for case in SMALL]
)
def test_conv2d(device, dtype, kernel, x, options):
    both = numpy.max(options.get("stride", 1)) > 1 and numpy.max(options.get("dilation", 1)) > 1
    ran_fast = compare(*conv(kernel, x, dtype, bias=len(options) != 1, **options))
    assert ran_fast == (not both)
