"""The comparison with PyTorch: it notices mistakes, and what was recorded is what PyTorch gives."""

from __future__ import annotations

import numpy
import op_cases
import parity
import pytest
from parity import WAYS, Outcome, assert_close, case, constant, values

import minise
from minise.autograd import Function


class Broken(Function):
    """y = x², with a mistake of the test's choice."""

    def __init__(self, forward=lambda y: y, backward=lambda dx: dx):
        self.change_value, self.change_gradient = forward, backward

    def forward(self, x):
        self.x = x
        return self.change_value(x * x)

    def backward(self, grad):
        return self.change_gradient(2 * self.x * grad)


def check_broken(way="float64", **mistake):
    broken = case("square", lambda F, x: Broken(**mistake)(x), (3, 4), theirs=lambda F, x: x * x)
    expected = case("square", lambda F, x: x * x, (3, 4))
    wanted = parity.run(expected, WAYS[way])  # the right answer, with or without PyTorch
    parity.assert_same_outcome(broken, way, parity.run(broken, WAYS[way]), wanted)


def one_wrong(array):
    array = array.copy()
    array[1, 2] *= 1 + 1e-8
    return array


def test_the_right_answer_passes():
    for way in WAYS:
        if WAYS[way].backend == "numpy":
            check_broken(way)


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        ({"forward": one_wrong}, r"output 0: 1 of 12 elements differ; at \(1, 2\)"),
        ({"backward": one_wrong}, r"gradient of input 0: 1 of 12 elements differ; at \(1, 2\)"),
        ({"forward": lambda y: y.astype("float32")}, r"expected float64 \(3, 4\), got float32"),
        ({"backward": lambda dx: dx.astype("float32")}, r"gradient of input 0: expected float64"),
        ({"backward": lambda dx: dx * numpy.nan}, "gradient of input 0: 12 of 12 elements differ"),
        ({"backward": lambda dx: None}, "gradient of input 0: 12 of 12 elements differ"),
    ],
)  # fmt: skip
def test_a_mistake_is_noticed(mistake, message):
    with pytest.raises(AssertionError, match=message):
        check_broken(**mistake)


def test_a_write_to_an_input_is_noticed():
    def overwrite(F, x):
        x.data[0] = 5.0
        return x * 2

    written = case("overwrite", overwrite, (3,))
    with pytest.raises(AssertionError, match="input 0 was changed in place"):
        parity.run(written, WAYS["float64"])
    with pytest.raises(ValueError, match="read-only"):
        parity.run(written, WAYS["strides"])


@pytest.mark.parametrize(
    ("actual", "expected"),
    [
        ([1e30, 1.0, 1.0, 1.001], [1e30, 1.0, 1.0, 1.0]),  # beside a huge one
        ([0.0, 1e-7], [0.0, 2e-7]),  # among zeros
        ([1.0, numpy.nan], [1.0, 1.0]),
        ([1.0, 1.0], [1.0, numpy.nan]),
        ([1.0, numpy.inf], [1.0, -numpy.inf]),
        ([1.0, 1.0], [1.0, numpy.inf]),
        ([1.0, numpy.inf], [1.0, 1e30]),
    ],
)
def test_no_neighbour_hides_a_wrong_element(actual, expected):
    with pytest.raises(AssertionError, match=r"1 of . elements differ"):
        assert_close(numpy.array(actual), numpy.array(expected), 1e-5, "case")


def test_another_shape_is_noticed():
    with pytest.raises(AssertionError, match=r"expected float64 \(3,\), got float64 \(1, 3\)"):
        assert_close(numpy.ones((1, 3)), numpy.ones(3), 1e-5, "case")


def test_rounding_passes():
    sums = numpy.array([1.0, 2.0, 1e-16, numpy.nan, numpy.inf, -numpy.inf])
    assert_close(sums + 1e-12, sums, 1e-10, "case")


def test_no_gradient_and_zero_gradient_are_the_same():
    zeros, nothing = Outcome([], [numpy.zeros(2)]), Outcome([], [None])
    for actual, wanted in ((zeros, nothing), (nothing, zeros)):
        parity.assert_same_outcome(case("none", None), "float64", actual, wanted)


def test_inputs_are_the_same_everywhere():
    """A seeded RandomState draws the same numbers in every version of NumPy, on every machine."""
    drawn = case("frozen", lambda F, x: x, (2,), constant((1,)), values([7])).arrays("float64")
    numpy.testing.assert_array_equal(
        numpy.concatenate(drawn),
        [1.390776667108682, -0.009269348008346492, -1.6972605544934483, 7.0],
    )


def test_reordered_inputs_have_other_strides():
    array = numpy.arange(120.0).reshape(2, 3, 4, 5)
    view = parity.reordered(array)
    numpy.testing.assert_array_equal(view, array)
    assert view.strides != array.strides
    assert not view.flags.writeable


# --- the golden file ------------------------------------------------------------------------------


def test_every_case_has_an_id_of_its_own():
    ids = [case.id for case in op_cases.of()]
    assert len(set(ids)) == len(ids)
    assert len(ids) > 1000  # of all the files


def test_recorded_numbers_are_what_pytorch_gives():
    """Otherwise: make golden."""
    if parity.torch is None:
        pytest.skip("PyTorch is not installed")
    cases = {case.id: case for case in op_cases.of()}
    for (id, dtype), recorded in parity.golden_outcomes().items():
        if id in cases:
            live = parity.run_torch(cases[id], dtype)
            parity.assert_same_outcome(cases[id], f"live {dtype}", live, recorded)


@pytest.fixture
def golden(monkeypatch):
    """A golden file that holds one case: x², of which it says that it is x² + 1."""
    recorded = case("recorded", lambda F, x: x * x, values([1.0, 2.0]))
    outcome = Outcome([numpy.array([2.0, 5.0])], [None])
    monkeypatch.setattr(parity, "golden_outcomes", lambda: {("recorded", "float64"): outcome})
    monkeypatch.setattr(parity, "unrecorded", set())
    parity.expected.cache_clear()
    yield recorded
    parity.expected.cache_clear()


def test_without_pytorch_the_golden_file_answers(golden, monkeypatch):
    monkeypatch.setattr(parity, "torch", None)
    assert parity.expected(golden, "float64").outputs[0].tolist() == [2, 5]
    with pytest.raises(AssertionError, match=r"recorded .*: output 0: 2 of 2 elements differ"):
        parity.check(golden, "float64")


def test_without_pytorch_a_new_case_skips(golden, monkeypatch):
    monkeypatch.setattr(parity, "torch", None)
    with pytest.raises(pytest.skip.Exception, match=r"not installed, .* not in the golden file"):
        parity.check(case("new", lambda F, x: x * x, (3,)), "float64")
    assert parity.unrecorded == {"new"}


def test_with_pytorch_a_new_case_needs_no_golden_file(golden, monkeypatch):
    if parity.torch is None:
        pytest.skip("PyTorch is not installed")
    monkeypatch.setattr(parity, "compared", {})
    parity.check(golden, "float64")  # whatever the golden file says
    parity.check(case("new", lambda F, x: F.relu(x), (3,)), "float64")
    wrong = case("new and wrong", lambda F, x: x, (3,), theirs=lambda F, x: 2 * x)
    with pytest.raises(AssertionError, match=r"new and wrong .*: output 0"):
        parity.check(wrong, "float64")
    parity.check(case("one of many", lambda F, x: x * 2, (3,), golden=False), "float64")
    assert parity.unrecorded == {"new", "new and wrong"}
    assert "not in the golden file: 2 cases, which `make golden` records" in parity.summary()


def test_an_unknown_function_is_named():
    with pytest.raises(AttributeError, match=r"minise.functional and minise have no 'conv9d'"):
        parity.OURS.conv9d  # noqa: B018
    assert parity.OURS.cat is minise.cat
