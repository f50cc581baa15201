"""Lesson 01, finite differences: what test_lessons.py plants and asserts; the six suspects."""

import numpy
import parity
import pytest
from notebooks import modules_of

lesson = modules_of("01").exercises
CHECK = lesson.check

MISTAKES = [  # blank, from, to, what the hint says
    ("central", "f(x - h)) / (2 * h)", "f(x)) / h", "a step to one side only"),
    ("central", "/ (2 * h)", "/ h", "The two points lie 2h apart"),
    ("central", "/ (2 * h)", "/ 2 * h", "divides by 2 and then multiplies by h"),
    ("central", "(f(x + h) - f(x - h))", "(f(x - h) - f(x + h))", "The sign is turned"),
    ("partial", "step = np.zeros(x.shape)\n    step[index] = h", "step = h", "All elements moved"),
    ("partial", "f(x - step)) / (2 * h)", "f(x)) / h", "a step to one side only"),
    ("partial", "    return (f(x + step) - f(x - step)) / (2 * h)",
     "    x += step\n    right = f(x)\n    x -= 2 * step\n    return (right - f(x)) / (2 * h)",
     "x was moved and not put back"),
    ("partial", "    return (f(x + step) - f(x - step)) / (2 * h)",
     "    up = down = x\n    up += step\n    down -= step\n    return (f(up) - f(down)) / (2 * h)",
     "right, left and x are one array"),
    ("relative_error", " / np.maximum(larger, 1e-8)", "", "That is the absolute error"),
    ("relative_error", "np.maximum(np.abs(a), np.abs(b))", "np.maximum(a, b)",
     "The larger of a and b is not"),
    ("relative_error", "np.maximum(np.abs(a), np.abs(b))", "np.abs(b)", "Divided by |b| alone"),
    ("relative_error", "np.maximum(larger, 1e-8)", "np.maximum(larger, 1e-8).max()",
     "Divided by the largest value of all"),
    ("along", ".sum()", "", "now add them up"),
    ("along", ".sum()", ".mean()", "A sum, not a mean"),
    ("along", "(gradient * d).sum()", "gradient.sum() * d.sum()", "not the product of two sums"),
    ("along", "(gradient * d).sum()", "gradient @ d", "@ is the matrix product"),
    ("directional", "h * d", "d", "The step is d itself"),
    ("directional", "h * d", "h", "Only h was added"),
    ("directional", "(2 * h)", "(2 * h * np.sqrt((d * d).sum()))", "Divided by the length of d"),
    ("directional", "/ (2 * h)", "/ h", "The two points lie 2h apart"),
    ("guilty", " and nearby[name].max() > 1e-3", "", "its point lay on a kink"),
    ("guilty", "max()", "mean()", "hardly moves the mean"),
    ("guilty", " and ", " or ", "one large error is enough for `or`"),
    ("guilty", "max()", "min()", "not every element has to be wrong"),
]  # fmt: skip

CLAIMS = """
def near(best, dtype):
    return np.median(errors[dtype][(steps > best / 3) & (steps < best * 3)])

assert near(6e-6, np.float64) < 1e-9 < 1e-6 < near(5e-3, np.float32) < 1e-4
assert all(near(6e-6, np.float64) < near(far, np.float64) / 100 for far in (1e-9, 1e-3))
assert all(near(5e-3, np.float32) < near(far, np.float32) / 10 for far in (1e-5, 0.1))
assert 95 < near(1e-2, np.float64) / near(1e-3, np.float64) < 105
assert near(1e-3, np.float64) < np.array(one_side)[np.argmin(abs(steps - 1e-3))] / 100

found = use(guilty)(here, nearby)
assert found == ["matmul", "softmax", "mean of squares", "smooth"]
wrong_at = [i for i, error in enumerate(here["smooth"]) if error > 1e-3]
assert wrong_at == [0, 199] and here["smooth"].mean() < 0.005
assert np.allclose(here["mean of squares"], 0.5, atol=1e-3)
_, f, gradient, x_relu = next(s for s in suspects() if s.name == "relu")
assert abs(use(partial)(f, x_relu, (2,), 1e-5)) > 0.1 and gradient(x_relu)[2] == 0
assert start.size == 274_847 and error < 1e-6

def relu_masks(h):
    net_loss(start + h * d)
    y = F.cross_entropy(net(images), labels)
    outputs = (s.output.numpy() for s in minise.backward_steps(y) if "relu" in s.op.name)
    return np.concatenate([(output > 0).ravel() for output in outputs])

assert 350_000 < relu_masks(0).size < 400_000
crossed = [(relu_masks(h) != relu_masks(-h)).sum() for h in (1e-4, 1e-8)]
assert crossed[0] > 200 and crossed[1] < 10

class More(CarelessSoftmax):
    def backward(self, grad):
        return grad - grad.mean(axis=-1, keepdims=True)

x.grad = None
More()(x).sum().backward()
assert np.allclose(x.grad.numpy(), measured, rtol=0, atol=1e-9)
"""


def test_the_slopes_with_a_step_tend_to_pytorchs_gradient():
    torch = pytest.importorskip("torch")
    for name in ("x of shape (2, 3)", "x of shape (4,)"):
        point = lesson.check.points[name]
        x = torch.tensor(point["x"], requires_grad=True)
        weights = torch.arange(1, x.numel() + 1).reshape(x.shape)
        loss = (weights * x**3).sum()
        assert point["f"](point["x"]) == pytest.approx(loss.item(), rel=1e-14)
        loss.backward()
        fine = lesson.of_cubes(point["x"], point["index"], seed=0, h=1e-9)
        assert fine["slope"] == pytest.approx(x.grad[point["index"]].item(), rel=1e-12)
        along = (x.grad.numpy() * fine["d"]).sum()
        assert fine["slope_along_d"] == pytest.approx(along, rel=1e-12)


@pytest.mark.parametrize("suspect", lesson.suspects(), ids=lambda suspect: suspect.name)
def test_four_suspects_are_guilty_and_two_are_not(suspect):
    """Held against complex steps, f(x + ih) = f(x) + ih f'(x): no difference, so no rounding."""
    if suspect.name == "relu":
        upstream = [suspect.f(row) for row in numpy.eye(6)]  # ReLU of a unit vector is itself
        parity.assert_close(suspect.gradient(suspect.x), upstream * (suspect.x > 0), 0, "relu")
        return
    steps = 1e-30j * numpy.eye(suspect.x.size)
    slopes = [suspect.f(suspect.x + step.reshape(suspect.x.shape)).imag / 1e-30 for step in steps]
    error = lesson.relative_error(suspect.gradient(suspect.x).ravel(), numpy.array(slopes))
    if suspect.name == "sigmoid":
        assert error.max() < 1e-14
    else:
        assert error.max() > 0.4


def test_the_lessons_own_answers_are_right():
    for name in lesson.check.exercises:
        assert lesson.check(getattr(lesson, name)).state == "right"
