"""The functions a learner calls, named and argued as in torch.nn.functional.

Each one checks its arguments, says in one sentence what is wrong with them, and calls the op that
does the work (minise/ops). Images are (N, C, H, W); where PyTorch takes a single (C, H, W) image,
so do these.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from . import backend
from .autograd import Tensor
from .ops import activation, where
from .ops.arguments import (
    broadcast_shape,
    check_floats,
    check_number,
    check_tensors,
    same_dtype,
    whole,
)
from .ops.conv import Conv2d, Conv2dReLU
from .ops.loss import NLLLoss
from .ops.math import AddReLU, Linear
from .ops.norm import BatchNorm, BatchNormReLU
from .ops.pool import AdaptiveAvgPool2d, AdaptiveMaxPool2d, AvgPool2d, MaxPool2d
from .ops.se import Axpy, AxpyReLU
from .ops.shape import Pad
from .ops.windows import output_length

IntPair = int | Sequence[int]


class _Fusion(threading.local):
    enabled = True


_fusion = _Fusion()


@contextmanager
def unfused() -> Iterator[None]:
    """Inside this block a ReLU is an op of its own: one more step to look at, one more pass to pay.

    Otherwise `relu=True` makes one op of a convolution, BatchNorm, axpy or an addition and the ReLU
    behind it, and `conv_bn` does the work of BatchNorm by a convolution's weights.
    """
    before = _fusion.enabled
    _fusion.enabled = False
    try:
        yield
    finally:
        _fusion.enabled = before


def is_fusing() -> bool:
    """False inside `unfused()`."""
    return _fusion.enabled


# --- convolution and linear maps ----------------------------------------------------------------


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: IntPair = 1,
    padding: IntPair | str = 0,
    dilation: IntPair = 1,
    groups: int = 1,
    *,
    relu: bool = False,
) -> Tensor:
    """y[n, o, p, q] = b[o] + Σ_crs x[n, c, p·stride + r·dilation, q·stride + s·dilation] · w[o, c, r, s]

    input    (N, C, H, W) or (C, H, W)
    weight   (O, C/groups, R, S);  bias (O,)
    padding  zeros on each side: an int, a pair, "valid" (none) or "same" (P, Q = H, W; stride 1)
    relu     apply ReLU to y in the same op (see `unfused`)
    returns  (N, O, P, Q) or (O, P, Q)

    Raises RuntimeError where shapes, dtypes or options do not fit each other.
    """  # noqa: E501
    check_tensors("conv2d", input=input, weight=weight)
    same_dtype("conv2d", input=input, weight=weight, bias=bias)
    strides = pair("conv2d", "stride", stride, 1)
    dilations = pair("conv2d", "dilation", dilation, 1)
    if weight.ndim != 4 or 0 in weight.shape:
        raise RuntimeError(f"conv2d: weight must be (O, C/groups, R, S), got shape {weight.shape}")
    x, batched = as_batch("conv2d", input)
    kernel = weight.shape[2:]
    if padding == "same":
        if strides != (1, 1):
            raise RuntimeError(f"conv2d: padding='same' needs stride 1, got {strides}")
        spare = [d * (k - 1) for d, k in zip(dilations, kernel, strict=True)]
        pads = tuple((n // 2, n - n // 2) for n in spare)
    elif isinstance(padding, str):
        if padding != "valid":
            raise RuntimeError(f"conv2d: padding must be 'same' or 'valid', got {padding!r}")
        pads = ((0, 0), (0, 0))
    else:
        pads = tuple((n, n) for n in pair("conv2d", "padding", padding, 0))

    O, per_group = weight.shape[:2]
    groups = whole("conv2d", "groups", groups)
    if groups < 1 or O % groups:
        raise RuntimeError(
            f"conv2d: groups must be positive and divide the {O} output channels, got {groups}"
        )
    if x.shape[1] != per_group * groups:
        raise RuntimeError(
            f"conv2d: input has {x.shape[1]} channels, weight {weight.shape} with groups={groups} "
            f"expects {per_group * groups}"
        )
    if bias is not None and bias.shape != (O,):
        raise RuntimeError(f"conv2d: bias must have shape ({O},), got {bias.shape}")
    for axis, name in enumerate(("height", "width")):
        length = x.shape[2 + axis] + sum(pads[axis])
        span = dilations[axis] * (kernel[axis] - 1) + 1
        if span > length:
            raise RuntimeError(
                f"conv2d: the kernel spans a {name} of {span} (dilation included), but the padded "
                f"input has only {length}"
            )
    fast = backend.of(x.data).fast  # a fast convolution is better than a plain one with ReLU
    fused = relu and _fusion.enabled and ("conv2d_relu" in fast or "conv2d" not in fast)
    op = (Conv2dReLU if fused else Conv2d)(strides, pads, dilations, groups)
    y = op(x, weight) if bias is None else op(x, weight, bias)
    return unbatch(y.relu() if relu and not fused else y, batched)


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """y = x @ Wᵀ + b: input (..., K), weight (J, K), bias (J,) -> (..., J).

    Raises RuntimeError where shapes or dtypes do not fit each other.
    """
    check_tensors("linear", input=input, weight=weight)
    same_dtype("linear", input=input, weight=weight, bias=bias)
    if weight.ndim != 2 or input.ndim == 0 or input.shape[-1] != weight.shape[1]:
        raise RuntimeError(
            f"linear: input {input.shape} must end in the number of columns of weight "
            f"{weight.shape}"
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise RuntimeError(f"linear: bias must have shape {weight.shape[:1]}, got {bias.shape}")
    return Linear()(input, weight) if bias is None else Linear()(input, weight, bias)


# --- normalisation ------------------------------------------------------------------------------


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    relu: bool = False,
) -> Tensor:
    """y = γ · (x - mean) / √(var + ε) + β, per channel of input (N, C, ...).

    relu  apply ReLU to y in the same op (see `unfused`)

    In training mean and var are those of the batch, and the running statistics move towards them
    in place: running = (1 - momentum) · running + momentum · batch, with the variance divided by
    count - 1. In evaluation the running statistics are used (if given).

    Raises ValueError if training has only one value per channel, RuntimeError for wrong shapes or
    dtypes.
    """
    check_floats("batch_norm", input=input)
    check_number("batch_norm", "eps", eps)
    check_number("batch_norm", "momentum", momentum)
    if eps < 0:
        raise ValueError(f"batch_norm: eps must be >= 0, got {eps}")
    if input.ndim < 2:
        raise RuntimeError(f"batch_norm: input must be (N, C, ...), got shape {input.shape}")
    channels = input.shape[1]
    parameters = {
        "running_mean": running_mean, "running_var": running_var, "weight": weight, "bias": bias
    }  # fmt: skip
    same_dtype("batch_norm", input=input, **parameters)
    for name, tensor in parameters.items():
        if tensor is not None and tensor.shape != (channels,):
            raise RuntimeError(
                f"batch_norm: {name} must have shape ({channels},) for input {input.shape}, "
                f"got {tensor.shape}"
            )
    xp = backend.of(input.data).xp
    gamma = Tensor(xp.ones(channels, dtype=input.dtype)) if weight is None else weight
    beta = Tensor(xp.zeros(channels, dtype=input.dtype)) if bias is None else bias
    fused = relu and _fusion.enabled
    kind = BatchNormReLU if fused else BatchNorm
    if not training:
        if running_mean is None or running_var is None:
            raise RuntimeError("batch_norm: evaluation needs running_mean and running_var")
        op = kind(eps, running_mean.data, running_var.data)
        output = op(input, gamma, beta)
        return output if fused or not relu else output.relu()

    if (running_mean is None) != (running_var is None):
        raise ValueError("batch_norm: expected both running_mean and running_var, or neither")
    count = input.size // channels if channels else 0
    if count == 1:
        raise ValueError(
            f"batch_norm: training needs more than one value per channel, got input {input.shape}"
        )
    running = None
    if running_mean is not None and running_var is not None:
        running = running_mean.data, running_var.data, momentum
    output = kind(eps, running=running)(input, gamma, beta)
    return output if fused or not relu else output.relu()


# --- pooling ------------------------------------------------------------------------------------


def max_pool2d(
    input: Tensor,
    kernel_size: IntPair,
    stride: IntPair | None = None,
    padding: IntPair = 0,
    dilation: IntPair = 1,
    ceil_mode: bool = False,
) -> Tensor:
    """The largest value of every window: (N, C, H, W) -> (N, C, P, Q), or without N.

    stride defaults to kernel_size; with ceil_mode the last window may hang over the end. Of equal
    values the first gets the gradient. Raises RuntimeError where the options do not fit.
    """
    check_floats("max_pool2d", input=input)
    x, batched = as_batch("max_pool2d", input)
    options = pool_options("max_pool2d", x, kernel_size, stride, padding, dilation, ceil_mode)
    return unbatch(MaxPool2d(*options)(x), batched)


def avg_pool2d(
    input: Tensor,
    kernel_size: IntPair,
    stride: IntPair | None = None,
    padding: IntPair = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of every window: (N, C, H, W) -> (N, C, P, Q), or without N.

    count_include_pad  whether zeros of the padding count in the mean
    divisor_override   divide every sum by this number instead of a count

    Raises RuntimeError where the options do not fit.
    """
    check_floats("avg_pool2d", input=input)
    divisor = divisor_override
    if divisor is not None and whole("avg_pool2d", "divisor_override", divisor) == 0:
        raise RuntimeError("avg_pool2d: divisor_override must not be 0, got 0")
    x, batched = as_batch("avg_pool2d", input)
    kernel, strides, pads, _, _ = pool_options(
        "avg_pool2d", x, kernel_size, stride, padding, 1, ceil_mode
    )
    op = AvgPool2d(kernel, strides, pads, ceil_mode, count_include_pad, divisor)
    return unbatch(op(x), batched)


def adaptive_avg_pool2d(input: Tensor, output_size: int | Sequence[int | None]) -> Tensor:
    """The mean of each of P × Q bins: (N, C, H, W) -> (N, C, P, Q); None keeps a length."""
    check_floats("adaptive_avg_pool2d", input=input)
    x, batched = as_batch("adaptive_avg_pool2d", input)
    size = adaptive_size("adaptive_avg_pool2d", x, output_size)
    return unbatch(AdaptiveAvgPool2d(size)(x), batched)


def adaptive_max_pool2d(input: Tensor, output_size: int | Sequence[int | None]) -> Tensor:
    """The maximum of each of P × Q bins: (N, C, H, W) -> (N, C, P, Q); None keeps a length."""
    check_floats("adaptive_max_pool2d", input=input)
    x, batched = as_batch("adaptive_max_pool2d", input)
    size = adaptive_size("adaptive_max_pool2d", x, output_size)
    return unbatch(AdaptiveMaxPool2d(size)(x), batched)


def pool_options(name, x, kernel_size, stride, padding, dilation, ceil_mode):
    """(kernel, stride, padding, dilation, ceil_mode), checked as PyTorch checks them."""
    kernel = pair(name, "kernel_size", kernel_size, 1)
    strides = kernel if stride is None else pair(name, "stride", stride, 1)
    pads = pair(name, "padding", padding, 0)
    dilations = pair(name, "dilation", dilation, 1)
    if any(pad > k // 2 for pad, k in zip(pads, kernel, strict=True)):
        raise RuntimeError(
            f"{name}: padding must be at most half of kernel_size {kernel}, got {pads}"
        )
    for n, k, step, pad, d in zip(x.shape[2:], kernel, strides, pads, dilations, strict=True):
        if output_length(n, k, step, (pad, pad), d, ceil_mode) < 1:
            raise RuntimeError(
                f"{name}: kernel_size {kernel} with dilation {dilations} does not fit into input "
                f"{x.shape} with padding {pads}"
            )
    return kernel, strides, pads, dilations, ceil_mode


def adaptive_size(name, x, output_size):
    """(P, Q)"""
    if not isinstance(output_size, (tuple, list)):
        output_size = [whole(name, "output_size", output_size)] * 2
    if len(output_size) == 2:
        P, Q = (
            n if count is None else whole(name, "output_size", count)
            for count, n in zip(output_size, x.shape[2:])
        )
        if P >= 0 and Q >= 0:
            return P, Q
    raise RuntimeError(f"{name}: output_size must be one or two integers >= 0, got {output_size}")


# --- activations --------------------------------------------------------------------------------


def relu(input: Tensor) -> Tensor:
    """y = max(x, 0)"""
    check_tensors("relu", input=input)
    return input.relu()


def leaky_relu(input: Tensor, negative_slope: float = 0.01) -> Tensor:
    """y = x where x > 0, else negative_slope · x"""
    check_floats("leaky_relu", input=input)
    check_number("leaky_relu", "negative_slope", negative_slope)
    return activation.LeakyReLU(negative_slope)(input)


def sigmoid(input: Tensor) -> Tensor:
    """y = 1 / (1 + e^-x)"""
    check_tensors("sigmoid", input=input)
    return input.sigmoid()


def tanh(input: Tensor) -> Tensor:
    """y = tanh x"""
    check_tensors("tanh", input=input)
    return input.tanh()


def silu(input: Tensor) -> Tensor:
    """y = x · σ(x), also called swish"""
    check_floats("silu", input=input)
    return activation.SiLU()(input)


def hardsigmoid(input: Tensor) -> Tensor:
    """y = min(max(x + 3, 0), 6) / 6"""
    check_floats("hardsigmoid", input=input)
    return activation.Hardsigmoid()(input)


def hardswish(input: Tensor) -> Tensor:
    """y = x · min(max(x + 3, 0), 6) / 6"""
    check_floats("hardswish", input=input)
    return activation.Hardswish()(input)


def softmax(input: Tensor, dim: int) -> Tensor:
    """y_i = e^x_i / Σ_j e^x_j along `dim`"""
    check_tensors("softmax", input=input)
    return input.softmax(dim)


def log_softmax(input: Tensor, dim: int) -> Tensor:
    """y_i = x_i - log Σ_j e^x_j along `dim`"""
    check_tensors("log_softmax", input=input)
    return input.log_softmax(dim)


def dropout(input: Tensor, p: float = 0.5, training: bool = True) -> Tensor:
    """In training each element becomes 0 with probability p, the others grow by 1 / (1 - p)."""
    check_tensors("dropout", input=input)
    check_number("dropout", "p", p)
    if not 0 <= p <= 1:
        raise ValueError(f"dropout: p must lie between 0 and 1, got {p}")
    if not training or p == 0:
        return input
    check_floats("dropout", input=input)
    kept = backend.random.generator().random(input.shape) >= p
    scale = 0.0 if p == 1 else 1 / (1 - p)
    return input * Tensor(backend.of(input.data).as_array(kept * scale, dtype=input.dtype))


def pad(
    input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> Tensor:
    """A border around the last axes: `pad` is (left, right, top, bottom, ...), last axis first.

    mode   "constant" (`value`, default 0; negative widths crop), "reflect" or "replicate"

    Raises RuntimeError for odd or too many widths or a border wider than its source,
    NotImplementedError for a mode that minise does not have ("circular").
    """
    check_tensors("pad", input=input)
    if not isinstance(pad, (tuple, list)):
        raise TypeError(f"pad: pad must be a list or tuple of integers, got {type(pad).__name__}")
    pad = [whole("pad", "each width", n) for n in pad]
    if len(pad) % 2 or len(pad) // 2 > input.ndim:
        raise RuntimeError(f"pad: expected up to {input.ndim} pairs of widths, got {tuple(pad)}")
    if mode not in Pad.modes:
        raise NotImplementedError(f"pad: mode must be one of {tuple(Pad.modes)}, got {mode!r}")
    pairs = [(pad[i], pad[i + 1]) for i in range(0, len(pad), 2)]
    widths = [(0, 0)] * (input.ndim - len(pairs)) + pairs[::-1]
    for n, (before, after) in zip(input.shape, widths, strict=True):
        if mode == "constant":
            fits = n + min(before, 0) + min(after, 0) >= 0
        else:
            most = n - 1 if mode == "reflect" else math.inf
            fits = 0 <= before <= most and 0 <= after <= most and n > 0
        if not fits:
            raise RuntimeError(f"pad: widths {(before, after)} do not fit an axis of length {n}")
    if value is not None:
        check_number("pad", "value", value)
        if mode != "constant":
            raise RuntimeError(f"pad: value goes with mode 'constant' only, got mode {mode!r}")
    return Pad(widths, mode, value or 0.0)(input)


def axpy(scale: Tensor, input: Tensor, shortcut: Tensor, *, relu: bool = False) -> Tensor:
    """y = s · u + x in one op: SE's scale and the residual addition (Hu et al., released nets).

    relu   apply ReLU to y in the same op (see `unfused`)

    scale (N, C, 1, 1), input u and shortcut x (N, C, H, W) -> (N, C, H, W). RuntimeError for
    other shapes.
    """
    same_dtype("axpy", scale=scale, input=input, shortcut=shortcut)
    if input.ndim != 4 or scale.shape != (*input.shape[:2], 1, 1) or shortcut.shape != input.shape:
        raise RuntimeError(
            "axpy: expected scale (N, C, 1, 1) and input and shortcut (N, C, H, W), got "
            f"{scale.shape}, {input.shape} and {shortcut.shape}"
        )
    if relu and _fusion.enabled:
        return AxpyReLU()(scale, input, shortcut)
    output = Axpy()(scale, input, shortcut)
    return output.relu() if relu else output


def add_relu(input: Tensor, other: Tensor) -> Tensor:
    """y = max(a + b, 0) in one op (see `unfused`): the end of a residual block; shapes broadcast.

    Raises RuntimeError for shapes that do not broadcast and for different dtypes.
    """
    same_dtype("add_relu", input=input, other=other)
    broadcast_shape("add_relu", input.shape, other.shape)
    return AddReLU()(input, other) if _fusion.enabled else (input + other).relu()


# --- losses -------------------------------------------------------------------------------------


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """-weight[target] · input[target]: the loss of log-probabilities under class labels.

    input   log-probabilities (N, C, ...) or (C,);  target  integers (N, ...) or ()
    mean    divides by the sum of the weights of the labels, ignored ones left out

    Raises IndexError for a label outside [0, C), ValueError for another number of images,
    RuntimeError for other shapes that do not fit and for labels that are no integers.
    """
    return _nll_loss("nll_loss", input, target, weight, ignore_index, reduction)


def _nll_loss(name, input, target, weight, ignore_index, reduction, check=True):
    check_reduction(name, reduction)
    check_floats(name, input=input)
    check_labels(name, input, target, whole(name, "ignore_index", ignore_index), check)
    weights = class_weights(name, input, weight)
    single = input.ndim == 1
    x, labels = (input.unsqueeze(0), target.unsqueeze(0)) if single else (input, target)
    losses = NLLLoss(ignore_index)(x, labels, weights)
    if reduction == "none":
        return losses.squeeze(0) if single else losses
    if reduction == "sum":
        return losses.sum()
    return losses.sum() / weight_of(labels, weights, ignore_index).sum()


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    *,
    check: bool = True,
) -> Tensor:
    """-Σ_c target_c · log softmax(input)_c, with class labels or class probabilities as target.

    input            logits (N, C, ...) or (C,)
    target           integers (N, ...), or probabilities of input's shape
    label_smoothing  ε: the target becomes (1 - ε) · target + ε / C  (Szegedy et al. 2016, sect. 7)
    check            False: the labels are known to lie in [0, C), do not look at them; looking
                     may make the program wait for a GPU

    Raises as `nll_loss`.
    """
    check_reduction("cross_entropy", reduction)
    check_floats("cross_entropy", input=input)
    check_tensors("cross_entropy", target=target)
    check_number("cross_entropy", "label_smoothing", label_smoothing)
    if not 0 <= label_smoothing <= 1:
        raise RuntimeError(
            f"cross_entropy: label_smoothing must lie between 0 and 1, got {label_smoothing}"
        )
    axis = class_axis("cross_entropy", input)
    if target.dtype.kind == "f":
        if whole("cross_entropy", "ignore_index", ignore_index) >= 0:
            raise RuntimeError(
                f"cross_entropy: ignore_index goes with class labels only, got {ignore_index} "
                "with class probabilities"
            )
        return _soft_cross_entropy(input, target, weight, reduction, label_smoothing, axis)

    log_p = input.log_softmax(axis)
    hard = _nll_loss("cross_entropy", log_p, target, weight, ignore_index, reduction, check)
    if label_smoothing == 0:
        return hard
    # The smoothed part asks for every class alike, at every label that counts.
    weights = class_weights("cross_entropy", input, weight)
    shape = [1] * input.ndim
    shape[axis] = -1
    counted = Tensor(target.data != ignore_index)
    smooth = where(counted, -(log_p * weights.reshape(shape)).sum(axis), 0.0)
    if reduction != "none":
        smooth = smooth.sum()
    if reduction == "mean":
        smooth = smooth / weight_of(target, weights, ignore_index).sum()
    return hard * (1 - label_smoothing) + smooth * (label_smoothing / input.shape[axis])


def _soft_cross_entropy(input, target, weight, reduction, label_smoothing, axis):
    if target.shape != input.shape:
        raise RuntimeError(
            f"cross_entropy: class probabilities must have the shape of input {input.shape}, "
            f"got {target.shape}"
        )
    C = input.shape[axis]
    if label_smoothing > 0:
        target = target * (1 - label_smoothing) + label_smoothing / C
    shape = [1] * input.ndim
    shape[axis] = -1
    weights = class_weights("cross_entropy", input, weight).reshape(shape)
    losses = -(input.log_softmax(axis) * target * weights).sum(axis)
    if reduction == "none":
        return losses
    return losses.sum() if reduction == "sum" else losses.sum() / losses.size


def check_reduction(name: str, reduction: str) -> None:
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{name}: reduction must be 'none', 'mean' or 'sum', got {reduction!r}")


def class_axis(name: str, input: Tensor) -> int:
    if input.ndim == 0:
        raise ValueError(f"{name}: input must be (N, C, ...) or (C,), got shape ()")
    return 0 if input.ndim == 1 else 1


def check_labels(
    name: str, input: Tensor, target: Tensor, ignore_index: int, values: bool = True
) -> None:
    """A wrong label must not pass: CuPy would wrap it round, NumPy count it from the end.

    values   False: check shape and dtype only
    """
    check_tensors(name, target=target)
    axis = class_axis(name, input)
    expected = input.shape[:axis] + input.shape[axis + 1 :]
    if target.shape != expected:
        error = RuntimeError if target.shape[:1] == expected[:1] else ValueError
        raise error(
            f"{name}: input {input.shape} expects a target of shape {expected}, got {target.shape}"
        )
    if target.dtype.kind not in "iu":
        raise RuntimeError(f"{name}: labels must be integers, got {target.dtype}")
    if not values:
        return
    array, classes = target.data, input.shape[axis]
    deferred = backend.of(array).check_labels
    if deferred is not None and backend.using_fast_kernels():
        deferred(name, array, classes, ignore_index)
        return
    wrong = ((array < 0) | (array >= classes)) & (array != ignore_index)
    if bool(wrong.any()):
        label = int(array[wrong].reshape(-1)[0])
        raise IndexError(f"{name}: labels must lie in [0, {classes - 1}], got {label}")


def class_weights(name: str, input: Tensor, weight: Tensor | None) -> Tensor:
    """One weight per class (C,): `weight`, checked, or ones."""
    C = input.shape[class_axis(name, input)]
    if weight is None:
        return Tensor(backend.of(input.data).xp.ones(C, dtype=input.dtype))
    same_dtype(name, input=input, weight=weight)
    if weight.shape != (C,):
        raise RuntimeError(f"{name}: weight must have shape ({C},), got {weight.shape}")
    return weight


def weight_of(labels: Tensor, weights: Tensor, ignore_index: int) -> Tensor:
    """The class weight of each label, 0 where it is ignored."""
    counted = labels.data != ignore_index
    return Tensor(weights.data[labels.data * counted] * counted)


# --- arguments ----------------------------------------------------------------------------------


def pair(name: str, argument: str, value: IntPair, least: int) -> tuple[int, int]:
    """An int as (height, width); RuntimeError if it is neither an int >= least nor two."""
    given = value if isinstance(value, (tuple, list)) else (value,)
    lengths = [whole(name, argument, n) for n in given]
    lengths = lengths * 2 if len(lengths) == 1 else lengths
    if len(lengths) != 2 or min(lengths) < least:
        raise RuntimeError(
            f"{name}: {argument} must be one or two integers >= {least}, got {value}"
        )
    return lengths[0], lengths[1]


def as_batch(name: str, input: Tensor) -> tuple[Tensor, bool]:
    """(C, H, W) as a batch of one; the flag says whether there was a batch."""
    check_tensors(name, input=input)
    if input.ndim not in (3, 4):
        raise RuntimeError(
            f"{name}: input must be (N, C, H, W) or (C, H, W), got shape {input.shape}"
        )
    if 0 in input.shape[-3:]:
        raise RuntimeError(f"{name}: only the batch may have length 0, got input {input.shape}")
    return (input, True) if input.ndim == 4 else (input.unsqueeze(0), False)


def unbatch(output: Tensor, batched: bool) -> Tensor:
    return output if batched else output.squeeze(0)
