"""The networks of the paper, by name, with and without squeeze-and-excitation."""

from ..inspect.summary import summary
from .registry import create, names
from .weights import load_weights, save_weights

__all__ = ["create", "load_weights", "names", "save_weights", "summary"]
