"""Training steps on one GPU: minise op by op and captured, PyTorch eager and compiled.

Every step takes its batch from the host, trains on it and counts the hits. PyTorch gets batches
that lie in page-locked memory already; minise copies them there itself.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy
import torch
import torch.nn.functional as T
from gpu_report import Case
from interleave import Timing, contest
from steps import SGD, inputs
from torch_nets import twin

from minise import backend, data, models, optim
from minise.data import transforms
from minise.train.captured import WARM_UP, CapturedStep
from minise.train.evaluate import evaluate
from minise.train.step import TrainingStep

Run = Callable[[], Any]  # one step; returns the loss, an array of the device

MINISE = ("minise op by op", "minise captured")
PYTORCH = ("PyTorch", "PyTorch channels_last", "torch.compile")


def minise_step(net: Any, batch: int, place: str, captured: bool, notes: list[str]) -> Run:
    images, labels = inputs(net, batch)
    net.to(place)
    step: Any = TrainingStep(net, optim.SGD(net.parameters(), **SGD), net.config["num_classes"])
    if captured:
        step = CapturedStep(step, notes.append)
    return lambda: step(images, labels)[0]


def torch_step(net: Any, batch: int, device: str, channels_last: bool, compiled: bool) -> Run:
    """Of the twin of minise's `net`."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    images, labels = (torch.from_numpy(array) for array in inputs(net, batch))
    images = images.contiguous(memory_format=layout)
    if device == "cuda":
        images, labels = images.pin_memory(), labels.pin_memory()
    module = twin(net).to(device=device, memory_format=layout).train()
    sgd = torch.optim.SGD(module.parameters(), **SGD)
    if compiled:
        # Or a network that was met before with another batch gets kernels for any batch, which are
        # slower, and after eight of them none at all.
        torch.compiler.reset()
    forward = torch.compile(module) if compiled else module

    def run() -> Any:
        x, target = (tensor.to(device, non_blocking=True) for tensor in (images, labels))
        logits = forward(x)
        loss = T.cross_entropy(logits, target)
        sgd.zero_grad()
        loss.backward()
        sgd.step()
        (logits.argmax(1) == target).sum()
        return loss.detach()

    return run


def build(contestant: str, net: Any, batch: int, place: str, device: str, notes: list[str]) -> Run:
    """A step of that contestant, with the weights of `net`."""
    if contestant in MINISE:
        own = models.create(**net.config)
        own.load_state_dict(net.state_dict())
        return minise_step(own, batch, place, contestant == "minise captured", notes)
    compiled = contestant == "torch.compile"
    return torch_step(net, batch, device, contestant.endswith("channels_last"), compiled)


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Convolutions and matrix products round their inputs to 10 bits, or do not: on both sides."""
    settings = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [setting.allow_tf32 for setting in settings]
    for setting in settings:
        setting.allow_tf32 = allowed
    try:
        with backend.tf32() if allowed else nullcontext():
            yield
    finally:
        for setting, value in zip(settings, before):
            setting.allow_tf32 = value


def synchronize(device: str) -> None:
    backend.synchronize()
    if device == "cuda":
        torch.cuda.synchronize()


def measure(
    case: Case, rounds: int, calls: int, place: str = "cupy", device: str = "cuda",
    only: tuple[str, ...] = MINISE + PYTORCH,
) -> dict[str, Any]:  # fmt: skip
    """Seconds per step by contestant, in turns, with or without TF32 as `case` says.

    A turn is `calls` steps and then waiting for the GPU, so that only the last one is waited for.
    A contestant that fails, or computes something else than the others, is left out, and `notes`
    say why.
    """
    notes: list[str] = []
    steps, losses = {}, {}
    net = models.create(case.network)
    with tf32(case.tf32):
        for name in only:
            try:
                step = build(name, net, case.batch, place, device, notes)
                first = float(step())
                for _ in range(WARM_UP):  # compiles; the last of them is recorded and replayed
                    step()
                losses[name] = first, float(step())
                synchronize(device)
            except (RuntimeError, MemoryError) as error:
                notes.append(f"{name} failed: {' '.join(str(error).split())[:200]}")
            else:
                steps[name] = step
        for name, note in disagreements(case, losses).items():
            notes.append(note)
            del steps[name]
        turns = {name: turn(step, calls, device) for name, step in steps.items()}
        timings = contest(turns, rounds, warm_up=False)  # a turn is many steps already
    return {
        "timings": {n: Timing([s / calls for s in t.seconds]) for n, t in timings.items()},
        "losses": losses, "notes": notes,
    }  # fmt: skip


def turn(step: Run, calls: int, device: str) -> Run:
    def run() -> None:
        for _ in range(calls):
            step()
        synchronize(device)

    return run


def disagreements(case: Case, losses: dict[str, tuple[float, float]]) -> dict[str, str]:
    """Who computes something else than most, from the same weights and batch; what to say of it.

    losses  by contestant, of the first step, which a captured one still asks for op by op, and of
            the first that is sure to be a replay, the fifth

    By then rounding has been amplified by four updates. On the CPU two orders of summation set
    ResNet-20's fifth losses apart by 1e-4 of their size, operands rounded to TF32 by 3e-4; a
    replay that forgets one update is off by 2e-2 to 5e-2 (batch 32, the learning rate of `SGD`).
    """
    tolerances = (1e-2, 1e-2) if case.tf32 else (1e-3, 5e-3)
    found: dict[str, str] = {}
    for at, (which, tolerance) in enumerate(zip(("first", f"{WARM_UP + 2}th"), tolerances)):
        all_of_them = [pair[at] for pair in losses.values() if math.isfinite(pair[at])]
        middle = statistics.median(all_of_them or [math.nan])
        for name, pair in losses.items():
            if not math.isclose(pair[at], middle, rel_tol=tolerance) and name not in found:
                found[name] = (
                    f"{name} is left out: its {which} loss is {pair[at]:.6g}, that of others "
                    f"{middle:.6g}"
                )
    return found


def memory(case: Case, contestant: str, used: Callable[[], int], place: str, device: str) -> int:
    """Bytes of the GPU that five steps need, all that the library keeps in reserve included.

    `used` says how many are taken from the GPU. Run this in a process of its own.
    """
    net = models.create(case.network)
    torch.zeros(1, device=device)  # what a library needs once is there before
    backend.get(place).xp.zeros(1).sum()
    synchronize(device)
    before = used()
    with tf32(case.tf32):
        step = build(contestant, net, case.batch, place, device, [])
        for _ in range(5):
            step()
    synchronize(device)
    return used() - before


def rates(device: str, size: int = 8192, rounds: int = 9) -> dict[str, float]:
    """What the GPU can do: FLOP/s of a large product in float32 and in TF32, bytes/s of a copy."""
    a, b = (torch.rand(size, size, device=device) for _ in range(2))
    found = {}
    for name, allowed in (("float32", False), ("TF32", True)):
        with tf32(allowed):
            found[name] = 2 * size**3 / best_of(lambda: torch.mm(a, b), device, rounds)
    out = torch.empty_like(a)
    found["copy"] = 2 * a.nbytes / best_of(lambda: out.copy_(a), device, rounds)
    return found


def best_of(run: Run, device: str, rounds: int, calls: int = 10) -> float:
    """Shortest seconds per call: a floor must not be too high."""
    run_turn, seconds = turn(run, calls, device), []
    for _ in range(rounds):
        start = time.perf_counter()
        run_turn()
        seconds.append((time.perf_counter() - start) / calls)
    return min(seconds)


def epoch(network: str, batch: int, place: str, pictures: int = 50_000) -> dict[str, float]:
    """Seconds of an epoch over random pictures of CIFAR-10's size, of its loader alone, of a test.

    The loader's are what the host needs to shuffle, crop, mirror and normalise. The test is that of
    a training run after every epoch, with a fifth as many pictures.
    """
    random = numpy.random.RandomState(0)
    images = random.randint(0, 256, (pictures, 3, 32, 32)).astype(numpy.uint8)
    dataset = data.Dataset(images, random.randint(0, 10, pictures), [str(i) for i in range(10)])
    normalize = transforms.Normalize([0.5] * 3, [0.25] * 3)
    transform = transforms.Compose([
        transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip(), normalize,
    ])  # fmt: skip
    loader = data.DataLoader(dataset, batch, shuffle=True, transform=transform)
    net = models.create(network).to(place)
    step: Any = TrainingStep(net, optim.SGD(net.parameters(), **SGD), 10)
    if step.home.recorder is not None:
        step = CapturedStep(step)
    found = {}
    for title, work in (("loader alone", lambda *arrays: None), ("epoch", step)):
        for images, labels in (batch for batch, _ in zip(loader, range(5))):
            work(images, labels)
        backend.synchronize()
        start = time.perf_counter()
        for images, labels in loader:
            work(images, labels)
        backend.synchronize()
        found[title] = time.perf_counter() - start
    tests = dataset.take(pictures // 5)
    evaluate(net, tests, normalize)  # compiles
    start = time.perf_counter()
    evaluate(net, tests, normalize)
    found["test"] = time.perf_counter() - start
    return found
