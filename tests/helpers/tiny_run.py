"""A run that takes a second: a network of eight layers and two dozen pictures, red or green."""

import json

import numpy as np
from PIL import Image
from safetensors.numpy import load_file

EPOCHS, BATCH, TRAIN, TEST = 3, 8, 20, 6
STEPS = 3  # per epoch: 8 + 8 + 4 pictures
FILES = ("last.safetensors", "best.safetensors")


def draw(root):
    """root/train/red/0.png ... root/test/green/2.png; returns root."""
    random = np.random.RandomState(0)
    for part, count in (("train", TRAIN // 2), ("test", TEST // 2)):
        for channel, name in enumerate(("red", "green")):
            folder = root / part / name
            folder.mkdir(parents=True)
            for number in range(count):
                picture = random.randint(0, 180, (32, 32, 3)).astype(np.uint8)
                picture[..., channel] += 30
                Image.fromarray(picture).save(folder / f"{number}.png")
    return root


def settings(pictures, **changes):
    """For `Config`."""
    return {
        "model": "se_resnet8", "reduction": 4, "data": str(pictures), "epochs": EPOCHS,
        "batch_size": BATCH, "lr": 0.05, **changes,
    }  # fmt: skip


def arguments(pictures, **changes):
    """The same for the command line."""
    words = [
        (f"--{name.replace('_', '-')}", str(value))
        for name, value in settings(pictures, **changes).items()
    ]
    return [word for pair in words for word in pair]


def metrics(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def outcome(folder):
    """Everything that has to be the same whenever the same run is made: all but the times."""
    timeless = [
        {key: value for key, value in line.items() if key not in ("seconds", "images_per_second")}
        for line in metrics(folder)
    ]
    weights = [
        {key: array.tobytes() for key, array in load_file(folder / name).items()} for name in FILES
    ]
    return timeless, weights
