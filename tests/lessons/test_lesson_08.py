"""Lesson 08, when gates stop learning: its mistakes, its claims, and PyTorch on its numbers."""

import numpy
import parity
import pytest
from notebooks import modules_of

from minise.teach.check import attempt, same

lesson = modules_of("08").exercises
CHECK = lesson.check

MISTAKES = [  # blank, from, to, what the hint says
    ("slope", "s * (1 - s)", "s", "That is σ(v) itself"),
    ("slope", "1 / (1 + np.exp(-v))", "v", "v was taken for σ(v)"),
    ("slope", "s * (1 - s)", "1 - s", "Half of the slope is missing"),
    ("slope", "s * (1 - s)", "1 - np.tanh(v) ** 2", "the slope of tanh"),
    ("grad_W2", " * s * (1 - s)", "", "The factor σ′ is missing"),
    ("grad_W2", " * (1 - s)", "", "Half of σ′ is missing"),
    ("grad_W2", "@ h", "@ (h * 0 + 1)", "The factor h is missing"),
    ("grad_W2", "(ds * s * (1 - s)).T @ h", "h.T @ (ds * s * (1 - s))", "The result is transposed"),
    ("grad_W2", "@ h", "@ h / len(h)", "the mean over the images"),
    ("gates_when_dead", "1 / (1 + np.exp(-b2))", "np.zeros(len(b2))", "Nothing closes"),
    ("gates_when_dead", "1 / (1 + np.exp(-b2))", "b2", "That is v"),
    ("gates_when_dead", "-b2", "-np.maximum(b2, 0)", "ReLU sits between"),
    ("gates_when_dead", "-b2", "-0 * b2", "right without a bias only"),
    ("chance_all_off", "0.5**J", "1 - 0.5**J", "at least one unit is on"),
    ("chance_all_off", "0.5**J", "0.5 / J", "Chances of independent events multiply"),
    ("chance_all_off", "0.5**J", "1 / (J + 1)", "one of them has every unit off"),
    ("chance_all_off", "**J", "** (J - 1)", "One coin too many"),
    ("decayed", " ** steps", "", "That is one step"),
    ("decayed", "lr * ", "", "The learning rate is missing"),
    ("decayed", "(1 - lr * weight_decay) ** steps", "np.exp(-lr * weight_decay * steps)", "Close"),
    ("decayed", "lr * weight_decay) ** steps", "lr * weight_decay * steps)", "were added up"),
    (
        "decayed",
        "W * (1 - lr * weight_decay) ** steps",
        "W - lr * weight_decay * steps",
        "A constant",
    ),
]

CLAIMS = """
# the histograms
assert (arriving["open"] == 0).all()
for name in ("default", "W2 = 0"):
    assert np.mean((arriving[name] > 0.01) & (arriving[name] < 0.32)) > 0.9
share = np.mean(arriving["large input"] < 1e-4)
assert 0.2 < share < 0.8
# six starts
final = {name: curve[-1] for name, curve in losses.items()}
assert max(final["default"], final["W2 = 0"]) < 0.005 < constant
for name in ("all 0", "large input"):
    assert constant < final[name] < 1.05 * constant
    s, _ = gates(blocks[name], inputs[name])
    assert np.ptp(s.numpy(), axis=0).max() == 0
assert (start("large input").fc1(minise.tensor(100 * z)).numpy() > 0).mean() > 0.3
s = gates(start("large input"), 100 * z)[0].numpy()
assert round(100 * np.mean((s < 0.01) | (s > 0.99))) == 44
dying = start("large input")
optimizer = optim.SGD(dying.parameters(), lr=1.0, momentum=0.9)
for any_on in (True, False):
    ((gates(dying, 100 * z)[0] - wanted) ** 2).mean().backward()
    optimizer.step()
    optimizer.zero_grad()
    assert (dying.fc1(minise.tensor(100 * z)).numpy() > 0).any() == any_on
for name in ("open", "one unit"):
    assert len(set(losses[name])) == 1
for name in ("W2 = 0", "all 0", "one unit"):
    assert (gates(start(name), z)[0].numpy() == 0.5).all()
none = start("one unit")
gates(none, z)[0].sum().backward()
assert not none.fc1.weight.grad.numpy().any() and not none.fc2.weight.grad.numpy().any()
unbiased = nn.SEBlock(16, reduction=4, bias=False)
v, v30 = (gates(unbiased, k * z)[1].numpy() for k in (1, 30))
assert np.allclose(v30, 30 * v, rtol=1e-3, atol=1e-5)
# few channels
assert 0.2 < dead["behind ReLU, no bias"][0] < 0.27 < dead["behind ReLU, with bias"][0] < 0.32
assert all(0.05 < dead[f"behind ReLU, {bias} bias"][1] < 0.09 for bias in ("no", "with"))
assert not dead["behind BatchNorm, no bias"].any()
assert 0.1 < dead["behind BatchNorm, with bias"][0] < 0.14
assert all((shares <= 0.5**units).all() and shares[3] == 0 for shares in dead.values())
assert all(shares[2] < 0.02 for shares in dead.values())
# decay
assert np.ptp(before) > 0.95 and np.abs(after - 0.5).max() < 0.06
assert np.allclose(decayed(W_before, 0.1, 5e-4, 60_000), W_after, rtol=1e-3)
assert round(100 * (1 - 0.1 * 5e-4) ** 60_000) == 5
# nobody asks
s = gates(unasked, z)[0].numpy()
assert np.abs(s - 0.65).max() < 0.03 and s.std(axis=0).max() < 0.01
assert (unasked.fc1(minise.tensor(z)).numpy() > 0).mean() > 0.2
# break it: the last net is the open one
assert tests == [True, True, True, False, False]
assert round(1 / (1 + np.exp(-2)), 2) == 0.88 and round(slope(np.array(2.0)) / 0.25, 2) == 0.42
wide, wide_z = start("open").double(), z.astype("float64")
curve = train(wide, wide_z, wanted.to("float64"))
assert wide.fc2.weight.grad.numpy().any() and curve[-1] > 0.999 * curve[0]
"""


@pytest.mark.parametrize("name", CHECK.points)
def test_what_is_expected_is_what_pytorch_gives(name):
    torch = pytest.importorskip("torch")
    point = CHECK.points[name]
    at = {k: torch.from_numpy(v) for k, v in point.items() if isinstance(v, numpy.ndarray)}

    v = at["v"].clone().requires_grad_()
    torch.sigmoid(v).sum().backward()
    parity.assert_close(point["slope"], v.grad.numpy(), 1e-12, "slope")

    W = at["W"].clone().requires_grad_()
    s = torch.sigmoid(at["h"] @ W.T)
    s.backward(at["ds"])
    parity.assert_close(point["s"], s.detach().numpy(), 1e-12, "s")
    parity.assert_close(point["dW2"], W.grad.numpy(), 1e-12, "dW2")

    parity.assert_close(point["gates"], torch.sigmoid(at["b2"]).numpy(), 1e-12, "gates")

    W = torch.nn.Parameter(at["W"].clone())
    W.grad = torch.zeros_like(W)
    optimizer = torch.optim.SGD([W], lr=point["lr"], weight_decay=point["weight_decay"])
    for _ in range(point["steps"]):
        optimizer.step()
    parity.assert_close(point["W_after"], W.detach().numpy(), 1e-12, "W_after")


@pytest.mark.parametrize("name", CHECK.points)
def test_the_counted_chance_is_the_closed_formula(name):
    point = CHECK.points[name]
    assert (point["chance"] == 0.5 ** point["J"]).all()


@pytest.mark.parametrize("exercise", CHECK.exercises.values(), ids=lambda e: e.name)
@pytest.mark.parametrize("name", CHECK.points)
def test_every_mistake_is_wrong_and_differs_from_the_others(exercise, name):
    point = CHECK.points[name]
    outcomes = [
        attempt(mistake.wrong, exercise.given(point).values()) for mistake in exercise.mistakes
    ]
    assert outcomes
    for i, outcome in enumerate(outcomes):
        assert not same(outcome, point[exercise.answer])
        assert not any(same(outcome, other) for other in outcomes[:i])
