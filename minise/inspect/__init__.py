"""Looking at graphs and nets; changes nothing."""

from .summary import Summary, summary
from .trace import Contribution, Node, Trace, trace

__all__ = ["Contribution", "Node", "Summary", "Trace", "summary", "trace"]
