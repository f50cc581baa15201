"""The networks of the paper, by name, with and without squeeze-and-excitation."""

from .registry import create, names
from .summary import Summary, summary
from .weights import load_weights, save_weights

__all__ = ["Summary", "create", "load_weights", "names", "save_weights", "summary"]
