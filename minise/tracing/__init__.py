"""The stepper: what the engine did, recorded, drawn, and shown step by step."""

from .record import trace
from .trace import Contribution, Node, Trace

__all__ = ["Contribution", "Node", "Trace", "trace"]
