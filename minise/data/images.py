"""Pictures from files: whatever Pillow reads becomes uint8 (3, H, W) in RGB, or one clear error."""

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

# Mean and standard deviation per channel (R, G, B) of the training pictures, after division by 255.
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CIFAR10_MEAN, CIFAR10_STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
CIFAR100_MEAN, CIFAR100_STD = (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)

# A few kilobytes can announce a picture that fills the memory, so larger ones are refused unread.
MAX_PIXELS = 80_000_000

FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


class _Refused(ValueError):
    """A readable picture that is not accepted; the message says why."""


def read_image(path: str | os.PathLike) -> np.ndarray:
    """Reads one picture: uint8 (3, H, W), RGB, upright.

    Any format and mode that Pillow reads, apart from PostScript, which is a program. Transparent
    pixels are laid over white; 16-bit greys are scaled, not clipped; of an animation the first
    frame counts; the orientation that a camera noted (EXIF) is applied.

    Raises:
        FileNotFoundError: no such file (or another OSError where it may not be opened).
        ValueError: not a picture, broken, cut off, empty, or above `MAX_PIXELS`; names the file.
    """
    with Path(path).open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of oddities that it copes with
        try:
            with Image.open(file) as image:
                _check_header(image)
                rgb = _to_rgb(ImageOps.exif_transpose(image))
        except Exception as error:  # a broken file can make a decoder raise nearly anything
            raise ValueError(f"{os.fspath(path)}: {_reason(file, error)}") from error
    return np.ascontiguousarray(np.asarray(rgb).transpose(2, 0, 1))  # (3, H, W)


def resize_crop(
    image: np.ndarray, size: int, resize: int | None = None, interpolation: str = "bilinear"
) -> np.ndarray:
    """Scales the shorter side to `resize` (default: `size`), then cuts the central square.

    Antialiased, as in torchvision's `Resize` and `CenterCrop` on Pillow images, but only the pixels
    near the middle are looked at: a picture of 10 x 1,000,000 pixels costs no more than another.

    Args:
        image: uint8 (3, H, W).
        size: side of the result in pixels; at most `resize`.
        resize: length of the shorter side before the cut, in pixels.
        interpolation: "bilinear" or "bicubic".

    Returns:
        uint8 (3, size, size).

    Raises:
        ValueError: `image` is not uint8 (3, H, W), or sizes or `interpolation` make no sense.
    """
    resize = size if resize is None else resize
    if image.ndim != 3 or image.shape[0] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise ValueError(
            f"resize_crop: image is {image.dtype} {image.shape}, expected uint8 (3, H, W)"
        )
    if not 1 <= size <= resize:
        raise ValueError(f"resize_crop: expected 1 <= size <= resize, got {size} and {resize}")
    if interpolation not in FILTERS:
        raise ValueError(
            f"resize_crop: interpolation is {interpolation!r}, expected one of {sorted(FILTERS)}"
        )

    shorter = min(image.shape[1:])
    H, W = (min(n, 8 * shorter) for n in image.shape[1:])  # far more than the cut can show
    y, x = (image.shape[1] - H) // 2, (image.shape[2] - W) // 2
    picture = Image.fromarray(
        np.ascontiguousarray(image[:, y : y + H, x : x + W].transpose(1, 2, 0))
    )
    height, width = resize * H // shorter, resize * W // shorter
    top, left = round((height - size) / 2), round((width - size) / 2)
    square = picture.resize((width, height), FILTERS[interpolation]).crop(
        (left, top, left + size, top + size)
    )
    return np.ascontiguousarray(np.asarray(square).transpose(2, 0, 1))  # (3, size, size)


def prepare(
    image: np.ndarray,
    size: int = 224,
    resize: int | None = None,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    interpolation: str = "bilinear",
) -> np.ndarray:
    """What a classifier wants to see: `resize_crop`, then (x / 255 − mean) / std per channel.

    Args:
        image: uint8 (3, H, W), as `read_image` returns it.
        size, resize, interpolation: see `resize_crop`; ImageNet nets usually want 224 and 256.
        mean, std: three numbers each, in units of full brightness (0 to 1).

    Returns:
        float32 (3, size, size).
    """
    scaled = resize_crop(image, size, resize, interpolation).astype(np.float32) / 255
    return (scaled - per_channel("mean", mean)) / per_channel("std", std, positive=True)


def per_channel(name: str, values: Sequence[float], positive: bool = False) -> np.ndarray:
    """Three numbers as float32 (3, 1, 1); ValueError if they are not that."""
    array = np.asarray(values, dtype=np.float32)
    if array.shape != (3,) or not np.isfinite(array).all() or (positive and (array <= 0).any()):
        kind = "positive " if positive else ""
        raise ValueError(f"{name}: expected three {kind}numbers, one per channel, got {values!r}")
    return array.reshape(3, 1, 1)


def _check_header(image: Image.Image) -> None:
    W, H = image.size
    if image.format == "EPS":
        raise _Refused("PostScript is a program, not a picture; convert it to PNG first")
    if W * H == 0:
        raise _Refused(f"a picture of {W} x {H} pixels has nothing to show")
    if W * H > MAX_PIXELS:
        raise _Refused(f"{W} x {H} pixels are more than the limit of {MAX_PIXELS:,}")


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        image = _eight_bit(image)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _eight_bit(image: Image.Image) -> Image.Image:
    """Greys of 16 bits, 32 bits or floating point, scaled so that their white becomes 255.

    White is 65535 for integers and 1.0 for floats, or the brightest pixel where that is brighter.
    """
    grey = np.nan_to_num(np.asarray(image, dtype=np.float64), posinf=0, neginf=0)
    white = max(grey.max(), 1.0 if image.mode == "F" else 65535.0)
    return Image.fromarray(np.rint(grey.clip(0) * (255 / white)).astype(np.uint8))


def _reason(file: BinaryIO, error: Exception) -> str:
    """Says in a few words why the open picture file could not be read."""
    if file.seek(0, os.SEEK_END) == 0:
        return "the file is empty"
    if isinstance(error, _Refused):
        return str(error)
    if isinstance(error, Image.UnidentifiedImageError):
        return "not a picture that Pillow can read"
    if isinstance(error, Image.DecompressionBombError):
        return f"more pixels than the limit of {MAX_PIXELS:,}"
    return f"broken or unsupported picture ({str(error) or type(error).__name__})"
