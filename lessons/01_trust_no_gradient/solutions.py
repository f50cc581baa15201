"""Solutions of lesson 01. Try the check's hints first: they name the mistake, this only ends it."""

import numpy as np


def central(f, x, h):
    return (f(x + h) - f(x - h)) / (2 * h)


def partial(f, x, index, h):
    step = np.zeros(x.shape)
    step[index] = h
    return (f(x + step) - f(x - step)) / (2 * h)


def relative_error(a, b):
    larger = np.maximum(np.abs(a), np.abs(b))
    return np.abs(a - b) / np.maximum(larger, 1e-8)


def along(gradient, d):
    return (gradient * d).sum()


def directional(f, x, d, h):
    return (f(x + h * d) - f(x - h * d)) / (2 * h)


def guilty(here, nearby):
    return [name for name in here if here[name].max() > 1e-3 and nearby[name].max() > 1e-3]
