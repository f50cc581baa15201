"""Where tensors come from: dtypes, copies, errors and seeds."""

import numpy as np
import pytest
from strict_array import StrictArray, strict_backend

import minise
from minise import Tensor

VALUES = {
    "float": (1.5, np.float32),
    "int": (3, np.int64),
    "bool": (True, np.bool_),
    "floats": ([1.0, 2.0], np.float32),
    "ints": ([1, 2], np.int64),
    "bools": ([True, False], np.bool_),
    "ints and floats": ([1, 2.5], np.float32),
    "bools and ints": ([True, 2], np.int64),
    "nested": ([[1.0, 2.0], [3.0, 4.0]], np.float32),
    "tuples": (((1, 2), (3, 4)), np.int64),
    "range": (range(3), np.int64),
    "empty": ([], np.float32),
    "nested empty": ([[], []], np.float32),
    "NumPy float32": ([np.float32(1), 2.0], np.float32),
    "NumPy float64": ([np.float64(1), np.float64(2)], np.float64),
    "NumPy int32": ([np.int32(1)], np.int32),
    "one NumPy float64": (np.float64(1), np.float64),
    "one NumPy float32": (np.float32(1), np.float32),
    "list of arrays": ([np.zeros(2), np.ones(2)], np.float64),
}


@pytest.mark.parametrize("kind", VALUES)
def test_values_and_dtypes(kind):
    values, dtype = VALUES[kind]
    x = minise.tensor(values)
    assert x.dtype == dtype
    np.testing.assert_array_equal(x.numpy(), np.asarray(values))


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.filterwarnings("ignore:Creating a tensor from a list of numpy")
def test_dtypes_are_those_of_pytorch(kind):
    torch = pytest.importorskip("torch")
    values, dtype = VALUES[kind]
    assert str(torch.tensor(values).dtype) == f"torch.{np.dtype(dtype).name}"


@pytest.mark.parametrize(
    "dtype", ["float16", "float32", "float64", "int8", "uint8", "int64", "bool"]
)
def test_arrays_keep_their_dtype(dtype):
    assert minise.tensor(np.ones((2, 3), dtype)).dtype == dtype


def test_dtype_on_request():
    assert minise.tensor([1.9, 2.1], dtype=np.int64).numpy().tolist() == [1, 2]
    assert minise.tensor([1, 2], dtype="float64").dtype == np.float64
    assert minise.tensor(np.ones(2), np.float32).dtype == np.float32
    exact = minise.tensor([0.1], dtype=np.float64)  # not rounded to float32 on the way
    assert exact.item() == 0.1


@pytest.mark.parametrize("wrap", [np.asarray, Tensor], ids=["array", "tensor"])
def test_values_are_copied(wrap):
    source = np.array([1.0, 2.0])
    x = minise.tensor(wrap(source))
    source[0] = 5
    assert x.numpy().tolist() == [1, 2]


def test_read_only_arrays_become_writable_copies():
    x = minise.tensor(np.broadcast_to(1.0, 3))
    x.data[0] = 2
    assert x.numpy().tolist() == [2, 1, 1]


def test_tensor_of_a_tensor_has_no_history():
    y = minise.tensor([1.0], requires_grad=True) * 2
    x = minise.tensor(y, requires_grad=True)
    assert x.op is None
    assert x.numpy().tolist() == [2]


def test_list_of_tensors():
    x = minise.tensor([minise.tensor(1.0), minise.tensor(2.0)])
    assert x.numpy().tolist() == [1, 2]
    assert x.dtype == np.float32


def test_requires_grad():
    assert minise.tensor([1.0], requires_grad=True).requires_grad
    assert not minise.tensor([1.0]).requires_grad


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ("text", TypeError, "expected float16, float32, float64, bool and integers, got <U4"),
        (["a", "b"], TypeError, "got <U1"),
        (None, TypeError, "got object"),
        ([object()], TypeError, "got object"),
        ({1: 2}, TypeError, "got object"),
        (1j, TypeError, "got complex128"),
        (np.array([1, None]), TypeError, "got object"),
        (np.array(["a"]), TypeError, "got <U1"),
        (np.array(["2020-01-01"], "datetime64[D]"), TypeError, "got datetime64"),
        ([[1, 2], [3]], ValueError, "expected lists of equal lengths, got ragged ones"),
    ],
)
def test_what_is_no_tensor(values, error, message):
    with pytest.raises(error, match=f"tensor: .*{message}"):
        minise.tensor(values)


def test_dtypes_that_do_not_exist_here():
    with pytest.raises(TypeError, match="got complex64"):
        minise.tensor([1.0], dtype=np.complex64)
    with pytest.raises(TypeError, match="got object"):
        minise.tensor([1.0], dtype=object)


def test_integers_cannot_require_gradients():
    for make in (lambda: minise.tensor([1], requires_grad=True),
                 lambda: minise.zeros(2, dtype=np.int64, requires_grad=True),
                 lambda: minise.arange(3, requires_grad=True)):  # fmt: skip
        with pytest.raises(RuntimeError, match="only floating point tensors"):
            make()


# --- constants and ranges -----------------------------------------------------------------------


@pytest.mark.parametrize(("make", "value"), [(minise.zeros, 0), (minise.ones, 1)])
def test_zeros_and_ones(make, value):
    for x in (make(2, 3), make((2, 3)), make([2, 3])):
        assert x.shape == (2, 3)
        assert x.dtype == np.float32
        assert (x.numpy() == value).all()
    assert make(()).shape == make().shape == ()
    assert make(0, 2).shape == (0, 2)
    assert make(2, dtype=np.float64, requires_grad=True).requires_grad


def test_full():
    assert minise.full((2, 2), 7.0).numpy().tolist() == [[7, 7], [7, 7]]
    assert minise.full((), 7).item() == 7
    kinds = [minise.full((1,), value).dtype for value in (1.0, 1, True)]
    assert kinds == [np.float32, np.int64, np.bool_]
    assert minise.full((1,), 1, dtype=np.float16).dtype == np.float16


def test_like():
    x = minise.tensor(np.full((2, 3), 5.0))
    for y, value in ((minise.zeros_like(x), 0), (minise.ones_like(x, requires_grad=True), 1)):
        assert y.dtype == np.float64
        assert y.numpy().tolist() == [[value] * 3] * 2
    assert y.requires_grad


@pytest.mark.parametrize("make", [minise.zeros, minise.ones, minise.rand, minise.randn])
def test_lengths_that_do_not_exist(make):
    with pytest.raises(RuntimeError, match=r"expected lengths >= 0, got shape \(2, -1\)"):
        make(2, -1)
    with pytest.raises(TypeError):
        make(2.5)


@pytest.mark.parametrize(
    ("arguments", "values", "dtype"),
    [
        ((4,), [0, 1, 2, 3], np.int64),
        ((2, 5), [2, 3, 4], np.int64),
        ((5, 0, -2), [5, 3, 1], np.int64),
        ((0.0, 1.0, 0.25), [0, 0.25, 0.5, 0.75], np.float32),
        ((0,), [], np.int64),
        ((0.0,), [], np.float32),
    ],
)
def test_arange(arguments, values, dtype):
    x = minise.arange(*arguments)
    assert x.numpy().tolist() == values
    assert x.dtype == dtype


@pytest.mark.parametrize("arguments", [(5, 2), (0, 5, 0), (0, 5, -1), (-1,)])
def test_arange_that_leads_nowhere(arguments):
    with pytest.raises(RuntimeError, match=r"arange: a step of .* does not lead from"):
        minise.arange(*arguments)


def test_arange_dtype_on_request():
    assert minise.arange(3, dtype=np.float64).dtype == np.float64


# --- random numbers -----------------------------------------------------------------------------


@pytest.mark.parametrize("make", [minise.rand, minise.randn])
def test_same_seed_same_numbers(make):
    minise.manual_seed(5)
    first, second = make(3, 4), make(3, 4)
    minise.manual_seed(5)
    assert make(3, 4).numpy().tolist() == first.numpy().tolist()
    assert first.numpy().tolist() != second.numpy().tolist()
    minise.manual_seed(6)
    assert make(3, 4).numpy().tolist() != first.numpy().tolist()


def test_dtype_changes_the_rounding_only():
    minise.manual_seed(0)
    single = minise.randn(5)
    minise.manual_seed(0)
    double = minise.randn(5, dtype=np.float64)
    assert (single.dtype, double.dtype) == (np.float32, np.float64)
    np.testing.assert_array_equal(single.numpy(), double.numpy().astype(np.float32))


def test_distributions():
    minise.manual_seed(0)
    normal, uniform = minise.randn(100, 100).numpy(), minise.rand(100, 100).numpy()
    assert abs(normal.mean()) < 0.05
    assert abs(normal.std() - 1) < 0.05
    assert uniform.min() >= 0
    assert uniform.max() < 1
    assert abs(uniform.mean() - 0.5) < 0.02


def test_random_shapes():
    assert minise.randn(()).shape == minise.rand().shape == ()
    assert minise.randn((2, 3)).shape == (2, 3)
    assert minise.randn(2, requires_grad=True).requires_grad


@pytest.mark.parametrize("seed", [-1, 1.5, "1"])
def test_seeds_that_do_not_exist(seed):
    with pytest.raises(ValueError, match="manual_seed: expected an integer >= 0"):
        minise.manual_seed(seed)


# --- on which backend ---------------------------------------------------------------------------


@pytest.fixture
def strict():
    backend = minise.backend.register(strict_backend())
    yield backend
    minise.use("numpy")


def test_backend_on_request(strict):
    for x in (
        minise.tensor([1.0, 2.0], backend="strict"),
        minise.tensor(np.ones(2, np.float32), backend="strict"),
        minise.ones(2, backend="strict"),
        minise.arange(2, dtype=np.float32, backend="strict"),
        minise.randn(2, backend="strict"),
    ):
        assert isinstance(x.data, StrictArray)
        assert (x.backend, x.shape, x.dtype) == ("strict", (2,), np.float32)


def test_new_tensors_follow_use(strict):
    minise.use("strict")
    lists, floats = minise.tensor([1.0]), minise.randn(2)
    assert lists.backend == floats.backend == minise.full((1,), 2.0).backend == "strict"
    assert minise.tensor(np.ones(2)).backend == "numpy"  # an array stays where it is
    assert minise.tensor(lists).backend == minise.zeros_like(lists).backend == "strict"
    assert minise.tensor(lists, backend="numpy").backend == "numpy"


def test_same_seed_same_numbers_on_every_backend(strict):
    minise.manual_seed(1)
    here = minise.randn(3)
    minise.manual_seed(1)
    there = minise.randn(3, backend="strict")
    np.testing.assert_array_equal(here.numpy(), there.numpy())


def test_what_is_no_tensor_is_refused_before_it_travels(strict):
    with pytest.raises(TypeError, match="got <U1"):
        minise.tensor(["a"], backend="strict")
