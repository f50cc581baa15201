"""Training: the loop over epochs and batches, and what it leaves in the run folder.

config.json           the settings
metrics.jsonl         one object per epoch: see `Run.finish_epoch`
state.safetensors     the state to go on from (see checkpoint.py)
last.safetensors      the weights after the last whole epoch
best.safetensors      those of the epoch with the highest test accuracy
plain/                with `compare`: the same for the network without SE
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy
from tqdm import tqdm

from .. import backend, files
from ..autograd import Array
from ..backend.gpu.memory import naming_memory
from ..data import DataLoader
from ..models import create
from ..models.weights import save_weights
from ..optim import SGD
from . import checkpoint, datasets, out_of_memory, schedule
from .captured import capture_if_possible
from .config import Config
from .evaluate import evaluate
from .interrupt import Interrupt
from .step import TrainingStep

PLAIN = "plain"  # folder of the twin without SE, inside the run folder
METRICS = "metrics.jsonl"

SAVE_EVERY = 300.0  # seconds between checkpoints in the middle of an epoch
READ_EVERY = 0.5  # seconds between looks at the loss: on a GPU each look waits for the device


class DivergedError(RuntimeError):
    """The loss or the weights have become infinite or NaN."""


def train(
    config: Config, out: str | os.PathLike[str], resume: bool = False, progress: bool = True
) -> Path:
    """Train as `config` says, into the folder `out`; returns it.

    resume    go on with the run in `out` where it was cut off; its end is then the same, bit by
              bit. Settings must be those of that run; only the data may have moved.
    progress  print a line per epoch and, on a terminal, draw a bar

    The first Ctrl-C (or SIGTERM) saves after the current step and raises KeyboardInterrupt.

    Raises ValueError or OSError, before anything is written, for data that is missing or damaged,
    for an `out` that is in use, and for settings that differ from those of the run to resume, and
    RuntimeError for a backend that does not work here, or that has no TF32 where it is asked for;
    OSError where a file cannot be written and DivergedError where the loss is no longer a finite
    number. The last checkpoint is unharmed in all cases.
    """
    out = Path(out)
    if resume:
        check_same(Config.load(out), config)
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} exists and is not empty; --resume goes on with a run")
    home = backend.get(config.backend)  # before data are fetched that nobody can use
    if config.tf32:
        home.check_tf32()
    data = datasets.load(config)
    for message in data.skipped if progress else ():
        print(f"left out: {message}")

    configs = {out: config}
    if config.compare:
        plain = config.model.removeprefix("se_")
        configs[out / PLAIN] = replace(config, model=plain, compare=False)
    with Interrupt() as interrupt:
        runs = []
        for folder, settings in configs.items():
            run = Run(settings, data, folder, interrupt, progress)
            folder.mkdir(parents=True, exist_ok=True)
            files.remove_leftovers(folder)
            settings.save(folder)
            run.resume()
            run.finish()
            runs.append(run)
    if progress:
        for run in runs:
            print(run.result())
    return out


def check_same(old: Config, new: Config) -> None:
    """ValueError, naming the setting, unless `new` continues a run that was started with `old`."""
    before, now = asdict(old), asdict(new)
    for name, value in now.items():
        if value != before[name] and name != "data_dir":
            raise ValueError(
                f"{name}: the run to resume has {before[name]!r}, got {value!r}; "
                "start a new run for other settings"
            )


class Run:
    """One network in training."""

    def __init__(
        self, config: Config, data: datasets.Data, folder: Path, interrupt: Interrupt,
        progress: bool,
    ) -> None:  # fmt: skip
        self.config, self.data, self.folder = config, data, folder
        self.interrupt, self.progress = interrupt, progress
        backend.random.manual_seed(config.seed)
        model = create(num_classes=data.num_classes, **config.model_options)
        with naming_memory(backend.get(config.backend), "the network"):
            self.model = model.to(config.backend)
        self.optimizer = SGD(
            self.model.parameters(), config.lr, config.momentum,
            weight_decay=config.weight_decay, nesterov=config.momentum > 0,
        )  # fmt: skip
        self.loader = DataLoader(
            data.train, config.batch_size, shuffle=True, transform=data.transform, seed=config.seed
        )
        self.schedule = schedule.scheduler_for(config, self.optimizer, len(self.loader))
        step = TrainingStep(self.model, self.optimizer, data.num_classes, config.label_smoothing)
        self.run_step = out_of_memory.guarded(step, capture_if_possible(step, self.say))
        self.position = checkpoint.Position()
        self.saved = "no checkpoint was written yet"

        self.unread: list[tuple[int, int, float, tuple[Array, Array]]] = []  # see `read_losses`
        self.read_at = self.saved_at = time.perf_counter()

    def resume(self) -> None:
        """Go on from the checkpoint in the folder, if there is one."""
        for stray in self.folder.glob(".*.part"):  # of a run that was killed while writing
            stray.unlink()
        found = checkpoint.load(self.folder, self.model, self.optimizer, self.schedule)
        if found is not None:
            self.position = found
            self.note_saved()
            if found.step == 0:
                self.publish()

    def finish(self) -> None:
        """Train the epochs that are left."""
        config, total = self.config, len(self.data.train)
        if self.progress:
            print(self.headline(), flush=True)
        # Overflow is no reason for a warning of NumPy's: the loss will tell.
        quiet = numpy.errstate(over="ignore", invalid="ignore", divide="ignore")
        with quiet, tqdm(
            total=config.epochs * total,
            initial=min(total, self.position.step * config.batch_size)
            + self.position.epoch * total,
            unit=" images", unit_scale=True, dynamic_ncols=True, smoothing=0.05,
            disable=None if self.progress else True,  # None: draw on a terminal only
        ) as self.bar:  # fmt: skip
            while self.position.epoch < config.epochs:
                with backend.tf32() if config.tf32 else nullcontext():
                    self.train_epoch()
                self.finish_epoch()

    def headline(self) -> str:
        """The line before the first epoch: what is trained on what."""
        data, config = self.data, self.config
        parameters = sum(parameter.size for parameter in self.model.parameters())
        return (
            f"{config.model}: {parameters:,} parameters; {len(data.train):,} pictures to train, "
            f"{len(data.test):,} to test; {self.position.epoch} of {config.epochs} epochs done; "
            f"{self.folder}"
        )

    def train_epoch(self) -> None:
        """The steps of this epoch that are left."""
        self.model.train()
        self.loader.set_epoch(self.position.epoch, self.position.step)
        self.read_at = time.perf_counter()
        for images, labels in self.loader:
            lr = self.optimizer.param_groups[0]["lr"]
            result = self.step(images, labels)
            self.schedule.step()
            self.position.step += 1
            self.unread.append((self.position.step, len(labels), lr, result))
            if time.perf_counter() - self.read_at > READ_EVERY:
                self.read_losses()
            self.pause_or_save()
        self.read_losses()

    def step(self, images: numpy.ndarray, labels: numpy.ndarray) -> tuple[Array, Array]:
        """One update of the weights; mean loss and number of hits, as arrays of the device."""
        return self.run_step(images, labels)

    def say(self, line: str) -> None:
        """Print a line without breaking the bar, if progress is shown."""
        if self.progress:
            self.bar.write(line)

    def read_losses(self) -> None:
        """Add up the losses and hits of the steps since the last look, in the order of the steps.

        Raises DivergedError for the first of them whose loss is not finite.
        """
        if not self.unread:
            return
        position = self.position
        home = backend.get(self.config.backend)
        # All of them at once: the program waits for the device once.
        losses, hits = (
            home.to_numpy(home.xp.stack(arrays)).tolist()
            for arrays in zip(*(values for *_, values in self.unread))
        )
        for (step, count, lr, _), loss, correct in zip(self.unread, losses, hits):
            if not math.isfinite(loss):
                raise self.diverged(f"loss is {loss} at step {step} (lr {lr:.4g})")
            position.loss += loss * count
            position.correct += correct
            position.lr = lr
            self.bar.update(count)
        self.unread.clear()
        now = time.perf_counter()
        position.seconds += now - self.read_at
        self.read_at = now

        seen = min(len(self.data.train), position.step * self.config.batch_size)
        self.bar.set_description(
            f"{self.config.model} {position.epoch + 1}/{self.config.epochs} "
            f"loss {position.loss / seen:.3f} accuracy {position.correct / seen:.1%}",
            refresh=False,
        )

    def finish_epoch(self) -> None:
        """Test, save, and start on the next epoch.

        metrics.jsonl gets: epoch (from 1); train_loss and train_accuracy, mean over the epoch,
        while the weights were moving; test_loss and test_accuracy after it; lr of its last step;
        seconds, with the test; images_per_second in training.
        """
        position, started = self.position, time.perf_counter()
        result = evaluate(
            self.model, self.data.test, self.data.test_transform, after_batch=self.pause_or_save
        )
        if not math.isfinite(result.loss):
            raise self.diverged(f"test loss is {result.loss} after its last step")
        count = len(self.data.train)
        metrics = {
            "epoch": position.epoch + 1,
            "train_loss": position.loss / count,
            "train_accuracy": position.correct / count,
            "test_loss": result.loss,
            "test_accuracy": result.accuracy,
            "lr": position.lr,
            "seconds": round(position.seconds + time.perf_counter() - started, 3),
            "images_per_second": round(count / position.seconds, 1),
        }
        self.position = checkpoint.Position(
            epoch=position.epoch + 1, history=[*position.history, metrics]
        )
        self.save()
        self.publish()
        if self.progress:
            self.bar.write(describe(metrics, self.config.epochs))
            sys.stdout.flush()

    def pause_or_save(self) -> None:
        """Between two batches: save and stop if Ctrl-C was pressed, save if it is time to."""
        if self.interrupt.requested:
            self.save()
            if self.progress:
                self.bar.write(f"stopped; {self.saved}; --resume goes on from there")
            raise KeyboardInterrupt
        if time.perf_counter() - self.saved_at > SAVE_EVERY:
            self.save()

    def save(self) -> None:
        """Write the state file. Raises as `checkpoint.save`, and as `read_losses`."""
        self.read_losses()
        try:
            checkpoint.save(self.folder, self.position, self.model, self.optimizer, self.schedule)
        except checkpoint.NotFiniteError as error:
            raise self.diverged(f"no longer finite: {error}") from None
        self.note_saved()

    def note_saved(self) -> None:
        """Remember when and where the last checkpoint was written."""
        self.saved_at = time.perf_counter()
        epoch, step = self.position.epoch, self.position.step
        place = f"step {step} of epoch {epoch + 1}" if step else f"the end of epoch {epoch}"
        self.saved = f"the last checkpoint is {self.folder / checkpoint.FILE}, {place}"

    def publish(self) -> None:
        """Write what follows from the checkpoint at the end of an epoch."""
        history = self.position.history
        notes = {"classes": self.data.classes, "mean": self.data.mean, "std": self.data.std}
        save_weights(self.model, self.folder / "last.safetensors", **notes)
        if self.position.best_epoch() == self.position.epoch:
            save_weights(self.model, self.folder / "best.safetensors", **notes)
        lines = "".join(json.dumps(metrics) + "\n" for metrics in history)
        files.write(self.folder / METRICS, lines)

    def diverged(self, what: str) -> DivergedError:
        """The error to raise; it says where to go on from."""
        return DivergedError(
            f"training diverged in epoch {self.position.epoch + 1}: {what}; "
            f"try a lower lr; {self.saved}"
        )

    def result(self) -> str:
        """The line after the last epoch."""
        best = self.position.history[self.position.best_epoch() - 1]
        last = self.position.history[-1]
        minutes = sum(metrics["seconds"] for metrics in self.position.history) / 60
        return (
            f"{self.config.model}: test accuracy {last['test_accuracy']:.2%}, "
            f"best {best['test_accuracy']:.2%} (epoch {best['epoch']}); "
            f"all epochs together took {minutes:.1f} minutes"
        )


def describe(metrics: dict[str, Any], epochs: int) -> str:
    """The line that is printed for an epoch."""
    return (
        f"epoch {metrics['epoch']:>3}/{epochs}  "
        f"train loss {metrics['train_loss']:.4f} accuracy {metrics['train_accuracy']:6.2%}  "
        f"test loss {metrics['test_loss']:.4f} accuracy {metrics['test_accuracy']:6.2%}  "
        f"lr {metrics['lr']:.4f}  {metrics['images_per_second']:,.0f} images/s  "
        f"{metrics['seconds']:.0f} s"
    )
