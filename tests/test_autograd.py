"""The engine: graphs, the walk back through them, what it leaves behind, and Python's protocols."""

import gc
import threading
import tracemalloc
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strict_array import strict_backend, to_strict

import minise
from minise import Tensor, backward_steps, gradcheck
from minise.autograd import Function


def leaf(*values, dtype=np.float32):
    return minise.tensor(np.array(values, dtype=dtype), requires_grad=True)


class Spy(Function):
    """y = 2x; counts how often its backward runs."""

    def __init__(self):
        self.log = []

    def forward(self, x):
        return 2 * x

    def backward(self, grad):
        self.log.append(grad)
        return 2 * grad


# --- gradients over graphs ----------------------------------------------------------------------


def test_diamond():
    x = leaf(3.0)
    a = x * 2
    y = a * a + a.tanh() * 0  # a is used three times
    y.backward()
    assert x.grad.item() == 8 * 3


def test_diamond_of_diamonds_doubles_at_each_floor():
    x = y = leaf(1.0)
    for _ in range(30):
        y = y + y
    y.backward()
    assert x.grad.item() == 2.0**30


def test_newest_first_waits_for_all_contributions():
    """The short way back to `early` must not be walked on before the long one has arrived."""
    x = leaf(1.0)
    early = x * 3
    late = early
    for _ in range(5):
        late = late * 2
    (early + late).backward()
    assert x.grad.item() == 3 * (1 + 2**5)


def test_tensor_used_many_times():
    x = leaf(1.0)
    y = x
    for _ in range(1000):
        y = y + x
    y.backward()
    assert x.grad.item() == 1001


def test_dead_branch_gets_no_gradient_and_costs_no_work():
    x, unused = leaf(2.0), leaf(5.0)
    spy = Spy()
    log = spy.log
    dead = spy(x) * unused
    (x * x).backward()
    assert x.grad.item() == 4
    assert unused.grad is None
    assert log == []
    assert dead.requires_grad  # and is still whole
    dead.backward()
    assert unused.grad.item() == 4


def test_inputs_that_need_no_gradient_get_none():
    x, constant = leaf(2.0), minise.tensor([3.0])
    (x * constant).backward()
    assert x.grad.item() == 3
    assert constant.grad is None
    assert not (constant * 2).requires_grad
    assert (constant * 2).op is None


def test_what_counts_is_whether_a_gradient_was_wanted_when_the_op_ran():
    late, frozen = minise.tensor([2.0]), leaf(3.0)
    y = late * frozen
    late.requires_grad, frozen.requires_grad = True, False
    y.backward()
    assert late.grad is None
    assert frozen.grad.item() == 2


@pytest.mark.parametrize("gradient_once", [True, False])
def test_a_needed_gradient_that_backward_leaves_out_is_zero(gradient_once):
    class Forgets(Function):
        def forward(self, a, b):
            return a + b

        def backward(self, grad):
            return grad, None

    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    y = Forgets()(a, b)
    (y if gradient_once else y + b).backward(minise.ones(2))
    assert a.grad.numpy().tolist() == [1, 1]
    assert b.grad.numpy().tolist() == ([0, 0] if gradient_once else [1, 1])


@pytest.mark.slow
def test_chain_of_100_000_ops():
    """Neither the walk nor the death of the graph may use the call stack."""
    x = y = leaf(1.0)
    for _ in range(100_000):
        y = -y
    y.backward()
    assert x.grad.item() == 1
    for _ in range(100_000):  # and a graph that nobody walked
        y = -y
    del y


def test_two_backwards_accumulate():
    x = leaf(1.0, 2.0)
    (x * 3).sum().backward()
    first = x.grad
    (x * x).sum().backward()
    assert x.grad.numpy().tolist() == [3 + 2, 3 + 4]
    assert first.numpy().tolist() == [3, 3]  # whoever kept the old gradient still has it


def test_freed_graph_says_so():
    x = leaf(2.0)
    y = x.tanh()
    loss = y * y
    loss.backward()
    with pytest.raises(
        RuntimeError, match=r"graph behind multiply was already freed.*retain_graph"
    ):
        loss.backward()
    with pytest.raises(RuntimeError, match="graph behind tanh was already freed"):
        (y * 3).backward()


def test_retain_graph():
    x = leaf(3.0)
    loss = x * x
    for times in (1, 2, 3):
        loss.backward(retain_graph=True)
        assert x.grad.item() == 6 * times
    loss.backward()
    with pytest.raises(RuntimeError, match="already freed"):
        loss.backward()


def test_two_losses_share_a_graph():
    x = leaf(2.0)
    shared = x * x
    first, second = shared * 3, shared * 5
    first.backward(retain_graph=True)
    second.backward()
    assert x.grad.item() == (3 + 5) * 4


def test_retain_grad():
    x = leaf(2.0)
    y = x * 3
    y.retain_grad()
    z = y * y
    z.backward()
    assert y.grad.item() == 12
    assert z.grad is None
    assert x.grad.item() == 36
    with pytest.raises(RuntimeError, match="retain_grad: this tensor does not require"):
        minise.ones(1).retain_grad()


def test_detach_shares_memory_and_cuts_history():
    x = leaf(2.0)
    y = x * 3
    constant = y.detach()
    assert constant.data is y.data
    assert not constant.requires_grad
    (y * constant).backward()
    assert x.grad.item() == 6 * 3


# --- where backward starts ----------------------------------------------------------------------


def test_gradient_argument():
    x = leaf(1.0, 2.0)
    y = x * x
    y.backward(minise.tensor([10.0, 100.0]))
    assert x.grad.numpy().tolist() == [20, 400]


def test_gradient_argument_must_fit():
    y = leaf(1.0, 2.0) * 2
    with pytest.raises(RuntimeError, match=r"only for a tensor of one element, got shape \(2,\)"):
        y.backward()
    with pytest.raises(RuntimeError, match=r"must have the tensor's shape \(2,\), got \(1, 2\)"):
        y.backward(minise.ones(1, 2))
    with pytest.raises(TypeError, match="gradient must be a Tensor, got ndarray"):
        y.backward(np.ones(2))
    y.backward(minise.ones(2))  # nothing was freed by the failures


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_one_element_of_any_shape_is_a_loss(shape):
    x = minise.full(shape, 3.0, requires_grad=True)
    (x * x).backward()
    assert x.grad.shape == shape
    assert x.grad.item() == 6


def test_tensor_without_graph():
    with pytest.raises(RuntimeError, match="does not require a gradient and has no graph"):
        minise.ones(1).backward()


def test_leaf_is_its_own_graph():
    x = leaf(5.0)
    x.backward()
    assert x.grad.item() == 1


def test_only_floats_can_require_gradients():
    for values in ([1, 2], [True]):
        with pytest.raises(RuntimeError, match="only floating point tensors can require gradients"):
            minise.tensor(values, requires_grad=True)


def test_gradient_has_the_dtype_of_its_tensor():
    for dtype in (np.float16, np.float32, np.float64):
        x = leaf(1.0, 2.0, dtype=dtype)
        (x * 2).tanh().sum().backward()
        assert x.grad.dtype == dtype


# --- whose memory a gradient is -----------------------------------------------------------------


def test_gradients_own_their_memory():
    x, y = leaf(1.0, 2.0), leaf(3.0, 4.0)
    start = minise.ones(2)
    (x + y).backward(start)
    x.grad.data += 5
    assert y.grad.numpy().tolist() == [1, 1]
    assert start.numpy().tolist() == [1, 1]


def test_gradient_of_a_sum_can_be_written_to():
    x = leaf(1.0, 2.0, 3.0)
    x.sum().backward()
    x.grad.data *= 2  # inside backward it was one number, shown three times
    assert x.grad.numpy().tolist() == [2, 2, 2]


def test_read_only_inputs_stay_untouched():
    array = np.array([1.0, -2.0])
    array.flags.writeable = False
    x = Tensor(array, requires_grad=True)
    start = Tensor(np.broadcast_to(1.0, 2))
    (x * x + x.relu()).backward(start)
    assert x.data is array
    assert array.tolist() == [1, -2]
    assert x.grad.numpy().tolist() == [3, -4]


def test_memory_order_of_gradients_is_kept():
    x = Tensor(np.zeros((2, 5, 4, 3)).transpose(0, 3, 2, 1), requires_grad=True)
    (x * 2).backward(Tensor(np.ones_like(x.data)))
    assert x.grad.data.strides == x.data.strides


# --- a graph dies with its last reference -------------------------------------------------------


@pytest.fixture
def no_collector():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def small_net(x):
    return ((x * x).tanh() + x.sigmoid()).sum()


@pytest.mark.parametrize("retain_graph", [None, False, True])
def test_no_cycles(no_collector, retain_graph):
    x = leaf(1.0, 2.0)
    loss = small_net(x)
    last_op = weakref.ref(loss)
    if retain_graph is not None:
        loss.backward(retain_graph=retain_graph)
    del loss
    assert last_op() is None
    assert gc.collect() == 0


def test_no_cycles_after_an_error(no_collector):
    class Fails(Function):
        def forward(self, x):
            return x

        def backward(self, grad):
            raise KeyError("broken")

    def attempt():
        x = leaf(1.0, 2.0)
        middle = x * x
        loss = Fails()(middle).sum()
        found = weakref.ref(middle)
        with pytest.raises(KeyError):
            loss.backward()
        assert x.grad is None
        return found

    attempt()
    gc.collect()  # pytest's own
    assert attempt()() is None


def test_no_cycles_after_an_abandoned_walk(no_collector):
    loss = small_net(leaf(1.0, 2.0))
    steps = backward_steps(loss)
    next(steps)
    found = weakref.ref(loss)
    del steps, loss
    assert found() is None
    assert gc.collect() == 0


def test_memory_returns_without_the_collector(no_collector):
    x = leaf(*np.linspace(-1, 1, 10_000))
    tracemalloc.start()
    try:
        small_net(x).backward()
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(20):
            small_net(x).backward()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < x.data.nbytes


def test_saved_arrays_go_while_backward_walks():
    """When an op has done its part, nothing of it is kept: memory falls, step by step."""
    x = leaf(1.0, 2.0)
    ops = []
    for step in backward_steps(small_net(x)):
        ops.append(step.op)
        assert all(vars(op) == {} for op in ops[:-1])
    assert len(ops) == 5


# --- no_grad, and what belongs to a thread ------------------------------------------------------


def test_no_grad():
    x = leaf(1.0)
    with minise.no_grad():
        assert not minise.is_grad_enabled()
        y = x * 2
    assert minise.is_grad_enabled()
    assert y.op is None
    assert not y.requires_grad
    assert (x * y).requires_grad


def test_no_grad_as_a_decorator():
    @minise.no_grad()
    def double(x):
        return x * 2

    assert [double(leaf(1.0)).requires_grad for _ in range(2)] == [False, False]
    assert minise.is_grad_enabled()


def test_no_grad_nests_and_survives_errors():
    with minise.no_grad():
        with pytest.raises(KeyError), minise.no_grad():
            raise KeyError
        assert not minise.is_grad_enabled()
    assert minise.is_grad_enabled()


def test_backward_runs_inside_no_grad():
    x = leaf(3.0)
    y = x * x
    with minise.no_grad():
        y.backward()
    assert x.grad.item() == 6
    assert x.grad.op is None


def test_grad_mode_belongs_to_its_thread():
    seen = []

    def look():
        seen.append(minise.is_grad_enabled())

    with minise.no_grad():
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
        look()
    assert seen == [True, False]


def test_threads_build_and_walk_graphs_side_by_side():
    results = {}

    def work(n):
        x = leaf(float(n))
        for _ in range(50):
            small_net(x).backward()
        results[n] = x.grad.item()

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    alone = dict(results)
    for n in range(4):
        work(n)
    assert results == alone


# --- backward_steps -----------------------------------------------------------------------------


def test_steps_come_newest_first_and_add_up():
    x, w = leaf(1.0, 2.0), leaf(3.0, 4.0)
    loss = ((x * w).tanh() + x * x + w).sum()
    orders, totals = [], {id(x): 0, id(w): 0}
    for step in backward_steps(loss):
        orders.append(step.output.order)
        assert step.output.op is step.op
        assert step.gradient.shape == step.output.shape
        for tensor, contribution in zip(step.op.inputs, step.contributions):
            if id(tensor) in totals:
                totals[id(tensor)] = totals[id(tensor)] + contribution
    assert orders == sorted(orders, reverse=True)
    assert len(orders) == 6
    for tensor in (x, w):
        np.testing.assert_array_equal(tensor.grad.data, totals[id(tensor)])


def test_steps_of_a_tensor_used_twice_by_one_op():
    x = leaf(3.0)
    (step,) = backward_steps(x * x)
    assert [c.tolist() for c in step.contributions] == [[3], [3]]


def test_steps_tell_where_no_gradient_is_needed():
    (step,) = backward_steps(leaf(3.0) * minise.tensor([2.0]))
    assert step.contributions[1] is None


def test_abandoned_walk_changes_no_grad():
    x = leaf(1.0, 2.0)
    y = x * x
    y.retain_grad()
    loss = y.sum()
    for _ in backward_steps(loss, retain_graph=True):
        pass
    grads = x.grad, y.grad
    steps = backward_steps(loss)
    next(steps)
    next(steps)
    steps.close()
    assert (x.grad, y.grad) == grads or (x.grad is grads[0] and y.grad is grads[1])
    with pytest.raises(RuntimeError, match="already freed"):
        loss.backward()


def test_nothing_happens_before_the_first_step_is_asked_for():
    loss = leaf(1.0) * 2
    steps = backward_steps(loss)
    loss.backward()
    with pytest.raises(RuntimeError, match="already freed"):
        next(steps)


def test_steps_over_a_graph_that_another_walk_has_freed():
    x = leaf(1.0)
    y = x * 2
    steps = backward_steps(y.tanh())
    next(steps)
    (y * y).backward()
    assert x.grad.item() == 8
    with pytest.raises(RuntimeError, match="graph behind multiply was already freed"):
        next(steps)
    assert x.grad.item() == 8


def test_consumers_may_keep_all_steps():
    x = leaf(1.0, 2.0)
    steps = list(backward_steps(small_net(x), retain_graph=True))
    assert [step.op.name for step in steps] == ["sum", "add", "sigmoid", "tanh", "multiply"]
    assert all(step.op.inputs for step in steps)


# --- ops with a wrong backward, and mixed devices -----------------------------------------------


def op_with_backward(result):
    class Strange(Function):
        def forward(self, a, b):
            return a + b

        def backward(self, grad):
            return result

    return Strange()


def test_wrong_number_of_gradients():
    y = op_with_backward((np.ones(2),))(leaf(1.0, 2.0), leaf(1.0, 2.0))
    with pytest.raises(RuntimeError, match=r"strange\.backward: expected 2 gradients, got 1"):
        y.sum().backward()


def test_wrong_shape_of_a_gradient():
    y = op_with_backward((np.ones(2), np.ones(3)))(leaf(1.0, 2.0), leaf(1.0, 2.0))
    with pytest.raises(RuntimeError, match=r"strange\.backward: .* input 1 .* \(2,\), got \(3,\)"):
        y.sum().backward()


def test_unwritten_methods_say_so():
    class Forward(Function):
        def forward(self, x):
            return x

    with pytest.raises(NotImplementedError, match="forward: backward is not written"):
        Forward()(leaf(1.0)).backward()
    with pytest.raises(NotImplementedError, match="function: forward is not written"):
        type("function", (Function,), {})()(leaf(1.0))


@pytest.fixture
def strict():
    return minise.backend.register(strict_backend())


def test_mixed_devices_are_refused(strict):
    here, there = leaf(1.0, 2.0), Tensor(to_strict(np.float32([1, 2])), requires_grad=True)
    expected = r"add: expected all operands on one backend, got numpy \(2,\), strict \(2,\).*\.to\("
    with pytest.raises(RuntimeError, match=expected):
        here + there
    with pytest.raises(RuntimeError, match="gradient must be on backend 'strict', got 'numpy'"):
        (there * 2).backward(minise.ones(2))


def test_gradients_cross_devices_where_the_program_does(strict):
    x = leaf(1.0, 2.0)
    y = (x.to("strict") * 3).to("numpy")
    (y * y).sum().backward()
    assert x.grad.backend == "numpy"
    assert x.grad.numpy().tolist() == [18, 36]


def test_subclasses_of_arrays_mix_with_arrays():
    class Mapped(np.ndarray):
        pass

    x = Tensor(np.ones(2).view(Mapped))
    assert (x + Tensor(np.ones(2))).numpy().tolist() == [2, 2]


# --- against PyTorch and against differences ----------------------------------------------------

choice = st.integers(0, 1_000_000)
programs = st.lists(st.tuples(st.sampled_from("+*-t"), choice, choice), min_size=1, max_size=12)


def run(program, leaves):
    """Each instruction takes any earlier values; the last one, and a few others, are summed."""
    values = list(leaves)
    for op, i, j in program:
        a, b = values[i % len(values)], values[j % len(values)]
        if op == "t":
            values.append((a * 0.5).tanh())
        else:
            values.append((a + b if op == "+" else a - b if op == "-" else a * b) * 0.5)
    return values[-1] + values[len(values) // 2]


@given(programs, st.integers(0, 2**32 - 1))
def test_random_graphs_agree_with_pytorch(program, seed):
    torch = pytest.importorskip("torch")
    arrays = np.random.default_rng(seed).standard_normal((3, 2, 2))
    ours = [minise.tensor(array, requires_grad=True) for array in arrays]
    theirs = [torch.tensor(array, requires_grad=True) for array in arrays]
    run(program, ours).sum().backward()
    run(program, theirs).sum().backward()
    for mine, reference in zip(ours, theirs):
        assert (mine.grad is None) == (reference.grad is None)
        if mine.grad is not None:
            np.testing.assert_allclose(mine.grad.numpy(), reference.grad.numpy(), 1e-10, 1e-12)


@given(programs, st.integers(0, 2**32 - 1))
def test_random_graphs_agree_with_differences(program, seed):
    arrays = np.random.default_rng(seed).standard_normal((3, 2, 2))
    leaves = [minise.tensor(array, requires_grad=True) for array in arrays]
    assert gradcheck(lambda *leaves: run(program, leaves), leaves)


# --- Python's protocols -------------------------------------------------------------------------


def test_repr():
    assert repr(minise.tensor([1.0, 2.5])) == "tensor([1. , 2.5])"
    assert repr(minise.tensor([1, 2])) == "tensor([1, 2], dtype=int64)"
    assert repr(leaf(1.0)) == "tensor([1.], requires_grad=True)"
    assert repr(leaf(1.0) * 2) == "tensor([2.], op=multiply)"
    assert repr(minise.tensor(np.eye(2))) == "tensor([[1., 0.],\n        [0., 1.]], dtype=float64)"


def test_repr_on_another_backend(strict):
    assert repr(Tensor(to_strict(np.float32([1])))) == "tensor([1.], backend='strict')"


def test_len_and_iter():
    x = leaf(1.0, 2.0, 3.0)
    assert len(x) == 3
    first, *_ = x
    first.backward()
    assert x.grad.numpy().tolist() == [1, 0, 0]
    with pytest.raises(TypeError, match="len"):
        len(minise.tensor(1.0))
    with pytest.raises(TypeError):
        list(minise.tensor(1.0))


def test_one_element_as_a_python_number():
    x = minise.tensor([[2.5]])
    assert (x.item(), float(x), int(x), bool(x)) == (2.5, 2.5, 2, True)
    assert type(minise.tensor([3]).item()) is int
    assert type(minise.tensor([True]).item()) is bool
    assert not minise.tensor(0.0)


@pytest.mark.parametrize("convert", [Tensor.item, float, int, bool])
@pytest.mark.parametrize("shape", [(2,), (0,)])
def test_several_elements_are_no_number(convert, shape):
    with pytest.raises((RuntimeError, ValueError), match=r"shape \("):
        convert(minise.zeros(shape))


def test_hash_goes_by_identity():
    x, same = minise.ones(2), minise.ones(2)
    assert len({x, same, x}) == 2
    assert {x: 1}[x] == 1


def test_equal_compares_elements():
    x = minise.tensor([1.0, 2.0])
    assert (x == 2).numpy().tolist() == [False, True]
    assert (x != x).numpy().tolist() == [False, False]
    assert not (leaf(1.0) == 1).requires_grad


def test_shape_properties():
    x = minise.zeros(2, 3)
    assert (x.shape, x.ndim, x.size, x.backend) == ((2, 3), 2, 6, "numpy")
    assert x.dtype == np.float32


@pytest.mark.parametrize("scalar", [2.0, 2, np.float64(2), np.float32(2), np.int64(2)])
def test_numbers_never_promote(scalar):
    x = minise.tensor([1.0, 2.0])
    for y in (x * scalar, scalar * x, x + scalar, scalar - x, x / scalar, scalar / x, x**scalar):
        assert isinstance(y, Tensor)
        assert y.dtype == np.float32


def test_numpy_arrays_do_not_mix_with_tensors():
    x, array = minise.ones(2), np.ones(2)
    for mix in (lambda: array * x, lambda: x * array, lambda: array + x, lambda: np.exp(x)):
        with pytest.raises(TypeError):
            mix()


def test_tensor_to_numpy():
    x = leaf(1.0, 2.0)
    assert x.numpy() is x.data
    assert np.asarray(x).tolist() == [1, 2]
    copy = np.array(x, dtype=np.float64)
    copy[0] = 5
    assert x.numpy()[0] == 1


def test_tensors_are_not_written_to():
    with pytest.raises(TypeError, match="not changed in place"):
        minise.ones(2)[0] = 3


def test_typing_errors_are_noticed():
    with pytest.raises(AttributeError):
        minise.ones(2).garded  # noqa: B018
    with pytest.raises(AttributeError):
        minise.ones(2).gard = 3


def test_wrapping_copies_nothing():
    array = np.ones(3)
    assert Tensor(array).data is array
    assert Tensor(np.float64(3)).shape == ()
