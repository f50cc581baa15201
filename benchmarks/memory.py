"""Peak resident memory of training steps, each contestant in a fresh process of its own.

    python benchmarks/memory.py se_resnet20 128 minise        one contestant; prints JSON

`peak` is the process's high-water mark after some steps, `before` what it held once everything was
imported and the networks existed; the difference is what the steps themselves need. Everybody
imports and builds the same, so `before` is the same for all.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

STEPS = 4
CONTESTANTS = ("minise", "PyTorch", "PyTorch channels_last")


def measure(name: str, batch: int) -> dict[str, dict[str, float]] | None:
    """MiB by contestant; None where the system does not tell."""
    if not Path("/proc/self/status").exists():
        return None
    results = {}
    for contestant in CONTESTANTS:
        command = [sys.executable, __file__, name, str(batch), contestant]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        results[contestant] = json.loads(output)
    return results


def resident(field: str) -> float:
    """MiB, of a line of /proc/self/status: VmRSS is now, VmHWM the most so far."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(f"{field}:"))
    return int(line.split()[1]) / 1024


def run(name: str, batch: int, contestant: str) -> dict[str, Any]:
    from steps import minise_step, torch_step

    from minise import models

    net = models.create(name)
    step = torch_step(net, batch, channels_last=contestant.endswith("channels_last"))
    if contestant == "minise":
        step = minise_step(net, batch)
    before = resident("VmRSS")
    for _ in range(STEPS):
        step()
    peak = resident("VmHWM")
    return {"before": before, "peak": peak, "steps": peak - before}


if __name__ == "__main__":
    print(json.dumps(run(sys.argv[1], int(sys.argv[2]), sys.argv[3])))
