"""Solutions of lesson 06. Try the check's hints first: they name the mistake, this only ends it."""

import numpy as np


def squeeze(x):
    return x.mean(axis=(2, 3))


def excite(z, W1, b1, W2, b2):
    h = np.maximum(z @ W1.T + b1, 0)
    return 1 / (1 + np.exp(-(h @ W2.T + b2)))


def scale(x, s):
    return x * s[:, :, None, None]


def parameters(C, r):
    J = C // r
    return J * C + J + C * J + C  # W1, b1, W2, b2


def fold(weight, gates):
    return weight * gates[:, None, None, None]  # each kernel makes one output channel


# "Your turn": with the mean of both images' gates, both images are wrong, each by about 0.35.
