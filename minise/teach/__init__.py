"""For notebooks in which learners write functions: a checker that says what is wrong, and pictures.

An exercise is a function to be written. It is checked at *points*, dictionaries that hold what goes
in and what has to come out, and it comes with the mistakes that people make, each with a hint:

>>> import numpy as np
>>> from minise.teach import Check, Exercise, Mistake
>>> points = {
...     "three numbers": {"x": np.array([1.0, 2.0, 6.0]), "y": np.array([-2.0, -1.0, 3.0])},
...     "two numbers": {"x": np.array([0.5, 1.5]), "y": np.array([-0.5, 0.5])},
... }
>>> scaled = Mistake("That divides by the mean. Subtract it.", lambda x: x / x.mean())
>>> check = Check(points, [Exercise("centre", "x", "y", [scaled])])

In the notebook the learner fills a blank, and `check` answers in the cell below:

>>> def centre(x):
...     return ...
>>> check(centre)
centre: not attempted yet.
>>> def centre(x):
...     return x / x.mean()
>>> check(centre)
centre: wrong. 3 of 3 values differ, most of all y[1]: yours 0.6667, expected -1, relative error 2.
Hint: That divides by the mean. Subtract it.
>>> def centre(x):
...     return x - x.mean()
>>> check(centre)
centre: right. Compared: 3 values with three numbers, 2 values with two numbers; all equal.
>>> check
1 of 1 right.

`show` and `heatmaps` display figures together with a text for those who cannot see them.
lessons/README.md tells how a lesson is put together from these.
"""

from .check import Check, Exercise, Mistake, Point, Verdict
from .figures import heatmaps, show

__all__ = ["Check", "Exercise", "Mistake", "Point", "Verdict", "heatmaps", "show"]
