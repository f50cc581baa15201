"""The CUDA kernels for all parameters at once, run on the CPU: see cuda_on_host.py.

Held against the plain updates, and against PyTorch: its recorded numbers always, itself where it is
installed.
"""

from __future__ import annotations

import cuda_on_host
import numpy
import pytest
from cuda_on_host import needs_compiler, plugged_in
from golden import make_optim as golden
from kernel_cases import assert_close, numbers
from safetensors.numpy import load_file
from strict_array import StrictArray, to_strict

from minise import Tensor, backend, optim
from minise.backend.gpu.kernels import launch

pytestmark = needs_compiler

TOLERANCE = {"float32": 4e-6, "float64": 1e-12}
dtypes = pytest.mark.parametrize("dtype", TOLERANCE)
SOURCES = ("threads", "parameters", "sgd", "adam")


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    return cuda_on_host.Kernels(launch.code(SOURCES), tmp_path_factory.mktemp("kernels"))


@pytest.fixture
def device(compiled, monkeypatch):
    with plugged_in(compiled, monkeypatch) as home:
        yield home


SHAPES = [(1 + 37 * i % 11, 1 + i % 5) for i in range(70)] + [(1500,), (0, 3)]
LAUNCHES = {"SGD": {"sgd_step"}, "Adam": {"adam_count", "adam_step"}}
LAUNCHES["AdamW"] = LAUNCHES["Adam"]
RULES = [
    ("SGD", {}),
    ("SGD", {"weight_decay": 0.1}),
    ("SGD", {"momentum": 0.9, "weight_decay": 0.1}),
    ("SGD", {"momentum": 0.9, "nesterov": True}),
    ("SGD", {"momentum": 0.9, "dampening": 0.5, "maximize": True}),
    ("Adam", {}),
    ("Adam", {"weight_decay": 0.1, "betas": (0.5, 0.8), "maximize": True}),
    ("Adam", {"betas": (0.9, 0.5), "eps": 1e-3, "amsgrad": True}),
    ("AdamW", {"weight_decay": 0.3, "amsgrad": True}),
]


def gradient(shape, dtype, step, i):
    """Of parameter i; every seventh gets none in the second step."""
    return None if step == 1 and i % 7 == 0 else numbers(shape, dtype, 100 * step + i)


def moved(kind, options, dtype, place):
    """The weights after some steps of more parameters than fit into one launch, of many sizes."""
    params = [Tensor(place(numbers(shape, dtype, i)), True) for i, shape in enumerate(SHAPES)]
    optimizer = getattr(optim, kind)(params, lr=0.1, **options)
    for step in range(4):
        for i, param in enumerate(params):
            given = gradient(param.shape, dtype, step, i)
            param.grad = None if given is None else Tensor(place(given))
        optimizer.step()
    return [param.numpy() for param in params]


@dtypes
@pytest.mark.parametrize(("kind", "options"), RULES, ids=str)
def test_updates(device, compiled, dtype, kind, options):
    found = moved(kind, options, dtype, to_strict)
    assert compiled.launched == LAUNCHES[kind]
    with backend.plain():
        wanted = moved(kind, options, dtype, numpy.array)
    for ours, theirs in zip(found, wanted, strict=True):
        assert_close(ours, theirs, TOLERANCE[dtype], "weights")


@pytest.mark.parametrize(("kind", "options"), RULES, ids=str)
def test_updates_are_pytorchs(device, kind, options):
    torch = pytest.importorskip("torch")
    params = [torch.tensor(numbers(shape, "float64", i)) for i, shape in enumerate(SHAPES)]
    optimizer = getattr(torch.optim, kind)(params, lr=0.1, **options)
    for step in range(4):
        for i, param in enumerate(params):
            given = gradient(param.shape, "float64", step, i)
            param.grad = None if given is None else torch.tensor(given)
        optimizer.step()
    for ours, theirs in zip(moved(kind, options, "float64", to_strict), params, strict=True):
        assert_close(ours, theirs.numpy(), TOLERANCE["float64"], "weights")


def follow(case, dtype):
    """AssertionError unless the weights go where those of PyTorch went, recorded over 50 steps."""
    kind, options, bias_options = golden.RULES[case]
    problem = golden.LeastSquares(dtype)
    params = {name: Tensor(to_strict(array), True) for name, array in problem.start.items()}
    optimizer = getattr(optim, kind)(golden.groups(params, bias_options), **options)
    wanted = load_file(golden.PATH)
    for step in range(1, golden.STEPS + 1):
        weights = {name: param.numpy() for name, param in params.items()}
        for name, given in problem.gradients(weights, step).items():
            params[name].grad = None if given is None else Tensor(to_strict(given))
        optimizer.step()
        if step in golden.RECORDED:
            for name, param in params.items():
                theirs = wanted[f"{case}.{dtype}.{name}"][golden.RECORDED.index(step)]
                numpy.testing.assert_allclose(
                    param.numpy(), theirs, TOLERANCE[dtype], TOLERANCE[dtype], err_msg=name
                )
    if kind != "SGD":
        steps = [state["step"] for state in optimizer.state_dict()["state"].values()]
        assert sorted(steps) == [34, 50, 50]  # the bias has a gradient in two of three


@dtypes
@pytest.mark.parametrize("case", golden.RULES)
def test_updates_are_those_that_pytorch_recorded(device, compiled, case, dtype):
    follow(case, dtype)
    assert compiled.launched == LAUNCHES[golden.RULES[case][0]]


# recorded case, what stands in sgd.cu or adam.cu, what is put in its place
UPDATE_MISTAKES = {
    "steps are not counted": ("adam", "t = ++*counters", "t = 1 + *counters"),
    "bias of m": ("adam", "pow(beta1, t)", "beta1"),
    "bias of v": ("adam", "pow(beta2, t)", "pow(beta2, t + 1)"),
    "eps": ("adam", "(sqrt(v) / bias2 + epsilon)", "sqrt(v / bias2 / bias2 + epsilon)"),
    "new square": ("adam", "new2 * g * g", "new2 * g"),
    "decay in the gradient": ("adamw", "decoupled ? 0 :", "!decoupled ? 0 :"),
    "decay beside it": ("adamw", "decoupled ? 1 -", "!decoupled ? 1 -"),
    "largest": ("adam_amsgrad", "largest[i] > v ?", "largest[i] < v ?"),
    "climbs": ("adam_maximize", "maximize ? -gradients", "maximize ? gradients"),
    "one rate": ("adam_groups", "*lr / bias", "0.05 / bias"),
    "velocity": ("sgd_momentum", "velocities[i] = b", "velocities[i] = m * b"),
}


@pytest.mark.parametrize("mistake", UPDATE_MISTAKES)
def test_a_mistake_in_an_update_is_noticed(tmp_path, monkeypatch, mistake):
    case, right, wrong = UPDATE_MISTAKES[mistake]
    code = launch.code(SOURCES)
    parts = code.partition('#line 1 "adam.cu"')
    place = 0 if case.startswith("sgd") else 2
    assert right in parts[place]
    code = "".join(p.replace(right, wrong) if i == place else p for i, p in enumerate(parts))
    kernels = cuda_on_host.Kernels(code, tmp_path)
    noticed = pytest.raises(AssertionError, match="Not equal to tolerance")
    with plugged_in(kernels, monkeypatch), noticed:
        follow(case, "float64")


@pytest.mark.parametrize(
    ("kind", "options", "names"),
    [
        ("SGD", {"momentum": 0.9}, ["momentum_buffer"]),
        ("Adam", {"amsgrad": True}, ["exp_avg", "exp_avg_sq", "max_exp_avg_sq"]),
    ],
)
def test_a_state_that_lies_in_another_order(device, compiled, kind, options, names):
    """As one that was saved on the CPU may."""
    found = []
    for place in (StrictArray, numpy.array):
        param = Tensor(place(numbers((4, 6), "float64")), True)
        optimizer = getattr(optim, kind)([param], lr=0.1, **options)
        state = {name: place(numbers((6, 4), "float64", i).T ** 2) for i, name in enumerate(names)}
        optimizer.state[param] = state if kind == "SGD" else {"step": 5, **state}
        param.grad = Tensor(place(numbers((4, 6), "float64", 9)))
        optimizer.step()
        arrays = [optimizer.state[param][name] for name in names]
        found.append([param.numpy(), *(backend.of(array).to_numpy(array) for array in arrays)])
    assert compiled.launched == LAUNCHES[kind]
    for ours, theirs in zip(*found, strict=True):
        assert_close(ours, theirs, TOLERANCE["float64"], "weights or state")


# --- gradients ------------------------------------------------------------------------------------


@dtypes
def test_gradients_are_copied_together(device, compiled, dtype):
    params = [Tensor(to_strict(numbers(shape, dtype, i)), True) for i, shape in enumerate(SHAPES)]
    *filled, empty = params

    def loss():
        return sum((param * param).sum() for param in filled)

    loss().backward()
    assert {"copy_all"} <= compiled.launched
    for param in filled:
        numpy.testing.assert_array_equal(param.grad.numpy(), 2 * param.numpy())

    compiled.launched.clear()
    (loss() + empty.sum()).backward()  # what was there grows, and an empty one is copied alone
    assert "copy_all" not in compiled.launched
    for param in params:
        numpy.testing.assert_array_equal(param.grad.numpy(), 4 * param.numpy())


def test_every_gradient_has_memory_of_its_own(device, compiled):
    a, b = (Tensor(to_strict(numbers((3, 4), "float32", i)), True) for i in range(2))
    ((a + b) * (a + b)).sum().backward()  # both receive the same array
    assert {"copy_all"} <= compiled.launched
    before = b.grad.numpy()
    a.grad.data[...] = 5
    numpy.testing.assert_array_equal(b.grad.numpy(), before)


def test_a_gradient_in_another_order_keeps_it(device, compiled):
    a, b = (Tensor(to_strict(numbers(shape, "float32")), True) for shape in ((3, 4), (4, 3)))
    (a * b.T).sum().backward()
    assert "copy_all" not in compiled.launched
    for param, other in ((a, b), (b, a)):
        numpy.testing.assert_array_equal(param.grad.numpy(), other.numpy().T)
    assert not b.grad.data.flags.c_contiguous


def test_leaves_on_two_backends(device, compiled):
    x, w = (Tensor(place(numbers((3, 4), "float32")), True) for place in (numpy.array, to_strict))
    (x.to("strict") * w).sum().backward()
    assert "copy_all" in compiled.launched
    assert (x.grad.backend, w.grad.backend) == ("numpy", "strict")
    numpy.testing.assert_array_equal(x.grad.numpy(), w.numpy())
    numpy.testing.assert_array_equal(w.grad.numpy(), x.numpy())
