"""A trace says what the engine did: every contribution, every sum, and nothing else happens."""

from __future__ import annotations

import warnings

import numpy
import op_cases
import parity
import pytest
from scripts import run_script
from se_by_hand import by_hand

import minise
from minise import functional as F
from minise import models, nn
from minise.autograd import Function
from minise.tracing.rules import definitions, rule_of
from minise.tracing.values import Values, corner


def small_block():
    """An SE block in float64 and what a textbook says about its backward: (trace, arrays)."""
    minise.manual_seed(0)
    se = nn.SEBlock(4, reduction=2).double()
    stream = numpy.random.RandomState(0)
    u = minise.tensor(stream.standard_normal((2, 4, 3, 2)), requires_grad=True)
    dy = minise.tensor(stream.standard_normal((2, 4, 3, 2)))
    y = se(u)
    return minise.trace(y, dy), u, y, dy, se


def assert_equal(values, array):
    """A Values against the array that it should have been made from."""
    assert values.shape == array.shape
    numpy.testing.assert_array_equal(values.shown, array[corner(array.shape)])


# --- against .grad --------------------------------------------------------------------------------


@pytest.mark.slow
def test_contributions_sum_to_the_gradient_for_every_op():
    """All cases that are compared with PyTorch: the ledger of each input adds up to its .grad."""
    compared = 0
    for case in op_cases.of():
        arrays = case.arrays("float64")
        tensors = [
            minise.Tensor(array, given.differentiable and array.dtype.kind == "f")
            for array, given in zip(arrays, case.inputs)
        ]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            results = parity.as_tuple(case.ours(parity.OURS, *tensors))
            for number, result in enumerate(results):
                if result.op is None:
                    continue
                upstream = minise.Tensor(case.upstream(number, result.shape, result.dtype))
                names = {f"x{i}": tensor for i, tensor in enumerate(tensors)}
                trace = minise.trace(result, upstream, names=names)
                assert all(tensor.grad is None for tensor in tensors), case.id
                result.backward(upstream)
                for name, tensor in names.items():
                    if tensor.grad is not None:
                        check_ledger(trace.ledger(name), tensor.grad.numpy(), case.id)
                        compared += 1
                        tensor.grad = None
    assert compared > 1500


def check_ledger(ledger, gradient, what):
    total = 0.0
    for number, step in enumerate(ledger, 1):
        assert step.arrival == number
        total = step.value.shown if number == 1 else total + step.value.shown
        numpy.testing.assert_array_equal(step.total.shown, total, err_msg=what)
    if ledger:
        assert_equal(ledger[-1].total, gradient)
    else:  # an input that the result does not depend on
        assert not gradient.any(), what


def test_two_uses_in_one_op():
    x = minise.tensor([3.0, -1.0], requires_grad=True)
    y = (x * x).sum()
    first, second = minise.trace(y).ledger("x")
    assert (first.role, second.role) == ("through multiply, as a", "through multiply, as b")
    assert first.total.shown.tolist() == [3.0, -1.0]
    assert second.total.shown.tolist() == [6.0, -2.0]


def test_the_paths_of_an_se_block_are_what_the_paper_says():
    """du = dy · s + dz / (H·W), each term on its own, from closed formulas."""
    trace, u, _, dy, se = small_block()
    x, g = u.numpy(), dy.numpy()
    w1, b1, w2, b2 = (p.numpy() for p in se.parameters())
    z = x.mean(axis=(2, 3))
    a1 = z @ w1.T + b1
    h = numpy.maximum(a1, 0)
    s = 1 / (1 + numpy.exp(-(h @ w2.T + b2)))
    ds = (g * x).sum(axis=(2, 3))
    da2 = ds * s * (1 - s)
    da1 = (da2 @ w2) * (a1 > 0)
    dz = da1 @ w1
    scale, squeeze = trace.ledger("u")
    assert (scale.role, squeeze.role) == ("scale path", "squeeze path")
    numpy.testing.assert_allclose(scale.value.shown, g * s[:, :, None, None], rtol=1e-12)
    expected = numpy.broadcast_to(dz[:, :, None, None] / 6, x.shape)
    numpy.testing.assert_allclose(squeeze.value.shown, expected, rtol=1e-12)
    numpy.testing.assert_allclose(squeeze.total.shown, g * s[:, :, None, None] + expected)
    for name, gradient in {
        "fc1.weight": da1.T @ z, "fc1.bias": da1.sum(0),
        "fc2.weight": da2.T @ h, "fc2.bias": da2.sum(0),
    }.items():  # fmt: skip
        (step,) = trace.ledger(name)
        numpy.testing.assert_allclose(step.total.shown, gradient, rtol=1e-12)


# --- what else is recorded ------------------------------------------------------------------------


def test_nodes_of_a_product():
    a = minise.tensor([[1.0], [2.0]], requires_grad=True)
    b = minise.tensor([3.0, 4.0, 5.0])
    y = a * b
    trace = minise.trace(y, minise.ones(2, 3))
    assert [(node.name, node.kind) for node in trace.nodes] == [
        ("a", "input"), ("b", "constant"), ("y", "op"),
    ]  # fmt: skip
    node = trace.node("y")
    assert (node.op, node.formula, node.parameters) == ("multiply", "y = a · b", ("a", "b"))
    assert node.inputs == (0, 1)
    assert node.value.shown.tolist() == [[3, 4, 5], [6, 8, 10]]
    (step,) = trace.contributions  # none to b, which needs no gradient
    assert (step.rule, step.equation) == ("da = dy · b", "∂L/∂a += ∂L/∂y · b")
    assert step.operands == (("b", 1),)
    assert step.gradient.shown.tolist() == [[1, 1, 1]] * 2
    assert step.value.shown.tolist() == [[12], [12]]
    assert (step.repeated, step.reduced) == ((1,), ())


def test_a_number_that_is_used_twice():
    """Sums of arrays without axes are NumPy's numbers, not arrays."""
    x = minise.tensor(3.0, requires_grad=True)
    trace = minise.trace(x * x)
    assert [step.total.shown.item() for step in trace.ledger("x")] == [3, 6]


def test_source_lines_are_those_that_ran():
    x = minise.tensor([1.0], requires_grad=True)
    node = minise.trace((x * 2).exp()).nodes[-1]
    (forward,), (backward,) = node.forward, node.backward
    assert forward.place.startswith("minise/ops/pointwise.py:")
    signature, body = forward.lines.split("\n", 1)
    assert signature == "def forward(self, x: Array) -> Array:"
    assert body.startswith("    self.y = self.xp.exp(x)")
    assert backward.lines == "def backward(self, grad: Array) -> Any:\n    return grad * self.y"


@pytest.mark.fast_kernels
def test_source_lines_of_a_fast_kernel():
    x = minise.randn(1, 2, 4, 4)
    x.requires_grad = True
    layer = nn.Conv2d(2, 3, 3)
    (fast,) = minise.trace(layer(x).sum()).node("conv2d").backward
    assert fast.place.startswith("minise/backend/cpu/kernels/conv.py:")
    with minise.backend.plain():
        (plain,) = minise.trace(layer(x).sum()).node("conv2d").backward
    assert plain.place.startswith("minise/ops/conv.py:")


def test_an_op_of_ones_own():
    class Twice(Function):
        formula = "y = 2x"

        def forward(self, x):
            return 2 * x

        def backward(self, grad):
            return 2 * grad

    x = minise.tensor(1.0, requires_grad=True)
    trace = minise.trace(Twice()(x))
    node = trace.node("twice")
    assert node.forward[0].place.startswith("test_trace.py:")
    assert trace.contributions[0].rule == ""


def test_module_paths_and_names():
    net = models.create("se_resnet20", num_classes=3)
    images = minise.randn(2, 3, 8, 8)
    loss = F.cross_entropy(net(images), minise.tensor([0, 2]))
    trace = minise.trace(loss)
    assert trace.node("images").kind == "constant"
    assert trace.node("layer1.0.se.fc1.weight").kind == "parameter"
    assert {name for name, _ in net.named_parameters()} <= {node.name for node in trace.nodes}
    assert trace.modules["layer1.0.se"] == "SEBlock"
    assert {node.path for node in trace.nodes} >= {"conv1", "layer2.1.bn1", "layer3.0.se.fc2"}
    for name, parameter in net.named_parameters():
        assert_equal(trace.node(name).value, parameter.numpy())
    roles = {
        step.role
        for step in trace.contributions
        if trace.nodes[step.op].path == "layer1.1.se" and trace.arrivals[step.source] > 1
    }
    assert roles == {"scale path", "squeeze path", "shortcut"}
    loss.backward()
    for name, parameter in net.named_parameters():
        assert_equal(trace.ledger(name)[-1].total, parameter.grad.numpy())


def test_names_are_those_of_the_caller():
    x = minise.tensor([1.0, 2.0], requires_grad=True)
    _hidden = x * 2
    y = (_hidden * x).sum()
    assert [node.name for node in minise.trace(y).nodes if node.kind != "constant"] == [
        "x", "multiply₁", "multiply₂", "y",
    ]  # fmt: skip
    given = minise.trace(y, names={"weights": x, "other": 3, "unused": minise.ones(2)})
    assert [node.name for node in given.nodes if node.named] == ["weights"]
    assert not any(node.named for node in minise.trace(y, names={}).nodes)
    with pytest.raises(KeyError, match="no tensor is called 'x', only: weights, constant"):
        given.node("x")


@pytest.mark.parametrize(
    ("forward", "shape", "repeated", "reduced"),
    [
        (lambda x: x + minise.ones(4, 2, 3), (3,), (0, 1), ()),
        (lambda x: x + minise.ones(2, 3), (2, 3), (), ()),
        (lambda x: x * minise.ones(2, 3), (2, 1), (1,), ()),
        (lambda x: x.expand(4, 3), (1, 3), (0,), ()),
        (lambda x: F.linear(minise.ones(5, 3), minise.ones(2, 3), x), (2,), (0,), ()),
        (lambda x: F.linear(x, minise.ones(2, 3)), (5, 3), (), ()),
        (lambda x: F.conv2d(minise.ones(2, 2, 4, 4), minise.ones(3, 2, 2, 2), x),
         (3,), (0, 2, 3), ()),
        (lambda x: x.sum(), (2, 3), (), (0, 1)),
        (lambda x: x.mean(axis=1), (2, 3), (), (1,)),
        (lambda x: x.amax(axis=(0, 2), keepdims=True), (2, 3, 4), (), (0, 2)),
        (lambda x: F.adaptive_avg_pool2d(x, 1), (1, 2, 3, 4), (), (2, 3)),
        (lambda x: x.reshape(6), (2, 3), (), ()),
        (lambda x: x @ minise.ones(3, 2), (4, 3), (), ()),
    ],
)  # fmt: skip
def test_axes_that_are_summed_or_repeated(forward, shape, repeated, reduced):
    x = minise.zeros(*shape)
    x.requires_grad = True
    y = forward(x)
    (step,) = minise.trace(y, minise.ones(*y.shape)).contributions
    assert (step.repeated, step.reduced) == (repeated, reduced)


@pytest.mark.parametrize(
    ("op", "parameters", "argument", "rule"),
    [
        ("multiply", ("a", "b"), 1, "db = dy · a"),
        ("linear", ("x", "weight", "bias"), 1, "dW = dyᵀ @ x"),
        ("linear", ("x", "weight"), 1, "dW = dyᵀ @ x"),
        ("batch_norm", ("x", "weight", "bias"), 2, "dβ = Σ dy"),
        ("axpy", ("scale", "u", "shortcut"), 2, "dx = dy"),
        ("axpy_relu", ("scale", "u", "shortcut"), 0,
         "ds = Σ_hw dv · u,  dv = dy where y > 0, else 0"),
        ("where", ("condition", "a", "b"), 2, "db = dy where not condition"),
        ("hardswish", ("x",), 0,
         "dx = 0 where x <= -3,  dy where x >= 3,  dy · (2x + 3) / 6 between"),
        ("cat", ("x_1", "x_2"), 1, "dx_i = the part of dy that came from x_i"),
    ],
)  # fmt: skip
def test_the_rule_of_each_input(op, parameters, argument, rule):
    (cls,) = (cls for cls in all_ops() if cls.name == op)
    assert rule_of(cls.__new__(cls), argument, parameters) == rule


def all_ops(cls=Function):
    for sub in cls.__subclasses__():
        if sub.__module__.startswith("minise."):
            yield sub
            yield from all_ops(sub)


def test_every_op_can_be_explained():
    for cls in all_ops():
        if cls.formula:
            assert cls.derivative, cls
            assert definitions(cls.__new__(cls), "forward"), cls


# --- break it -------------------------------------------------------------------------------------


def test_cutting_an_edge_gives_the_gradients_of_a_graph_without_it():
    """Each of the 13 edges; the reference detaches the tensor where it is used, and runs again."""
    trace, u, y, dy, se = small_block()
    leaves = [u, *se.parameters()]
    names = ["u", "fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"]
    right = by_hand(leaves, dy)
    ops = [node.index for node in trace.nodes if node.op]
    assert len(trace.contributions) == 13
    for step in trace.contributions:
        wrong = by_hand(leaves, dy, cut=(ops.index(step.op), step.argument))
        changed = {n for n, a, b in zip(names, right, wrong) if not numpy.array_equal(a, b)}
        assert {trace.nodes[k].name for k in step.cut} == changed
        assert changed
        for name, expected in zip(names, wrong):
            if name in changed:
                shown = step.cut[trace.node(name).index].shown
                numpy.testing.assert_allclose(shown, expected, rtol=1e-13)
    assert u.grad is None
    y.backward(dy)  # the graph is as it was
    numpy.testing.assert_allclose(u.grad.numpy(), right[0], rtol=1e-13)


def test_a_large_graph_is_not_tried_without_its_edges():
    x = minise.zeros(3)
    x.requires_grad = True
    y = x
    for _ in range(60):
        y = y + 1
    assert minise.trace(y.sum()).contributions[0].cut is None


# --- nothing else happens -------------------------------------------------------------------------


def test_the_trace_keeps_copies():
    x = minise.tensor([1.0, 2.0], requires_grad=True)
    trace = minise.trace((x * x).sum())
    x.data[...] = 7
    assert trace.node("x").value.shown.tolist() == [1, 2]


def test_existing_gradients_stay():
    x = minise.tensor([1.0, 2.0], requires_grad=True)
    (x * 3).sum().backward()
    y = (x * x).sum()
    minise.trace(y)
    assert x.grad.numpy().tolist() == [3, 3]
    y.backward()
    assert x.grad.numpy().tolist() == [5, 7]


def test_nothing_is_imported_before_it_is_used():
    code = "import sys, minise; print([m for m in sys.modules if 'minise.tracing' in m])"
    assert run_script(code) == "[]"


# --- bad input ------------------------------------------------------------------------------------


def test_a_tensor_without_a_graph():
    x = minise.ones(2)
    for tensor in (x, x * 2, minise.tensor(1.0, requires_grad=True)):
        with pytest.raises(RuntimeError, match="trace: this tensor has no graph; it has to be"):
            minise.trace(tensor)
    with pytest.raises(TypeError, match="trace: loss must be a Tensor, got float"):
        minise.trace(1.0)


def test_a_freed_graph():
    y = (minise.tensor([1.0], requires_grad=True) * 2).sum()
    y.backward()
    with pytest.raises(RuntimeError, match="graph behind sum was already freed"):
        minise.trace(y)


def test_a_gradient_is_needed_for_several_elements():
    y = minise.tensor([1.0, 2.0], requires_grad=True) * 2
    with pytest.raises(RuntimeError, match="only for a tensor of one element, got shape"):
        minise.trace(y)
    with pytest.raises(RuntimeError, match="must have the tensor's shape"):
        minise.trace(y, minise.ones(3))


def test_values_that_are_not_finite():
    values = Values.of(numpy.array([1.0, numpy.nan, -numpy.inf, 3.0]))
    assert (values.minimum, values.maximum, values.nonfinite) == (1, 3, 2)
    assert values.norm == pytest.approx(10**0.5)
    nothing = Values.of(numpy.array([numpy.nan]))
    assert (nothing.minimum, nothing.maximum, nothing.norm) == (None, None, 0)


def test_large_arrays_keep_a_corner():
    array = numpy.random.RandomState(0).standard_normal((6, 5, 8, 9)).astype("float32")
    values = Values.of(array)
    numpy.testing.assert_array_equal(values.shown, array[:1, :1, :5, :5])
    assert not values.whole
    assert (values.minimum, values.maximum) == (array.min(), array.max())
    assert values.norm == pytest.approx(numpy.linalg.norm(array.ravel()))
    assert Values.of(numpy.arange(500)).shown.tolist() == [*range(16)]
    assert Values.of(numpy.zeros((2, 0))).whole


# --- text -----------------------------------------------------------------------------------------


def test_print():
    a = minise.tensor([2.0, -1.0], requires_grad=True)
    y = (a * a).sum()
    assert str(minise.trace(y)) == (
        "Trace of y (): 2 ops, 3 contributions\n"
        "\n"
        "forward   op        formula    shape  values\n"
        "a         input                (2,)   2.000  −1.000\n"
        "multiply  multiply  y = a · b  (2,)   4.000  1.000\n"
        "y         sum       y = Σ x    ()     5.000\n"
        "\n"
        "backward      rule                                 contribution  values         arrived\n"
        "y → multiply  dx = dy, the same for every summand  (2,)          1.000  1.000   1 of 1\n"
        "multiply → a  da = dy · b                          (2,)          2.000  −1.000  1 of 2\n"
        "multiply → a  db = dy · a                          (2,)          2.000  −1.000  2 of 2\n"
        "\n"
        "gradients that are sums (norms)\n"
        "a.grad = [through multiply, as a 2.236] + [through multiply, as b 2.236] = 4.472"
    )


def test_print_of_a_long_trace_is_cut():
    y = minise.tensor(1.0, requires_grad=True)
    for _ in range(300):
        y = y * 1.0
    lines = str(minise.trace(y)).splitlines()
    assert len(lines) < 140
    assert any("more ..." in line for line in lines)
