"""minise and PyTorch train the same networks on CIFAR-10 from the same weights and batches.

    python benchmarks/cifar_parity.py --data-dir DIR            all that is not done yet
    python benchmarks/cifar_parity.py --table                   the results, as Markdown

1. In float64, the first 20 steps: the losses have to agree to 1e-8 at every step.
2. In float32, whole trainings (one-cycle, several seeds). Rounding makes two trainings drift apart
   within some dozen steps, as two seeds do, so the means over the seeds are compared.

Every finished part is written to the results file at once and is not done again: the script may be
interrupted at any time, and its parts may be run one by one (--library, --model, --seeds).
"""

from __future__ import annotations

import argparse
import sys
from datetime import date
from pathlib import Path
from typing import Any

import runs
from context import describe
from learners import LIBRARIES, MiniseLearner, TorchLearner, fit, new_net

from minise import data
from minise.data import transforms

RESULTS = Path(__file__).parent / "results"
MODELS = ("se_resnet20", "resnet20")
TOLERANCE = 1e-8
NORMALIZE = transforms.Normalize(data.CIFAR10_MEAN, data.CIFAR10_STD)
AUGMENT = transforms.Compose(
    [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip(), NORMALIZE]
)


def main() -> int:
    arguments = parse()
    if arguments.table:
        print(table(runs.read(arguments.results)))
        return 0
    train = data.CIFAR10(arguments.data_dir, train=True).take(arguments.images)
    test = data.CIFAR10(arguments.data_dir, train=False)
    if arguments.part in ("losses", "all"):
        for model in arguments.model:
            compare_losses(train, model, arguments)
    if arguments.part in ("accuracy", "all"):
        for seed in arguments.seeds:
            for model in arguments.model:
                for library in arguments.library:
                    compare_accuracy(train, test, model, library, seed, arguments)
    return 0


def compare_losses(train: data.Dataset, model: str, arguments: argparse.Namespace) -> None:
    """Step for step in float64; ends the program if the two part."""
    settings = {
        "part": "losses", "model": model, "seed": arguments.seeds[0], "steps": arguments.steps,
        "images": len(train), "epochs": arguments.epochs, "batch_size": arguments.batch_size,
        "max_lr": arguments.lr,
    }  # fmt: skip
    if runs.find(arguments.results, settings):
        return
    seed = settings["seed"]
    loader = data.DataLoader(train, arguments.batch_size, True, AUGMENT, seed=seed)
    learners = [
        kind(new_net(model, seed, "float64"), arguments.lr, arguments.epochs * len(loader))
        for kind in (MiniseLearner, TorchLearner)
    ]
    curves: tuple[list[float], list[float]] = ([], [])
    batches = (batch for _ in range(arguments.epochs) for batch in loader)
    for step, (images, labels) in zip(range(1, arguments.steps + 1), batches):
        for learner, curve in zip(learners, curves):
            curve.append(learner.step(images, labels))
        ours, theirs = (curve[-1] for curve in curves)
        print(f"{model}  step {step:>2}  {ours:.12f}  {theirs:.12f}  {ours - theirs:+.1e}")
    largest = max(abs(a - b) for a, b in zip(*curves))
    if not largest <= TOLERANCE:  # NaN must not pass
        sys.exit(f"{model}: losses differ by {largest:.1e}, more than {TOLERANCE:.0e}")
    losses = dict(zip(("minise", "torch"), curves))
    save(arguments, settings, largest_difference=largest, losses=losses)


def compare_accuracy(
    train: data.Dataset, test: data.Dataset, model: str, library: str, seed: int,
    arguments: argparse.Namespace,
) -> None:  # fmt: skip
    """One training in float32."""
    settings = {
        "part": "accuracy", "model": model, "library": library, "seed": seed,
        "images": len(train), "epochs": arguments.epochs, "batch_size": arguments.batch_size,
        "max_lr": arguments.lr,
    }  # fmt: skip
    if runs.find(arguments.results, settings):
        return
    loader = data.DataLoader(train, arguments.batch_size, True, AUGMENT, seed=seed)
    net = new_net(model, seed)
    learner = LIBRARIES[library](net, arguments.lr, arguments.epochs * len(loader))
    tests = data.DataLoader(test, 250, transform=NORMALIZE)
    title = f"{library:<6} {model} seed {seed}"
    save(arguments, settings, **fit(learner, lambda: loader, tests, arguments.epochs, title))


def save(arguments: argparse.Namespace, settings: dict[str, Any], **result: Any) -> None:
    today = date.today().isoformat()
    record = {"settings": settings, **result, "date": today, "context": describe()}
    runs.add(arguments.results, record)


def table(records: list[runs.Record]) -> str:
    """What the results file says, as Markdown."""
    lines = ["# The same training in minise and in PyTorch, on CIFAR-10", ""]
    lines += sorted({f"- {run['date']}: {run['context']}" for run in records})
    lines += ["- SGD with Nesterov momentum, weight decay 5e-4, one-cycle schedule; pad-4 random",
              "  crop and flip; initial weights and batches are minise's in both libraries",
              "", "## Loss step for step, float64", "",
              "| network | steps | batch | first loss | last loss | largest difference |",
              "|---|---|---|---|---|---|"]  # fmt: skip
    for run in records:
        if run["settings"]["part"] == "losses":
            s, losses = run["settings"], run["losses"]["minise"]
            lines.append(
                f"| {s['model']} | {s['steps']} | {s['batch_size']} | {losses[0]:.6f} "
                f"| {losses[-1]:.6f} | {run['largest_difference']:.1e} |"
            )
    lines += ["", "## Test accuracy in percent, float32", "",
              "| network | images × epochs | max lr | minise | PyTorch "
              "| difference ± its standard error | runs | minutes per run, minise / PyTorch |",
              "|---|---|---|---|---|---|---|---|"]  # fmt: skip
    groups: dict[tuple, dict[str, list[runs.Record]]] = {}
    for run in records:
        s = run["settings"]
        if s["part"] == "accuracy":
            key = (s["model"], s["images"], s["epochs"], s["batch_size"], s["max_lr"])
            groups.setdefault(key, {}).setdefault(s["library"], []).append(run)
    for (model, images, epochs, _, lr), libraries in groups.items():
        ours, theirs = libraries.get("minise", []), libraries.get("torch", [])
        accuracies = [[run["test_accuracy"] for run in side] for side in (ours, theirs)]
        cells = [runs.mean_and_deviation(side) if side else "–" for side in accuracies]
        gap = "–"
        if all(accuracies):
            mean, error = (100 * value for value in runs.difference(*accuracies))
            gap = f"{mean:+.2f} ± {error:.2f}"
        minutes = [
            f"{sum(run['seconds'] for run in side) / len(side) / 60:.1f}" if side else "–"
            for side in (ours, theirs)
        ]
        lines.append(
            f"| {model} | {images:,} × {epochs} | {lr} | {cells[0]} | {cells[1]} | {gap} "
            f"| {len(ours)} + {len(theirs)} | {minutes[0]} / {minutes[1]} |"
        )
    lines += ["", "Every run:", "",
              "| network | library | seed | test accuracy | training loss of the last epoch |",
              "|---|---|---|---|---|"]  # fmt: skip
    for run in records:
        s = run["settings"]
        if s["part"] == "accuracy":
            lines.append(
                f"| {s['model']} | {s['library']} | {s['seed']} | {run['test_accuracy']:.4f} "
                f"| {run['history'][-1]['train_loss']:.4f} |"
            )
    return "\n".join(lines)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, default=Path("data"), help="CIFAR-10, binary")
    parser.add_argument("--results", type=Path, default=RESULTS / "cifar-parity.jsonl")
    parser.add_argument("--table", action="store_true", help="print the results so far")
    parser.add_argument("--part", choices=("losses", "accuracy", "all"), default="all")
    parser.add_argument("--model", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--library", nargs="+", choices=[*LIBRARIES], default=[*LIBRARIES])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--lr", type=float, default=0.2, help="peak of the one-cycle schedule")
    parser.add_argument("--steps", type=int, default=20, help="compared step for step")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (OSError, ValueError) as error:
        print(f"cifar_parity: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted; finished runs are kept", file=sys.stderr)
        sys.exit(130)
