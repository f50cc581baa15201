"""Data sets as NumPy arrays: pictures uint8 (N, 3, H, W), labels int64 (N,). Knows no Tensor."""

from .cue_digits import CueDigits
from .dataset import Dataset
from .images import prepare, read_image
