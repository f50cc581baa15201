"""The layers: each holds its options and parameters and calls the function of the same name."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy

from .. import functional as F
from ..creation import ones, zeros
from ..ops.arguments import IntPair, pair
from ..ops.conv import borders
from ..tensor import Tensor
from . import init
from .module import Module, Parameter

__all__ = [  # handed on by nn
    "ELU",
    "AdaptiveAvgPool2d",
    "AdaptiveMaxPool2d",
    "AvgPool2d",
    "BatchNorm2d",
    "Conv2d",
    "CrossEntropyLoss",
    "Dropout",
    "Flatten",
    "Hardsigmoid",
    "Hardswish",
    "Identity",
    "Linear",
    "MaxPool2d",
    "ReLU",
    "SiLU",
    "Sigmoid",
    "Tanh",
]  # fmt: skip

OutputSize = int | Sequence[int | None]


# --- layers with parameters ---------------------------------------------------------------------


class Conv2d(Module):
    """2-D convolution: (N, C, H, W) -> (N, O, P, Q), options as in `F.conv2d`.

    weight (O, C/groups, R, S), bias (O,) or None; both start uniform in ±1/√fan_in.

    Raises ValueError for groups that do not divide the channels, an unknown padding, and
    padding="same" with a stride; NotImplementedError for a padding_mode other than "zeros".
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntPair,
        stride: IntPair = 1,
        padding: IntPair | str = 0,
        dilation: IntPair = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
    ) -> None:
        super().__init__()
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(
                "Conv2d: groups must be positive and divide in_channels and out_channels, got "
                f"groups={groups}, in_channels={in_channels}, out_channels={out_channels}"
            )
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = pair("Conv2d", "kernel_size", kernel_size, 1)
        self.stride = pair("Conv2d", "stride", stride, 1)
        self.dilation = pair("Conv2d", "dilation", dilation, 1)
        if not isinstance(padding, str):
            padding = pair("Conv2d", "padding", padding, 0)
        borders(padding, self.kernel_size, self.stride, self.dilation, "Conv2d", ValueError)
        self.padding = padding
        self._check_padding_mode(padding_mode)
        self.weight = Parameter(zeros(out_channels, in_channels // groups, *self.kernel_size))
        self.bias = _bias(out_channels, bias)
        self.reset_parameters()

    @staticmethod
    def _check_padding_mode(padding_mode: str) -> None:
        modes = ("zeros", "reflect", "replicate", "circular")
        if padding_mode not in modes:
            raise ValueError(f"Conv2d: padding_mode must be one of {modes}, got {padding_mode!r}")
        if padding_mode != "zeros":
            raise NotImplementedError(
                f"Conv2d: minise covers padding_mode='zeros' only, got {padding_mode!r}; "
                "F.pad makes other borders"
            )

    def reset_parameters(self) -> None:
        """Draw new weights."""
        _reset(self.weight, self.bias)

    def forward(self, input: Tensor) -> Tensor:
        return F.conv2d(
            input, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups
        )

    def extra_repr(self) -> str:
        parts = [f"{self.in_channels}, {self.out_channels}"]
        parts += [f"kernel_size={self.kernel_size}, stride={self.stride}"]
        parts += [f"padding={self.padding}"] if self.padding != (0, 0) else []
        parts += [f"dilation={self.dilation}"] if self.dilation != (1, 1) else []
        parts += [f"groups={self.groups}"] if self.groups != 1 else []
        parts += ["bias=False"] if self.bias is None else []
        return ", ".join(parts)


class Linear(Module):
    """y = x @ Wᵀ + b: (..., in_features) -> (..., out_features).

    weight (out_features, in_features), bias (out_features,) or None; both start uniform in
    ±1/√in_features.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.weight = Parameter(zeros(out_features, in_features))
        self.bias = _bias(out_features, bias)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new weights."""
        _reset(self.weight, self.bias)

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}"
        )


def _bias(features: int, wanted: bool) -> Parameter | None:
    return Parameter(zeros(features)) if wanted else None


def _reset(weight: Parameter, bias: Parameter | None) -> None:
    """Uniform in ±1/√fan_in, the start that PyTorch gives these layers."""
    init.kaiming_uniform_(weight, a=math.sqrt(5))
    if bias is not None:
        fan_in, _ = init.fans(weight)
        bound = 1 / math.sqrt(fan_in) if fan_in else 0.0
        init.uniform_(bias, -bound, bound)


class BatchNorm2d(Module):
    """Each channel of (N, C, H, W) gets mean 0 and variance 1, then scale γ and shift β.

    weight γ (C,) and bias β (C,) are learnt, unless affine=False. In training the statistics are
    those of the batch, and the buffers running_mean and running_var (C,) follow them; in
    evaluation the buffers are used.

    momentum              how far the buffers move towards each batch; None: they are the plain
                          average over all the batches (num_batches_tracked) so far
    track_running_stats   False: no buffers, the statistics are always those of the batch

    Raises ValueError for input that is not 4-D, and as `F.batch_norm`.
    Source: Ioffe and Szegedy, "Batch normalization", ICML 2015, algorithms 1 and 2.
    """

    weight: Parameter | None
    bias: Parameter | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
    ) -> None:
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        C, tracked = num_features, track_running_stats
        self.register_parameter("weight", Parameter(ones(C)) if affine else None)
        self.register_parameter("bias", Parameter(zeros(C)) if affine else None)
        self.register_buffer("running_mean", zeros(C) if tracked else None)
        self.register_buffer("running_var", ones(C) if tracked else None)
        count = zeros((), dtype=numpy.int64) if tracked else None
        self.register_buffer("num_batches_tracked", count)

    def reset_running_stats(self) -> None:
        """Forget the batches seen: mean 0, variance 1."""
        for buffer, value in (
            (self.running_mean, 0), (self.running_var, 1), (self.num_batches_tracked, 0)
        ):  # fmt: skip
            if buffer is not None:
                init.constant_(buffer, value)

    def reset_parameters(self) -> None:
        """Forget the batches seen, and γ = 1, β = 0."""
        self.reset_running_stats()
        for param, value in ((self.weight, 1), (self.bias, 0)):
            if param is not None:
                init.constant_(param, value)

    def forward(self, input: Tensor) -> Tensor:
        return self.normalise(F.batch_norm, input)

    def normalise(self, batch_norm: Callable[..., Tensor], input: Tensor) -> Tensor:
        """Forward by `F.batch_norm`, or by the function that is fused with what follows."""
        if input.ndim != 4:
            raise ValueError(
                f"batch_norm: expected 4D input (N, C, H, W), got {input.ndim}D {input.shape}"
            )
        # Without buffers there is nothing else to normalise with, in evaluation either.
        from_batch = self.training or self.running_mean is None
        return batch_norm(
            input, self.running_mean, self.running_var, self.weight, self.bias,
            from_batch, self._step() if from_batch else 0.0, self.eps,
        )  # fmt: skip

    def _step(self) -> float:
        """Count this batch; how far the buffers move towards it."""
        if self.num_batches_tracked is None:
            return 0.0
        self.num_batches_tracked.data += 1
        if self.momentum is None:
            return 1 / self.num_batches_tracked.item()
        return self.momentum

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
            f"affine={self.affine}, track_running_stats={self.track_running_stats}"
        )


# --- activations --------------------------------------------------------------------------------


def _refuse_inplace(module: Module, inplace: bool) -> None:
    if inplace:
        raise NotImplementedError(
            f"{type(module).__name__}: inplace=True is not covered, tensors never change in place"
        )


class _Activation(Module):
    """An activation that PyTorch can also run in place."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        _refuse_inplace(self, inplace)


class ReLU(_Activation):
    """y = max(x, 0)"""

    def forward(self, input: Tensor) -> Tensor:
        return F.relu(input)


class ELU(Module):
    """y = x where x > 0, else α · (e^x - 1)"""

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        _refuse_inplace(self, inplace)
        self.alpha = alpha

    def forward(self, input: Tensor) -> Tensor:
        return F.elu(input, self.alpha)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}"


class SiLU(_Activation):
    """y = x · σ(x)"""

    def forward(self, input: Tensor) -> Tensor:
        return F.silu(input)


class Hardsigmoid(_Activation):
    """y = min(max(x + 3, 0), 6) / 6"""

    def forward(self, input: Tensor) -> Tensor:
        return F.hardsigmoid(input)


class Hardswish(_Activation):
    """y = x · min(max(x + 3, 0), 6) / 6"""

    def forward(self, input: Tensor) -> Tensor:
        return F.hardswish(input)


class Sigmoid(Module):
    """y = 1 / (1 + e^-x)"""

    def forward(self, input: Tensor) -> Tensor:
        return F.sigmoid(input)


class Tanh(Module):
    """y = tanh x"""

    def forward(self, input: Tensor) -> Tensor:
        return F.tanh(input)


# --- pooling ------------------------------------------------------------------------------------


def _refuse_indices(module: Module, return_indices: bool) -> None:
    if return_indices:
        raise NotImplementedError(f"{type(module).__name__}: return_indices=True is not covered")


class MaxPool2d(Module):
    """The largest value of every window: (N, C, H, W) -> (N, C, P, Q), as in `F.max_pool2d`."""

    def __init__(
        self,
        kernel_size: IntPair,
        stride: IntPair | None = None,
        padding: IntPair = 0,
        dilation: IntPair = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        _refuse_indices(self, return_indices)
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding, self.dilation, self.ceil_mode = padding, dilation, ceil_mode

    def forward(self, input: Tensor) -> Tensor:
        return F.max_pool2d(
            input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode
        )

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class AvgPool2d(Module):
    """The mean of every window: (N, C, H, W) -> (N, C, P, Q), as in `F.avg_pool2d`."""

    def __init__(
        self,
        kernel_size: IntPair,
        stride: IntPair | None = None,
        padding: IntPair = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding, self.ceil_mode = padding, ceil_mode
        self.count_include_pad, self.divisor_override = count_include_pad, divisor_override

    def forward(self, input: Tensor) -> Tensor:
        return F.avg_pool2d(
            input, self.kernel_size, self.stride, self.padding,
            self.ceil_mode, self.count_include_pad, self.divisor_override,
        )  # fmt: skip

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AdaptiveAvgPool2d(Module):
    """The mean of each of P × Q bins: (N, C, H, W) -> (N, C, P, Q); None keeps a length."""

    def __init__(self, output_size: OutputSize) -> None:
        super().__init__()
        self.output_size = output_size

    def forward(self, input: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(input, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveMaxPool2d(Module):
    """The largest of each of P × Q bins: (N, C, H, W) -> (N, C, P, Q); None keeps a length."""

    def __init__(self, output_size: OutputSize, return_indices: bool = False) -> None:
        super().__init__()
        _refuse_indices(self, return_indices)
        self.output_size = output_size

    def forward(self, input: Tensor) -> Tensor:
        return F.adaptive_max_pool2d(input, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


# --- shape and noise ----------------------------------------------------------------------------


class Identity(Module):
    """y = x. Takes any arguments, so that it can stand in for any layer."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, input: Tensor) -> Tensor:
        return input


class Flatten(Module):
    """The axes from start_dim to end_dim become one: by default (N, ...) -> (N, K)."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, input: Tensor) -> Tensor:
        return input.flatten(self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Dropout(Module):
    """In training each element becomes 0 with probability p, the others grow by 1 / (1 - p).

    Raises ValueError unless 0 <= p <= 1.
    """

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        _refuse_inplace(self, inplace)
        if not 0 <= p <= 1:
            raise ValueError(f"Dropout: p must lie between 0 and 1, got {p}")
        self.p = p

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout(input, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace=False"


# --- losses -------------------------------------------------------------------------------------


class CrossEntropyLoss(Module):
    """`F.cross_entropy` with its options kept; `weight` (C,) is a buffer.

    Options go by keyword, because PyTorch still has deprecated ones between them.
    """

    weight: Tensor | None

    def __init__(
        self,
        weight: Tensor | None = None,
        *,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.ignore_index, self.reduction = ignore_index, reduction
        self.label_smoothing = label_smoothing

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(
            input, target, self.weight, self.ignore_index, self.reduction, self.label_smoothing
        )
