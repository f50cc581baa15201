"""2-D convolution as a matrix product (Chellapilla, Puri, Simard 2006: "im2col").

Every output pixel is a dot product of a window with a kernel. Written out as a matrix, one row per
output pixel, all of them together are one matrix product.
"""

from __future__ import annotations

from ..autograd import Function
from .activation import ThenReLU
from .broadcast import sum_in_double
from .windows import output_length, tap, windows


class Conv2d(Function):
    """x (N, C, H, W), weight (O, C/G, R, S), bias (O,) -> y (N, O, P, Q).

    `padding` is ((top, bottom), (left, right)).
    """

    formula = "y = columns(x) @ Wᵀ + b"
    derivative = "dx = columnsᵀ(dy @ W),  dW = dyᵀ @ columns(x),  db = Σ dy"

    def __init__(self, stride=(1, 1), padding=((0, 0), (0, 0)), dilation=(1, 1), groups=1):
        self.stride, self.padding = stride, padding
        self.dilation, self.groups = dilation, groups

    def forward(self, x, weight, bias=None):
        self.x, self.weight = x, weight
        view = self.windows()
        N, _, P, Q, _, _ = view.shape
        O, G = weight.shape[0], self.groups
        kernels = self.kernels()  # (G, O/G, R*S*C/G)
        y = self.xp.empty((N, P, Q, G, O // G), dtype=x.dtype)
        for g in range(G):  # each group is a convolution of its own
            rows = self.columns(view, g) @ kernels[g].T  # (N*P*Q, O/G)
            y[:, :, :, g] = rows.reshape(N, P, Q, O // G)
        y = y.reshape(N, P, Q, O)
        if bias is not None:
            y += bias
        return y.transpose(0, 3, 1, 2)  # (N, O, P, Q)

    def backward(self, grad):
        view = self.windows()
        N, C, P, Q, R, S = view.shape
        O, G = self.weight.shape[0], self.groups
        kernels = self.kernels()  # (G, O/G, R*S*C/G)
        dkernels = self.xp.empty_like(kernels)
        rows = grad.transpose(0, 2, 3, 1).reshape(N * P * Q, G, O // G)
        dx, dpadded = self.zeros(grad.dtype)
        for g in range(G):
            if self.needs[1]:
                dkernels[g] = rows[:, g].T @ self.columns(view, g)
            if self.needs[0]:
                group = dpadded[:, :, :, g * C // G : (g + 1) * C // G]
                dcolumns = (rows[:, g] @ kernels[g]).reshape(N, P, Q, R, S, C // G)
                for r in range(R):
                    for s in range(S):  # a pixel collects from every window that it was in
                        h, w = tap(r, s, self.stride, self.dilation, (P, Q))
                        group[:, h, w] += dcolumns[:, :, :, r, s]
        dweight = dkernels.reshape(O, R, S, C // G).transpose(0, 3, 1, 2)  # (O, C/G, R, S)
        if len(self.needs) == 2:
            return dx, dweight
        return dx, dweight, sum_in_double(grad, axis=(0, 2, 3))

    def windows(self):
        """x with its border of zeros, seen through every window: (N, C, P, Q, R, S)."""
        x, (R, S) = self.x, self.weight.shape[2:]
        axes = zip(x.shape[2:], (R, S), self.stride, self.padding, self.dilation, strict=True)
        P, Q = (output_length(*axis) for axis in axes)
        if self.padding != ((0, 0), (0, 0)):
            x = self.xp.pad(x, ((0, 0), (0, 0), *self.padding))
        return windows(x, (R, S), self.stride, self.dilation, (P, Q), self.xp)

    def columns(self, view, g):
        """The windows of group g's channels, one row per output pixel: (N*P*Q, R*S*C/G)."""
        N, C, P, Q, R, S = view.shape
        size = C // self.groups
        view = view[:, g * size : (g + 1) * size].transpose(0, 2, 3, 4, 5, 1)
        return view.reshape(N * P * Q, R * S * size)

    def kernels(self):
        """The weight with its values in the order of a row of `columns`: (G, O/G, R*S*C/G)."""
        O, G = self.weight.shape[0], self.groups
        return self.weight.transpose(0, 2, 3, 1).reshape(G, O // G, -1)

    def zeros(self, dtype):
        """A zero gradient for x, and the padded one (N, H', W', C) whose middle it shows."""
        (N, C, H, W), ((top, bottom), (left, right)) = self.x.shape, self.padding
        padded = self.xp.zeros((N, H + top + bottom, W + left + right, C), dtype=dtype)
        return padded[:, top : top + H, left : left + W].transpose(0, 3, 1, 2), padded


class Conv2dReLU(ThenReLU, Conv2d):
    """Conv2d and the ReLU behind it as one op."""

    name = "conv2d_relu"
    formula = "y = max(columns(x) @ Wᵀ + b, 0)"
    derivative = (
        "dv = dy where y > 0, else 0,  "
        "dx = columnsᵀ(dv @ W),  dW = dvᵀ @ columns(x),  db = Σ dv"
    )
