"""The command line: arguments only; every command is one call into a room below."""

from __future__ import annotations

import argparse
import io
import os
import sys
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from . import __version__
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
    top = argparse.ArgumentParser(
        prog="minise", description="Squeeze-and-excitation networks in NumPy and CuPy."
    )
    top.add_argument("--version", action="version", version=f"minise {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add_demo(commands.add_parser("demo", help="step backward through an SE block"))
    add_step(commands.add_parser("step", help="a page to step through backprop"))
    add_summary(commands.add_parser("summary", help="shapes, parameters, multiply-adds"))
    add_predict(commands.add_parser("predict", help="the five likeliest classes of images"))
    add_doctor(commands.add_parser("doctor", help="what is installed, works, or is missing"))
    return top


def add_model_options(command: argparse.ArgumentParser) -> None:
    """The choices of `models.create`."""
    command.add_argument("--num-classes", type=int, metavar="N")
    command.add_argument("--reduction", type=int, default=16, metavar="R", help="default 16")
    command.add_argument("--no-se-bias", action="store_true", help="SE without biases")
    command.add_argument("--se-width", default="paper", metavar="RULE", help="paper or timm")
    command.add_argument("--placement", default="standard", help="where SE sits in a block")
    command.add_argument("--shortcut", default="B", help="B (projection) or A (zero padding)")
    command.add_argument("--variant", default="torch", help="torch or caffe")


def build(options: argparse.Namespace) -> Module:
    from . import models

    return models.create(
        options.model,
        num_classes=options.num_classes,
        reduction=options.reduction,
        se_bias=not options.no_se_bias,
        se_width=options.se_width,
        placement=options.placement,
        shortcut=options.shortcut,
        variant=options.variant,
    )


def add_demo(command: argparse.ArgumentParser) -> None:
    command.set_defaults(run=run_demo)


def run_demo(options: argparse.Namespace) -> int:
    from .inspect.walk import walk

    print(walk())
    return 0


def add_step(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "model", nargs="?", default="se", help="se (one SE block, the default) or a model's name"
    )
    command.add_argument("-o", "--output", metavar="FILE.html", help="default: print it as text")
    command.add_argument("--size", type=int, help="side of a model's images; default: its own")
    command.add_argument("--seed", type=int, help="of the random weights and images")
    command.set_defaults(run=run_step)


def run_step(options: argparse.Namespace) -> int:
    from .inspect import examples

    trace = examples.create(options.model, size=options.size, seed=options.seed)
    if options.output is None:
        print(trace)
    else:
        trace.save(options.output)
        print(f"{options.output}: open it in a browser")
    return 0


def add_summary(command: argparse.ArgumentParser) -> None:
    command.add_argument("model", help="a name of minise.models.names()")
    command.add_argument("--size", type=int, help="side of the image; default: the model's own")
    add_model_options(command)
    command.set_defaults(run=run_summary)


def run_summary(options: argparse.Namespace) -> int:
    from . import models

    net = build(options)
    size = net.image_size if options.size is None else options.size
    print(models.summary(net, (3, size, size)))
    return 0


def add_predict(command: argparse.ArgumentParser) -> None:
    command.add_argument("weights", help="a safetensors file (.pth only where PyTorch is)")
    command.add_argument("images", nargs="+", metavar="IMAGE")
    command.add_argument("--model", help="needed for weights that minise did not write")
    command.add_argument("--source", default="minise", help="minise, timm or cadene")
    command.add_argument("--labels", metavar="FILE", help="one class name a line")
    command.add_argument("--backend", default="numpy", help="numpy or cupy")
    add_model_options(command)
    command.set_defaults(run=run_predict)


def run_predict(options: argparse.Namespace) -> int:
    from .models.predict import Predictor

    net = build(options) if options.model else None
    predictor = Predictor(
        options.weights, net, source=options.source, labels=options.labels, backend=options.backend
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


def add_doctor(command: argparse.ArgumentParser) -> None:
    command.set_defaults(run=run_doctor)


def run_doctor(options: argparse.Namespace) -> int:
    from .backend import doctor

    for finding in doctor.examine():
        print(f"{finding.subject:<14} {finding.state}")
        if finding.remedy:
            print(f"{'':<14} → {finding.remedy}")
    return 0
