"""Data sets as NumPy arrays: pictures uint8 (N, 3, H, W), labels int64 (N,). Knows no Tensor."""

from . import transforms
from .cifar import CIFAR10, CIFAR100
from .cue_digits import CueDigits
from .dataset import Dataset
from .folder import ImageFolder
from .images import (
    CIFAR10_MEAN,
    CIFAR10_STD,
    CIFAR100_MEAN,
    CIFAR100_STD,
    IMAGENET_MEAN,
    IMAGENET_STD,
    prepare,
    read_image,
)
from .loader import DataLoader

__all__ = [
    "CIFAR10",
    "CIFAR10_MEAN",
    "CIFAR10_STD",
    "CIFAR100",
    "CIFAR100_MEAN",
    "CIFAR100_STD",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "CueDigits",
    "DataLoader",
    "Dataset",
    "ImageFolder",
    "prepare",
    "read_image",
    "transforms",
]
