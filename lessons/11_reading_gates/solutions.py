"""Solutions of lesson 11. Try the check's hints first: they name the mistake, this only ends it."""

import numpy as np


def class_means(gates, labels):
    return np.stack([gates[labels == k].mean(axis=0) for k in range(labels.max() + 1)])


def explained(gates, labels):
    overall = gates.mean(axis=0)
    means = np.stack([gates[labels == k].mean(axis=0) for k in range(labels.max() + 1)])
    between = ((means[labels] - overall) ** 2).sum()
    return between / ((gates - overall) ** 2).sum()


def kind(mean, spread, share):
    if spread < 0.001:
        return "dead"
    if mean < 0.05 or mean > 0.95:
        return "saturated"
    return "class-specific" if share > 0.5 else "class-agnostic"


def by_mean(gates):
    return np.broadcast_to(gates.mean(axis=0), gates.shape)


def shuffled(gates, order):
    return gates[order]


def repaint(images, frame, colour):
    painted = images.copy()
    painted[:, :, frame] = 0
    painted[:, colour, frame] = 255
    return painted
