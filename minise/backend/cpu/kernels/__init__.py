"""The fast kernels of the CPU: what the plain ops of minise.ops compute, in less time.

Each file offers some under KERNELS, by the name that an op's class asks for (`kernel="relu"`); see
minise.backend.registry for how the two find each other.

All of them think in channels-last memory: a row of C numbers per pixel. The matrix product of a
convolution reads and writes such rows, and a value per channel is then a value per column.
"""

from __future__ import annotations

from ...registry import Kernel
from . import adam, conv, elementwise, loss, norm, pool, se, sgd
from .elementwise import add

ROOMS = (conv, norm, se, pool, elementwise, loss)
KERNELS: dict[str, Kernel] = {
    name: kernel for room in ROOMS for name, kernel in room.KERNELS.items()
}
