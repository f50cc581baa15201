"""Solutions of lesson 08. Try the check's hints first: they name the mistake, this only ends it."""

import numpy as np


def slope(v):
    s = 1 / (1 + np.exp(-v))
    return s * (1 - s)


def grad_W2(ds, s, h):
    return (ds * s * (1 - s)).T @ h  # three factors; the product with h sums over the images


def gates_when_dead(b2):
    return 1 / (1 + np.exp(-b2))  # h = 0, so v = b2, whatever the image


def chance_all_off(J):
    return 0.5**J


def decayed(W, lr, weight_decay, steps):
    return W * (1 - lr * weight_decay) ** steps
