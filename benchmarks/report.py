"""A benchmark run as Markdown: the targets first, then every table."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Any, NamedTuple

from interleave import Timing, ratio

Results = dict[str, Any]  # by part of the suite, as run.py collects them
LIBRARIES = ("minise", "PyTorch", "PyTorch channels_last")


class Target(NamedTuple):
    figure: str
    must: float
    goal: float
    measured: float
    more_is_better: bool

    @property
    def verdict(self) -> str:
        sign = 1 if self.more_is_better else -1
        if sign * self.measured >= sign * self.goal:
            return "goal"
        return "must" if sign * self.measured >= sign * self.must else "missed"


def targets(results: Results) -> Iterator[Target]:
    """The aims of the project that this run measured."""
    for title, row in results.get("steps", {}).items():
        if title.startswith("se_resnet20 training"):
            speed = f"{title}: throughput ÷ "
            yield Target(speed + "PyTorch", 0.85, 1, ratio(row["PyTorch"], row["minise"]), True)
            last = row["PyTorch channels_last"]
            yield Target(speed + "channels_last", 0.7, 1, ratio(last, row["minise"]), True)
            plain = results["steps"][title.removeprefix("se_")]
            yield Target(
                "SE's cost: step with SE ÷ step without (PyTorch: "
                f"{ratio(row['PyTorch'], plain['PyTorch']):.2f}, channels_last: "
                f"{ratio(last, plain['PyTorch channels_last']):.2f})",
                1.1, 1.05, ratio(row["minise"], plain["minise"]), False,
            )  # fmt: skip
        if title.startswith("se_resnet20 evaluation"):
            measured = ratio(row["PyTorch"], row["minise"])
            yield Target(f"{title}: throughput ÷ PyTorch", 0.7, 1, measured, True)
    for title, row in results.get("ops", {}).get("timings", {}).items():
        rivals = [name for name in row if name not in LIBRARIES]
        if title.startswith("conv 3×3,") and rivals:
            best = min(rivals, key=lambda name: row[name].median)
            measured = ratio(row[best], row["minise"])
            yield Target(f"{title}: times faster than {best}", 5, 10, measured, True)
    if memory := results.get("memory"):
        measured = memory["minise"]["steps"] / memory["PyTorch"]["steps"]
        yield Target("peak memory of training steps ÷ PyTorch", 1.25, 1, measured, False)
    if engine := results.get("engine"):
        measured = ratio(engine["minise"], engine["PyTorch"])
        yield Target("chain of scalar ops: time ÷ PyTorch", 2, 1, measured, False)


def markdown(results: Results) -> str:
    parts = [
        f"# minise beside PyTorch, {results['date']}",
        f"{results['context']}; {results['rounds']} rounds, interleaved. Times are medians; "
        "ratios are medians over the rounds.",
        section("Targets", targets_table(results)),
    ]
    if "steps" in results:
        parts.append(section("Whole networks, ms", timing_table(results["steps"], LIBRARIES)))
    if "ops" in results:
        rows = results["ops"]["timings"]
        names = list(dict.fromkeys(name for row in rows.values() for name in row))
        title = f"Single ops, forward and backward, batch {results['ops']['batch']}, ms"
        parts += [section(title, timing_table(rows, names)), *results["ops"]["missing"]]
        parts.append(f"The other engines work with NumPy's BLAS: {results['ops']['blas']}.")
    if "engine" in results:
        parts.append(section(
            "Chain of 1,000 scalar multiplications and back, ms",
            timing_table({"chain": results["engine"]}, LIBRARIES[:2]),
        ))  # fmt: skip
    if "growth" in results:
        parts.append(section("Cost against work", growth_table(results["growth"])))
    if results.get("memory"):
        parts.append(section("Peak resident memory of training steps", memory_table(results)))
    if "floor" in results:
        parts.append(section("The floor", floor_table(results)))
    if "breakdown" in results:
        parts.append(section("Where a step's time goes", breakdown_table(results["breakdown"])))
    return "\n\n".join(parts) + "\n"


def section(title: str, table: str) -> str:
    return f"## {title}\n\n{table}"


def rows_of(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def targets_table(results: Results) -> str:
    rows = [
        [t.figure, f"{t.must:g}", f"{t.goal:g}", f"{t.measured:.2f}", t.verdict]
        for t in targets(results)
    ]
    return rows_of(["figure", "must", "goal", "measured", "met"], rows)


def timing_table(rows: dict[str, dict[str, Timing]], names: Any) -> str:
    """Medians in ms with quartiles, and how long minise takes for one of PyTorch's seconds."""
    table = []
    torch = [name for name in names if name.startswith("PyTorch")]
    for title, row in rows.items():
        cells = [milliseconds(row[name]) if name in row else "–" for name in names]
        table.append([title, *cells, *(f"{ratio(row['minise'], row[name]):.2f}" for name in torch)])
    ratios = [name.replace("PyTorch c", "c") for name in torch]
    return rows_of(["", *names, *(f"minise ÷ {name}" for name in ratios)], table)


def milliseconds(timing: Timing) -> str:
    low, high = (1e3 * value for value in timing.quartiles)
    return f"{1e3 * timing.median:.1f} ({low:.1f}–{high:.1f})"


def growth_table(growth: Results) -> str:
    """Linear growth is a constant time per multiply-add."""
    rows = []
    for title, row in growth.items():
        macs = row["multiply_adds"]
        times = [row["timings"][name].median for name in LIBRARIES[:2]]
        rows.append(
            [title, f"{macs / 1e9:.2f}", *(f"{1e3 * t:.0f}" for t in times),
             *(f"{1e12 * t / macs:.0f}" for t in times)]
        )  # fmt: skip
    head = ["", "10⁹ multiply-adds, forward", "minise ms", "PyTorch ms",
            "minise ps per multiply-add", "PyTorch ps per multiply-add"]  # fmt: skip
    return rows_of(head, rows)


def memory_table(results: Results) -> str:
    """`before` is the same for all: both libraries imported, both networks built."""
    torch = results["memory"]["PyTorch"]
    rows = [
        [name, *(f"{values[key]:.0f}" for key in ("before", "peak", "steps")),
         f"{values['peak'] / torch['peak']:.2f}", f"{values['steps'] / torch['steps']:.2f}"]
        for name, values in results["memory"].items()
    ]  # fmt: skip
    head = [f"MiB, batch {results['batch']}", "before", "peak", "difference",
            "peak ÷ PyTorch", "difference ÷ PyTorch"]  # fmt: skip
    return rows_of(head, rows)


def floor_table(results: Results) -> str:
    floor = results["floor"]
    rows = [[f"SGEMM {title}", f"{rate:.0f} GFLOP/s"] for title, rate in floor["gflops"].items()]
    rows.append(["copy, bytes read and written", f"{floor['copy_gb_per_s']:.1f} GB/s"])
    if step := results.get("breakdown"):
        work = 3 * 2 * step["multiply_adds"]  # forward, dx and dW
        rates = floor["gflops"]
        at_conv_shapes = statistics.mean(v for k, v in rates.items() if k.startswith("conv"))
        rows += [
            [f"{step['network']} training step, batch {step['batch']}", f"{work / 1e9:.1f} GFLOP"],
            ["… at the best rate", f"{work / max(rates.values()) / 1e6:.0f} ms"],
            ["… at the mean rate of the conv shapes", f"{work / at_conv_shapes / 1e6:.0f} ms"],
            ["bytes, each op reading its inputs and writing its output once",
             f"{step['megabytes']:.0f} MB"],
            ["… at the copy's rate", f"{step['megabytes'] / floor['copy_gb_per_s']:.0f} ms"],
        ]  # fmt: skip
    return rows_of(["", ""], rows)


def breakdown_table(step: Results) -> str:
    """Kinds of op in descending order of their time in both phases."""
    total = sum(row["ms"] for row in step["rows"])
    by_kind: dict[str, dict[str, float]] = {}
    for row in step["rows"]:
        by_kind.setdefault(row["kind"], {})[row["phase"]] = row["ms"]
    rows = [
        [what, *(f"{phases[p]:.1f}" if p in phases else "–" for p in ("forward", "backward")),
         f"{sum(phases.values()):.1f}", f"{100 * sum(phases.values()) / total:.1f} %"]
        for what, phases in sorted(by_kind.items(), key=lambda item: -sum(item[1].values()))
    ]  # fmt: skip
    rows.append(["all", *(
        f"{sum(row['ms'] for row in step['rows'] if row['phase'] == p):.1f}"
        for p in ("forward", "backward")
    ), f"{total:.1f}", "100 %"])  # fmt: skip
    head = [f"{step['network']}, batch {step['batch']}", "forward ms", "backward ms", "both", ""]
    return rows_of(head, rows)
