"""Training runs: settings, data, the loop, checkpoints, evaluation."""

from .config import Config
from .evaluate import Evaluation, evaluate
from .loop import DivergedError, train

__all__ = ["Config", "DivergedError", "Evaluation", "evaluate", "train"]
