"""2-D convolution as a matrix product (Chellapilla, Puri, Simard 2006: "im2col").

Every output pixel is a dot product of a window with a kernel. Written out as a matrix, one row per
output pixel, all of them together are one matrix product.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..autograd import Array, Function
from .arguments import IntPair, as_batch, check_tensors, pair, same_dtype, unbatch, whole
from .broadcast import sum_in_double
from .windows import Pair, output_length, tap, windows

if TYPE_CHECKING:
    from ..tensor import Tensor


class Conv2d(Function, kernel="conv2d"):
    """x (N, C, H, W), weight (O, C/G, R, S), bias (O,) -> y (N, O, P, Q).

    `padding` is ((top, bottom), (left, right)).
    """

    formula = "y = columns(x) @ Wᵀ + b"
    derivative = "dx = columnsᵀ(dy @ W),  dW = dyᵀ @ columns(x),  db = Σ dy"
    rectifies = False

    def __init__(
        self, stride: Pair = (1, 1), padding: tuple[Pair, Pair] = ((0, 0), (0, 0)),
        dilation: Pair = (1, 1), groups: int = 1,
    ) -> None:  # fmt: skip
        self.stride, self.padding = stride, padding
        self.dilation, self.groups = dilation, groups

    def forward(self, x: Array, weight: Array, bias: Array | None = None) -> Array:
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

    def backward(self, grad: Array) -> Any:
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

    def output_size(self, x: tuple[int, ...], weight: tuple[int, ...]) -> Pair:
        """(P, Q) for inputs of these shapes; below 1 where the kernel is wider than the input."""
        axes = zip(x[2:], weight[2:], self.stride, self.padding, self.dilation, strict=True)
        P, Q = (output_length(*axis) for axis in axes)
        return P, Q

    def windows(self) -> Array:
        """x with its border of zeros, seen through every window: (N, C, P, Q, R, S)."""
        x, (R, S) = self.x, self.weight.shape[2:]
        P, Q = self.output_size(x.shape, self.weight.shape)
        if self.padding != ((0, 0), (0, 0)):
            x = self.xp.pad(x, ((0, 0), (0, 0), *self.padding))
        return windows(x, (R, S), self.stride, self.dilation, (P, Q), self.xp)

    def columns(self, view: Array, g: int) -> Array:
        """The windows of group g's channels, one row per output pixel: (N*P*Q, R*S*C/G)."""
        N, C, P, Q, R, S = view.shape
        size = C // self.groups
        view = view[:, g * size : (g + 1) * size].transpose(0, 2, 3, 4, 5, 1)
        return view.reshape(N * P * Q, R * S * size)

    def kernels(self) -> Array:
        """The weight with its values in the order of a row of `columns`: (G, O/G, R*S*C/G)."""
        O, G = self.weight.shape[0], self.groups
        return self.weight.transpose(0, 2, 3, 1).reshape(G, O // G, -1)

    def zeros(self, dtype: Any) -> tuple[Array, Array]:
        """A zero gradient for x, and the padded one (N, H', W', C) whose middle it shows."""
        (N, C, H, W), ((top, bottom), (left, right)) = self.x.shape, self.padding
        padded = self.xp.zeros((N, H + top + bottom, W + left + right, C), dtype=dtype)
        return padded[:, top : top + H, left : left + W].transpose(0, 3, 1, 2), padded


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: IntPair = 1,
    padding: IntPair | str = 0,
    dilation: IntPair = 1,
    groups: int = 1,
) -> Tensor:
    """y[n, o, p, q] = b[o] + Σ_crs x[n, c, p·stride + r·dilation, q·stride + s·dilation] · w[o, c, r, s]

    input    (N, C, H, W) or (C, H, W)
    weight   (O, C/groups, R, S);  bias (O,)
    padding  zeros on each side: an int, a pair, "valid" (none) or "same" (P, Q = H, W; stride 1)
    returns  (N, O, P, Q) or (O, P, Q)

    Raises RuntimeError where shapes, dtypes or options do not fit each other.
    """  # noqa: E501
    return convolve(Conv2d, input, weight, bias, stride, padding, dilation, groups)


def convolve(
    kind: type[Conv2d], input: Tensor, weight: Tensor, bias: Tensor | None, stride: IntPair,
    padding: IntPair | str, dilation: IntPair, groups: int,
) -> Tensor:  # fmt: skip
    """`conv2d` by this class of ops."""
    check_tensors("conv2d", input=input, weight=weight)
    same_dtype("conv2d", input=input, weight=weight, bias=bias)
    if weight.ndim != 4 or 0 in weight.shape:
        raise RuntimeError(f"conv2d: weight must be (O, C/groups, R, S), got shape {weight.shape}")
    x, batched = as_batch("conv2d", input)
    strides = pair("conv2d", "stride", stride, 1)
    dilations = pair("conv2d", "dilation", dilation, 1)
    kernel: Pair = weight.shape[2:]  # type: ignore[assignment]
    groups = whole("conv2d", "groups", groups)
    op = kind(strides, borders(padding, kernel, strides, dilations), dilations, groups)
    O, per_group = weight.shape[:2]
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
    for axis, count in enumerate(op.output_size(x.shape, weight.shape)):
        if count < 1:
            raise RuntimeError(
                f"conv2d: the kernel spans a {('height', 'width')[axis]} of "
                f"{dilations[axis] * (kernel[axis] - 1) + 1} (dilation included), but the padded "
                f"input has only {x.shape[2 + axis] + sum(op.padding[axis])}"
            )
    return unbatch(op(x, weight) if bias is None else op(x, weight, bias), batched)


def borders(
    padding: IntPair | str, kernel: Pair, stride: Pair, dilation: Pair, name: str = "conv2d",
    error: type[Exception] = RuntimeError,
) -> tuple[Pair, Pair]:  # fmt: skip
    """((top, bottom), (left, right)): how many zeros `padding` means on each side."""
    if padding == "same":
        if stride != (1, 1):
            raise error(f"{name}: padding='same' needs stride 1, got {stride}")
        h, w = (d * (k - 1) for d, k in zip(dilation, kernel, strict=True))
        return (h // 2, h - h // 2), (w // 2, w - w // 2)
    if isinstance(padding, str):
        if padding != "valid":
            raise error(f"{name}: padding must be 'same' or 'valid', got {padding!r}")
        return (0, 0), (0, 0)
    h, w = pair(name, "padding", padding, 0)
    return (h, h), (w, w)
