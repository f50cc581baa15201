"""minise beside PyTorch and other from-scratch engines on this machine's CPU.

    make bench                                          everything; ten minutes on two cores
    python benchmarks/run.py --only steps,memory        some parts
    python benchmarks/run.py --quick                    small sizes: does the suite itself work?

Contestants take turns (interleave.py), and each one's results are checked before it is timed.
Leaves three files in benchmarks/results: cpu-DATE.json (every single time), .md and .svg.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import breakdown
import engine
import floor
import memory
import ops
import plot
import report
import steps
import torch
from context import cores, describe


def parts(rounds: int, quick: bool) -> dict[str, Callable[[], Any]]:
    """What can be measured, by the name that --only takes."""
    batch = 8 if quick else 128
    batches, depths = ([4, 8], [20, 32]) if quick else ([16, 64, 128, 256, 512], [20, 56, 110])
    network = "se_resnet20"
    return {
        "floor": lambda: floor.measure(rounds),
        "engine": lambda: engine.measure(rounds),
        "memory": lambda: memory.measure(network, batch),
        "ops": lambda: ops.measure(rounds, batch),
        "steps": lambda: steps.measure(rounds, batch, large=not quick),
        "breakdown": lambda: breakdown.measure(network, batch, min(rounds, 5)),
        "growth": lambda: steps.measure_growth(min(rounds, 3), batches, depths),
    }


def main() -> int:
    arguments = parse()
    torch.set_num_threads(cores())
    rounds = arguments.rounds or (2 if arguments.quick else 9)
    available = parts(rounds, arguments.quick)
    chosen = arguments.only.split(",") if arguments.only else [*available]
    if unknown := set(chosen) - set(available):
        raise ValueError(f"unknown part {', '.join(unknown)}, expected some of {[*available]}")
    results: dict[str, Any] = {
        "date": date.today().isoformat(),
        "context": describe(),
        "rounds": rounds,
        "batch": 8 if arguments.quick else 128,
    }
    print(results["context"])
    for name in chosen:
        print(f"{name} ...", flush=True)
        results[name] = available[name]()
    text = report.markdown(results)
    print(text)
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / f"{'quick' if arguments.quick else 'cpu'}-{results['date']}"
    numbers = json.dumps(results, indent=1, ensure_ascii=False, default=vars)
    path.with_suffix(".json").write_text(numbers + "\n")
    path.with_suffix(".md").write_text(text)
    plot.draw(results, path.with_suffix(".svg"))
    print(f"written to {path}.json, .md and .svg")
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help="parts, separated by commas: " + ",".join(parts(1, True)))
    parser.add_argument("--quick", action="store_true", help="small sizes, two rounds")
    parser.add_argument("--rounds", type=int, help="turns of each contestant")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (OSError, ValueError) as error:
        print(f"benchmark: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
