"""Does SE beat the same network without it on CueDigits, over several seeds?

    python benchmarks/cue_digits.py             every seed, network and setting not done yet
    python benchmarks/cue_digits.py --table     the results, as Markdown

Runs `minise train`, with the demo's settings if not told otherwise. "frame" is the task that needs
global context; in "tint" every patch shows which plane counts, so SE has nothing to add. Every
finished run is written to the results file at once and is not done again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

import runs
from context import describe

from minise.demo import SETTINGS
from minise.train.config import SCHEDULES

DATA = {"frame": "cue-digits", "tint": "cue-digits-tint"}
MODELS = ("resnet8", "se_resnet8")
RESULTS = Path(__file__).parent / "results" / "cue-digits.jsonl"


def main() -> int:
    arguments = parse()
    if arguments.table:
        print(table(runs.read(arguments.results)))
        return 0
    for seed in arguments.seeds:
        for cue in arguments.cue:
            for model in MODELS:
                settings = {
                    "model": model, "cue": cue, "seed": seed, "reduction": arguments.reduction,
                    "images": arguments.images, "epochs": arguments.epochs, "max_lr": arguments.lr,
                    "schedule": arguments.schedule, "warmup": arguments.warmup,
                    "batch_size": SETTINGS["batch_size"],
                }  # fmt: skip
                if not runs.find(arguments.results, settings):
                    result = train(settings, arguments.data_dir)
                    today = date.today().isoformat()
                    record = {"settings": settings, **result, "date": today, "context": describe()}
                    runs.add(arguments.results, record)
    return 0


def train(settings: dict[str, Any], data_dir: Path) -> dict[str, Any]:
    """One `minise train`; what it measured at the end of its last epoch."""
    with tempfile.TemporaryDirectory() as folder:
        options = {
            "model": settings["model"], "data": DATA[settings["cue"]], "data-dir": data_dir,
            "seed": settings["seed"], "reduction": settings["reduction"],
            "limit": settings["images"], "epochs": settings["epochs"], "lr": settings["max_lr"],
            "schedule": settings["schedule"], "warmup": settings["warmup"],
            "batch-size": settings["batch_size"], "out": Path(folder) / "run",
        }  # fmt: skip
        words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
        subprocess.run([sys.executable, "-m", "minise", "train", *words], check=True)
        lines = (Path(folder) / "run" / "metrics.jsonl").read_text().splitlines()
    epochs = [json.loads(line) for line in lines]
    return {
        "test_accuracy": epochs[-1]["test_accuracy"],
        "seconds": round(sum(epoch["seconds"] for epoch in epochs), 1),
        "history": [epoch["test_accuracy"] for epoch in epochs],
    }


def table(records: list[runs.Record]) -> str:
    """One line per network and setting, with every seed."""
    lines = ["# CueDigits: SE against the same network without it", ""]
    lines += sorted({f"- {run['date']}: {run['context']}" for run in records})
    lines += [f"- `minise train`, batch {SETTINGS['batch_size']}; 2,000 test",
              "  pictures; chance is 10 %, reading digits without knowing which counts a third", "",
              "| cue | network | r | images × epochs | max lr | schedule, warm-up "
              "| test accuracy in percent | by seed | minutes per run |",
              "|---|---|---|---|---|---|---|---|---|"]  # fmt: skip
    groups: dict[tuple, list[runs.Record]] = {}
    for run in records:
        s = run["settings"]
        schedule = f"{s['schedule']}, {s['warmup']}"
        key = (
            s["cue"], s["model"], s["reduction"], s["images"], s["epochs"], s["max_lr"], schedule,
        )  # fmt: skip
        groups.setdefault(key, []).append(run)
    for (cue, model, reduction, images, epochs, lr, schedule), group in sorted(groups.items()):
        accuracies = [run["test_accuracy"] for run in group]
        group.sort(key=lambda run: run["settings"]["seed"])
        seeds = ", ".join(f"{run['settings']['seed']}: {run['test_accuracy']:.3f}" for run in group)
        minutes = sum(run["seconds"] for run in group) / len(group) / 60
        lines.append(
            f"| {cue} | {model} | {reduction if model.startswith('se_') else '–'} "
            f"| {images:,} × {epochs} | {lr} | {schedule} "
            f"| {runs.mean_and_deviation(accuracies)} | {seeds} | {minutes:.1f} |"
        )
    return "\n".join(lines)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, default=Path("datasets"), help="drawn pictures")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true", help="print the results so far")
    parser.add_argument("--cue", nargs="+", choices=[*DATA], default=[*DATA])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--reduction", type=int, default=SETTINGS["reduction"])
    parser.add_argument("--images", type=int, default=SETTINGS["limit"])
    parser.add_argument("--epochs", type=int, default=SETTINGS["epochs"])
    parser.add_argument("--lr", type=float, default=SETTINGS["lr"])
    parser.add_argument("--schedule", choices=SCHEDULES, default="onecycle")
    parser.add_argument("--warmup", type=int, default=0, help="epochs; 0 with onecycle")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        print(f"cue_digits: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted; finished runs are kept", file=sys.stderr)
        sys.exit(130)
