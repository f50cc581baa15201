"""What the lessons share: the checker of their blanks, and pictures with alternative text."""

from .check import Check, Exercise, Mistake, Verdict
from .figures import heatmaps, show

__all__ = ["Check", "Exercise", "Mistake", "Verdict", "heatmaps", "show"]
