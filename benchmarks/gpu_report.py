"""A run of gpu.py as Markdown, and the arithmetic behind it; needs no GPU."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from interleave import Timing, ratio
from report import Results, Target, rows_of, section

EPOCHS, PICTURES = 200, 50_000  # He et al. train on CIFAR-10 for about that long


@dataclass(frozen=True)
class Case:
    """What is trained; tf32 holds for both libraries, products and convolutions alike."""

    network: str
    batch: int
    tf32: bool

    @property
    def work(self) -> str:
        return f"{self.network}, batch {self.batch}"

    @property
    def title(self) -> str:
        return f"{self.work}, TF32 {'on' if self.tf32 else 'off'}"


def images_per_second(batch: int, timing: Timing) -> float:
    return batch / timing.median


def faster(timings: dict[str, Timing], *names: str) -> str | None:
    """The quickest of these contestants, of those that took part."""
    return min(
        (name for name in names if name in timings), key=lambda n: timings[n].median, default=None
    )


def floor_seconds(work: dict[str, float], rates: dict[str, float], tf32: bool) -> dict[str, float]:
    """The least time of a step, by its arithmetic and by its traffic, at the GPU's best rates."""
    product = rates["TF32"] if tf32 else rates["float32"]
    return {"arithmetic": work["flops"] / product, "traffic": work["bytes"] / rates["copy"]}


def extrapolate(small: tuple[int, float], large: tuple[int, float], batch: int) -> float:
    """The value at `batch` of a quantity that grows linearly, known at two batch sizes."""
    (b0, v0), (b1, v1) = small, large
    return v0 + (v1 - v0) / (b1 - b0) * (batch - b0)


def targets(results: Results) -> Iterator[Target]:
    """The aims of the project that this run measured: float32 on both sides, TF32 off."""
    for batch, must, goal in ((128, 1.0, 2.0), (1024, 0.5, 1.0)):
        case = Case("se_resnet20", batch, False)
        timings = results["steps"].get(case.title, {}).get("timings", {})
        ours = faster(timings, "minise captured", "minise op by op")
        eager = faster(timings, "PyTorch", "PyTorch channels_last")
        if ours is None:
            continue
        if eager is not None:
            measured = ratio(timings[eager], timings[ours])
            title = f"{case.work}: throughput of {ours} ÷ {eager}"
            yield Target(title, must, goal, measured, True)
        if batch == 128 and "torch.compile" in timings:
            measured = ratio(timings["torch.compile"], timings[ours])
            title = f"{case.work}: throughput of {ours} ÷ torch.compile"
            yield Target(title, 0.6, 1.0, measured, True)
    if epoch := results.get("epoch"):
        minutes = EPOCHS * (epoch["epoch"] + epoch["test"]) / 60
        title = (
            f"se_resnet20, {EPOCHS} epochs of {PICTURES:,} pictures, each with its test, "
            "extrapolated from one: minutes"
        )
        yield Target(title, 20, 8, minutes, False)


def markdown(results: Results) -> str:
    parts = [
        f"# minise beside PyTorch on a GPU, {results['date']}",
        f"{results['context']}; {results['rounds']} rounds, interleaved, each of many steps that "
        "end with waiting for the GPU. Medians; ratios are medians over the rounds. A step takes "
        "its batch from the host, and is forward, backward, SGD with Nesterov momentum, and the "
        "count of hits. TF32 off and on means convolutions and linear layers of both, minise and "
        "PyTorch.",
        section("Targets", targets_table(results)),
        section("Training steps, images per second", steps_table(results)),
        section("minise captured: throughput ÷ that of", ratio_table(results)),
    ]
    if results.get("memory"):
        parts.append(section("Memory of the GPU for training steps, MiB", memory_table(results)))
    if results.get("rates"):
        parts.append(section("The floor", floor_table(results)))
    if epoch := results.get("epoch"):
        rows = [[name, f"{seconds:.2f}"] for name, seconds in epoch.items()]
        title = "An epoch of 50,000 pictures of 32×32, and a test with 10,000, seconds"
        parts.append(section(title, rows_of(["", "s"], rows)))
    notes = [f"- {title}: {n}" for title, row in results["steps"].items() for n in row["notes"]]
    if notes:
        parts.append(section("Notes", "\n".join(notes)))
    return "\n\n".join(parts) + "\n"


def contestants(results: Results) -> list[str]:
    return list(dict.fromkeys(n for row in results["steps"].values() for n in row["timings"]))


def targets_table(results: Results) -> str:
    rows = [
        [t.figure, f"{t.must:g}", f"{t.goal:g}", f"{t.measured:.2f}", t.verdict]
        for t in targets(results)
    ]
    return rows_of(["figure", "must", "goal", "measured", "met"], rows)


def steps_table(results: Results) -> str:
    names = contestants(results)
    rows = []
    for title, row in results["steps"].items():
        cells = [
            f"{images_per_second(row['batch'], row['timings'][name]):,.0f} "
            f"({1e3 * row['timings'][name].median:.2f} ms)"
            if name in row["timings"] else "–"
            for name in names
        ]  # fmt: skip
        rows.append([title, *cells])
    return rows_of(["", *names], rows)


def ratio_table(results: Results) -> str:
    names = [name for name in contestants(results) if name != "minise captured"]
    rows = []
    for title, row in results["steps"].items():
        timings = row["timings"]
        if ours := timings.get("minise captured"):
            cells = [f"{ratio(timings[n], ours):.2f}" if n in timings else "–" for n in names]
            rows.append([title, *cells])
    return rows_of(["", *names], rows)


def memory_table(results: Results) -> str:
    names = list(dict.fromkeys(name for row in results["memory"].values() for name in row))
    rows = [
        [title, *(f"{row[n] / 2**20:,.0f}" if row.get(n) is not None else "–" for n in names)]
        for title, row in results["memory"].items()
    ]
    return rows_of(["", *names], rows)


def floor_table(results: Results) -> str:
    """Each convolution and product at the rate of a large product, each array moved once per op."""
    rates: dict[str, float] = results["rates"]
    rows = [
        ["product of 8192×8192, float32", f"{rates['float32'] / 1e12:.1f} TFLOP/s", ""],
        ["product of 8192×8192, TF32", f"{rates['TF32'] / 1e12:.1f} TFLOP/s", ""],
        ["copy, bytes read and written", f"{rates['copy'] / 1e9:,.0f} GB/s", ""],
    ]
    for title, row in results["steps"].items():
        floor = floor_seconds(row["work"], rates, row["tf32"])
        ours: Any = row["timings"].get("minise captured")
        share = f"{ours.median / max(floor.values()):.1f}" if ours else "–"
        rows.append([
            title,
            f"{1e3 * floor['arithmetic']:.2f} ms by {row['work']['flops'] / 1e9:,.0f} GFLOP, "
            f"{1e3 * floor['traffic']:.2f} ms by {row['work']['bytes'] / 1e6:,.0f} MB",
            share,
        ])  # fmt: skip
    return rows_of(["", "least time", "minise captured ÷ least time"], rows)
