"""Solutions of lesson 02. Try the check's hints first: they name the mistake, this only ends it."""

import numpy as np


def multiply_backward(grad, a, b):
    return grad * b, grad * a


def sum_backward(grad, x):
    return np.broadcast_to(grad, x.shape)  # every element counted in full


def newest(waiting):
    return max(waiting, key=lambda tensor: tensor.order)


def add_up(arrived, contribution):
    return contribution if arrived is None else arrived + contribution


# "Your turn": the rule of a subtraction is `lambda grad: (grad, -grad)`.
