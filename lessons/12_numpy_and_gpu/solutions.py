"""Solutions of lesson 12. Try the check's hints first: they name the mistake, this only ends it."""

import numpy as np


def finish_times(asked, work):
    free, done = 0, []
    for moment, ticks in zip(asked, work):
        free = max(moment, free) + ticks
        done.append(free)
    return np.array(done)


def measure(step, clock, synchronize):
    synchronize()  # what was asked for earlier is not ours
    start = clock()
    step()
    synchronize()  # until the last op is done
    return clock() - start


def bytes_moved(batch, activations, weights):
    return 4 * (batch * activations + weights)


def attainable(intensity, peak, bandwidth):
    return np.minimum(peak, bandwidth * intensity)
