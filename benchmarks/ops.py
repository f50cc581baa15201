"""Single operations, forward and backward: minise, PyTorch in both layouts, and the peers.

Everyone computes the gradients of all inputs from the same gradient of the output; that they agree
is checked before anything is timed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy
import peers
import torch
import torch.nn.functional as T
from context import blas
from interleave import contest
from peers import Array, Contestant

from minise import Tensor, nn
from minise import functional as F

TOLERANCE = 1e-2  # of the largest value: float32, and a ReLU at its kink may turn either way


class Op(NamedTuple):
    """An operation, written for each library; peers are asked by the name of the method."""

    title: str
    arrays: tuple[Array, ...]  # the inputs that get gradients; images first
    ours: Callable[..., Any]
    theirs: Callable[..., Any]
    peer: Callable[[Any, tuple[Array, ...], Array], Contestant | None] = lambda *_: None


def operations(batch: int) -> list[Op]:
    return [
        convolution(16, 16, 32, 3, 1, batch),
        convolution(32, 32, 16, 3, 1, batch),
        convolution(64, 64, 8, 3, 1, batch),
        convolution(16, 32, 32, 3, 2, batch),
        convolution(16, 32, 32, 1, 2, batch),
        convolution(64, 64, 16, 1, 1, batch),
        *(batch_norm(channels, size, batch) for channels, size in ((16, 32), (64, 8))),
        batch_norm_relu(16, 32, batch),
        max_pool(16, 32, batch),
        *(se_block(channels, size, batch) for channels, size in ((16, 32), (64, 8))),
    ]


def convolution(
    channels: int, out_channels: int, size: int, kernel: int, stride: int, batch: int
) -> Op:
    padding = kernel // 2
    x = normal(batch, channels, size, size)
    w = normal(out_channels, channels, kernel, kernel) / numpy.float32(kernel * channels**0.5)
    options = {"stride": stride, "padding": padding}
    return Op(
        f"conv {kernel}×{kernel}{f'/{stride}' * (stride > 1)}, "
        f"{channels}{f' → {out_channels}' * (channels != out_channels)} ch, {size}×{size}",
        (x, w),
        lambda x, w: F.conv2d(x, w, **options),
        lambda x, w: T.conv2d(x, w, **options),
        lambda library, arrays, grad: library.conv2d(*arrays, grad, **options),
    )


def batch_norm(channels: int, size: int, batch: int) -> Op:
    arrays = (normal(batch, channels, size, size), normal(channels), normal(channels))
    return Op(
        f"BatchNorm, {channels} ch, {size}×{size}",
        arrays,
        lambda x, gamma, beta: F.batch_norm(x, None, None, gamma, beta, training=True),
        lambda x, gamma, beta: T.batch_norm(x, None, None, gamma, beta, training=True),
        lambda library, arrays, grad: library.batch_norm(*arrays, grad),
    )


def batch_norm_relu(channels: int, size: int, batch: int) -> Op:
    arrays = (normal(batch, channels, size, size), normal(channels), normal(channels))
    return Op(
        f"BatchNorm + ReLU, {channels} ch, {size}×{size}",
        arrays,
        lambda x, gamma, beta: F.batch_norm_relu(x, None, None, gamma, beta, training=True),
        lambda x, gamma, beta: T.relu(T.batch_norm(x, None, None, gamma, beta, training=True)),
    )


def max_pool(channels: int, size: int, batch: int) -> Op:
    return Op(
        f"max pool 2×2, {channels} ch, {size}×{size}",
        (normal(batch, channels, size, size),),
        lambda x: F.max_pool2d(x, 2),
        lambda x: T.max_pool2d(x, 2),
        lambda library, arrays, grad: library.max_pool(*arrays, grad),
    )


def se_block(channels: int, size: int, batch: int) -> Op:
    """With its weights as inputs, so that their gradients are compared too."""
    block = nn.SEBlock(channels)
    weights = tuple(p.numpy().copy() for p in block.parameters())

    def ours(u: Any, *weights: Any) -> Any:
        w1, b1, w2, b2 = weights
        z = F.adaptive_avg_pool2d(u, 1).flatten(1)
        s = F.sigmoid(F.linear(F.relu(F.linear(z, w1, b1)), w2, b2))
        return u * s.reshape(*s.shape, 1, 1)

    def theirs(u: Any, *weights: Any) -> Any:
        w1, b1, w2, b2 = weights
        s = torch.sigmoid(T.linear(torch.relu(T.linear(u.mean((2, 3)), w1, b1)), w2, b2))
        return u * s[:, :, None, None]

    arrays = (normal(batch, channels, size, size), *weights)
    return Op(f"SE block, {channels} ch, {size}×{size}", arrays, ours, theirs)


def normal(*shape: int, seed: int = 0) -> Array:
    return numpy.random.RandomState(seed).standard_normal(shape).astype(numpy.float32)


def measure(rounds: int, batch: int) -> dict[str, Any]:
    """Timings by op and library, and which peers were missing."""
    libraries, missing = peers.installed()
    for line in missing:
        print(line)
    rows = {}
    for op in operations(batch):
        contestants = entrants(op, libraries)
        check(op, contestants)
        rows[op.title] = contest(contestants, rounds)
        print_row(op.title, rows[op.title])
    # Asked after minise has worked: the peers must have found BLAS with all its threads.
    return {"batch": batch, "missing": missing, "blas": blas(), "timings": rows}


def entrants(op: Op, libraries: dict[str, Any]) -> dict[str, Contestant]:
    """Everyone who has this op, with arrays in the memory order that they like best."""
    images, *weights = op.arrays
    shape = op.theirs(*map(torch.from_numpy, op.arrays)).shape
    grad = normal(*shape, seed=1)

    our_arrays, our_grad = [in_channels_last(images), *weights], Tensor(in_channels_last(grad))

    def minise_run() -> Any:
        inputs = [Tensor(array, requires_grad=True) for array in our_arrays]
        y = op.ours(*inputs)
        y.backward(our_grad)
        return (y.data, *(x.grad.data for x in inputs))

    def torch_run(layout: torch.memory_format) -> Contestant:
        def laid_out(array: Array) -> torch.Tensor:
            tensor = torch.tensor(array)
            return tensor.contiguous(memory_format=layout) if array.ndim == 4 else tensor

        tensors = [laid_out(array).requires_grad_() for array in op.arrays]
        upstream = laid_out(grad)

        def run() -> Any:
            y = op.theirs(*tensors)
            return (y, *torch.autograd.grad(y, tensors, upstream))

        return run

    contestants = {
        "minise": minise_run,
        "PyTorch": torch_run(torch.contiguous_format),
        "PyTorch channels_last": torch_run(torch.channels_last),
    }
    for name, library in libraries.items():
        try:
            run = op.peer(library, op.arrays, grad)
        except AttributeError:  # it has no such op
            run = None
        if run is not None:
            contestants[name] = run
    return contestants


def in_channels_last(x: Array) -> Array:
    """(N, C, H, W) as before, in the memory order N, H, W, C: as it is inside a network."""
    return peers.channels_first(peers.channels_last(x))


def check(op: Op, contestants: dict[str, Contestant]) -> None:
    """Raise ValueError if somebody's output or a gradient is not PyTorch's."""
    expected = [numpy.asarray(part.detach()) for part in contestants["PyTorch"]()]
    for name, run in contestants.items():
        results = [part.detach() if torch.is_tensor(part) else part for part in run()]
        for index, (result, wanted) in enumerate(zip(results, expected, strict=True)):
            errors = numpy.abs(numpy.asarray(result) - wanted) / numpy.abs(wanted).max()
            # All but one in a thousand, for the same reason.
            error = numpy.quantile(errors, 0.999)
            if not error <= TOLERANCE:
                raise ValueError(f"{op.title}: {name}'s result {index} is off by {error:.1e}")


def print_row(title: str, timings: dict[str, Any]) -> None:
    print(f"{title:<36}", *(f"{name} {t.median * 1e3:.1f}" for name, t in timings.items()),
          sep="   ", flush=True)  # fmt: skip
