"""An op of one's own is computed by its own code, whatever it is called.

A class with the name of an op of minise, or a subclass of one, must never be replaced by a fast
kernel: `gradcheck` would then check the kernel and find every wrong backward right.
"""

from __future__ import annotations

import numpy
import pytest
import strict_array
from kernel_cases import elementwise

import minise
from minise import Tensor, backend
from minise.autograd import Function
from minise.backend import Backend, Kernel
from minise.backend.cpu.kernels import KERNELS as CPU
from minise.backend.gpu.kernels import KERNELS as GPU
from minise.ops import activation, arithmetic, conv, fused, index, linear, loss, norm, pool

N, C, H, W = IMAGES = (2, 3, 4, 6)
GATES = (N, C, 1, 1)

# Every class that is open to kernels: options, and its inputs: shapes, or constants.
OPS: dict[type[Function], tuple[tuple, tuple]] = {
    **dict.fromkeys(elementwise({**CPU, **GPU}).values(), ((), (IMAGES,))),
    activation.LogSoftmax: ((1,), ((5, 4),)),
    arithmetic.Multiply: ((), (IMAGES, GATES)),
    conv.Conv2d: ((), (IMAGES, (5, C, 3, 3))),
    fused.Conv2dReLU: ((), (IMAGES, (5, C, 3, 3))),
    fused.BatchNormReLU: ((), (IMAGES, (C,), (C,))),
    fused.AddReLU: ((), (IMAGES, IMAGES)),
    fused.Axpy: ((), (GATES, IMAGES, IMAGES)),
    fused.AxpyReLU: ((), (GATES, IMAGES, IMAGES)),
    index.Index: ((numpy.array([1, 0, 1]),), (IMAGES,)),
    linear.Linear: ((), ((4, 3), (5, 3))),
    loss.NLLLoss: ((), ((4, 3), numpy.array([0, 2, 1, 1]), numpy.array([0.5, 1, 2]))),
    norm.BatchNorm: ((), (IMAGES, (C,), (C,))),
    pool.MaxPool2d: (((2, 2), (2, 2)), (IMAGES,)),
    pool.AvgPool2d: (((2, 2), (2, 2)), (IMAGES,)),
    pool.AdaptiveAvgPool2d: (((1, 1),), (IMAGES,)),
}
ORDERS = ("contiguous", "channels last", "reversed")

each_op = pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
each_order = pytest.mark.parametrize("order", ORDERS)


def laid_out(array: numpy.ndarray, order: str) -> numpy.ndarray:
    """The same numbers in another order of memory."""
    if order == "channels last" and array.ndim == 4:
        return array.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2)
    return array[::-1].copy()[::-1] if order == "reversed" else array


def inputs(op: type[Function], order: str) -> list[Tensor]:
    draw = numpy.random.default_rng(0)
    return [
        Tensor(given)
        if isinstance(given, numpy.ndarray)
        else Tensor(laid_out(draw.standard_normal(given), order), requires_grad=True)
        for given in OPS[op][1]
    ]


def trebled(op: Function, grad: numpy.ndarray):
    """A wrong backward: three times the right one."""
    parts = super(type(op), op).backward(grad)
    parts = parts if isinstance(parts, tuple) else (parts,)
    return tuple(None if part is None else 3 * part for part in parts)


def own_class(op: type[Function], **methods) -> type[Function]:
    """A class of the same name, derived from `op`: what a learner writes who changes an op."""
    return type(op.__name__, (op,), {"name": op.name, **methods})


def claims_everything(kernels: dict[str, Kernel]) -> dict[str, Kernel]:
    """The same table, whose kernels say that every call suits them."""
    return {name: kernel._replace(suits=lambda *_: True) for name, kernel in kernels.items()}


@pytest.fixture(params=["CPU's table", "GPU's table"])
def table(request, monkeypatch):
    """NumPy with the table of one of the backends, in which each kernel claims every call.

    The GPU's kernels cannot run here: calling one would be an error of its own.
    """
    home = backend.get("numpy")
    offers = claims_everything(CPU if request.param == "CPU's table" else GPU)
    stand_in = Backend("numpy", numpy, numpy.ndarray, numpy.asarray, offers=offers)
    backend.register(stand_in)
    yield stand_in.kernels
    backend.register(home)


def test_every_class_that_is_open_to_kernels_is_tried(table):
    assert {*table} <= {*OPS}


def test_no_op_was_forgotten():
    by_name = {op.name for op in OPS}
    assert {*CPU, *GPU} == by_name


@each_op
@each_order
def test_the_ops_of_minise_are_right(op, order):
    """The positive control: without a mistake, gradcheck accepts all of them."""
    options, tensors = OPS[op][0], inputs(op, order)
    assert minise.gradcheck(lambda *given: op(*options)(*given), tensors)


@each_op
@each_order
def test_a_wrong_backward_of_a_class_of_that_name_is_caught(op, order, table):
    own = own_class(op, backward=trebled)
    options, tensors = OPS[op][0], inputs(op, order)
    with pytest.raises(minise.GradcheckError):
        minise.gradcheck(lambda *given: own(*options)(*given), tensors)


@each_op
@each_order
def test_a_forward_of_its_own_is_computed(op, order, table):
    own = own_class(op, forward=lambda self, *arrays: arrays[0] * 7)
    options, tensors = OPS[op][0], inputs(op, order)
    numpy.testing.assert_array_equal(own(*options)(*tensors).data, tensors[0].data * 7)


@each_order
def test_the_learner_s_relu(order):
    """As it was reported: on channels-last input this passed."""

    class ReLU(Function):
        def forward(self, x):
            self.passes = x > 0
            return numpy.where(self.passes, x, 0)

        def backward(self, grad):
            return 3 * grad * self.passes

    with pytest.raises(minise.GradcheckError, match="backward gives"):
        minise.gradcheck(lambda x: ReLU()(x), inputs(activation.ReLU, order))


def test_kernels_of_a_name_belong_to_one_class():
    with pytest.raises(ValueError, match=r"kernels 'relu' belong to minise\.ops\.activation\.ReLU"):

        class Mine(Function, kernel="relu"):
            pass


def test_a_kernel_of_one_s_own_is_taken(monkeypatch):
    class Double(Function):
        def forward(self, x):
            return 2 * x

    kernel = Kernel(lambda op, x: True, lambda op, x: x + x + 1, lambda op, grad: grad)
    monkeypatch.setitem(backend.get("numpy").kernels, Double, kernel)
    assert Double()(minise.ones(1)).item() == 3
    with backend.plain():
        assert Double()(minise.ones(1)).item() == 2


def test_on_another_backend_too():
    backend.register(strict_array.strict_backend())

    class Index(index.Index):
        def backward(self, grad):
            return 3 * super().backward(grad)

    x = Tensor(strict_array.to_strict(numpy.ones(3)), requires_grad=True)
    Index(slice(0, 2))(x).sum().backward()
    assert x.grad.numpy().tolist() == [3, 3, 0]
