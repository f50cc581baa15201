"""minise beside PyTorch: one expression, two libraries, the same numbers and the same gradients.

A case is one line, because minise has PyTorch's names:

    case("conv2d stride 2", lambda F, x, w: F.conv2d(x, w, stride=2), (2, 3, 8, 8), (4, 3, 3, 3))

F holds the functions of minise.functional and minise (`cat`, `where`, ...), or those of
torch.nn.functional and torch. A shape stands for standard normal numbers; `positive`, `labels`,
`values`, ... make other inputs. Random numbers are seeded by the case's id, and RandomState's
stream never changes, so a case is the same on every machine.

Each case runs in several ways (`WAYS`): in float64 with the plain kernels; in float32; on the
strict array that stands in for a GPU; with inputs that are read-only and lie in memory in another
order, channels last, which the fast kernels want; and, with `pytest -m gpu`, on a GPU. Compared are
shape, dtype and value of every output, and shape, dtype and value of the gradient of every input
when random gradients flow into the outputs. What PyTorch says it is asked there and then.
Where it is not installed, its answers are read from golden/ops.safetensors, and a case that was not
recorded there skips: a new case needs no golden file, `make golden` records it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import devices
import numpy
import pytest
from safetensors.numpy import load_file
from strict_array import strict_backend

import minise
from minise import backend

try:
    import torch
except ImportError:
    torch = None
else:
    torch.set_num_threads(1)  # arrays this small are done before a second thread has woken up

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "ops.safetensors"
# Largest relative difference of values and of gradients (see `assert_close`).
TOLERANCES = {"float64": (1e-10, 1e-9), "float32": (1e-5, 1e-4), "float16": (2e-3, 4e-3)}

Array = numpy.ndarray

backend.register(strict_backend())


# --- what a case is made of -----------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Input:
    """One argument: how to draw it, and whether its gradient is compared (floats only)."""

    draw: Callable[[numpy.random.RandomState], Any]
    dtype: str | None = None  # None: that of the run, float64 or float32
    differentiable: bool = True


def normal(*shape: int, dtype: str | None = None) -> Input:
    """Standard normal numbers; a case may give just the shape instead."""
    return Input(lambda stream: stream.standard_normal(shape), dtype)


def positive(*shape: int) -> Input:
    """Uniform between 0.5 and 2: for logarithms, roots, divisors, variances."""
    return Input(lambda stream: stream.uniform(0.5, 2, shape))


def probabilities(*shape: int, axis: int = 1) -> Input:
    """Positive numbers that sum to 1 along `axis`."""

    def draw(stream: numpy.random.RandomState) -> Array:
        weights = stream.uniform(0.1, 1, shape)
        return weights / weights.sum(axis=axis, keepdims=True)

    return Input(draw)


def values(numbers: Any, dtype: str | None = None) -> Input:
    """Exactly these: kinks, ties, NaN, infinities; integers and booleans with their dtype."""
    array = numpy.array(numbers)
    own = None if array.dtype.kind == "f" else array.dtype.name
    return Input(lambda stream: array, dtype or own)


def integers(low: int, high: int, *shape: int, dtype: str = "int64") -> Input:
    """Integers from low to high - 1."""
    return Input(lambda stream: stream.randint(low, high, shape), dtype)


def labels(classes: int, *shape: int) -> Input:
    return integers(0, classes, *shape)


def booleans(*shape: int) -> Input:
    return Input(lambda stream: stream.standard_normal(shape) > 0, "bool")


def constant(given: Input | tuple[int, ...]) -> Input:
    """The same input, but a constant: no gradient is asked for."""
    return replace(as_input(given), differentiable=False)


def as_input(given: Input | tuple[int, ...]) -> Input:
    return normal(*given) if isinstance(given, tuple) else given


@dataclass(frozen=True, eq=False)
class Case:
    id: str
    ours: Callable[..., Any]
    theirs: Callable[..., Any]
    inputs: tuple[Input, ...]
    golden: bool
    overflows: bool

    @property
    def dtypes(self) -> tuple[str, ...]:
        free = any(given.dtype is None for given in self.inputs)
        return ("float64", "float32") if free else ("float64",)

    def arrays(self, dtype: str) -> list[Array]:
        stream = numpy.random.RandomState(crc32(self.id.encode()))
        drawn = [numpy.asarray(given.draw(stream)) for given in self.inputs]
        return [a.astype(given.dtype or dtype) for a, given in zip(drawn, self.inputs)]

    def upstream(self, index: int, shape: tuple[int, ...], dtype: Any) -> Array:
        """The gradient that flows into output `index`."""
        stream = numpy.random.RandomState(crc32(f"{self.id} gradient {index}".encode()))
        return numpy.asarray(stream.standard_normal(shape)).astype(dtype)


def case(
    id: str,
    ours: Callable[..., Any],
    *inputs: Input | tuple[int, ...],
    theirs: Callable[..., Any] | None = None,
    golden: bool = True,
    overflows: bool = False,
) -> Case:
    """`ours(F, *tensors)` gives a tensor or a tuple of tensors; so does `theirs` in PyTorch.

    theirs     the expression for PyTorch where it differs
    golden     False: not to be recorded, because there are many of them (large grids of options)
    overflows  True: NumPy may warn, because inf or NaN is the right answer (log 0, 1 / 0)
    """
    return Case(id, ours, theirs or ours, tuple(map(as_input, inputs)), golden, overflows)


class Way(NamedTuple):
    """One way to run a case."""

    backend: str
    dtype: str
    reordered: bool = False
    plain: bool = False


WAYS = {
    "float64": Way("numpy", "float64", plain=True),
    "float32": Way("numpy", "float32"),
    "strict": Way("strict", "float64"),
    "strides": Way("numpy", "float64", reordered=True),
    "cupy": Way("cupy", "float64", reordered=True),
    "cupy float32": Way("cupy", "float32"),
    "cupy plain": Way("cupy", "float64", plain=True),
}


def every(cases: Sequence[Case]) -> pytest.MarkDecorator:
    """Parametrises `test(case, way)` with every case in every way."""
    ids = [case.id for case in cases]
    twice = {id for id in ids if ids.count(id) > 1}
    if twice:
        raise ValueError(f"parity: two cases of the same id: {', '.join(sorted(twice))}")
    return pytest.mark.parametrize(
        ("case", "way"),
        [
            pytest.param(
                case, name, id=f"{case.id}-{name}",
                marks=[pytest.mark.gpu] if way.backend == "cupy" else [],
            )
            for case in cases
            for name, way in WAYS.items()
            if way.dtype in case.dtypes
        ],
    )


# --- running both sides ---------------------------------------------------------------------------


class Outcome(NamedTuple):
    """What came out: arrays, and per input its gradient (None where no gradient arrived)."""

    outputs: list[Array]
    gradients: list[Array | None]


class Names:
    """Functions of several modules under one name, the first that has it."""

    def __init__(self, *modules: str) -> None:
        self._modules = modules

    def __getattr__(self, name: str) -> Any:
        for module in map(import_module, self._modules):
            if hasattr(module, name):
                return getattr(module, name)
        raise AttributeError(f"{' and '.join(self._modules)} have no {name!r}")


OURS = Names("minise.functional", "minise")
THEIRS = Names("torch.nn.functional", "torch")


def run(case: Case, way: Way) -> Outcome:
    """The case in minise. Raises AssertionError if it wrote to one of its inputs."""
    with backend.plain() if way.plain else nullcontext():
        return _run(case, way)


def _run(case: Case, way: Way) -> Outcome:
    home = backend.get(way.backend)
    arrays = [reordered(a) if way.reordered else a for a in case.arrays(way.dtype)]
    tensors = [
        minise.Tensor(home.as_array(array), given.differentiable and array.dtype.kind == "f")
        for array, given in zip(arrays, case.inputs)
    ]
    results = as_tuple(case.ours(OURS, *tensors))
    for index, result in enumerate(results):
        if result.requires_grad:
            gradient = case.upstream(index, result.shape, result.dtype)
            gradient = reordered(gradient) if way.reordered else gradient
            result.backward(minise.Tensor(home.as_array(gradient)), retain_graph=True)
    for index, (tensor, original) in enumerate(zip(tensors, case.arrays(way.dtype))):
        if not numpy.array_equal(tensor.numpy(), original, equal_nan=original.dtype.kind == "f"):
            raise AssertionError(f"{case.id}: input {index} was changed in place")
    gradients = [None if t.grad is None else t.grad.numpy() for t in tensors]
    return Outcome([result.numpy() for result in results], gradients)


def reordered(array: Array) -> Array:
    """The same values, read-only, with other strides: channels last, or all axes reversed."""
    if array.ndim == 1:
        view = array[::-1].copy()[::-1]
    else:
        order = (0, 2, 3, 1) if array.ndim == 4 else tuple(range(array.ndim))[::-1]
        view = array.transpose(order).copy().transpose(numpy.argsort(order))
    view.flags.writeable = False
    return view


def run_torch(case: Case, dtype: str) -> Outcome:
    """The case in PyTorch."""
    tensors = [torch.tensor(array) for array in case.arrays(dtype)]
    for tensor, given in zip(tensors, case.inputs):
        tensor.requires_grad = given.differentiable and tensor.is_floating_point()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = as_tuple(case.theirs(THEIRS, *tensors))
        for index, result in enumerate(results):
            if result.requires_grad:
                shape, kind = tuple(result.shape), str(result.dtype).removeprefix("torch.")
                gradient = torch.tensor(case.upstream(index, shape, kind))
                result.backward(gradient, retain_graph=True)
    gradients = [None if t.grad is None else t.grad.numpy() for t in tensors]
    return Outcome([result.detach().numpy() for result in results], gradients)


def as_tuple(result: Any) -> tuple[Any, ...]:
    return result if isinstance(result, tuple) else (result,)


@lru_cache(maxsize=8)
def expected(case: Case, dtype: str) -> Outcome:
    """What PyTorch gives: computed now, or recorded; skips the test if neither is possible."""
    recorded = golden_outcomes().get((case.id, dtype))
    if case.golden and recorded is None:
        unrecorded.add(case.id)
    if torch is not None:
        return run_torch(case, dtype)
    if recorded is None:
        pytest.skip("PyTorch is not installed, and its answer is not in the golden file")
    return recorded


# --- golden file ----------------------------------------------------------------------------------


def golden_arrays(cases: Iterable[Case]) -> dict[str, Array]:
    """What PyTorch gives for all golden cases: outputs "id|dtype|y0", gradients "id|dtype|d0"."""
    arrays = {}
    for case in cases:
        for dtype in case.dtypes if case.golden else ():
            outcome = run_torch(case, dtype)
            for letter, results in zip("yd", outcome):
                for index, array in enumerate(results):
                    if array is not None:
                        arrays[f"{case.id}|{dtype}|{letter}{index}"] = numpy.ascontiguousarray(
                            array
                        ).reshape(array.shape)
    return arrays


@lru_cache(maxsize=1)
def golden_outcomes() -> dict[tuple[str, str], Outcome]:
    """The recorded outcomes by case id and dtype; empty if the file was not made yet."""
    found: dict[tuple[str, str], dict[str, Array]] = {}
    for key, array in (load_file(GOLDEN) if GOLDEN.exists() else {}).items():
        id, dtype, name = key.split("|")
        found.setdefault((id, dtype), {})[name] = array
    return {
        key: Outcome(
            [arrays[f"y{i}"] for i in range(sum(name[0] == "y" for name in arrays))],
            [arrays.get(f"d{i}") for i in range(16)],
        )
        for key, arrays in found.items()
    }


# --- comparing ------------------------------------------------------------------------------------

compared: dict[str, int] = {}  # how many arrays were compared, by case
unrecorded: set[str] = set()  # cases that the golden file lacks


def check(case: Case, way: str) -> None:
    """Compare minise with PyTorch; AssertionError says what differs and where."""
    __tracebackhide__ = True
    devices.require(WAYS[way].backend)
    wanted = expected(case, WAYS[way].dtype)
    with warnings.catch_warnings():
        if case.overflows:
            warnings.simplefilter("ignore", RuntimeWarning)
        actual = run(case, WAYS[way])
    compared[case.id] = compared.get(case.id, 0) + assert_same_outcome(case, way, actual, wanted)


def check_live(case: Case) -> None:
    """For cases that hypothesis makes up: compare with PyTorch itself, in float64, on NumPy."""
    __tracebackhide__ = True
    if torch is None:
        pytest.skip("PyTorch is not installed")
    way = WAYS["strides"]
    assert_same_outcome(case, "live", run(case, way), run_torch(case, way.dtype))


def assert_same_outcome(case: Case, where: str, actual: Outcome, wanted: Outcome) -> int:
    """Returns how many arrays were compared."""
    __tracebackhide__ = True  # the message says it all
    assert len(actual.outputs) == len(wanted.outputs)
    for index, (ours, theirs) in enumerate(zip(actual.outputs, wanted.outputs)):
        forward, _ = TOLERANCES.get(theirs.dtype.name, (0, 0))
        assert_close(ours, theirs, forward, f"{case.id} [{where}]: output {index}")
    count = len(actual.outputs)
    for index, (ours, theirs) in enumerate(zip(actual.gradients, wanted.gradients)):
        if ours is None and theirs is None:
            continue
        # No gradient and a gradient of zeros say the same.
        ours = numpy.zeros_like(theirs) if ours is None else ours
        theirs = numpy.zeros_like(ours) if theirs is None else theirs
        _, backward = TOLERANCES[theirs.dtype.name]
        assert_close(ours, theirs, backward, f"{case.id} [{where}]: gradient of input {index}")
        count += 1
    return count


def assert_close(actual: Array, expected: Array, tolerance: float, what: str) -> None:
    """Same shape, same dtype, same NaNs and infinities, and for every element

        |actual - expected| <= tolerance · (|expected| + typical),

    `typical` being the median size of the elements that are not 0 (of two middle ones the smaller).
    It is there because a sum of terms of ordinary size may come out close to 0 and keeps their
    rounding error. It is a median, not a maximum or a mean square, so that one huge element cannot
    hide a wrong small one. What could still pass is an error below tolerance · typical, and
    float64's tolerance leaves no room for one that means anything.
    """
    __tracebackhide__ = True
    if (actual.shape, actual.dtype) != (expected.shape, expected.dtype):
        raise AssertionError(
            f"{what}: expected {expected.dtype} {expected.shape}, got {actual.dtype} {actual.shape}"
        )
    ours, theirs = actual, expected
    if theirs.dtype.kind == "f":
        ours, theirs = ours.astype(numpy.float64), theirs.astype(numpy.float64)
        finite = numpy.isfinite(theirs)
        sizes = numpy.abs(theirs[finite])
        sizes = sizes[sizes > 0]
        typical = numpy.quantile(sizes, 0.5, method="lower") if sizes.size else 0.0
        bound = tolerance * (numpy.abs(theirs) + typical)
        with numpy.errstate(invalid="ignore"):  # inf - inf
            close = numpy.abs(ours - theirs) <= bound
        same = (ours == theirs) | (numpy.isnan(ours) & numpy.isnan(theirs))
        right = numpy.where(finite, close, same)
    else:
        right = ours == theirs
    if not right.all():
        wrong = numpy.argwhere(~right)
        place = tuple(wrong[0].tolist())
        raise AssertionError(
            f"{what}: {len(wrong)} of {right.size} elements differ; at {place} expected "
            f"{expected[place]!r}, got {actual[place]!r}"
        )


def summary() -> str:
    """What the report of a test run says about it."""
    source = f"live torch {torch.__version__}" if torch else "recorded numbers"
    said = (
        f"parity with PyTorch: {sum(compared.values())} comparisons over {len(compared)} cases "
        f"({source})"
    )
    if unrecorded:
        said += f"; not in the golden file: {len(unrecorded)} cases, which `make golden` records"
    return said
