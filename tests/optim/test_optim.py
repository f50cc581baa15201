"""Update rules against PyTorch: recorded numbers always, PyTorch itself where it is installed."""

import json

import devices
import numpy
import pytest
from golden import make_optim as golden
from safetensors.numpy import load, load_file, save
from strict_array import StrictArray, strict, strict_backend

import minise
from minise import optim
from minise.autograd import Function
from minise.backend import registry
from minise.backend.cpu.kernels import parameters as cpu_parameters
from minise.backend.gpu.kernels import parameters as gpu_parameters
from minise.backend.registry import UpdateKernel
from minise.optim.capturable import Capturable
from minise.tensor import Tensor

TOLERANCE = {"float32": 2e-6, "float64": 1e-12}  # relative, and absolute: the weights are about 1
dtypes = pytest.mark.parametrize("dtype", TOLERANCE)
rules = pytest.mark.parametrize("case", golden.RULES)


@pytest.fixture(scope="module")
def recorded():
    return load_file(golden.PATH)


class Run:
    """minise on the problem of the recorded cases."""

    def __init__(self, case, dtype, kind=None, **more):
        name, options, bias_options = golden.RULES[case]
        self.problem = golden.LeastSquares(dtype)
        self.parameters = {n: Tensor(a.copy(), True) for n, a in self.problem.start.items()}
        groups = golden.groups(self.parameters, bias_options)
        self.optimizer = (kind or getattr(optim, name))(groups, **{**options, **more})

    @property
    def weights(self):
        return {name: parameter.data for name, parameter in self.parameters.items()}

    def set_gradients(self, gradients):
        for name, gradient in gradients.items():
            self.parameters[name].grad = None if gradient is None else Tensor(gradient)

    def steps(self, first, last):
        steps = range(first, last + 1)
        return golden.trajectory(
            self.problem, self.optimizer, self.weights, self.set_gradients, steps
        )


def check(recorded, case, dtype, actual):
    for name, array in actual.items():
        expected = recorded[f"{case}.{dtype}.{name}"]
        assert array.dtype == expected.dtype == dtype
        numpy.testing.assert_allclose(
            array, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype], err_msg=f"{case} {name}"
        )


@dtypes
@rules
def test_weights_over_fifty_steps_are_pytorchs(recorded, case, dtype):
    check(recorded, case, dtype, Run(case, dtype).steps(1, golden.STEPS))


@dtypes
@rules
def test_recorded_weights_are_what_pytorch_gives(recorded, case, dtype):
    pytest.importorskip("torch")
    check(recorded, case, dtype, golden.torch_trajectory(case, dtype))


@dtypes
@rules
@pytest.mark.parametrize("capturable", [False, True])
@pytest.mark.parametrize("place", ["strict", devices.GPU])
def test_a_device_gives_the_same_weights(place, case, dtype, capturable):
    kind, options, bias_options = golden.RULES[case]
    home, here = devices.require(place), Run(case, dtype)
    parameters = {n: Tensor(home.as_array(a), True) for n, a in here.problem.start.items()}
    there = getattr(optim, kind)(golden.groups(parameters, bias_options), **options)
    captured = Capturable(there)
    for step in range(1, 8):
        if capturable and step == 3:
            captured.prepare()
        for optimizer in (here.optimizer, there):
            for group in optimizer.param_groups:
                group["lr"] *= 0.9
        gradients = here.problem.gradients(here.weights, step)
        here.set_gradients(gradients)
        for name, gradient in gradients.items():
            grad = None if gradient is None else Tensor(home.as_array(gradient))
            parameters[name].grad = grad
        here.optimizer.step()
        with captured.rates_on_device():
            there.step()
    for name, parameter in parameters.items():
        numpy.testing.assert_allclose(
            parameter.numpy(), here.weights[name], rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype]
        )
    counters = [state["step"] for state in there.state_dict()["state"].values() if "step" in state]
    assert all(type(counter) is int for counter in counters)


# --- the comparison notices a wrong update rule ------------------------------------------------


class DampsFirstStep(optim.SGD):
    def update(self, weights, gradient, state, options):
        if not state:
            gradient = (1 - options["dampening"]) * gradient
        super().update(weights, gradient, state, options)


class ForgetsBiasCorrection(optim.Adam):
    def update(self, weights, gradient, state, options):
        super().update(weights, gradient, state, options)
        state["step"] = 10_000


class ForgetsTheLargest(optim.Adam):
    def update(self, weights, gradient, state, options):
        super().update(weights, gradient, state, {**options, "amsgrad": False})


class DecaysAfterwards(optim.AdamW):
    def update(self, weights, gradient, state, options):
        super().update(weights, gradient, state, {**options, "weight_decay": 0})
        weights *= 1 - options["lr"] * options["weight_decay"]


class NesterovAsPlainMomentum(optim.SGD):
    def update(self, weights, gradient, state, options):
        super().update(weights, gradient, state, {**options, "nesterov": False})


class MovesWithoutGradient(optim.SGD):
    def step(self, closure=None):
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    parameter.grad = Tensor(numpy.zeros_like(parameter.data))
        return super().step(closure)


@dtypes
@pytest.mark.parametrize(
    ("case", "wrong"),
    [
        ("sgd_dampening", DampsFirstStep),
        ("sgd_nesterov", NesterovAsPlainMomentum),
        ("sgd_momentum", MovesWithoutGradient),
        ("adam", ForgetsBiasCorrection),
        ("adam_amsgrad", ForgetsTheLargest),
        ("adam_decay", optim.AdamW),
        ("adamw", optim.Adam),
        ("adamw", DecaysAfterwards),
    ],
)
def test_a_planted_mistake_is_caught(recorded, case, wrong, dtype):
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        check(recorded, case, dtype, Run(case, dtype, wrong).steps(1, golden.STEPS))


# --- in place, on the device, in the dtype of the weights --------------------------------------


@rules
def test_updates_are_in_place_and_leave_the_gradient_alone(case):
    run = Run(case, "float32")
    arrays = run.weights
    for step in (1, 2, 3):
        gradients = run.problem.gradients(arrays, step)
        run.set_gradients(gradients)
        before = {name: None if g is None else g.copy() for name, g in gradients.items()}
        run.optimizer.step()
        for name, gradient in gradients.items():
            assert run.parameters[name].data is arrays[name]
            assert gradient is None or numpy.array_equal(gradient, before[name])
    assert numpy.array_equal(arrays["unused"], run.problem.start["unused"])
    assert run.parameters["unused"] not in run.optimizer.state


@pytest.mark.parametrize("kind", [optim.SGD, optim.Adam, optim.AdamW])
def test_numpy_scalars_as_options_do_not_promote(kind):
    plain, scalar = (
        Run("sgd", "float32", kind, lr=number(0.05), weight_decay=number(0.1))
        for number in (float, numpy.float64)
    )
    json.dumps(scalar.optimizer.state_dict()["param_groups"])
    scalar.optimizer.param_groups[0]["lr"] = numpy.float64(0.05)  # as by a schedule of one's own
    expected, actual = plain.steps(1, 10), scalar.steps(1, 10)
    for name in expected:
        assert numpy.array_equal(actual[name], expected[name])


@pytest.mark.parametrize("kind", [optim.SGD, optim.Adam, optim.AdamW])
def test_any_memory_order(kind):
    straight = Tensor(numpy.arange(24, dtype="float32").reshape(2, 3, 4), True)
    view = Tensor(numpy.asfortranarray(straight.data).transpose(0, 1, 2), True)
    for parameter in (straight, view):
        optimizer = kind([parameter], lr=0.1, weight_decay=0.1)
        for _ in range(3):
            parameter.grad = Tensor(numpy.sin(straight.data))
            optimizer.step()
        assert parameter.data.strides != straight.data.strides or parameter is straight


@pytest.fixture
def device(monkeypatch):
    """The stand-in for a GPU, as a backend of its own."""
    device = strict_backend()
    monkeypatch.setitem(registry._by_name, device.name, device)
    monkeypatch.setitem(registry._by_type, device.array_type, device)
    return device


@rules
def test_runs_on_a_device_without_waiting_for_values(device, case):
    kind, options, bias_options = golden.RULES[case]
    on_host = Run(case, "float32")
    parameters = {n: Tensor(device.as_array(a), True) for n, a in on_host.weights.items()}
    optimizer = getattr(optim, kind)(golden.groups(parameters, bias_options), **options)
    before = {name: parameter.data for name, parameter in parameters.items()}
    for step in range(1, 6):
        gradients = on_host.problem.gradients(on_host.weights, step)
        on_host.set_gradients(gradients)
        on_host.optimizer.step()
        for name, gradient in gradients.items():
            grad = None if gradient is None else Tensor(device.as_array(gradient))
            parameters[name].grad = grad
        strict.sync_count = 0
        optimizer.step()
        assert strict.sync_count == 0
    for name, parameter in parameters.items():
        assert parameter.data is before[name]
        assert numpy.array_equal(parameter.numpy(), on_host.weights[name])

    there, here = optimizer.state_dict()["state"], on_host.optimizer.state_dict()
    optimizer.load_state_dict(here)  # a checkpoint made on the host goes on on the device
    for number, state in optimizer.state_dict()["state"].items():
        for name, value in state.items():
            if name == "step":
                assert value == there[number][name] == here["state"][number][name]
                continue
            assert type(value) is type(there[number][name]) is StrictArray
            assert value.dtype == "float32"
            assert numpy.array_equal(device.to_numpy(value), here["state"][number][name])


def one_kernel(weights, gradients, velocities, lr, *, momentum, dampening, weight_decay, nesterov,
               maximize, first):  # fmt: skip
    """What `Backend.sgd` does, written down once more, on strict arrays."""
    one_kernel.calls.append((len(weights), first))
    for i, (w, g) in enumerate(zip(weights, gradients)):
        assert g.flags.c_contiguous
        rate = lr.astype(w.dtype)
        g = (-g if maximize else g) + weight_decay * w
        if velocities:
            b = g if first else momentum * velocities[i] + (1 - dampening) * g
            velocities[i][...] = b
            g = g + momentum * b if nesterov else b
        w -= rate * g


def one_adam(weights, gradients, states, lr, *, betas, eps, weight_decay, decoupled, maximize):
    """What `Backend.adam` does, written down once more, on strict arrays."""
    one_adam.calls.append(len(weights))
    for i, (w, g) in enumerate(zip(weights, gradients)):
        assert g.flags.c_contiguous
        t, m, v = (states[name][i] for name in ("step", "exp_avg", "exp_avg_sq"))
        g = (-g if maximize else g) + (0 if decoupled else weight_decay) * w
        t += 1
        m[...] = betas[0] * m + (1 - betas[0]) * g
        v[...] = betas[1] * v + (1 - betas[1]) * g * g
        if "max_exp_avg_sq" in states:
            largest = states["max_exp_avg_sq"][i]
            v = largest[...] = strict.maximum(largest, v)
        m_hat, v_hat = m / (1 - betas[0] ** t), v / (1 - betas[1] ** t)
        w *= 1 - lr * (weight_decay if decoupled else 0)
        w -= lr * m_hat / (strict.sqrt(v_hat) + eps)


@pytest.mark.parametrize("capturable", [False, True])
@rules
def test_all_parameters_in_one_kernel(device, case, capturable):
    kind, options, bias_options = golden.RULES[case]
    name, kernel = ("sgd", one_kernel) if kind == "SGD" else ("adam", one_adam)
    kernel.calls = []
    outcomes = []
    for there in (None, kernel):
        object.__setattr__(device, name, there and UpdateKernel(cpu_parameters.suits, there))
        problem = golden.LeastSquares("float64")
        parameters = {n: Tensor(device.as_array(a), True) for n, a in problem.start.items()}
        optimizer = getattr(optim, kind)(golden.groups(parameters, bias_options), **options)
        captured = Capturable(optimizer)
        if capturable:
            captured.prepare()
        for step in range(1, 8):
            for group in optimizer.param_groups:
                group["lr"] *= 0.9
            weights = {name: parameter.numpy() for name, parameter in parameters.items()}
            for name_, gradient in problem.gradients(weights, step).items():
                array = None if gradient is None else device.as_array(gradient[::-1])[::-1] \
                    if gradient.ndim else device.as_array(gradient)  # fmt: skip
                parameters[name_].grad = None if array is None else Tensor(array)
            strict.sync_count = 0
            with captured.rates_on_device():
                optimizer.step()
            assert strict.sync_count == 0
        saved = {
            f"{number}.{name_}": value if name_ == "step" else device.to_numpy(value)
            for number, state in optimizer.state_dict()["state"].items()
            for name_, value in state.items()
        }
        outcomes.append(saved | {n: parameter.numpy() for n, parameter in parameters.items()})
    one, other = outcomes
    assert one.keys() == other.keys()
    for key in one:
        numpy.testing.assert_allclose(one[key], other[key], rtol=1e-12, atol=1e-13, err_msg=key)
    assert 0 < len(kernel.calls) <= 7 * len(optimizer.param_groups) * (2 if kind == "SGD" else 1)
    assert kind != "SGD" or {first for _, first in kernel.calls} >= {True}


@pytest.mark.parametrize(("name", "kind"), [("sgd", optim.SGD), ("adam", optim.AdamW)])
def test_a_rate_that_is_a_numpy_scalar_gets_to_the_device(device, name, kind):
    """A kernel that got it as it is would take the number for an address."""
    rates = []

    def kernel(*args, **options):
        rates.extend(arg for arg in args if getattr(arg, "shape", None) == ())

    object.__setattr__(device, name, UpdateKernel(lambda weights: True, kernel))
    parameter = Tensor(device.as_array(numpy.ones(3)), True)
    optimizer = kind([parameter])
    optimizer.param_groups[0]["lr"] = numpy.float64(0.25)
    parameter.grad = Tensor(parameter.data * 1)
    optimizer.step()
    assert [type(rate) for rate in rates] == [StrictArray]
    assert float(rates[0]) == 0.25


KERNEL_OF = {"SGD": "sgd", "Adam": "adam", "AdamW": "adam"}


def counting_kernel(monkeypatch, device, kind, suits=lambda weights: True):
    """The kernel of that optimizer does nothing but note how many parameters it was given."""
    calls = []
    kernel = UpdateKernel(suits, lambda weights, *args, **options: calls.append(len(weights)))
    monkeypatch.setitem(vars(device), KERNEL_OF[kind], kernel)
    return calls


def on(device, array):
    """A parameter there whose gradient is its value."""
    parameter = Tensor(device.as_array(array.copy()), True)
    parameter.grad = Tensor(parameter.data * 1)
    return parameter


@pytest.mark.parametrize("kind", KERNEL_OF)
def test_parameters_that_do_not_suit_the_kernel_move_one_by_one(device, monkeypatch, kind):
    calls = counting_kernel(monkeypatch, device, kind, lambda weights: len(weights) != 2)
    options = {"weight_decay": 0} if kind == "AdamW" else {}

    def moves_without_kernel(*parameters):
        getattr(optim, kind)(parameters, 0.5, **options).step()
        assert not calls
        for parameter in parameters:  # Adam's first step is lr, whatever the gradient
            numpy.testing.assert_allclose(parameter.numpy(), 0.5, rtol=1e-3)

    one = numpy.ones(3)
    moves_without_kernel(on(device, one), on(device, one))
    on_another_backend = on(registry.get("numpy"), one)
    moves_without_kernel(on(device, one), on_another_backend, on(device, one))
    with minise.backend.plain():
        moves_without_kernel(on(device, one))
    getattr(optim, kind)([on(device, one)], 0.5).step()
    assert calls == [1]


@pytest.mark.parametrize("check", [cpu_parameters.suits, gpu_parameters.suit_an_update])
@pytest.mark.parametrize(
    ("arrays", "suits"),
    [
        ([numpy.ones((2, 3), "float32"), numpy.ones(()).astype("float32")], True),
        ([numpy.ones((2, 3)), numpy.ones((0, 3))], True),
        ([numpy.ones(3, "float16")], False),
        ([numpy.ones(3, "float32"), numpy.ones(3, "float64")], False),
        ([numpy.ones(3), numpy.ones((2, 3)).T], False),
    ],
)
def test_which_parameters_suit_a_kernel(check, arrays, suits):
    assert check(arrays) == suits


def test_a_parameter_that_is_too_large_for_the_indices_of_a_gpu(monkeypatch):
    monkeypatch.setattr(gpu_parameters, "TOO_LARGE", 6)
    assert gpu_parameters.suit_an_update([numpy.ones(5)])
    assert not gpu_parameters.suit_an_update([numpy.ones(5), numpy.ones(6)])


@pytest.mark.parametrize("kind", KERNEL_OF)
def test_a_rule_of_ones_own_is_never_passed_over_by_a_kernel(device, monkeypatch, kind):
    """A subclass, and a class of the same name: their `update` moves the weights."""
    calls = counting_kernel(monkeypatch, device, kind)

    def update(self, weights, gradient, state, options):
        weights += 1

    def grouped(self, params):
        optim.Optimizer.__init__(self, params, {"lr": 0.1})

    base = getattr(optim, kind)
    for rule in (
        type("Own", (base,), {"update": update}),
        type(kind, (base,), {"update": update}),
        type(kind, (optim.Optimizer,), {"update": update, "__init__": grouped}),
    ):
        parameter = on(device, numpy.ones(3))
        rule([parameter]).step()
        assert parameter.numpy().tolist() == [2, 2, 2]
    assert calls == []
    base([on(device, numpy.ones(3))]).step()
    assert calls == [1]


# --- saving and going on -----------------------------------------------------------------------


@rules
def test_going_on_from_a_checkpoint_is_bit_identical(case):
    whole, first, second = (Run(case, "float32") for _ in range(3))
    expected = whole.steps(1, golden.STEPS)
    first.steps(1, 20)

    # To files and back: arrays in safetensors, everything else in JSON.
    saved = first.optimizer.state_dict()
    blob = save(
        {f"{n}.{k}": numpy.asarray(v) for n, s in saved["state"].items() for k, v in s.items()}
    )
    text = json.dumps(saved["param_groups"])
    state: dict = {}
    for key, value in load(blob).items():
        number, name = key.split(".")
        state.setdefault(int(number), {})[name] = value

    for name, parameter in second.parameters.items():
        parameter.data[...] = first.weights[name]
    for group in second.optimizer.param_groups:
        group["lr"] = 123.0  # must come from the checkpoint
    second.optimizer.load_state_dict({"state": state, "param_groups": json.loads(text)})
    assert second.optimizer.state_dict()["param_groups"] == saved["param_groups"]
    actual = second.steps(21, golden.STEPS)
    for name in expected:
        assert numpy.array_equal(actual[name][-1], expected[name][-1])


@rules
def test_state_dict_is_a_snapshot(case):
    run, other = Run(case, "float32"), Run(case, "float32")
    run.steps(1, 2)
    saved = run.optimizer.state_dict()
    text = str(saved)
    other.optimizer.load_state_dict(saved)
    run.steps(3, 10)
    other.steps(3, 10)
    assert str(saved) == text


@rules
def test_a_pytorch_optimizer_can_be_continued(recorded, case):
    torch = pytest.importorskip("torch")
    kind, options, bias_options = golden.RULES[case]
    run = Run(case, "float64")
    theirs = {n: torch.tensor(a) for n, a in run.problem.start.items()}
    their_groups = golden.groups(theirs, bias_options)
    their_optimizer = getattr(torch.optim, kind)(their_groups, **options, foreach=False)
    for step in range(1, 21):
        gradients = run.problem.gradients({n: p.numpy() for n, p in theirs.items()}, step)
        for name, gradient in gradients.items():
            theirs[name].grad = None if gradient is None else torch.tensor(gradient)
        their_optimizer.step()
    for name, parameter in theirs.items():
        run.parameters[name].data[...] = parameter.numpy()
    saved = their_optimizer.state_dict()
    run.optimizer.load_state_dict(saved)

    ours = run.optimizer.state_dict()
    assert [g["params"] for g in ours["param_groups"]] == [
        g["params"] for g in saved["param_groups"]
    ]
    assert {n: set(s) for n, s in ours["state"].items()} == {
        n: set(s) for n, s in saved["state"].items()
    }
    actual = run.steps(21, golden.STEPS)
    check(
        {k: v[-1:] for k, v in recorded.items()},
        case,
        "float64",
        {k: v[-1:] for k, v in actual.items()},
    )


def test_load_state_dict_refuses_what_does_not_fit_and_changes_nothing():
    def optimizer_of(*shapes):
        optimizer = optim.SGD([{"params": [leaf(*s) for s in group]} for group in shapes], 0.1, 0.9)
        for param in optimizer._params():
            param.grad = Tensor(numpy.ones_like(param.data))
        optimizer.step()
        return optimizer

    optimizer = optimizer_of([(2,), (3,)], [(4,)])
    before = str(optimizer.state_dict())
    wrong = {
        "expected 2 parameter groups, got 1": [[(2,), (3,), (4,)]],
        "parameter group 0 has 2 parameters, the saved one 1": [[(2,)], [(3,), (4,)]],
        r"momentum_buffer of parameter 1 must have shape \(3,\), got \(2,\)": [
            [(2,), (2,)],
            [(4,)],
        ],
    }
    for message, shapes in wrong.items():
        with pytest.raises(ValueError, match=message):
            optimizer.load_state_dict(optimizer_of(*shapes).state_dict())
    saved = optimizer.state_dict()
    saved["state"][7] = saved["state"][0]
    with pytest.raises(ValueError, match="state of parameter 7"):
        optimizer.load_state_dict(saved)
    assert str(optimizer.state_dict()) == before


# --- groups, gradients, errors -----------------------------------------------------------------


def leaf(*shape):
    return Tensor(numpy.ones(shape, "float32"), requires_grad=True)


def test_groups_keep_their_own_options():
    a, b, c = leaf(1), leaf(1), leaf(1)
    optimizer = optim.SGD([{"params": a, "lr": 0.5}, {"params": iter([b])}], lr=0.1, momentum=0.9)
    given = {"params": [c], "momentum": 0, "name": "head"}
    optimizer.add_param_group(given)
    assert [group["lr"] for group in optimizer.param_groups] == [0.5, 0.1, 0.1]
    assert [group["momentum"] for group in optimizer.param_groups] == [0.9, 0.9, 0]
    assert [group["params"] for group in optimizer.param_groups] == [[a], [b], [c]]
    assert optimizer.param_groups[2]["name"] == "head"
    assert given == {"params": [c], "momentum": 0, "name": "head"}
    assert "group 2: 1 parameters" in repr(optimizer)


@pytest.mark.parametrize("kind", [optim.SGD, optim.Adam, optim.AdamW])
def test_with_gradients_of_the_engine(kind):
    stream = numpy.random.RandomState(0)
    x = minise.tensor(stream.randn(16, 3).astype("float32"))
    answer = minise.tensor(numpy.array([[1.0], [-2.0], [0.5]], "float32"))
    w = minise.zeros(3, 1)
    w.requires_grad = True
    optimizer = kind([w], lr=0.1, weight_decay=0)
    for _ in range(100):
        optimizer.zero_grad()
        ((x @ w - x @ answer) ** 2).mean().backward()
        optimizer.step()
    numpy.testing.assert_allclose(w.numpy(), answer.numpy(), atol=0.02)


def test_zero_grad():
    shared = Tensor(numpy.ones(2, "float32"))
    a, b, c = leaf(2), leaf(2), leaf(2)
    a.grad = b.grad = shared
    optimizer = optim.SGD([a, c])
    optimizer.zero_grad(set_to_none=False)
    assert numpy.array_equal(a.grad.data, [0, 0])
    assert a.grad.dtype == "float32"
    assert c.grad is None
    assert numpy.array_equal(b.grad.data, [1, 1])  # the array was not a's alone
    optimizer.zero_grad()
    assert a.grad is None


def test_closure():
    a = leaf(2)

    def closure():
        a.grad = Tensor(numpy.full(2, 2, "float32"))
        return "loss"

    assert optim.SGD([a], lr=0.25).step(closure) == "loss"
    assert numpy.array_equal(a.data, [0.5, 0.5])


def test_options_can_change_between_steps():
    a = leaf(1)
    optimizer = optim.SGD([a], lr=1.0)
    for lr in (0.5, 0.25):
        optimizer.param_groups[0]["lr"] = lr
        a.grad = Tensor(numpy.ones(1, "float32"))
        optimizer.step()
    assert a.data == 0.25


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("SGD", {"lr": -0.1}, "SGD: lr must be >= 0, got -0.1"),
        ("SGD", {"momentum": -1}, "momentum must be >= 0, got -1"),
        ("SGD", {"weight_decay": -1e-4}, "weight_decay must be >= 0"),
        ("SGD", {"nesterov": True}, "nesterov needs momentum > 0 and dampening = 0"),
        ("SGD", {"nesterov": True, "momentum": 0.9, "dampening": 0.1}, "got momentum=0.9, damp"),
        ("Adam", {"lr": -0.1}, "Adam: lr must be >= 0"),
        ("Adam", {"eps": -1e-8}, "eps must be >= 0"),
        ("Adam", {"betas": (1.0, 0.999)}, "betas must be two floats in"),
        ("Adam", {"betas": (0.9, -0.1)}, "betas must be two floats in"),
        ("Adam", {"betas": (0, 0.999)}, "betas must be two floats in"),
        ("Adam", {"weight_decay": -1}, "weight_decay must be >= 0"),
        ("AdamW", {"lr": -0.1}, "AdamW: lr must be >= 0"),
        ("AdamW", {"weight_decay": -1}, "weight_decay must be >= 0"),
    ],
)
def test_options_out_of_range(kind, options, message):
    with pytest.raises(ValueError, match=message):
        getattr(optim, kind)([leaf(1)], **options)
    with pytest.raises(ValueError, match=message):
        getattr(optim, kind)([{"params": [leaf(1)], **options}])
    torch = pytest.importorskip("torch")
    with pytest.raises(ValueError):
        getattr(torch.optim, kind)([torch.zeros(1)], **options)


class Double(Function):
    def forward(self, x):
        return 2 * x

    def backward(self, grad):
        return 2 * grad


shared = leaf(2)


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        (leaf(1), TypeError, "iterable of Tensors or dicts, got a Tensor"),
        ([], ValueError, "empty list"),
        ([leaf(1), "x"], TypeError, r"params\[1\] is a str"),
        ([numpy.ones(2)], TypeError, r"params\[0\] is a ndarray"),
        ([Double()(leaf(2))], ValueError, "non-leaf Tensor.*output of double"),
        ([shared, shared], ValueError, "expected every parameter once"),
        ([{"params": shared}, {"params": shared}], ValueError, "more than one parameter group"),
        ([{"params": {shared}}], TypeError, "got a set"),
        ([{"lr": 0.1}], KeyError, "'params'"),
        ([{"params": shared}, shared], TypeError, "must be a dict, got Tensor"),
    ],
)
def test_parameters_that_cannot_be_optimized(params, error, message):
    with pytest.raises(error, match=message):
        optim.SGD(params)


def test_a_non_leaf_that_retains_its_gradient_can_be_optimized():
    doubled = Double()(leaf(2))
    doubled.retain_grad()
    optim.SGD([doubled])


@pytest.mark.parametrize(
    ("gradient", "actual"),
    [
        (numpy.ones(1, "float32"), r"float32 \(1,\) on numpy"),
        (numpy.ones(2, "float64"), r"float64 \(2,\) on numpy"),
    ],
)
def test_a_gradient_of_another_kind(gradient, actual):
    a = leaf(2)
    a.grad = Tensor(gradient)
    with pytest.raises(
        RuntimeError, match=r"parameter is float32 \(2,\) on numpy, its grad is " + actual
    ):
        optim.SGD([a]).step()


def test_the_base_class_says_what_is_missing():
    a = leaf(1)
    a.grad = leaf(1)
    with pytest.raises(NotImplementedError, match="Optimizer: update is not written"):
        optim.Optimizer([a], {"lr": 0.1, "maximize": False}).step()
