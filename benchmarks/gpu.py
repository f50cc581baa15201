"""minise beside PyTorch on one GPU.

    make gpu                                   the tests that need a GPU, then all of this
    python benchmarks/gpu.py                   half an hour; needs CuPy and a PyTorch with CUDA
    python benchmarks/gpu.py --only se_resnet20,epoch --rounds 3
    python benchmarks/gpu.py --quick           two rounds of a small network: does it work?

Contestants take turns and have the same weights; their first losses have to agree. Leaves
benchmarks/results/gpu-DATE.json (every single time) and .md; with --only the parts are in the name.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
from collections.abc import Sequence
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any

import gpu_report
import gpu_steps
import torch
from breakdown import Clock
from context import processor
from gpu_report import Case

import minise
from minise import backend, models
from minise import functional as F

NETWORKS = {"se_resnet20": (128, 1024), "resnet20": (128, 1024), "se_resnet50": (64,)}
CALLS = {"se_resnet20": 40, "resnet20": 40, "se_resnet50": 8}  # steps in a turn
PARTS = (*NETWORKS, "memory", "floor", "epoch")


def main() -> int:
    arguments = parse()
    if arguments.memory_of:
        print(memory_of(*arguments.memory_of.split(",")))
        return 0
    require_gpu()
    chosen = arguments.only.split(",") if arguments.only else PARTS
    if unknown := set(chosen) - set(PARTS):
        raise ValueError(f"unknown part {', '.join(unknown)}, expected some of {', '.join(PARTS)}")
    rounds = arguments.rounds or (2 if arguments.quick else 9)
    results: dict[str, Any] = {
        "date": date.today().isoformat(), "context": describe(), "rounds": rounds, "steps": {},
    }  # fmt: skip
    print(results["context"], flush=True)
    path = arguments.out / name_of_results(chosen, arguments.quick, results["date"])
    for case in cases(arguments.quick):
        if case.network in chosen:
            print(f"{case.title} ...", flush=True)
            found = gpu_steps.measure(case, rounds, CALLS[case.network])
            results["steps"][case.title] = {"batch": case.batch, "tf32": case.tf32, **found}
            results["steps"][case.title]["work"] = work(case)
            if "memory" in chosen:
                results.setdefault("memory", {})[case.title] = {
                    name: memory_in_a_process(case, name) for name in found["timings"]
                }
            write(results, gpu_report.markdown(results), path)  # what comes next may fail
    if "floor" in chosen:
        results["rates"] = gpu_steps.rates("cuda")
    if "epoch" in chosen and not arguments.quick:
        print("epoch ...", flush=True)
        results["epoch"] = gpu_steps.epoch("se_resnet20", 128, "cupy")
    text = gpu_report.markdown(results)
    print(text)
    write(results, text, path)
    return 0


def name_of_results(chosen: Sequence[str], quick: bool, day: str) -> str:
    """Runs of other parts have other names: none overwrites another's results."""
    parts = [] if set(chosen) == set(PARTS) else [part for part in PARTS if part in chosen]
    return "-".join(["quick" if quick else "gpu", day, *parts])


def cases(quick: bool) -> list[Case]:
    networks = {"se_resnet20": (16,)} if quick else NETWORKS
    return [
        Case(network, batch, tf32)
        for network, batches in networks.items()
        for batch in batches
        for tf32 in (False, True)
    ]


def require_gpu() -> None:
    """RuntimeError, saying what is missing, unless both libraries can use a GPU."""
    backend.get("cupy")
    if not torch.cuda.is_available():
        raise RuntimeError(
            f"PyTorch {torch.__version__} cannot use a GPU; install one built for CUDA, as "
            "pytorch.org says"
        )


def describe() -> str:
    """On which GPU and with what: one line."""
    cupy = backend.get("cupy").xp
    driver = cupy.cuda.runtime.driverGetVersion()
    names = ("minise", "numpy", "torch")
    packages = ", ".join(f"{name} {metadata.version(name)}" for name in names)
    return (
        f"{torch.cuda.get_device_name()}, driver for CUDA {driver // 1000}.{driver % 1000 // 10}, "
        f"{processor()}, {platform.system()}, Python {platform.python_version()}, {packages}, "
        f"CuPy {cupy.__version__}, PyTorch's CUDA {torch.version.cuda} and cuDNN "
        f"{torch.backends.cudnn.version()}; TF32 unless set: products "
        f"{torch.backends.cuda.matmul.allow_tf32}, convolutions {torch.backends.cudnn.allow_tf32}"
    )


def work(case: Case) -> dict[str, float]:
    """FLOPs and bytes of a training step, each op reading its inputs and writing its output once.

    Counted on the CPU at two small batches; both grow linearly.
    """
    net = models.create(case.network)
    counted = []
    for batch in (2, 4):
        clock, (images, labels) = Clock(), gpu_steps.inputs(net, batch)
        with clock.installed():
            F.cross_entropy(net(minise.tensor(images)), minise.tensor(labels)).backward()
        counted.append((batch, float(clock.bytes)))
    macs = models.summary(net, images.shape[1:]).macs
    return {
        "flops": 3 * 2.0 * macs * case.batch,  # forward, dx and dW
        "bytes": gpu_report.extrapolate(*counted, case.batch),
    }


def memory_in_a_process(case: Case, contestant: str) -> int | None:
    given = f"{case.network},{case.batch},{int(case.tf32)},{contestant}"
    command = [sys.executable, __file__, "--memory-of", given]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
    return int(done.stdout.split()[-1]) if done.returncode == 0 else None


def memory_of(network: str, batch: str, tf32: str, contestant: str) -> int:
    def used() -> int:
        free, total = torch.cuda.mem_get_info()
        return total - free

    case = Case(network, int(batch), bool(int(tf32)))
    return gpu_steps.memory(case, contestant, used, "cupy", "cuda")


def write(results: dict[str, Any], text: str, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    numbers = json.dumps(results, indent=1, ensure_ascii=False, default=vars)
    path.with_suffix(".json").write_text(numbers + "\n")
    path.with_suffix(".md").write_text(text)
    print(f"written to {path}.json and .md")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help="parts, separated by commas: " + ",".join(PARTS))
    parser.add_argument("--quick", action="store_true", help="a small batch, two rounds")
    parser.add_argument("--rounds", type=int, help="turns of each contestant")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (OSError, ValueError, RuntimeError) as error:
        print(f"benchmark: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
