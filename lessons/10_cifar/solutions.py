"""Solutions of lesson 10. Try the check's hints first: they name the mistake, this only ends it."""

import numpy as np

import minise
from minise import functional as F


def guessing_loss(classes):
    return -np.log(1 / classes)


def train(net, optimizer, batches):
    net.train()
    losses = []
    for images, labels in batches:
        loss = F.cross_entropy(net(minise.tensor(images)), minise.tensor(labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def accuracy(net, images, labels):
    net.eval()
    with minise.no_grad():
        logits = net(minise.tensor(images)).numpy()  # (N, classes)
    return (logits.argmax(axis=1) == labels).mean()


def gain(with_se, without):
    variances = [np.var(runs, ddof=1) / len(runs) for runs in (with_se, without)]
    return np.array([np.mean(with_se) - np.mean(without), np.sqrt(sum(variances))])
