"""gradcheck passes what is right, and finds every mistake that was planted here."""

import numpy as np
import pytest

import minise
from minise import functional as F
from minise import gradcheck
from minise.autograd import Function
from minise.gradcheck import GradcheckError
from minise.ops import activation, arithmetic, linear, reduce
from minise.tensor import Tensor


def normal(*shape, seed=0):
    values = np.random.default_rng(seed + len(shape)).standard_normal(shape)
    return minise.tensor(values, requires_grad=True)


# --- what is right passes -----------------------------------------------------------------------

ACTIVATIONS = (
    F.relu, F.leaky_relu, F.sigmoid, F.tanh, F.silu, F.hardsigmoid, F.hardswish,
    Tensor.exp, Tensor.abs,
)  # fmt: skip


@pytest.mark.parametrize("fn", ACTIVATIONS, ids=lambda fn: fn.__name__)
def test_activations(fn):
    assert gradcheck(fn, normal(3, 4)) is True


def test_log_and_sqrt_on_their_domain():
    x = minise.tensor(np.linspace(0.5, 2, 5), requires_grad=True)
    assert gradcheck(lambda x: (x.log(), x.sqrt()), x)


@pytest.mark.parametrize("axis", [0, 1])
def test_softmax(axis):
    assert gradcheck(lambda x: F.softmax(x, axis), normal(3, 4))
    assert gradcheck(lambda x: F.log_softmax(x, axis), normal(3, 4))


def test_matmul_and_linear():
    assert gradcheck(Tensor.matmul, (normal(2, 3, 4), normal(4, 5)))
    assert gradcheck(F.linear, (normal(2, 4), normal(3, 4, seed=1), normal(3)))


def test_conv2d():
    x, weight, bias = normal(2, 4, 5, 6), normal(6, 2, 3, 3, seed=1), normal(6)
    assert gradcheck(lambda x, w, b: F.conv2d(x, w, b, 2, 1, 1, groups=2), (x, weight, bias))


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm(training):
    mean, var = minise.tensor(np.zeros(3)), minise.tensor(np.ones(3))

    def batch_norm(x, weight, bias):
        return F.batch_norm(x, mean, var, weight, bias, training, momentum=0)

    assert gradcheck(batch_norm, (normal(4, 3, 2, 2), normal(3), normal(3, seed=1)))


def test_pools():
    x = normal(1, 2, 5, 5)
    assert gradcheck(lambda x: F.max_pool2d(x, 3, 2, 1), x)
    assert gradcheck(lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True), x)
    assert gradcheck(lambda x: F.adaptive_avg_pool2d(x, (2, 3)), x)


def squeeze_and_excite(u, w1, w2):
    z = u.mean((2, 3))  # (N, C)
    gate = (z @ w1).relu() @ w2  # (N, C)
    return u * gate.sigmoid().reshape(*z.shape, 1, 1)


def test_squeeze_and_excitation():
    """Hu et al. 2018, equations 2 to 4."""
    assert gradcheck(squeeze_and_excite, (normal(2, 4, 3, 3), normal(4, 2), normal(2, 4, seed=1)))


def test_tensor_used_many_times_and_as_both_operands():
    assert gradcheck(lambda x: (x * x + x).tanh() * x - x / (x * x + 1), normal(2, 3))
    x = normal(3)
    assert gradcheck(lambda a, b: a * b, (x, x))


def test_several_outputs_some_without_gradient():
    constant = minise.tensor(np.ones(2))
    assert gradcheck(lambda x: (x * 2, (x * x).sum(), constant), normal(2))
    assert gradcheck(lambda x: [x.tanh()], normal(2))


def test_curved_functions_are_not_taken_for_kinks():
    zero = minise.tensor(np.zeros(2), requires_grad=True)
    assert gradcheck(lambda x: 1e4 * x * x, zero)
    assert gradcheck(lambda x: (30 * x).exp(), zero)


def test_op_instances_and_odd_shapes():
    assert gradcheck(reduce.Sum(axis=1), normal(2, 3))
    assert gradcheck(activation.Sigmoid(), minise.tensor(np.array(0.3), requires_grad=True))
    assert gradcheck(lambda x: x * 2, minise.tensor(np.ones((0, 2)), requires_grad=True))


def test_inputs_without_gradient_and_other_arguments_pass_through():
    assert gradcheck(lambda x, c, n: (x * c) ** n, (normal(2), minise.tensor(np.ones(2)), 3))


# --- planted mistakes are found -----------------------------------------------------------------


class LostFactor(activation.Sigmoid):
    """y · (1 - y) has become y."""

    def backward(self, grad):
        return grad * self.y


class WrongSign(arithmetic.Subtract):
    def backward(self, grad):
        return grad, grad


class OnePercentOff(activation.Tanh):
    def backward(self, grad):
        return super().backward(grad) * 1.01


class MissingMask(activation.ReLU):
    def backward(self, grad):
        return grad


class TransposedWeight(linear.MatMul):
    """Square matrices: the shapes fit all the same."""

    def backward(self, grad):
        return grad @ self.b, self.a.T @ grad


class LostCount(reduce.Mean):
    """The 1 / (H · W) of a spatial mean."""

    def backward(self, grad):
        return super().backward(grad) * self.count


class NotSummedOverCopies(arithmetic.Add):
    """The bias (1, C) was broadcast over N rows, but only one row's gradient comes back."""

    def backward(self, grad):
        return grad, grad[:1]


class NoGradientThroughStatistics(activation.Softmax):
    """As if the sum in the denominator were a constant."""

    def backward(self, grad):
        return self.y * grad


MISTAKES = {
    "lost factor": (LostFactor(), [(3, 4)]),
    "wrong sign": (WrongSign(), [(3,), (3,)]),
    "1 % off": (OnePercentOff(), [(2, 2)]),
    "missing mask": (MissingMask(), [(3, 4)]),
    "transposed weight": (TransposedWeight(), [(2, 3), (3, 3)]),
    "lost count": (LostCount((2, 3)), [(2, 2, 3, 3)]),
    "missing sum": (NotSummedOverCopies(), [(4, 3), (1, 3)]),
    "constant denominator": (NoGradientThroughStatistics(1), [(2, 3)]),
}


@pytest.mark.parametrize("directions", [0, 2])
@pytest.mark.parametrize("mistake", MISTAKES)
def test_planted_mistake_is_found(mistake, directions):
    op, shapes = MISTAKES[mistake]
    inputs = [normal(*shape, seed=i) for i, shape in enumerate(shapes)]
    with pytest.raises(GradcheckError, match=r"backward gives .* central difference gives"):
        gradcheck(op, inputs, directions=directions)


def test_gradient_of_unbroadcast_shape_is_refused_by_the_engine():
    class NoSumAtAll(arithmetic.Add):
        def backward(self, grad):
            return grad, grad

    with pytest.raises(RuntimeError, match=r"input 1 must have its shape \(3,\), got \(4, 3\)"):
        gradcheck(NoSumAtAll(), (normal(4, 3), normal(3)))


def test_overwritten_accumulation_is_found(monkeypatch):
    """An engine that keeps only the last contribution to a tensor that is used twice."""
    correct = Function.contributions

    def forgetful(self, grad):
        result = correct(self, grad)
        return (None, *result[1:]) if self.name == "multiply" else result

    square = lambda x: x * x  # noqa: E731
    assert gradcheck(square, normal(3))
    monkeypatch.setattr(Function, "contributions", forgetful)
    with pytest.raises(GradcheckError, match=r"relative error 5\.0e-01"):
        gradcheck(square, normal(3))


def test_output_cut_from_its_graph_is_found():
    with pytest.raises(GradcheckError, match="backward gives 0, "):
        gradcheck(lambda x: x.detach() * 2, normal(2))


def test_gradient_that_is_not_a_number_is_found():
    class Broken(activation.Tanh):
        def backward(self, grad):
            return grad * np.nan

    for directions in (0, 1):
        with pytest.raises(GradcheckError, match="backward gives nan"):
            gradcheck(Broken(), normal(2), directions=directions)


def test_mistake_in_one_layer_of_a_net_is_found_and_named():
    net = [normal(20, 30), normal(30, 30, seed=1), normal(30, 5, seed=2)]

    def forward(x, first, second, third):
        hidden = OnePercentOff()((x @ first) * 0.2)
        return ((hidden @ second) * 0.2).tanh() @ third

    x = normal(4, 20)
    assert sum(w.size for w in net) > 1000  # so directions are chosen by themselves
    with pytest.raises(GradcheckError, match=r"d/d(x|first) \(argument [01]\), random direction 0"):
        gradcheck(forward, (x, *net))


def test_whole_net_with_kinks_passes_with_parameters_from_outside():
    conv, bias = normal(8, 3, 3, 3), normal(8)
    w1, w2, head = normal(8, 4), normal(4, 8, seed=1), normal(8, 5, seed=2)
    x, labels = normal(4, 3, 8, 8), minise.tensor([0, 3, 2, 4])

    def loss(*_):
        u = F.max_pool2d(F.conv2d(x, conv, bias, padding=1).relu(), 2)
        return F.cross_entropy(squeeze_and_excite(u, w1, w2).mean((2, 3)) @ head, labels)

    assert gradcheck(loss, [x, conv, bias, w1, w2, head], directions=5)
    assert conv.grad is None


# --- what it says -------------------------------------------------------------------------------


def test_message_names_function_argument_index_and_values():
    class Sigmoid(Function):
        def forward(self, x):
            self.y = 1 / (1 + np.exp(-x))
            return self.y

        def backward(self, grad):
            return grad * self.y * (1 - self.y) / 2

    x = minise.tensor(np.zeros((2, 3)), requires_grad=True)
    weight = np.random.default_rng(0).standard_normal((2, 3))[0, 0]
    with pytest.raises(GradcheckError) as caught:
        gradcheck(Sigmoid(), x, seed=0)
    assert str(caught.value) == (
        f"gradcheck: sigmoid: d/dx[0, 0] (argument 0): backward gives {weight / 8:.4g}, "
        f"central difference gives {weight / 4:.4g}, relative error 5.0e-01"
    )

    def scaled(n, x):
        return Sigmoid()(x)

    with pytest.raises(GradcheckError, match=r"gradcheck: scaled: d/dx\[0, 0\] \(argument 1\)"):
        gradcheck(scaled, (3, x))
    with pytest.raises(GradcheckError, match=r"<lambda>: d/d\(argument 0\)\[0, 0\]: backward"):
        gradcheck(lambda *inputs: Sigmoid()(*inputs), x)


@pytest.mark.parametrize(
    ("fn", "values", "place"),
    [
        (F.relu, [[1.0, -1.0], [0.0, 2.0]], r"relu: d/dinput\[1, 0\]"),
        (Tensor.abs, [1.0, 0.0], r"abs: d/dself\[1\]"),
        (lambda x: x.max(0), [1.0, 2.0, 2.0], r"d/dx\[1\]"),
        (lambda x: F.max_pool2d(x, 2), [[[1.0, 3.0], [3.0, 2.0]]], r"d/dx\[0, 0, 1\]"),
    ],
    ids=["relu", "abs", "max", "max_pool2d"],
)
def test_kinks_are_told_apart_from_mistakes(fn, values, place):
    x = minise.tensor(np.array(values), requires_grad=True)
    with pytest.raises(GradcheckError, match=place + r".*not differentiable here: the slope is"):
        gradcheck(fn, x)


def test_float32_is_refused():
    x = minise.ones(2, requires_grad=True)
    with pytest.raises(ValueError, match=r"argument 0 must be float64, got float32"):
        gradcheck(F.tanh, x)
    with pytest.raises(ValueError, match=r"outputs must be float64, got float32"):
        gradcheck(lambda x: x.float(), normal(2))
    with pytest.raises(ValueError, match=r"outputs must be float64, got int"):
        gradcheck(lambda x: 3, normal(2))


def test_inputs_that_cannot_be_checked():
    with pytest.raises(ValueError, match="no input requires a gradient"):
        gradcheck(F.tanh, minise.tensor(np.ones(2)))
    with pytest.raises(ValueError, match="argument 0 must be a leaf"):
        gradcheck(F.tanh, normal(2) * 2)


def test_random_functions_are_recognised():
    with pytest.raises(GradcheckError, match="not deterministic"):
        gradcheck(lambda x: F.dropout(x, 0.5), normal(10))


# --- it leaves no trace -------------------------------------------------------------------------


def test_inputs_are_left_as_they_were():
    array = np.random.default_rng(0).standard_normal((3, 4)).T
    array[0, 0] = -0.0
    array.flags.writeable = False
    bits, x = array.tobytes(), Tensor(array, requires_grad=True)
    x.grad = grad = minise.ones(4, 3)

    def fails_late(x):
        fails_late.calls += 1
        if fails_late.calls == 5:
            raise KeyError("fn broke")
        return x * 2

    fails_late.calls = 0
    gradcheck(lambda x: x * 2, x)
    for fn, error in ((LostFactor(), GradcheckError), (fails_late, KeyError)):
        with pytest.raises(error):
            gradcheck(fn, x)
    assert x.data is array
    assert array.tobytes() == bits
    assert x.grad is grad
    assert minise.is_grad_enabled()


def test_same_seed_same_check():
    def message(seed):
        with pytest.raises(GradcheckError) as caught:
            gradcheck(LostFactor(), normal(2), seed=seed)
        return str(caught.value)

    assert message(1) == message(1) != message(2)


def test_is_exported():
    assert minise.gradcheck is gradcheck
    assert callable(gradcheck)
    assert issubclass(minise.GradcheckError, RuntimeError)
