"""Lesson 05, BatchNorm and skips: its mistakes and claims, and its exercises against PyTorch."""

import numpy
import parity
import pytest
from notebooks import modules_of

import minise
from minise import functional as F
from minise.teach.check import attempt, same

lesson = modules_of("05").exercises
CHECK = lesson.check

MISTAKES = [  # blank, from, to, what the hint says
    ("normalise", "(0, 2, 3)", "(2, 3)", "That is instance normalisation"),
    ("normalise", "(0, 2, 3)", "0", "one for each pixel"),
    ("normalise", "axis=(0, 2, 3), ", "", "One mean for all channels"),
    ("normalise", "(u * u).mean(", "x.var(ddof=1, ", "divided by m - 1"),
    ("normalise", "np.sqrt((u * u).mean(axis=(0, 2, 3), keepdims=True) + eps)",
     "(u.std(axis=(0, 2, 3), keepdims=True) + eps)", "eps stands outside the root"),
    ("normalise", "u / np.sqrt(", "u / (", "The root is missing"),
    ("normalise", "return u /", "return x /", "The mean was not subtracted"),
    ("grad_gamma", ".sum(", ".mean(", "is a sum, not a mean"),
    ("grad_gamma", "dy * xhat", "dy", "The factor xhat is missing"),
    ("grad_gamma", "(0, 2, 3)", "(2, 3)", "The sum stops at the pixels"),
    ("grad_gamma", "3))", "3), keepdims=True)", "Leave out keepdims"),
    ("through_scaling", "(dxhat - xhat * along)", "dxhat", "std was taken as a constant"),
    ("through_scaling", "dxhat - xhat", "dxhat + xhat", "but it has to go"),
    ("through_scaling", ".mean(", ".sum(", "A sum where a mean belongs"),
    ("through_scaling", " / std", "", "1/std is lost"),
    ("through_scaling", "(0, 2, 3)", "(2, 3)", "The mean runs over H and W only"),
    ("through_centring", " - du.mean(axis=(0, 2, 3), keepdims=True)", "", "taken as a constant"),
    ("through_centring", ".mean(", ".sum(", "A sum where a mean belongs"),
    ("through_centring", "du - ", "du + ", "The mean is added"),
    ("through_centring", "(0, 2, 3)", "(2, 3)", "The mean runs over H and W only"),
    ("through_centring", "axis=(0, 2, 3), ", "", "One mean over all channels"),
    ("grad_x", " - xhat * along", "", "The third term is lost"),
    ("grad_x", "dy - mean -", "dy -", "The second term is lost"),
    ("grad_x", "(dy - mean - xhat * along)", "dy", "as if in evaluation"),
    ("grad_x", "gamma[:, None, None]", "1", "gamma is lost"),
    ("grad_x", " / std", "", "1/std is lost"),
    ("grad_x", "/ std", "* std", "Multiplied by std"),
    ("grad_x", "dy.mean(", "dy.sum(", "a sum in the second"),
    ("grad_x", "xhat).mean(", "xhat).sum(", "a sum in the third"),
    ("grad_h", "dz + ", "", "The skip is lost"),
    ("grad_h", " + (dz * (a > 0)) @ W", "", "The branch is lost"),
    ("grad_h", "(dz * (a > 0))", "dz", "The ReLU mask is missing"),
    ("grad_h", "dz + ", "dz * (a > 0) + ", "The mask lies on the skip too"),
    ("grad_h", "@ W", "@ W.T", "The weight is transposed"),
    ("grad_h", "dz + (dz * (a > 0)) @ W", "dz * ((dz * (a > 0)) @ W)", "ways are multiplied"),
]  # fmt: skip

CLAIMS = """
assert plain[0] < 1e-9 and 0.4 < (plain[0] / plain[-1]) ** (1 / 23) < 0.55
def grows(kind, scale):  # towards layer 1
    return sizes[kind, scale][0] / sizes[kind, scale][-1]
assert grows('plain', 0.5) < 1e-6 and 0.1 < grows('plain', 1) < 1 and grows('plain', 2) > 1e6
assert 3 < grows('skips', 0.5) < 8 and grows('skips', 1) > 500 and grows('skips', 2) > 1e7
for kind, low, high in (('BatchNorm', 25, 35), ('both', 4, 8)):
    assert all(low < grows(kind, scale) < high for scale in scales.values())
    for scale in (0.5, 2):
        assert np.allclose(sizes[kind, scale], sizes[kind, 1], rtol=0.02)
last = {key: np.mean(losses[-10:]) for key, (_, losses) in runs.items()}
assert abs(last['plain', 0.001] - np.log(3)) < 0.05 and abs(last['plain', 0.1] - np.log(3)) < 0.05
# BatchNorm alone magnifies rounding in 24 layers: how far it gets differs between processors.
assert 0.6 < last['BatchNorm', 0.001] < 1.2 and last['both', 0.1] < last['BatchNorm', 0.1] < 1
assert last['skips', 0.001] < 0.3 and np.isnan(runs['skips', 0.1][1][3])
assert np.mean(runs['both', 0.001][1]) < np.mean(runs['skips', 0.001][1])
assert last['both', 0.001] < 0.2 and last['both', 0.1] < 0.05
assert all(probe[0] > 0.98 for probe in probes.values())
assert 0.6 < probes['plain'][-1] < 0.72 and probes['BatchNorm'][-1] < 0.5
assert 0.84 < probes['skips'][-1] < 0.95 and probes['both'][-1] > 0.98
assert sum_agrees and [function.__name__ for function in functions][-1] == 'your_batch_norm'
assert all(scores[key] > 0.99 for key in list(scores)[:3])
assert 0.4 < scores['train(), by colour'] < 0.9
net.train()  # the test that the text recommends does see it
alone = minise.tensor(pictures(test)[:30])
crowd = minise.tensor(pictures(test)[:60])
with minise.no_grad():
    assert not np.allclose(net(alone).numpy(), net(crowd).numpy()[:30], atol=0.01)
    net.eval()
    assert np.allclose(net(alone).numpy(), net(crowd).numpy()[:30], atol=1e-4)
"""


@pytest.mark.parametrize("name", CHECK.points)
def test_what_is_expected_of_batch_norm_is_what_pytorch_gives(name):
    torch = pytest.importorskip("torch")
    point = CHECK.points[name]
    x, gamma, beta = (
        torch.tensor(point[key], requires_grad=True) for key in ("x", "gamma", "beta")
    )
    y = torch.nn.functional.batch_norm(x, None, None, gamma, beta, training=True, eps=point["eps"])
    y.backward(torch.tensor(point["dy"]))
    for key, tensor in {"dx": x, "dgamma": gamma, "dbeta": beta}.items():
        parity.assert_close(point[key], tensor.grad.numpy(), 1e-11, key)
    xhat = (y.detach().numpy() - point["beta"][:, None, None]) / point["gamma"][:, None, None]
    parity.assert_close(point["xhat"], xhat, 1e-11, "xhat")


@pytest.mark.parametrize("name", CHECK.points)
def test_what_is_expected_of_batch_norm_is_what_minise_has(name):
    point = CHECK.points[name]
    x, gamma, beta = (
        minise.tensor(point[key], requires_grad=True) for key in ("x", "gamma", "beta")
    )
    y = F.batch_norm(x, None, None, gamma, beta, training=True, eps=point["eps"])
    y.backward(minise.tensor(point["dy"]))
    for key, tensor in {"dx": x, "dgamma": gamma, "dbeta": beta}.items():
        parity.assert_close(point[key], tensor.grad.numpy(), 1e-11, key)


@pytest.mark.parametrize("name", CHECK.points)
def test_the_two_halves_are_the_whole(name):
    """du is expected to be the gradient through u and through std, which no other test sees."""
    point = CHECK.points[name]
    g, xhat, std = point["dxhat"], point["xhat"], point["std"]
    m = xhat[:, 0].size
    for c in range(xhat.shape[1]):  # the Jacobian of u / √(mean(u²) + eps), channel by channel
        u = point["u"][:, c].ravel()
        jacobian = numpy.eye(m) / std.flat[c] - numpy.outer(u, u) / (m * std.flat[c] ** 3)
        parity.assert_close(point["du"][:, c].ravel(), jacobian @ g[:, c].ravel(), 1e-11, "du")
    centring = numpy.eye(m) - 1 / m
    parity.assert_close(
        point["dx"][:, 0].ravel(), centring @ point["du"][:, 0].ravel(), 1e-11, "dx"
    )


@pytest.mark.parametrize("name", CHECK.points)
def test_what_is_expected_of_the_skip_is_what_pytorch_gives(name):
    torch = pytest.importorskip("torch")
    point = CHECK.points[name]
    h = torch.tensor(point["h"], requires_grad=True)
    z = h + torch.relu(h @ torch.tensor(point["W"]).T)
    z.backward(torch.tensor(point["dz"]))
    parity.assert_close(point["dh"], h.grad.numpy(), 1e-12, "dh")


@pytest.mark.parametrize("exercise", CHECK.exercises.values(), ids=lambda e: e.name)
@pytest.mark.parametrize("name", CHECK.points)
def test_every_mistake_is_wrong_and_differs_from_the_others(exercise, name):
    point = CHECK.points[name]
    outcomes = [attempt(m.wrong, exercise.given(point).values()) for m in exercise.mistakes]
    assert not any(isinstance(outcome, Exception) for outcome in outcomes)
    for i, outcome in enumerate(outcomes):
        assert not same(outcome, point[exercise.answer])
        assert not any(same(outcome, other) for other in outcomes[:i])
