"""The fast kernels of the GPU: what the plain ops of minise.ops compute, in CUDA C++.

Each file offers some under KERNELS, by the name that an op's class asks for, as on the CPU. The .cu
files hold the kernels, the .py files of the same name launch them, and launch.py compiles them.

Convolutions come in three ways, best read in this order: the plain op, im2col and a matrix product
(columns.cu), that product without the matrix (conv.cu). The last computes nearly all of them; where
it does not cover one, with a stride and a dilation at once, columns.cu does: see layers.py.

Images (N, C, H, W) lie in channels-last memory, (N, H, W, C), as on the CPU. A pixel under a tap of
a convolution is then a row of C numbers: one instruction reads four channels, and one check for the
border, one address does for the four. BatchNorm sees a matrix of pixels and channels.

- Kernels get contiguous (N, H, W, C), ops return the view (N, C, H, W) of what they made: see
  layout.py. What is in another order is copied once: the first batch, and what CuPy itself computes
  in between, which comes out in C order. For sums of gradients there is `add`.
- A convolution's weights (O, C, R, S) are copied to (O, R, S, C), unless they are 1 × 1; their
  gradient is written as (O, C, R, S), as the optimiser wants it.

float32 is computed as float32; in a block of `backend.tf32()`, convolutions and linear layers go to
the tensor cores, from the same layout.

No kernel waits for the GPU, none calls cuBLAS: all of them can be captured in a CUDA graph. No sum
of floats depends on the order of blocks: the same inputs give the same bits.
"""

from __future__ import annotations

from ...registry import Kernel
from . import adam, conv, elementwise, index, layers, loss, norm, pool, se, sgd
from .layout import add
from .loss import LabelCheck
from .parameters import copies

ROOMS = (layers, norm, se, elementwise, pool, loss, index)
KERNELS: dict[str, Kernel] = {
    name: kernel for room in ROOMS for name, kernel in room.KERNELS.items()
}
