"""The convolution, BatchNorm and pooling of other from-scratch engines that pip can install.

Each is given its inputs as it likes them best (SmallPebble: channels last) and computes the
gradients of all of them. What a peer does not have is left out.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any
from unittest import mock

import numpy

Array = numpy.ndarray
Contestant = Callable[[], Any]  # one forward and backward: (output, gradient of each input)


class MyGrad:
    module = "mygrad.nnet"

    def __init__(self, module: ModuleType) -> None:
        import mygrad

        mygrad.turn_memory_guarding_off()  # its guard against writing costs time
        self.mygrad, self.nnet = mygrad, module

    def run(self, op: Callable[..., Any], arrays: tuple[Array, ...], grad: Array) -> Contestant:
        def run() -> Any:
            inputs = [self.mygrad.tensor(array, copy=False) for array in arrays]
            y = op(*inputs)
            y.backward(grad)
            return (y.data, *(x.grad for x in inputs))

        return run

    def conv2d(
        self, x: Array, w: Array, grad: Array, stride: int, padding: int
    ) -> Contestant | None:
        if (x.shape[2] + 2 * padding - w.shape[2]) % stride:
            return None  # windows have to end with the picture here
        return self.run(
            lambda x, w: self.nnet.conv_nd(x, w, stride=stride, padding=padding), (x, w), grad
        )

    def batch_norm(self, x: Array, gamma: Array, beta: Array, grad: Array) -> Contestant:
        return self.run(
            lambda x, gamma, beta: self.nnet.batchnorm(x, gamma=gamma, beta=beta, eps=1e-5),
            (x, gamma, beta), grad,
        )  # fmt: skip

    def max_pool(self, x: Array, grad: Array) -> Contestant:
        return self.run(lambda x: self.nnet.max_pool(x, (2, 2), 2), (x,), grad)


class DeZero:
    module = "dezero.functions"

    def __init__(self, module: ModuleType) -> None:
        import dezero

        self.dezero, self.functions = dezero, module

    def run(self, op: Callable[..., Any], arrays: tuple[Array, ...], grad: Array) -> Contestant:
        def run() -> Any:
            inputs = [self.dezero.Variable(array) for array in arrays]
            y = op(*inputs)
            y.grad = self.dezero.Variable(grad)
            y.backward()
            return (y.data, *(x.grad.data for x in inputs))

        return run

    def conv2d(self, x: Array, w: Array, grad: Array, stride: int, padding: int) -> Contestant:
        return self.run(
            lambda x, w: self.functions.conv2d(x, w, stride=stride, pad=padding), (x, w), grad
        )

    def batch_norm(self, x: Array, gamma: Array, beta: Array, grad: Array) -> Contestant:
        mean, var = numpy.zeros_like(gamma), numpy.ones_like(gamma)
        return self.run(
            lambda x, gamma, beta: self.functions.batch_nrom(  # as it is spelled there
                x, gamma, beta, mean, var, eps=1e-5
            ),
            (x, gamma, beta), grad,
        )  # fmt: skip

    def max_pool(self, x: Array, grad: Array) -> Contestant:
        return self.run(lambda x: self.functions.pooling(x, 2, 2), (x,), grad)


class SmallPebble:
    module = "smallpebble"

    def __init__(self, module: ModuleType) -> None:
        self.pebble = module

    def run(self, op: Callable[..., Any], arrays: tuple[Array, ...], grad: Array) -> Contestant:
        """Backward starts from a scalar here, so the given gradient is multiplied in."""
        grad = self.pebble.Variable(channels_last(grad))

        def run() -> Any:
            inputs = [self.pebble.Variable(array) for array in arrays]
            y = op(*inputs)
            gradients = self.pebble.get_gradients(self.pebble.sum(self.pebble.mul(y, grad)))
            y, dx, *dw = y.array, *(gradients[x] for x in inputs)
            return (channels_first(y), channels_first(dx), *(dw.transpose(3, 2, 0, 1) for dw in dw))

        return run

    def conv2d(
        self, x: Array, w: Array, grad: Array, stride: int, padding: int
    ) -> Contestant | None:
        if stride != 1:  # TensorFlow's "SAME", which pads strided windows at other places
            return None
        w = numpy.ascontiguousarray(w.transpose(2, 3, 1, 0))  # (R, S, C, O)
        return self.run(
            lambda x, w: self.pebble.conv2d(x, w, "SAME"), (channels_last(x), w), grad
        )

    def max_pool(self, x: Array, grad: Array) -> Contestant:
        return self.run(
            lambda x: self.pebble.maxpool2d(x, 2, 2, "VALID", (2, 2)), (channels_last(x),), grad
        )


class Autograd:
    module = "autograd.scipy.signal"

    def __init__(self, module: ModuleType) -> None:
        import autograd

        self.autograd, self.numpy, self.signal = autograd, autograd.numpy, module

    def conv2d(
        self, x: Array, w: Array, grad: Array, stride: int, padding: int
    ) -> Contestant | None:
        if stride != 1:
            return None
        border = ((0, 0), (0, 0), (padding, padding), (padding, padding))

        def op(x: Any, w: Any) -> Any:
            return self.signal.convolve(  # of mathematics: the kernel is mirrored
                self.numpy.pad(x, border, mode="constant"), w[:, :, ::-1, ::-1],
                axes=([2, 3], [2, 3]), dot_axes=([1], [1]), mode="valid",
            )  # fmt: skip

        def run() -> Any:
            gradients, y = self.autograd.make_vjp(op, argnum=(0, 1))(x, w)
            return (y, *gradients(grad))

        return run


def channels_last(x: Array) -> Array:
    """(N, C, H, W) -> (N, H, W, C)"""
    return numpy.ascontiguousarray(x.transpose(0, 2, 3, 1))


def channels_first(x: Array) -> Array:
    """(N, H, W, C) -> (N, C, H, W), a view"""
    return x.transpose(0, 3, 1, 2)


def installed() -> tuple[dict[str, Any], list[str]]:
    """The peers that are there, by name, and a line for each one that is not."""
    found, missing = {}, []
    # DeZero names a type that NumPy 1.24 took away; it is there only while peers are imported.
    with mock.patch.object(numpy, "int", int, create=True), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for kind in (MyGrad, DeZero, SmallPebble, Autograd):
            try:
                found[kind.__name__] = kind(import_module(kind.module))
            except (ImportError, AttributeError) as error:
                missing.append(f"{kind.__name__}: left out ({error})")
    return found, missing
