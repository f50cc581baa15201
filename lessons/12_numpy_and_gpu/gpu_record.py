"""Lesson 12: times of a real GPU, for readers who have none.

    python lessons/12_numpy_and_gpu/gpu_record.py

measures a training step on the GPU of this machine and writes gpu_record.json beside this file,
with all that is needed to repeat it. Run the lesson again afterwards:
`python tests/helpers/execute_lessons.py lessons/12_numpy_and_gpu`.
"""

from __future__ import annotations

import json
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy

from exercises import timed
from minise import __version__, backend, creation, files, models
from minise import functional as F

FILE = Path(__file__).with_suffix(".json")


def record(
    name: str = "cupy", batches: Sequence[int] = (1, 16, 256), repeats: int = 5
) -> dict[str, Any]:
    """Seconds of a forward and backward pass of SE-ResNet-20 with 3 × 32 × 32 images.

    name       of the backend; RuntimeError if it cannot run here
    batches    images in a step
    repeats    of which the shortest counts, after two that do not

    "waiting" is the right benchmark, "forgetful" the one that reads the clock too early.
    """
    home = backend.get(name)
    backend.random.manual_seed(0)
    model = models.create("se_resnet20").to(name)
    times: dict[str, list[float]] = {"waiting": [], "forgetful": []}
    for batch in batches:
        images = creation.randn(batch, 3, 32, 32).to(name)
        labels = creation.tensor(numpy.arange(batch) % 10).to(name)

        def step(images=images, labels=labels):
            F.cross_entropy(model(images), labels).backward()

        for kind, after in [("waiting", True), ("forgetful", False)]:
            runs = [
                timed(step, time.perf_counter, home.synchronize, after=after)
                for _ in range(2 + repeats)
            ]
            times[kind].append(min(runs[2:]))
    return {
        "command": "python lessons/12_numpy_and_gpu/gpu_record.py",
        "date": time.strftime("%Y-%m-%d"),
        "device": device_name(home),
        "versions": versions(home),
        "batches": list(batches),
        **times,
    }


def recorded(path: Path = FILE) -> dict[str, Any] | None:
    """What `record` gave on a machine with a GPU, None where nobody has run it yet."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def device_name(home: backend.Backend) -> str:
    if home.name != "cupy":
        return platform.machine()
    return home.xp.cuda.runtime.getDeviceProperties(0)["name"].decode()


def versions(home: backend.Backend) -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "minise": __version__,
        "numpy": numpy.__version__,
        home.xp.__name__: home.xp.__version__,
    }


def main() -> int:
    try:
        measured = record()
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 2
    files.write(FILE, json.dumps(measured, indent=2) + "\n")
    print(f"written: {FILE.name}, {measured['device']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
