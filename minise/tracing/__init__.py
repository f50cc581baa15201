"""The stepper: what the engine did, recorded, drawn, and shown step by step."""

from .graph import Contribution, Node
from .record import trace
from .trace import Trace

__all__ = ["Contribution", "Node", "Trace", "trace"]
