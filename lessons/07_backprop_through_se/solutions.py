"""Solutions of lesson 07. Try the check's hints first: they name the mistake, this only ends it."""

import numpy as np


def grad_s(dy, x):
    return (dy * x).sum(axis=(2, 3))  # a gate was used at every pixel: add up what they send back


def grad_W2(dv, h):
    return dv.T @ h  # sums over the images, which all used the same weight


def grad_b2(dv):
    return dv.sum(axis=0)  # every image used the same bias


def grad_h(dv, W2):
    return dv @ W2


def grad_a(dh, a):
    return dh * (a > 0)  # nothing passes where ReLU gave 0


def grad_W1(da, z):
    return da.T @ z


def grad_b1(da):
    return da.sum(axis=0)


def grad_z(da, W1):
    return da @ W1


def gate_path(dz, x):
    H, W = x.shape[2:]
    return np.broadcast_to(dz[:, :, None, None] / (H * W), x.shape)


def grad_x(dy, s, gate):
    return dy * s[:, :, None, None] + gate
