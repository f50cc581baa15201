"""The strict array refuses what CuPy refuses, and computes as NumPy does in everything else."""

from __future__ import annotations

from operator import attrgetter

import numpy as np
import pytest
from strict_array import StrictArray, from_strict, strict, strict_backend, to_strict

from minise import backend

xp = strict
HOST = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.fixture
def x() -> StrictArray:
    strict.sync_count = 0
    return to_strict(HOST)


def indices(*values: int) -> StrictArray:
    return to_strict(np.array(values))


def assert_holds(array: StrictArray, expected: object) -> None:
    """A StrictArray of these values, with the shape and dtype that NumPy gives them."""
    assert type(array) is StrictArray
    expected = np.asarray(expected)
    assert (array.shape, array.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_array_equal(from_strict(array), expected)


@pytest.mark.parametrize(
    "use",
    [
        lambda x: x + HOST,
        lambda x: HOST + x,
        lambda x: HOST * x,
        lambda x: HOST @ x.T,
        lambda x: x == HOST,
        lambda x: x + np.array(1.0),
        lambda x: x + [1.0, 2.0, 3.0],
        lambda x: x + None,
        lambda x: x.__iadd__(HOST),
        lambda x: x.__setitem__(..., HOST),
        lambda x: x.__setitem__(..., [1.0, 2.0, 3.0]),
        lambda x: HOST.copy().__iadd__(x),
        lambda x: HOST.copy().__setitem__(..., x),
        lambda x: x[np.array([0, 1])],
        lambda x: x[x.sum() :],
        lambda x: x.dot(HOST.T),
        lambda x: xp.exp(HOST),
        lambda x: xp.exp([1.0]),
        lambda x: xp.exp(x, out=HOST.copy()),
        lambda x: xp.sum(HOST),
        lambda x: xp.sum([1.0]),
        lambda x: xp.sum(1.0),
        lambda x: xp.where(HOST > 0, x, x),
        lambda x: xp.where(x > 0, HOST, x),
        lambda x: xp.concatenate([x, HOST]),
        lambda x: xp.stack([1.0, 2.0]),
        lambda x: np.exp(x),
        lambda x: np.sum(x),
        lambda x: np.concatenate([x, x]),
        lambda x: np.asarray(x),
        lambda x: np.array([x, x]),
        lambda x: HOST[x[0, 0]],
        lambda x: range(x.sum()),
        lambda x: xp.zeros(indices(2)[0]),
        lambda x: xp.zeros((indices(2)[0], 3)),
        lambda x: x.reshape(indices(6)[0]),
        lambda x: x.sum(axis=indices(0)[0]),
        lambda x: hash(x),
        lambda x: len(x.sum()),
        lambda x: list(x.sum()),
    ],
)
def test_the_host_does_not_mix_in(x, use) -> None:
    with pytest.raises(TypeError):
        use(x)
    assert_holds(x, HOST)


def test_a_number_has_no_axis_to_reduce() -> None:
    number = to_strict(np.float32(3))
    for use in (lambda: number.max(axis=0), lambda: xp.sum(number, axis=-1, keepdims=True)):
        with pytest.raises(np.exceptions.AxisError, match="without axes"):
            use()
    assert_holds(number.sum(axis=()), np.float32(3))
    assert_holds(number.argmax(axis=None), 0)


@pytest.mark.parametrize(
    "use",
    [
        lambda x: xp.sum(x, where=x > 0),
        lambda x: xp.sum(x, initial=0),
        lambda x: x.sum(where=x > 0),
        lambda x: x.max(initial=0),
        lambda x: x.mean(where=x > 0),
        lambda x: xp.var(x, correction=1),
        lambda x: xp.exp(x, where=x > 0),
        lambda x: xp.exp(x, order="K"),
        lambda x: xp.clip(x, min=0),
        lambda x: xp.clip(x, 0),
        lambda x: xp.take(x, indices(0), mode="clip"),
        lambda x: xp.broadcast_to(x, (2, 3), subok=True),
        lambda x: xp.einsum("ij->i", x, out=x[0]),
        lambda x: xp.lib.stride_tricks.as_strided(x, writeable=False),
        lambda x: x.item(0),
        lambda x: x.copy(order="C", subok=True),
    ],
)
def test_keywords_that_cupy_lacks_are_refused(x, use) -> None:
    with pytest.raises(TypeError, match=r"CuPy 1\d\.\d+\.\d+: \w+: "):
        use(x)


@pytest.mark.parametrize(
    "name",
    ["block", "einsum_path", "errstate", "geomspace", "insert", "linalg.multi_dot", "random.rand"]
    + ["add.at", "add.reduceat", "add.identity", "maximum.reduce", "ElementwiseKernel", "typo"],
)
def test_names_that_cupy_lacks_or_ops_may_not_use_are_refused(name: str) -> None:
    with pytest.raises(AttributeError):
        attrgetter(name)(strict)


@pytest.mark.parametrize(
    "name",
    ["__index__", "__array_interface__", "__imatmul__", "setflags", "getfield", "newbyteorder"]
    + ["scatter_add", "data", "typo"],
)
def test_attributes_that_cupy_arrays_lack_are_refused(x, name: str) -> None:
    with pytest.raises(AttributeError):
        getattr(x, name)


def test_cupy_is_named_in_the_error() -> None:
    with pytest.raises(AttributeError, match=r"CuPy 14\.\d+\.\d+ has no cupy\.block"):
        _ = xp.block


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda x: x.__setitem__((0, indices(1, 1)), x[1, :2]), "repeated index"),
        (lambda x: x.__setitem__(indices(0, 2), x), "repeated index"),  # 2 wraps round to 0
        (lambda x: xp.broadcast_to(x, (4, 2, 3)).__setitem__(..., x), "overlapping"),
        (lambda x: windows(x).__iadd__(1.0), "overlapping"),
        (lambda x: xp.bincount(indices(0, 1, 1), weights=x[0]), "order of adding"),
        (lambda x: windows(x).__setitem__(..., 0.0), "overlapping"),
    ],
)
def test_writes_that_are_chance_on_a_gpu_are_refused(x, use, message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        use(x)


def windows(x: StrictArray) -> StrictArray:
    return xp.lib.stride_tricks.as_strided(x, shape=(2, 2, 2), strides=(12, 4, 4))


def test_writes_without_chance_are_allowed(x) -> None:
    x[indices(1, 0)] = x.copy()
    assert_holds(x, HOST[::-1])
    x[0, indices(1, 1)] = 7.0  # the same number whoever comes last
    x[:, 1:] += x[:, :2]
    windows(x)[:, 0] = 0.0  # these windows do not overlap
    assert_holds(x[:, :2], np.zeros((2, 2), np.float32))


@pytest.mark.parametrize(
    ("use", "expected"),
    [
        (lambda x: x + 1, HOST + 1),
        (lambda x: 2.0 / (x + 1), 2.0 / (HOST + 1)),
        (lambda x: np.float32(2) * x, np.float32(2) * HOST),
        (lambda x: np.float64(2) * x, np.float64(2) * HOST),  # NEP 50: a NumPy scalar promotes
        (lambda x: x @ x.T, HOST @ HOST.T),
        (lambda x: -(x**2), -(HOST**2)),
        (lambda x: (x > 1) & (x < 4), (HOST > 1) & (HOST < 4)),
        (lambda x: divmod(x, 2)[1], divmod(HOST, 2)[1]),
        (lambda x: x.sum(), HOST.sum()),
        (lambda x: xp.sum(x, axis=0, dtype=np.float64), HOST.sum(axis=0, dtype=np.float64)),
        (lambda x: x.var(axis=1, keepdims=True), HOST.var(axis=1, keepdims=True)),
        (lambda x: x.argmax(axis=1), HOST.argmax(axis=1)),
        (lambda x: xp.add.reduce(x), HOST.sum(axis=0)),
        (lambda x: xp.allclose(x, x), np.bool_(True)),
        (lambda x: xp.sqrt(x.sum()) + 1, np.sqrt(HOST.sum()) + 1),
        (lambda x: xp.exp(2.0), np.exp(2.0)),
        (lambda x: x[0, 0], HOST[0, 0]),
        (lambda x: x[..., None, 1:], HOST[..., None, 1:]),
        (lambda x: x[[1, 0], ::-1], HOST[[1, 0], ::-1]),
        (lambda x: x[x > 2], HOST[HOST > 2]),
        (lambda x: xp.where(x > 2, x, 0), np.where(HOST > 2, HOST, 0)),
        (lambda x: xp.concatenate([x, x], axis=1), np.concatenate([HOST, HOST], axis=1)),
        (lambda x: xp.split(x, [1], axis=1)[0], HOST[:, :1]),
        (lambda x: xp.einsum("ij,kj->ik", x, x), np.einsum("ij,kj->ik", HOST, HOST)),
        (lambda x: xp.tensordot(x, x, axes=2), np.tensordot(HOST, HOST, axes=2)),
        (lambda x: xp.pad(x, ((1, 0), (0, 1))), np.pad(HOST, ((1, 0), (0, 1)))),
        (lambda x: x.reshape(3, -1).transpose(1, 0), HOST.reshape(3, -1).transpose(1, 0)),
        (lambda x: xp.asarray(HOST), HOST),
        (lambda x: xp.asarray([1, 2], dtype=xp.float32), np.asarray([1, 2], np.float32)),
        (lambda x: xp.array([x[0], x[1]]), HOST),
        (lambda x: next(iter(x)), HOST[0]),
        (lambda x: windows(x)[1, 1], HOST[1, 1:]),
    ],
)
def test_what_is_allowed_is_numpy_and_stays_an_array(x, use, expected) -> None:
    assert_holds(use(x), expected)


@pytest.mark.parametrize(
    ("use", "expected"),
    [
        (lambda x: x[indices(2, 3)], HOST[[0, 1]]),
        (lambda x: x[:, indices(-4)], HOST[:, [2]]),
        (lambda x: x[..., indices(1), indices(3)], HOST[[1], [0]]),
        (lambda x: x.take(indices(3), axis=1), HOST[:, [0]]),
        (lambda x: xp.take(x, indices(6)), HOST[0, :1]),
        (lambda x: xp.take_along_axis(x, indices(3, 4)[:, None], axis=1), [[0.0], [4.0]]),
    ],
)
def test_index_arrays_wrap_round_unnoticed(x, use, expected) -> None:
    assert_holds(use(x), np.asarray(expected, np.float32))


def test_an_index_that_is_a_number_is_checked(x) -> None:
    with pytest.raises(IndexError):
        x[2]


@pytest.mark.parametrize(
    ("use", "count"),
    [
        (lambda x: float(x.sum()), 1),
        (lambda x: int(x[0, 0]), 1),
        (lambda x: bool((x > 0).any()), 1),
        (lambda x: 1 if x.sum() > 3 else 0, 1),
        (lambda x: f"{x.sum():.3f}", 1),
        (lambda x: x.sum().item(), 1),
        (lambda x: x.tolist(), 1),
        (lambda x: x.get(), 1),
        (lambda x: xp.asnumpy(x), 1),
        (lambda x: from_strict(x), 1),
        (lambda x: x[x > 2], 1),
        (lambda x: x.__setitem__(x > 2, x[1]), 1),
        (lambda x: x.__setitem__(x > 2, 0.0), 0),  # a kernel does that without asking the host
        (lambda x: x.nonzero(), 1),
        (lambda x: xp.where(x > 2), 1),
        (lambda x: xp.where(x > 2, x, 0), 0),
        (lambda x: (x.sum(axis=0), x[0, 1], x[indices(0)], x.shape, len(x), x.T @ x), 0),
    ],
)
def test_synchronisations_are_counted(x, use, count: int) -> None:
    use(x)
    assert strict.sync_count == count


def test_empty_memory_is_poisoned() -> None:
    assert np.isnan(from_strict(xp.empty((2, 3), dtype=np.float32))).all()
    assert np.isnan(from_strict(xp.empty_like(to_strict(HOST)))).all()
    assert from_strict(xp.empty(3, dtype=np.int64)).all()


def test_memory_is_shared_where_cupy_shares_it(x) -> None:
    for view in (x[0], x.T, x.reshape(-1), x[0, 0], x.astype(np.float32, copy=False), windows(x)):
        assert xp.shares_memory(x, view)
    x[0, 0] += 5.0
    assert float(x[0, 0]) == 5.0
    assert xp.asarray(x) is x
    assert xp.add(x, 1.0, out=x) is x
    assert not xp.shares_memory(x, x.copy())


def test_moving_copies() -> None:
    host = HOST.copy()
    moved = [to_strict(host), xp.asarray(host), xp.ascontiguousarray(host)]
    host[:] = -1.0
    for array in moved:
        back = from_strict(array)
        back[:] = -2.0
        assert_holds(array, HOST)


def test_arithmetic_and_reductions_give_c_order_and_copies_keep_theirs(x) -> None:
    for array in (x.T * 2, x.T + x.T, xp.where(x.T > 0, x.T, 0), x.T.max(axis=0, keepdims=True)):
        assert array.flags.c_contiguous
    for array in (x.T.astype(np.float64), xp.empty_like(x.T), xp.copy(x.T)):
        assert array.flags.f_contiguous


def test_in_place_operators_keep_the_array_and_its_dtype(x) -> None:
    same = x
    x += 1
    x *= np.float64(2)
    x -= x.sum(axis=0)
    assert x is same
    assert_holds(x, (HOST + 1) * 2 - ((HOST + 1) * 2).sum(axis=0))


def test_the_backend_moves_arrays_in_and_out() -> None:
    home = strict_backend()
    array = home.as_array(HOST, dtype=np.float64)
    assert_holds(array, HOST.astype(np.float64))
    assert type(home.to_numpy(array)) is np.ndarray
    assert isinstance(home, backend.Backend)
