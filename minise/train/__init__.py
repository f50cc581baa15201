"""Training runs: settings, data, the loop, checkpoints, evaluation."""

from .config import Config
from .evaluate import Evaluation, evaluate

__all__ = ["Config", "Evaluation", "evaluate"]
