"""Solutions of lesson 05. Try the check's hints first: they name the mistake, this only ends it."""

import numpy as np


def normalise(x, eps):
    u = x - x.mean(axis=(0, 2, 3), keepdims=True)
    return u / np.sqrt((u * u).mean(axis=(0, 2, 3), keepdims=True) + eps)


def grad_gamma(dy, xhat):
    return (dy * xhat).sum(axis=(0, 2, 3))  # used at every pixel of every image


def through_scaling(dxhat, xhat, std):
    along = (dxhat * xhat).mean(axis=(0, 2, 3), keepdims=True)
    return (dxhat - xhat * along) / std  # a longer u has a larger std: nothing is won that way


def through_centring(du):
    return du - du.mean(axis=(0, 2, 3), keepdims=True)  # a shift of all values moves the mean too


def grad_x(dy, gamma, xhat, std):
    mean = dy.mean(axis=(0, 2, 3), keepdims=True)
    along = (dy * xhat).mean(axis=(0, 2, 3), keepdims=True)
    return gamma[:, None, None] / std * (dy - mean - xhat * along)


def grad_h(dz, a, W):
    return dz + (dz * (a > 0)) @ W  # the skip, and the branch
