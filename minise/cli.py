"""The command line: arguments only; every command is one call into a room below."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import io
import os
import sys
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from . import __version__
from .models import create
from .models.options import Choices
from .nn import Module

if TYPE_CHECKING:
    from .models.predict import Predictor


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status.

    0, or 2 for bad arguments or input (with one line on stderr), or 130 after Ctrl-C.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # not every terminal has × or the file's name
        sys.stdout.reconfigure(errors="backslashreplace")
    options = parser().parse_args(arguments)
    try:
        status = options.run(options)
        print(end="", flush=True)  # a closed pipe shows here, not after the end
        return status
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, RuntimeError, OSError, ImportError, MemoryError) as error:
        complain(options.command, error)
        return 2


def complain(command: str, error: BaseException) -> None:
    """One line on stderr, cut short where it lists hundreds of names."""
    print(f"minise {command}: {textwrap.shorten(str(error), 600)}", file=sys.stderr)


def parser() -> argparse.ArgumentParser:
    """The parser of all commands; each puts the function that runs it into `options.run`."""
    top = argparse.ArgumentParser(
        prog="minise", description="Squeeze-and-excitation networks in NumPy and CuPy."
    )
    top.add_argument("--version", action="version", version=f"minise {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add_demo(commands.add_parser("demo", help="train with and without SE, a few minutes"))
    add_train(commands.add_parser("train", help="train a network on pictures"))
    add_eval(commands.add_parser("eval", help="loss and accuracy of a trained network"))
    add_step(commands.add_parser("step", help="a page to step through backprop"))
    add_summary(commands.add_parser("summary", help="shapes, parameters, multiply-adds"))
    add_predict(commands.add_parser("predict", help="the five likeliest classes of images"))
    add_gates(commands.add_parser("gates", help="draw what the gates of a trained network do"))
    add_lessons(commands.add_parser("lessons", help="copy the course, thirteen notebooks"))
    add_doctor(commands.add_parser("doctor", help="what is installed, works, or is missing"))
    return top


def add_model_options(command: argparse.ArgumentParser) -> None:
    """A flag for each of `Choices`; those not given keep their defaults."""
    for choice in dataclasses.fields(Choices):
        flag, words = choice.name.replace("_", "-"), dict(choice.metadata["flag"])
        if choice.default is True:
            flag, words["action"] = f"no-{flag}", "store_false"
        elif choice.default is False:
            words["action"] = "store_true"
        command.add_argument(f"--{flag}", dest=choice.name, default=argparse.SUPPRESS, **words)


def build(options: argparse.Namespace) -> Module:
    """The network that the flags of a command describe."""
    known = {"num_classes", *(choice.name for choice in dataclasses.fields(Choices))}
    choices = {name: value for name, value in vars(options).items() if name in known}
    return create(options.model, **choices)


def add_demo(command: argparse.ArgumentParser) -> None:
    """The arguments of `minise demo`."""
    command.add_argument("--out", metavar="DIR", help="a new folder, default runs/MODEL-DATA-TIME")
    command.set_defaults(run=run_demo)


def run_demo(options: argparse.Namespace) -> int:
    """`minise demo`."""
    from .demo import demo

    demo(options.out)
    return 0


def add_train(command: argparse.ArgumentParser) -> None:
    """The arguments of `minise train`: those not given keep the defaults of `Config`."""
    add = functools.partial(command.add_argument, default=argparse.SUPPRESS)
    add("--model", metavar="NAME", help="a name of minise.models.names(), default se_resnet20")
    add("--data", help="cue-digits (default), cue-digits-tint, cifar10, cifar100 or a FOLDER "
        "with train/CLASS/… and test/CLASS/…, or just CLASS/…")  # fmt: skip
    add("--data-dir", metavar="DIR", help="where CIFAR lies or goes to, default datasets")
    add("--limit", type=int, metavar="N", help="train with N pictures only")
    add("--epochs", type=int, metavar="N", help="default 30")
    add("--batch-size", type=int, metavar="N", help="default 128")
    add("--lr", type=float, help="highest learning rate, default 0.1")
    add("--momentum", type=float, help="Nesterov's, default 0.9")
    add("--weight-decay", type=float, metavar="X", help="default 1e-4")
    add("--schedule", metavar="NAME", help="onecycle (default), cosine, multistep or constant")
    add("--warmup", type=int, metavar="N", help="epochs in which lr grows; onecycle has its own")
    add("--label-smoothing", type=float, metavar="X", help="default 0")
    add("--augment", action=argparse.BooleanOptionalAction,
        help="shift and mirror the pictures; default: yes, but not digits")  # fmt: skip
    add("--cutout", type=int, metavar="SIDE", help="blank a square in each training picture")
    add("--unreadable", metavar="WHAT", help="bad pictures of a FOLDER: skip (default) or refuse")
    add("--seed", type=int, metavar="N", help="default 0")
    add("--backend", help="numpy (default) or cupy")
    add("--tf32", action="store_true", help="on cupy: faster convolutions of rounded numbers")
    add("--compare", action="store_true", help="train the twin without SE too")
    add_model_options(command)
    folder = command.add_mutually_exclusive_group()
    folder.add_argument("--out", metavar="DIR", help="a new folder, default runs/MODEL-DATA-TIME")
    folder.add_argument("--resume", metavar="DIR", help="go on with the run in this folder")
    command.set_defaults(run=run_train)


def run_train(options: argparse.Namespace) -> int:
    """`minise train`."""
    from .launch import start
    from .train import Config

    known = {field.name for field in dataclasses.fields(Config)}
    settings = {name: value for name, value in vars(options).items() if name in known}
    start(settings, out=options.out, resume=options.resume)
    return 0


CHANGES = ("data_dir", "backend")  # settings of a run that may be others when it is looked at


def add_changes(command: argparse.ArgumentParser) -> None:
    """The arguments of commands that look at a run."""
    command.add_argument("--weights", default="best", help="best (default) or last")
    command.add_argument("--data-dir", metavar="DIR", default=argparse.SUPPRESS,
        help="where the pictures are now")  # fmt: skip
    command.add_argument("--backend", default=argparse.SUPPRESS, help="numpy or cupy")


def changes(options: argparse.Namespace) -> dict[str, str]:
    """Those that were given."""
    return {name: value for name, value in vars(options).items() if name in CHANGES}


def add_eval(command: argparse.ArgumentParser) -> None:
    """The arguments of `minise eval`."""
    command.add_argument("folder", metavar="DIR", help="a run folder")
    add_changes(command)
    command.set_defaults(run=run_eval)


def run_eval(options: argparse.Namespace) -> int:
    """`minise eval`."""
    from .train import run_folder

    result = run_folder.evaluate_run(options.folder, options.weights, **changes(options))
    print(f"test loss {result.loss:.4f}, accuracy {result.accuracy:.2%}, "
          f"{len(result.labels):,} pictures")  # fmt: skip
    return 0


def add_step(command: argparse.ArgumentParser) -> None:
    """The arguments of `minise step`."""
    command.add_argument(
        "model", nargs="?", default="se", help="se (one SE block, the default) or a model's name"
    )
    command.add_argument("-o", "--output", metavar="FILE.html", help="default: print it as text")
    command.add_argument("--size", type=int, help="side of a model's images; default: its own")
    command.add_argument("--seed", type=int, help="of the random weights and images")
    command.set_defaults(run=run_step)


def run_step(options: argparse.Namespace) -> int:
    """`minise step`."""
    from .tracing import examples

    trace = examples.trace_example(options.model, size=options.size, seed=options.seed)
    if options.output is None:
        print(trace)
    else:
        trace.save(options.output)
        print(f"{options.output}: open it in a browser")
    return 0


def add_summary(command: argparse.ArgumentParser) -> None:
    """The arguments of `minise summary`."""
    command.add_argument("model", help="a name of minise.models.names()")
    command.add_argument("--size", type=int, help="side of the image; default: the model's own")
    command.add_argument("--num-classes", type=int, metavar="N")
    add_model_options(command)
    command.set_defaults(run=run_summary)


def run_summary(options: argparse.Namespace) -> int:
    """`minise summary`."""
    from . import models

    net = build(options)
    size = net.image_size if options.size is None else options.size
    print(models.summary(net, (3, size, size)))
    return 0


def add_predict(command: argparse.ArgumentParser) -> None:
    """The arguments of `minise predict`."""
    command.add_argument("weights", metavar="DIR|WEIGHTS",
        help="a run folder, or a safetensors file (.pth only where PyTorch is)")  # fmt: skip
    command.add_argument("images", nargs="+", metavar="IMAGE")
    command.add_argument("--model", help="needed for weights that minise did not write")
    command.add_argument("--source", default="minise", help="minise, timm or cadene")
    command.add_argument("--labels", metavar="FILE", help="one class name a line")
    command.add_argument("--backend", default="numpy", help="numpy or cupy")
    command.add_argument("--num-classes", type=int, metavar="N")
    add_model_options(command)
    command.set_defaults(run=run_predict)


def run_predict(options: argparse.Namespace) -> int:
    """`minise predict`; 2 where a picture could not be read."""
    from .models.predict import Predictor
    from .train import run_folder

    path = run_folder.weights_file(options.weights)
    net = build(options) if options.model else None
    predictor = Predictor(
        path, net, source=options.source, labels=options.labels, backend=options.backend
    )
    answers = [show(predictor, image) for image in options.images]
    return 0 if all(answers) else 2


def show(predictor: Predictor, image: str) -> bool:
    """Print one answer; a picture that cannot be read must not cost the others theirs."""
    try:
        table = predictor.table(image)
    except (ValueError, OSError) as error:
        complain("predict", error)
        return False
    print(f"{image}\n{table}")
    return True


def add_gates(command: argparse.ArgumentParser) -> None:
    """The arguments of `minise gates`."""
    command.add_argument("folder", metavar="DIR", help="a run folder")
    command.add_argument("-o", "--out", required=True, metavar="FILE", help="a png, svg or pdf")
    add_changes(command)
    command.set_defaults(run=run_gates)


def run_gates(options: argparse.Namespace) -> int:
    """`minise gates`."""
    from .report import gates

    gates.draw(options.folder, options.out, options.weights, **changes(options))
    print(options.out)
    return 0


def add_lessons(command: argparse.ArgumentParser) -> None:
    """minise lessons"""
    command.add_argument("folder", nargs="?", default="minise-lessons", metavar="DIR",
        help="a new folder, default minise-lessons")  # fmt: skip
    command.set_defaults(run=run_lessons)


def run_lessons(options: argparse.Namespace) -> int:
    """Put the course into a folder."""
    from . import course

    print(course.deliver(options.folder))
    return 0


def add_doctor(command: argparse.ArgumentParser) -> None:
    """`minise doctor` has no arguments."""
    command.set_defaults(run=run_doctor)


def run_doctor(options: argparse.Namespace) -> int:
    """`minise doctor`."""
    from . import doctor

    for finding in doctor.examine():
        print(f"{finding.subject:<14} {finding.state}")
        if finding.remedy:
            print(f"{'':<14} → {finding.remedy}")
    return 0
