"""Looking at graphs and nets; changes nothing."""

from .record import trace
from .summary import Summary, summary
from .trace import Contribution, Node, Trace

__all__ = ["Contribution", "Node", "Summary", "Trace", "summary", "trace"]
