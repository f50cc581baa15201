"""nn.SEBlock by itself: what it computes, what it keeps, what it refuses."""

import gc
import weakref
from functools import partial

import numpy
import parity
import pytest

import minise
from minise import nn
from minise.models.blocks import BasicBlock
from minise.models.fusion import se_add
from minise.models.options import Options


def images(*shape):
    return minise.tensor(numpy.random.RandomState(0).standard_normal(shape), requires_grad=True)


def test_it_is_the_formula_of_the_paper():
    se, u = nn.SEBlock(8, 2).double(), images(2, 8, 3, 5)
    W1, b1, W2, b2 = (parameter.numpy() for parameter in se.parameters())
    z = u.numpy().mean(axis=(2, 3))  # (N, C)
    s = 1 / (1 + numpy.exp(-(numpy.maximum(z @ W1.T + b1, 0) @ W2.T + b2)))  # (N, C)
    y = se(u)
    parity.assert_close(y.numpy(), s[:, :, None, None] * u.numpy(), 1e-13, "y")
    parity.assert_close(se.gate.numpy(), s[:, :, None, None], 1e-13, "gate")


@pytest.mark.parametrize("squeeze", ["avg", "max"])
@pytest.mark.parametrize("gate", ["sigmoid", "tanh", "relu", "hardsigmoid"])
@pytest.mark.parametrize("with_shortcut", [False, True])
def test_gradcheck(squeeze, gate, with_shortcut):
    minise.manual_seed(1)
    se = nn.SEBlock(6, hidden=3, squeeze=squeeze, gate=gate).double()
    tensors = [images(2, 6, 3, 3)] + [images(2, 6, 3, 3)] * with_shortcut
    block = partial(se_add, se) if with_shortcut else se
    assert minise.gradcheck(block, tensors)


def test_both_gradient_paths_add_up_to_the_whole():
    """du = dy · s + dz / (H·W), each path computed by itself as the docstring has it."""
    se, u = nn.SEBlock(4, 2).double(), images(2, 4, 3, 3)
    dy = numpy.random.RandomState(2).standard_normal(u.shape)
    se(u).backward(minise.tensor(dy))
    z = minise.tensor(u.numpy().mean(axis=(2, 3)), requires_grad=True)  # (N, C)
    ds = (dy * u.numpy()).sum(axis=(2, 3), keepdims=True)  # (N, C, 1, 1)
    se.excite(z).backward(minise.tensor(ds))
    direct, through_gate = dy * se.gate.numpy(), z.grad.numpy()[:, :, None, None] / 9
    assert numpy.abs(through_gate).max() > 1e-3
    parity.assert_close(u.grad.numpy(), direct + through_gate, 1e-12, "du")


def test_gate_is_kept_without_history():
    se = nn.SEBlock(16)
    assert se.gate is None
    y = se(minise.randn(3, 16, 4, 4))
    assert se.gate.shape == (3, 16, 1, 1)
    assert se.gate.op is None
    assert not se.gate.requires_grad
    assert "gate" not in se.state_dict()
    graph = weakref.ref(y)
    gc.disable()  # reference counting alone must free the graph
    try:
        del y
        assert graph() is None
    finally:
        gc.enable()


def test_a_standard_block_scales_and_adds_in_one_op():
    block = BasicBlock(16, 16, 1, 1, Options(se=True))
    names, to_visit = [], [block(minise.randn(2, 16, 4, 4))]
    while to_visit:
        op = to_visit.pop().op
        if op is not None:
            names.append(op.name)
            to_visit.extend(op.inputs)
    assert names.count("axpy_relu") == 1
    assert "add" not in names  # the shortcut is added there and nowhere else


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"reduction": 0}, "reduction must lie between 1 and the 16 channels, got 0"),
        ({"reduction": -4}, "reduction must lie between 1 and the 16 channels, got -4"),
        ({"reduction": 17}, "reduction must lie between 1 and the 16 channels, got 17"),
        ({"hidden": 0}, "channels and hidden must be positive, got 16 and 0"),
        ({"gate": "softmax"}, "gate must be one of .*'hardsigmoid'.*, got 'softmax'"),
        ({"squeeze": "sum"}, r"squeeze must be one of \['avg', 'max'\], got 'sum'"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=f"SEBlock: {message}"):
        nn.SEBlock(16, **arguments)


def test_hidden_overrides_the_ratio():
    assert nn.SEBlock(16, 16, hidden=5).fc1.weight.shape == (5, 16)
    assert nn.SEBlock(4, hidden=8).fc2.weight.shape == (4, 8)  # the ratio then plays no part
    assert [*dict(nn.SEBlock(16, bias=False).named_parameters())] == ["fc1.weight", "fc2.weight"]


def test_wrong_channels_say_where():
    with pytest.raises(RuntimeError, match=r"linear: input \(2, 8\).*\(in module fc1\)"):
        nn.SEBlock(16)(minise.zeros(2, 8, 3, 3))


def test_a_dead_hidden_unit_without_bias_leaves_every_gate_at_one_half():
    se = nn.SEBlock(16, bias=False)
    nn.init.constant_(se.fc1.weight, -1)
    se(minise.ones(2, 16, 3, 3))
    assert (se.gate.numpy() == 0.5).all()
