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
        counted = labels != self.ignore_index  # (N, ...)
        self.right = (classes == labels[:, None]) & counted[:, None]  # (N, C, ...)
        self.coefficients = self.xp.where(self.right, -weight.reshape(shape), 0)
        # One class of each label is picked; a product would turn 0 · (-inf) into NaN.
        return self.coefficients.sum(axis=1) * self.xp.where(self.right, x, 0).sum(axis=1)

    def backward(self, grad):
        # A mean over no label is NaN, and its gradient too, but not that of an ignored label.
        return self.coefficients * self.xp.where(self.right, grad[:, None], 0), None, None
