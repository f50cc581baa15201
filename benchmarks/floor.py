"""What the machine can do: the rate of its matrix products and the bandwidth of its memory.

A training step needs three products of the same size per layer (forward, gradient of the input,
gradient of the weight), so it cannot be faster than 3 × multiply-adds ÷ rate.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy
from context import cores
from threadpoolctl import threadpool_limits

# A convolution as a matrix product, a few images at a time: (output pixels, R·S·C, O).
CONV_SHAPES = {
    "conv 3×3, 16 ch, 32×32": (4 * 1024, 9 * 16, 16),
    "conv 3×3, 32 ch, 16×16": (8 * 256, 9 * 32, 32),
    "conv 3×3, 64 ch, 8×8": (16 * 64, 9 * 64, 64),
}


def measure(rounds: int) -> dict[str, Any]:
    """GFLOP/s of SGEMM by shape and threads, GB/s of a copy (bytes read and bytes written)."""
    workers = cores()
    large = (1024, 1024, 1024)
    rates = {f"1024³, BLAS with {workers} threads": rate(large, 1, workers, rounds)}
    rates[f"1024³, {workers} workers × 1 thread"] = rate(large, workers, 1, rounds)
    for title, shape in CONV_SHAPES.items():
        rates[f"{title}, {workers} workers × 1 thread"] = rate(shape, workers, 1, rounds)
    return {"gflops": rates, "copy_gb_per_s": bandwidth(workers, rounds)}


def rate(shape: tuple[int, int, int], workers: int, threads: int, rounds: int) -> float:
    """GFLOP/s of all workers together; each has operands of its own, which stay in its cache."""
    M, K, N = shape
    repeat = max(4, round(4e9 / (2 * M * K * N)))
    operands = [
        (numpy.ones((M, K), "f4"), numpy.ones((K, N), "f4"), numpy.empty((M, N), "f4"))
        for _ in range(workers)
    ]

    def work(index: int) -> None:
        a, b, out = operands[index]
        for _ in range(repeat):
            numpy.matmul(a, b, out=out)

    with threadpool_limits(threads, user_api="blas"):
        seconds = together(work, workers, rounds)
    return workers * repeat * 2 * M * K * N / seconds / 1e9


def bandwidth(workers: int, rounds: int) -> float:
    """GB/s of copying arrays larger than any cache, half of it read and half written."""
    pairs = [(numpy.ones(2**24, "f4"), numpy.empty(2**24, "f4")) for _ in range(workers)]

    def work(index: int) -> None:
        source, target = pairs[index]
        numpy.copyto(target, source)

    return workers * 2 * pairs[0][0].nbytes / together(work, workers, rounds) / 1e9


def together(work: Callable[[int], None], workers: int, rounds: int) -> float:
    """Median seconds until all workers, running at once, have done their part."""
    times = []
    with ThreadPoolExecutor(workers) as pool:
        for _ in range(rounds + 1):
            start = time.perf_counter()
            list(pool.map(work, range(workers)))
            times.append(time.perf_counter() - start)
    return statistics.median(times[1:])
