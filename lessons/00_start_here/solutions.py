"""Solutions of lesson 00. Try the check's hints first: they name the mistake, this only ends it."""

import minise


def slope(x):
    return 2 * x


def first_gradient(values):
    x = minise.tensor(values, requires_grad=True)
    y = (x * x).sum()
    y.backward()
    return x.grad.numpy()


def step(x, grad, lr):
    return x - lr * grad  # against the gradient: downhill
