"""The checker of the exercises: right answers, wrong ones, and whatever else a learner writes."""

import functools

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minise
from minise.teach import Check, Exercise, Mistake


def points():
    """Two points of a toy lesson, in which c is the product of a and b."""
    stream = numpy.random.default_rng(0)
    a, b, p, q = (stream.standard_normal(shape) for shape in [(2, 3), (3, 3), (4, 5), (5, 2)])
    return {
        "the lesson's numbers": {"a": a, "b": b, "c": a @ b},
        "another shape": {"a": p, "b": q, "c": p @ q},
    }


LOST = Mistake("b is lost.", lambda a, b: a)
TURNED = Mistake("b is transposed.", lambda a, b: a @ b.T)
HALVED = Mistake("Half of it is lost.", lambda a, b: (a @ b) / 2)


@pytest.fixture
def check():
    return Check(points(), [Exercise("product", "a b", "c", [LOST, TURNED, HALVED])])


def named(function, name="product"):
    function.__name__ = name
    return function


def test_a_right_answer_says_what_was_compared(check):
    verdict = check(named(lambda a, b: a @ b))
    assert (verdict.state, verdict.hint) == ("right", "")
    assert repr(verdict) == (
        "product: right. Compared: 6 values with the lesson's numbers, 8 values with another "
        "shape; all equal."
    )


def test_rounding_is_right_and_named(check):
    verdict = check(named(lambda a, b: (a @ b) * (1 + 4e-12)))
    assert verdict.state == "right"
    assert "largest relative error 4e-12" in verdict.details


@pytest.mark.parametrize(
    "blank",
    [
        *(lambda a, b: ..., lambda a, b: None, lambda a, b: (a @ b, ...)),
        *(lambda a, b: a * ..., lambda a, b: ... + a, lambda a, b: (...).sum()),
    ],
)
def test_a_blank_is_not_attempted_yet(check, blank):
    verdict = check(named(blank))
    assert verdict.state == "not attempted yet"
    assert repr(verdict).startswith("product: not attempted yet.")


def test_a_missing_return_is_suspected(check):
    def product(a, b):
        a @ b

    assert "`return`" in check(product).details


def test_one_wrong_value_is_found_and_measured(check):
    def product(a, b):
        c = a @ b
        c[1, 2] *= 1 + 1e-6
        return c

    verdict = check(product)
    right = points()["the lesson's numbers"]["c"][1, 2]
    assert verdict.state == "wrong"
    assert "1 of 6 values differ, most of all c[1, 2]" in verdict.details
    assert f"expected {right:.12g}, relative error 1e-06" in verdict.details
    assert verdict.hint == ""


@given(st.integers(0, 5), st.floats(-6, 1), st.sampled_from([-1, 1]))
def test_no_single_wrong_value_passes(index, exponent, sign):
    def product(a, b):
        c = a @ b
        c.flat[index % c.size] += sign * 10**exponent * abs(c).max()
        return c

    assert Check(points(), [Exercise("product", "a b", "c")])(product).state == "wrong"


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda a, b: a.copy(), "b is lost."),  # in another shape, at the first point by luck right
        (lambda a, b: (a @ b) * 0.5, "Half of it is lost."),  # and not: 0.5 times the expected
        (lambda a, b: numpy.matmul(a, b.T), "b is transposed."),  # a value here, an error there
        (lambda a, b: (a @ b).T, "Rows and columns are exchanged: the result is transposed."),
        (lambda a, b: -(a @ b), "Every value is -1 times the expected one: a sign or a factor is "
                                "lost, or counted twice."),
        (lambda a, b: 9 * a @ b, "Every value is 9 times the expected one: a sign or a factor is "
                                 "lost, or counted twice."),
        (lambda a, b: a @ b + 1, ""),
        (lambda a, b: 0 * (a @ b), "Every value is 0 times the expected one: a sign or a factor "
                                   "is lost, or counted twice."),
    ],
)  # fmt: skip
def test_a_mistake_gets_its_own_hint(check, wrong, hint):
    verdict = check(named(wrong))
    assert (verdict.state, verdict.hint) == ("wrong", hint)
    assert hint in repr(verdict)


def test_a_mistake_that_raises_is_recognised_by_its_error():
    check = Check(
        {"here": points()["another shape"]}, [Exercise("product", "a b", "c", [LOST, TURNED])]
    )
    verdict = check(named(lambda a, b: a @ b.T))
    assert verdict.hint == "b is transposed."
    assert "It stopped with ValueError: matmul" in verdict.details
    assert "product(a, b) with a (4, 5), b (5, 2)" in verdict.details
    assert check(named(lambda a, b: a @ b[1:])).hint == ""  # another error of the same type


def test_an_answer_for_one_shape_only_is_wrong(check):
    here = points()["the lesson's numbers"]["c"]
    verdict = check(named(lambda a, b: here))
    assert verdict.state == "wrong"
    assert verdict.details.startswith("Right before, but not with another shape: Expected shape")


def fail(a, b):
    raise KeyError("oh")


def endless(a, b):
    return endless(a, b)


class CuPyArray:
    """What cupy.ndarray is to someone without a GPU: not to be touched."""

    shape = (2, 3)

    def touched(self, *_):
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")

    __array__ = __bool__ = __eq__ = __len__ = __iter__ = __float__ = touched
    __hash__ = None


CuPyArray.__module__ = "cupy"


def change_in_place(a, b):
    c = a @ b
    a *= 2
    return c


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda a, b: (a @ b).sum(0), "Expected shape (2, 3), got (3,)."),
        (lambda a, b: 0.5, "Expected shape (2, 3), got ()."),
        (lambda a, b: (a @ b).astype("float32"), "Expected float64, got float32: rounded"),
        (lambda a, b: (a @ b).astype(int), "Expected float64, got int64"),
        (lambda a, b: (a @ b) + 0j, "Expected float64, got complex128"),
        (lambda a, b: numpy.full((2, 3), ...), "Expected float64, got object"),
        (lambda a, b: numpy.log(-numpy.abs(a @ b)), "c[0, 0] is nan."),
        (lambda a, b: (a @ b) / 0, "inf."),
        (lambda a, b: (a @ b).tolist(), "got a list of 2: `np.array(…)` makes an array of it."),
        (lambda a, b: minise.tensor(a @ b), "got a minise Tensor of shape (2, 3): `.numpy()`"),
        (lambda a, b: CuPyArray(), "Expected a NumPy array, got a CuPy array: `.get()` copies"),
        (lambda a, b: (a @ b,), "got a tuple of 1: there is a comma too many."),
        (lambda a, b: "c", "Expected a NumPy array, got a value of type str."),
        (lambda a, b: {a.size}, "Expected a NumPy array, got a value of type set."),
        (lambda a, b: numpy.matmul, "Expected a NumPy array, got the function matmul."),
        (lambda a, b: minise.Tensor, "Expected a NumPy array, got the class Tensor."),
        (lambda a, b: (yield), "Expected a NumPy array, got a value of type generator."),
        (lambda a: a, "It stopped with TypeError"),
        (lambda a, b: minise.tensor(a) @ a, "It stopped with RuntimeError: matmul"),
        (endless, "maximum recursion depth exceeded in the line `return endless(a, b)`. It calls"),
        (lambda a, b: undefined, "It stopped with NameError: name 'undefined'"),  # noqa: F821
        (fail, """It stopped with KeyError: 'oh' in the line `raise KeyError("oh")`."""),
        (change_in_place, "a was changed in place"),
    ],
)
def test_anything_else_gets_a_sentence(check, answer, message):
    verdict = check(named(answer))
    assert verdict.state == "wrong"
    assert message in verdict.details


def test_a_zero_where_zero_is_expected_is_right():
    zeros = {"a": numpy.zeros(3), "c": numpy.zeros(3)}
    check = Check({"here": zeros}, [Exercise("product", "a", "c")])
    assert check(named(lambda a: a * 2)).state == "right"
    assert check(named(lambda a: a + 1e-3)).state == "wrong"


def test_a_value_near_zero_may_keep_the_rounding_of_its_terms():
    here = {"a": numpy.array([1.0, 2, 3e-17]), "c": numpy.array([1.0, 2, 0])}
    check = Check({"here": here}, [Exercise("product", "a", "c")])
    assert check(named(lambda a: a * 1)).state == "right"
    assert check(named(lambda a: a + [0, 0, 1e-9])).state == "wrong"


@pytest.mark.parametrize(
    "misuse",
    [
        *(..., None, 3, numpy.ones(3), [fail], CuPyArray(), minise.Tensor),
        *(lambda a, b: a @ b, functools.partial(fail, 1), type("product", (), {})),
    ],
)
def test_other_than_a_function_of_the_lesson(check, misuse):
    verdict = check(misuse)
    assert verdict.state == "not attempted yet"
    assert "It takes one of the functions product, not called yet" in verdict.details


def test_ctrl_c_is_not_swallowed(check):
    def product(a, b):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check(product)


def test_a_learner_cannot_spoil_the_points(check):
    verdict = check(named(change_in_place))
    assert (verdict.state, verdict.hint) == ("wrong", "")  # its values are right
    assert check(named(lambda a, b: a @ b)).state == "right"


@pytest.mark.parametrize(
    ("value", "spoil"),
    [
        (numpy.array([1.0, numpy.nan, 3]), lambda x: x.sort()),
        ([1, 2, 3], lambda x: x.append(4)),
        ([numpy.ones(2), "name"], lambda x: numpy.negative(x[0], out=x[0])),
        (([3, 1, 2], 1), lambda x: x[0].sort()),
        (minise.ones(3), lambda x: numpy.negative(x.data, out=x.data)),
        (minise.ones(3), lambda x: setattr(x, "data", x.data[:2])),
    ],
)
def test_whatever_goes_in_is_copied_and_watched(value, spoil):
    check = Check({"here": {"x": value, "y": 0}}, [Exercise("product", "x", "y")])
    assert check(named(lambda x: 0)).state == "right"
    verdict = check(named(lambda x: [spoil(x), 0][1]))
    assert verdict.details.startswith("x was changed in place")
    assert check(named(lambda x: 0)).state == "right"


def test_right_values_written_into_an_input_get_no_hint_about_values(check):
    def product(a, b):
        c = a @ b
        a *= 0
        return c

    verdict = check(product)
    assert verdict.details.startswith("a was changed in place")
    assert verdict.hint == ""


def test_functions_and_numbers_go_in_as_they_are():
    here = {"f": numpy.sin, "x": 0.5, "tensor": minise.ones(2), "names": ["a"], "y": numpy.sin(0.5)}
    check = Check({"here": here}, [Exercise("product", "f x tensor names", "y")])
    assert check(named(lambda f, x, tensor, names: f(x))).state == "right"
    assert check(named(lambda f, x, tensor, names: f is numpy.sin or 1)).state == "wrong"
    assert (
        "product(f, x, tensor, names) with f the function sin, x 0.5, "
        "tensor a minise Tensor of shape (2,), names a list of 1."
    ) in check(named(lambda f, x, tensor, names: 1 / 0)).details


def test_an_exercise_is_checked_where_its_answer_is():
    first, second = points().items()
    check = Check(
        {**dict([first]), "for the other": {"n": 3, "half": 1.5}},
        [Exercise("product", "a b", "c"), Exercise("halve", "n", "half")],
    )
    assert check(named(lambda a, b: a @ b)).details.startswith("Compared: 6 values with the lesson")
    assert repr(check(named(lambda n: n / 2, "halve"))) == (
        "halve: right. Compared: 1 value with for the other; all equal."
    )
    with pytest.raises(ValueError, match="halve: no point holds its answer 'half'"):
        Check(dict([second]), [Exercise("halve", "n", "half")])


def test_an_exercise_may_be_less_exact_than_the_others():
    def product(a, b):
        return (a @ b) * (1 + 1e-5)

    assert Check(points(), [Exercise("product", "a b", "c")])(product).state == "wrong"
    loose = [Exercise("product", "a b", "c", [HALVED], tolerance=1e-4)]
    assert Check(points(), loose)(product).state == "right"
    halved = Check(points(), loose)(named(lambda a, b: product(a, b) / 2))
    assert halved.hint == "Half of it is lost."


def test_a_mistake_that_changes_its_input_spoils_nothing():
    spoils = Mistake("a was used up.", lambda a, b: change_in_place(a, b) + a)
    check = Check(points(), [Exercise("product", "a b", "c", [spoils])])
    assert check(named(lambda a, b: a @ b + 1)).state == "wrong"
    assert check(named(lambda a, b: a @ b)).state == "right"


def test_progress():
    check = Check(points(), [Exercise("product", "a b", "c"), Exercise("other", "c", "a")])
    assert repr(check) == "0 of 2 right. Still open: product, other."
    check(named(lambda a, b: a @ b))
    assert repr(check) == "1 of 2 right. Still open: other."
    check.solved.add("other")
    assert repr(check) == "2 of 2 right."
    assert check.complete
    check(named(lambda a, b: a))  # what was right may be broken again
    assert not check.complete


def test_the_notebook_folds_the_hint_and_escapes_it():
    less = Mistake("a < b & c", lambda a, b: a)
    check = Check(points(), [Exercise("product", "a b", "c", [less])])
    shown = check(named(lambda a, b: a.copy()))._repr_html_()
    assert "<details><summary>Hint</summary>a &lt; b &amp; c</details>" in shown
    assert "product: wrong. 6 of 6 values differ" in shown
    assert "<details>" not in check(named(lambda a, b: a @ b))._repr_html_()


def test_a_blank_is_replaced_by_the_lessons_own_answer_until_it_is_right():
    def product(a, b):
        return a @ b

    own = Check(points(), [Exercise("product", "a b", "c")], answers=[product])
    wrong, right = named(lambda a, b: a), named(lambda a, b: a @ b)
    assert own.use(wrong) is product
    own(wrong)
    assert own.use(wrong) is product
    own(right)
    assert own.use(right) is right
    own(wrong)
    assert own.use(wrong) is product


def test_without_an_own_answer_there_is_nothing_to_use(check):
    with pytest.raises(KeyError, match="product"):
        check.use(named(lambda a, b: a))
