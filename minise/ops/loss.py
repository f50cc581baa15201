"""The negative log-likelihood of the right class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import backend
from ..autograd import Array, Function
from .activation import log_softmax
from .arguments import check_floats, check_number, check_tensors, same_dtype, whole
from .arithmetic import where

if TYPE_CHECKING:
    from ..tensor import Tensor


class NLLLoss(Function, kernel="nll_loss"):
    """log-probabilities (N, C, ...), labels (N, ...), class weights (C,) -> one loss per label.

    A label equal to `ignore_index` gives 0. The sum or mean over the labels is a separate op.
    """

    name = "nll_loss"
    formula = "y_n = -weight[label_n] · x[n, label_n]"
    derivative = "dx[n, label_n] = -weight[label_n] · dy_n, 0 elsewhere"

    def __init__(self, ignore_index: int = -100) -> None:
        self.ignore_index = ignore_index

    def forward(self, x: Array, labels: Array, weight: Array) -> Array:
        shape = [1] * x.ndim
        shape[1] = x.shape[1]
        classes = self.xp.arange(x.shape[1]).reshape(shape)  # (1, C, 1, ...)
        counted = labels != self.ignore_index  # (N, ...)
        self.right = (classes == labels[:, None]) & counted[:, None]  # (N, C, ...)
        self.coefficients = self.xp.where(self.right, -weight.reshape(shape), 0)
        # One class of each label is picked; a product would turn 0 · (-inf) into NaN.
        return self.coefficients.sum(axis=1) * self.xp.where(self.right, x, 0).sum(axis=1)

    def backward(self, grad: Array) -> Any:
        # A mean over no label is NaN, and its gradient too, but not that of an ignored label.
        return self.coefficients * self.xp.where(self.right, grad[:, None], 0), None, None


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


def _nll_loss(
    name: str, input: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int,
    reduction: str, check: bool = True,
) -> Tensor:  # fmt: skip
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

    log_p = log_softmax(input, axis)
    hard = _nll_loss("cross_entropy", log_p, target, weight, ignore_index, reduction, check)
    if label_smoothing == 0:
        return hard
    # The smoothed part asks for every class alike, at every label that counts.
    weights = class_weights("cross_entropy", input, weight)
    shape = [1] * input.ndim
    shape[axis] = -1
    counted = input.new(target.data != ignore_index)
    smooth = where(counted, -(log_p * weights.reshape(shape)).sum(axis), 0.0)
    if reduction != "none":
        smooth = smooth.sum()
    if reduction == "mean":
        smooth = smooth / weight_of(target, weights, ignore_index).sum()
    return hard * (1 - label_smoothing) + smooth * (label_smoothing / input.shape[axis])


def _soft_cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None, reduction: str, label_smoothing: float,
    axis: int,
) -> Tensor:  # fmt: skip
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
    losses = -(log_softmax(input, axis) * target * weights).sum(axis)
    if reduction == "none":
        return losses
    return losses.sum() if reduction == "sum" else losses.sum() / losses.size


def check_reduction(name: str, reduction: str) -> None:
    """ValueError for an unknown reduction."""
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{name}: reduction must be 'none', 'mean' or 'sum', got {reduction!r}")


def class_axis(name: str, input: Tensor) -> int:
    """Which axis of (N, C, ...) or (C,) counts the classes; ValueError where there is none."""
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
        return input.new(backend.of(input.data).xp.ones(C, dtype=input.dtype))
    same_dtype(name, input=input, weight=weight)
    if weight.shape != (C,):
        raise RuntimeError(f"{name}: weight must have shape ({C},), got {weight.shape}")
    return weight


def weight_of(labels: Tensor, weights: Tensor, ignore_index: int) -> Tensor:
    """The class weight of each label, 0 where it is ignored."""
    counted = labels.data != ignore_index
    return weights.new(weights.data[labels.data * counted] * counted)
