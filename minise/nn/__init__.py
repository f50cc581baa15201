"""Modules: layers and networks that hold their parameters. Names and semantics as in torch.nn."""

from . import init, layers
from .containers import ModuleList, Sequential
from .layers import *  # noqa: F403
from .module import Module, Parameter
from .se import SEBlock

__all__ = ["Module", "ModuleList", "Parameter", "SEBlock", "Sequential", "init"]
__all__ += layers.__all__
