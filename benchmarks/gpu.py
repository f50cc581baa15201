"""minise beside PyTorch on one GPU.

    make gpu                                   the tests that need a GPU, then all of this
    python benchmarks/gpu.py                   half an hour; needs CuPy and a PyTorch with CUDA
    python benchmarks/gpu.py --minutes 8       begin nothing new after that time
    python benchmarks/gpu.py --only se_resnet20,epoch
    python benchmarks/gpu.py --quick           two rounds of a small network: does it work?

Contestants take turns and have the same weights; who computes another loss is left out. Leaves
benchmarks/results/gpu-DATE.json (every single time) and .md, written anew after every part. A later
run of the same day goes on with them: what is there is not measured again. After a change to minise
name another folder with --out.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import gpu_report
import gpu_steps
import numpy
import torch
from breakdown import Clock
from context import processor
from gpu_report import Case
from interleave import Timing

import minise
from minise import backend, files, models
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
    path = arguments.out / f"{'quick' if arguments.quick else 'gpu'}-{date.today()}"
    results: dict[str, Any] = {
        "date": date.today().isoformat(), "context": describe(),
        "rounds": arguments.rounds or (2 if arguments.quick else 9), "steps": {},
    }  # fmt: skip
    print(results["context"], flush=True)
    if not arguments.quick:
        results |= kept(path.with_suffix(".json"), results)
    start, left = time.monotonic(), 0
    for section, title, measure in parts(chosen, arguments.quick, results):
        name = f"{section}: {title}" if title else section
        if title in results.get(section, {}) if title else section in results:
            print(f"{name}: is there already", flush=True)
        elif arguments.minutes and time.monotonic() - start > 60 * arguments.minutes:
            left += 1
        else:
            print(f"{name} ...", flush=True)
            if title:
                results.setdefault(section, {})[title] = measure()
            else:
                results[section] = measure()
            write(results, gpu_report.markdown(results), path)  # what comes next may fail
    print(gpu_report.markdown(results))
    print(f"{path}.json and .md" + (f"; {left} parts left: run this again" if left else ""))
    return 0


Part = tuple[str, str, Callable[[], Any]]  # where in the results it goes, and what finds it


def parts(chosen: Sequence[str], quick: bool, results: dict[str, Any]) -> Iterator[Part]:
    """In the order in which they are measured: what the project aims at comes first."""

    def of(case: Case) -> Iterator[Part]:
        if case.network in chosen:
            yield "steps", case.title, partial(steps, case, results["rounds"])
            if "memory" in chosen:
                yield "memory", case.title, partial(memory, case, results)

    first, second, *others = cases(quick)
    yield from of(first)
    yield from of(second)
    if "epoch" in chosen and not quick:
        yield "epoch", "", partial(gpu_steps.epoch, "se_resnet20", 128, "cupy")
    if "floor" in chosen:
        yield "rates", "", partial(gpu_steps.rates, "cuda")
    for case in others:
        yield from of(case)


def steps(case: Case, rounds: int) -> dict[str, Any]:
    found = gpu_steps.measure(case, rounds, CALLS[case.network])
    return {"batch": case.batch, "tf32": case.tf32, **found, "work": work(case)}


def memory(case: Case, results: dict[str, Any]) -> dict[str, int | None]:
    """Of all whose steps ran."""
    names = results["steps"][case.title]["timings"]
    return {name: memory_in_a_process(case, name) for name in names}


def kept(path: Path, results: dict[str, Any]) -> dict[str, Any]:
    """What an earlier run left at `path`, if any.

    Raises ValueError for a file that is something else, or was measured in another way than
    `results`, which are still empty, will be.
    """
    if not path.exists():
        return {}
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        for row in found["steps"].values():
            row["timings"] = {name: Timing(**timing) for name, timing in row["timings"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is no file of results: {error!r}") from None
    for name in ("context", "rounds"):
        if found.get(name) != results[name]:
            raise ValueError(
                f"{path} has {name} {found.get(name)!r}, this run {results[name]!r}; "
                "choose another --out"
            )
    return found


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
    return (
        f"{torch.cuda.get_device_name()}, driver for CUDA {driver // 1000}.{driver % 1000 // 10}, "
        f"{processor()}, {platform.system()}, Python {platform.python_version()}, "
        f"minise {minise.__version__}, numpy {numpy.__version__}, torch {torch.__version__}, "
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
    files.write(path.with_suffix(".json"), numbers + "\n")
    files.write(path.with_suffix(".md"), text)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help="parts, separated by commas: " + ",".join(PARTS))
    parser.add_argument("--quick", action="store_true", help="a small batch, two rounds")
    parser.add_argument("--rounds", type=int, help="turns of each contestant")
    parser.add_argument("--minutes", type=float, help="begin no new part after so many minutes")
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
