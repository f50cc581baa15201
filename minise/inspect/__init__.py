"""Looking at graphs and nets; changes nothing."""

from .summary import Summary, summary

__all__ = ["Summary", "summary"]
