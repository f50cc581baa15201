"""CueDigits: a task that channel attention is made for, drawn on the spot.

Each colour plane of a picture shows another digit, and a frame in red, green or blue tells which of
the three is the answer. The digits are out of local reach of the frame: a convolution reads each of
them well, yet which channel matters is known only from global context, which is what squeeze and
excitation passes on. With `cue="tint"` the whole plane is brightened instead; then every local
patch tells which plane counts, and SE has nothing to add.
"""

import os
import zipfile
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image, ImageDraw, ImageFont

from .. import files
from .dataset import Dataset

VERSION = 1  # part of the cache's file name: raise it whenever the pictures change

SIDE = 32                     # pixels
SIZES = range(16, 23)         # of the font, in pixels
ANGLES = range(-8, 9)         # in degrees
LEFT, TOP = (8, 13), (3, 6)   # first and last place of a text's upper left corner, in pixels
FRAME = 2                     # width of the frame, in pixels
TINT = 64                     # added to the tinted plane, of 255


class CueDigits(Dataset):
    """32x32 RGB pictures of three digits, one per plane; the frame's colour picks the one to name.

    The same arguments give the same bytes on every machine: the random numbers are integers from
    NumPy's frozen `RandomState` stream. Training and test pictures come from different streams.

    Args:
        train: the training or the test pictures.
        size: how many; 10,000 for training and 2,000 for testing if None.
        seed: 0 to 2**32 - 1.
        cue: "frame" (SE helps much) or "tint" (SE is not needed).
        root: folder to keep the drawn pictures in, made if missing; None draws them each time.

    Attributes:
        images, labels, classes: as in `Dataset`; ten classes, "0" to "9".
        cues: int64 (N,), the plane that holds the label: 0 red, 1 green, 2 blue.

    Raises:
        ValueError: an argument outside of its range.
        OSError: `root` cannot be written.
    """

    per_image = ("images", "labels", "cues")

    def __init__(
        self,
        train: bool = True,
        size: int | None = None,
        seed: int = 0,
        cue: str = "frame",
        root: str | os.PathLike | None = None,
    ) -> None:
        if size is None:
            size = 10_000 if train else 2_000
        if size < 1:
            raise ValueError(f"CueDigits: size must be at least 1, got {size}")
        if not 0 <= seed < 2**32:
            raise ValueError(f"CueDigits: seed must lie in 0 … 2**32 - 1, got {seed}")
        if cue not in ("frame", "tint"):
            raise ValueError(f"CueDigits: cue must be 'frame' or 'tint', got {cue!r}")

        part = "train" if train else "test"
        if root is None:
            arrays = draw(size, seed, train, cue)
        else:
            path = Path(root) / f"cue-digits-v{VERSION}-{cue}-{part}-{size}-seed{seed}.npz"
            arrays = _load(path, size) or _store(path, draw(size, seed, train, cue))
        super().__init__(arrays["images"], arrays["labels"], [str(digit) for digit in range(10)])
        self.cues = arrays["cues"]


def draw(size: int, seed: int, train: bool, cue: str) -> dict[str, np.ndarray]:
    """Draws `size` pictures: images uint8 (N, 3, 32, 32), labels int64 (N,), cues int64 (N,)."""
    random = np.random.RandomState([seed, int(train)])
    N = size
    every = np.arange(N)

    def pick(count: int, shape: tuple[int, ...] = (N, 3)) -> np.ndarray:
        return random.randint(count, size=shape, dtype=np.int64)

    digits = random.random_sample((N, 10)).argsort(axis=1, kind="stable")[:, :3]  # all different
    cues = pick(3, (N,))

    # Every place of every glyph is a window into one drawing of it, so no loop over pictures.
    windows = sliding_window_view(_glyphs(), (SIDE, SIDE), axis=(3, 4))
    down, right = windows.shape[3:5]
    places = pick(len(SIZES)), pick(len(ANGLES)), digits, pick(down), pick(right)
    images = windows[places].astype(np.int16)  # (N, 3, 32, 32)
    if cue == "frame":
        colours = np.where(np.arange(3) == cues[:, None], 255, 0)               # (N, 3)
        images[:, :, _frame()] = colours[:, :, None]
    else:
        images[every, cues] += TINT
    for _ in range(3):  # the sum of three dice is close to normal; its deviation is 7.5 of 255
        images += random.randint(-7, 8, size=images.shape, dtype=np.int8)
    return {
        "images": images.clip(0, 255).astype(np.uint8),
        "labels": digits[every, cues],
        "cues": cues,
    }


def _glyphs() -> np.ndarray:
    """Every digit in every size at every angle: uint8 (size, angle, digit, height, width).

    The canvas is larger than a picture by as much as a text's place may vary.
    """
    width, height = SIDE + LEFT[1] - LEFT[0], SIDE + TOP[1] - TOP[0]
    glyphs = np.empty((len(SIZES), len(ANGLES), 10, height, width), np.uint8)
    for i, size in enumerate(SIZES):
        font = ImageFont.load_default(size)
        for digit in range(10):
            upright = Image.new("L", (width, height))
            ImageDraw.Draw(upright).text((LEFT[1], TOP[1]), str(digit), fill=255, font=font)
            for j, angle in enumerate(ANGLES):
                glyphs[i, j, digit] = np.asarray(upright.rotate(angle, Image.Resampling.BILINEAR))
    return glyphs


def _frame() -> np.ndarray:
    """True on the frame: bool (32, 32)."""
    frame = np.ones((SIDE, SIDE), bool)
    frame[FRAME:-FRAME, FRAME:-FRAME] = False
    return frame


def _load(path: Path, size: int) -> dict[str, np.ndarray] | None:
    """The stored pictures, or None where there are none or the file is damaged."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in ("images", "labels", "cues")}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    return arrays if arrays["images"].shape == (size, 3, SIDE, SIDE) else None


def _store(path: Path, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Keeps the pictures for the next time; returns them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.replacing(path, sync=False) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    return arrays
