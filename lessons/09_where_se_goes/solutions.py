"""Solutions of lesson 09. Try the check's hints first: they name the mistake, this only ends it."""


def standard(x, branch, shortcut, se, relu):
    return relu(se(branch(x)) + shortcut(x))


def pre(x, branch, shortcut, se, relu):
    return relu(branch(se(x)) + shortcut(x))


def post(x, branch, shortcut, se, relu):
    return se(relu(branch(x) + shortcut(x)))


def identity(x, branch, shortcut, se, relu):
    return relu(branch(x) + se(shortcut(x)))


def se_parameters(widths, r):
    J = widths // r
    return (2 * widths * J + J + widths).sum()  # two matrices, two biases, all blocks
