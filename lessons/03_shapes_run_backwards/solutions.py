"""Solutions of lesson 03. Try the check's hints first: they name the mistake, this only ends it."""

import numpy as np


def sum_backward(ds, x):
    return np.broadcast_to(ds[:, None], x.shape)  # every summand counted once, with slope 1


def sum_added(dy, c):
    return dy.sum(axis=tuple(range(dy.ndim - c.ndim)))


def sum_stretched(dg, c):
    return dg.sum(axis=tuple(i for i, n in enumerate(c.shape) if n == 1), keepdims=True)


def grad_a(dm, b):
    return dm @ b.T  # Σ_j dm[i, j] · b[k, j]


def grad_b(dm, a):
    return a.T @ dm  # Σ_i a[i, k] · dm[i, j]


def grad_B(dM, A):
    return (A.swapaxes(1, 2) @ dM).sum(axis=0)  # every matrix of the batch met the same B
