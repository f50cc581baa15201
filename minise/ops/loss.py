"""The negative log-likelihood of the right class."""

from __future__ import annotations

from ..autograd import Function


class NLLLoss(Function):
    """log-probabilities (N, C, ...), labels (N, ...), class weights (C,) -> one loss per label.

    A label equal to `ignore_index` gives 0. The sum or mean over the labels is a separate op.
    """

    name = "nll_loss"
    formula = "y_n = -weight[label_n] · x[n, label_n]"
    derivative = "dx[n, label_n] = -weight[label_n] · dy_n, 0 elsewhere"

    def __init__(self, ignore_index=-100):
        self.ignore_index = ignore_index

    def forward(self, x, labels, weight):
        shape = [1] * x.ndim
        shape[1] = x.shape[1]
        classes = self.xp.arange(x.shape[1]).reshape(shape)  # (1, C, 1, ...)
        self.counted = labels != self.ignore_index  # (N, ...)
        right = (classes == labels[:, None]) & self.counted[:, None]
        self.coefficients = self.xp.where(right, -weight.reshape(shape), 0)  # (N, C, ...)
        # One class of each label is picked; a product would turn 0 · (-inf) into NaN.
        return self.coefficients.sum(axis=1) * self.xp.where(right, x, 0).sum(axis=1)  # (N, ...)

    def backward(self, grad):
        # A mean over no label is NaN, and its gradient too, but not that of an ignored label.
        grad = self.xp.where(self.counted, grad, 0)
        return self.coefficients * grad[:, None], None, None
