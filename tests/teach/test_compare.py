"""Comparing an answer with what was expected, for every kind of answer an exercise may have."""

import numpy
import pytest

import minise
from minise.teach.compare import compare

ROW = numpy.array([1.0, 2.0])


@pytest.mark.parametrize(
    ("outcome", "expected", "values"),
    [
        (ROW * (1 + 1e-12), ROW, 2),
        (ROW.sum(), numpy.array(3.0), 1),  # NumPy hands 0-d results out as scalars
        (numpy.arange(3), numpy.arange(3), 3),
        (ROW > 1, numpy.array([False, True]), 2),
        (numpy.zeros((0, 3)), numpy.zeros((0, 3)), 0),
        (0.1 + 0.2, 0.3, 1),
        (numpy.float64(0.3), 0.3, 1),
        (numpy.array(0.3), 0.3, 1),
        (3, 3.0, 1),
        (3.0, 3, 1),
        (numpy.int64(3), 3, 1),
        (ROW.sum(), ROW.sum(), 1),
        (minise.tensor(ROW), minise.tensor(ROW), 2),
        ("sum", "sum", 1),
        (numpy.bool_(True), True, 1),
        (["x", "loss"], ("x", "loss"), 2),
        ((ROW, 0.1 + 0.2, minise.tensor(ROW), "w"), [ROW, 0.3, minise.tensor(ROW), "w"], 6),
        ([], [], 0),
    ],
)
def test_right(outcome, expected, values):
    assert compare(outcome, expected, "y", 1e-9)[:2] == ("", values)


@pytest.mark.parametrize(
    ("outcome", "expected", "complaint"),
    [
        (0.5, 1.0, "y: yours 0.5, expected 1, relative error 0.5."),
        (1 + 1e-8, 1.0, "y: yours 1.00000001, expected 1, relative error 1e-08."),
        (274_848, 274_847, "y: yours 274848, expected 274847."),
        (10**12 + 1, 10**12, "y: yours 1000000000001, expected 1000000000000."),
        (2.5, 3, "y: yours 2.5, expected 3, relative error 0.2."),
        (float("nan"), 1.0, "y is nan."),
        (True, 1, "Expected a number, got a value of type bool."),
        ("1", 1, "Expected a number, got a value of type str."),
        (ROW, 1.0, "Expected a number, got a NumPy array of shape (2,)."),
        (ROW[:1], 1.0, "Expected a number, got a NumPy array of shape (1,)."),
        (minise.tensor(1.0), 1.0, "Expected a number, got a minise Tensor of shape (): `.item()` "
                                  "gives the number in it."),
        ((1.0,), 1.0, "Expected a number, got a tuple of 1: there is a comma too many."),
        (numpy.arange(3), numpy.array([0, 1, 3]), "1 of 3 values differ, most of all y[2]: yours "
                                                  "2, expected 3."),
        (ROW > 1, ROW > 0, "1 of 2 values differ, most of all y[0]: yours False, expected True."),
        (ROW, minise.tensor(ROW), "Expected a minise Tensor, got a NumPy array of shape (2,)."),
        (minise.ones(2), minise.ones(3), "Expected shape (3,), got (2,)."),
        (minise.ones(2), minise.tensor(ROW), "Expected float64, got float32: rounded or converted "
                                             "on the way?"),
        ("mean", "sum", "y is 'mean', not 'sum'."),
        (3, "sum", "Expected a value of type str, got a value of type int."),
        (False, True, "y is False, not True."),
        (1, True, "Expected a value of type bool, got a value of type int."),
        (ROW, ["a", "b"], "Expected a list of 2, got a NumPy array of shape (2,)."),
        ("ab", ["a", "b"], "Expected a list of 2, got a value of type str."),
        (["a"], ["a", "b"], "Expected 2 entries, got 1."),
        (["b", "a"], ["a", "b"], "Entry 0: y[0] is 'b', not 'a'."),
        ((ROW, 2 * ROW), (ROW, ROW), "Entry 1: 2 of 2 values differ, most of all y[1][0]: yours 2, "
                                     "expected 1, relative error 0.5."),
        ((ROW, [1]), (ROW, ROW), "Entry 1: Expected a NumPy array, got a list of 1: `np.array(…)` "
                                 "makes an array of it."),
    ],
)  # fmt: skip
def test_wrong(outcome, expected, complaint):
    assert compare(outcome, expected, "y", 1e-9).complaint == complaint


def test_the_largest_error_of_all_entries_is_told():
    answer = [1.0, ROW * (1 + 1e-12), minise.tensor(ROW)]
    assert compare(answer, [1 + 1e-13, ROW, minise.tensor(ROW)], "y", 1e-9).error == pytest.approx(
        1e-12, rel=0.01
    )


def test_the_tolerance_is_the_one_asked_for():
    assert compare(1.01, 1.0, "y", 0.02).complaint == ""
    assert compare([1.01], [1.0], "y", 0.005).complaint != ""
    assert compare([3], [4], "y", 0.5).complaint != ""  # whole numbers are not rounded
