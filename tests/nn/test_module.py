"""Modules: registration, the tree and its paths, state dicts, hooks, moving, errors."""

from __future__ import annotations

import copy
import threading
from collections import OrderedDict

import numpy as np
import pytest
from strict_array import strict_backend

import minise
from minise import backend, nn
from minise.tracing.paths import module_paths


class Block(nn.Module):
    """A module with everything in it: parameter, buffers, children, a list that is never called."""

    def __init__(self, channels=4):
        super().__init__()
        self.scale = nn.Parameter(minise.ones(channels, 1, 1))
        self.register_buffer("offset", minise.zeros(1))
        self.register_buffer("scratch", minise.zeros(1), persistent=False)
        self.branches = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, channels, 1), nn.ReLU()) for _ in range(2)
        )
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, input):
        total = sum(branch(input) for branch in self.branches)
        return self.norm(total) * self.scale


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.layer1 = nn.Sequential(Block(), Block())
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(4, 2)

    def forward(self, input):
        x = self.layer1(self.stem(input)).relu()
        return self.fc(self.pool(x).flatten(1))


def images(channels=3):
    return minise.tensor(np.random.default_rng(0).normal(size=(2, channels, 5, 5)), np.float32)


def names(pairs):
    return [name for name, _ in pairs]


def ops_of(output):
    """All ops that `output` was computed by."""
    found, to_visit = [], [output]
    while to_visit:
        op = to_visit.pop().op
        if op is not None and op not in found:
            found.append(op)
            to_visit.extend(op.inputs)
    return found


# --- registration -------------------------------------------------------------------------------


def test_parameter_is_a_tensor_that_wants_a_gradient():
    data = minise.ones(3)
    param = nn.Parameter(data)
    assert isinstance(param, minise.Tensor)
    assert param.requires_grad
    assert param.data is data.data
    assert not nn.Parameter(data, requires_grad=False).requires_grad
    assert nn.Parameter(np.ones(2)).dtype == np.float64
    assert repr(param) == "Parameter containing:\ntensor([1., 1., 1.], requires_grad=True)"
    assert not isinstance(param * 2, nn.Parameter)


def test_names_in_order_of_registration():
    block = Block()
    assert names(block.named_parameters()) == [
        "scale", "branches.0.0.weight", "branches.0.0.bias", "branches.1.0.weight",
        "branches.1.0.bias", "norm.weight", "norm.bias",
    ]  # fmt: skip
    assert names(block.named_buffers()) == [
        "offset", "scratch", "norm.running_mean", "norm.running_var", "norm.num_batches_tracked"
    ]  # fmt: skip
    assert names(block.named_modules()) == [
        "", "branches", "branches.0", "branches.0.0", "branches.0.1", "branches.1",
        "branches.1.0", "branches.1.1", "norm",
    ]  # fmt: skip
    assert names(block.named_children()) == ["branches", "norm"]
    assert names(block.named_parameters("net.block", recurse=False)) == ["net.block.scale"]
    assert [p.shape for p in block.parameters(recurse=False)] == [(4, 1, 1)]
    assert len(list(block.buffers(recurse=False))) == 2
    assert list(block.children()) == [block.branches, block.norm]
    assert next(block.modules()) is block


def test_shared_members_come_once():
    net = nn.Module()
    net.first = nn.Linear(2, 2)
    net.second = net.first
    net.third = nn.Linear(2, 2)
    net.third.weight = net.first.weight
    assert names(net.named_parameters()) == ["first.weight", "first.bias", "third.bias"]
    assert names(net.named_children()) == ["first", "third"]
    assert names(net.named_modules()) == ["", "first", "third"]
    assert len(names(net.named_parameters(remove_duplicate=False))) == 6
    assert len(net.state_dict()) == 6  # every path is saved, so that each can be found again
    x = minise.ones(1, 2)
    net.second(net.first(x)).sum().backward()
    assert net.first.weight.grad is not None


def test_assigning_again_replaces():
    net = nn.Module()
    net.a = 1
    net.a = nn.Linear(1, 1)
    assert names(net.named_children()) == ["a"]
    net.a = nn.Parameter(minise.ones(1))
    assert names(net.named_parameters()) == ["a"]
    assert names(net.named_children()) == []
    net.a = None
    assert net.a is None
    assert names(net.named_parameters()) == []
    net.register_buffer("b", minise.zeros(1), persistent=False)
    net.b = minise.ones(1)
    assert net.b.item() == 1
    assert "b" not in net.state_dict()
    del net.b
    assert not hasattr(net, "b")
    net.plain = minise.ones(1)  # a tensor is state only if it was registered
    assert names(net.named_buffers()) == []
    del net.plain
    with pytest.raises(AttributeError):
        del net.plain


def test_wrong_assignments():
    net = nn.Module()
    net.weight = nn.Parameter(minise.ones(1))
    net.child = nn.Linear(1, 1)
    net.register_buffer("state", minise.ones(1))
    with pytest.raises(TypeError, match="weight: expected a Parameter or None, got Tensor"):
        net.weight = minise.ones(1)
    with pytest.raises(TypeError, match="child: expected a Module or None, got int"):
        net.child = 3
    with pytest.raises(TypeError, match="state: expected a Tensor or None, got float"):
        net.state = 1.0
    with pytest.raises(KeyError, match="Module: attribute 'double' already exists"):
        net.double = nn.ReLU()  # `net.double` would go on finding the method


@pytest.mark.parametrize(
    ("register", "value"),
    [
        ("register_parameter", nn.Parameter(minise.ones(1))),
        ("register_buffer", minise.ones(1)),
        ("add_module", nn.ReLU()),
    ],
)
def test_wrong_registrations(register, value):
    net = nn.Module()
    register = getattr(net, register)
    for name, kind in (("a.b", KeyError), ("", KeyError), ("forward", KeyError), (3, TypeError)):
        with pytest.raises(kind):
            register(name, value)
    with pytest.raises(TypeError, match="got int"):
        register("x", 3)
    register("x", None)
    assert net.x is None
    register("x", value)
    assert net.x is value


@pytest.mark.parametrize(
    "assign",
    [
        lambda self: setattr(self, "weight", nn.Parameter(minise.ones(1))),
        lambda self: setattr(self, "child", nn.ReLU()),
        lambda self: self.register_buffer("state", minise.ones(1)),
    ],
)
def test_assigning_before_init(assign):
    class Hasty(nn.Module):
        def __init__(self):
            assign(self)

    with pytest.raises(AttributeError, match=r"Hasty.*super\(\).__init__"):
        Hasty()


def test_unknown_attribute_names_the_class():
    layer = nn.Linear(2, 2)
    with pytest.raises(AttributeError, match="'Linear' object has no attribute 'wieght'") as error:
        layer.wieght  # noqa: B018
    # From these two Python works out its "Did you mean: 'weight'?".
    assert error.value.obj is layer
    assert error.value.name == "wieght"
    assert {"weight", "bias", "forward", "training"} <= set(dir(layer))


def test_lookup_by_path():
    net = Net()
    assert net.get_submodule("") is net
    assert net.get_submodule("layer1.1.branches.0") is net.layer1[1].branches[0]
    assert net.get_parameter("layer1.0.norm.weight") is net.layer1[0].norm.weight
    with pytest.raises(AttributeError, match="layer2"):
        net.get_submodule("layer2.0")
    with pytest.raises(AttributeError, match="not a module"):
        net.get_submodule("fc.weight")
    with pytest.raises(AttributeError, match="not a Parameter"):
        net.get_parameter("layer1.0.offset")


def test_forward_has_to_be_written():
    with pytest.raises(NotImplementedError, match="ModuleList: forward is not written"):
        nn.ModuleList()(1)


# --- paths --------------------------------------------------------------------------------------


def paths_of(output):
    """(tensor, path of the module that made it) for the whole graph."""
    tensors, to_visit = {}, [output]
    while to_visit:
        tensor = to_visit.pop()
        if tensor.op is not None and tensor.order not in tensors:
            tensors[tensor.order] = tensor
            to_visit += tensor.op.inputs
    paths = module_paths(tensors.values())
    return [(tensor, paths[order]) for order, tensor in tensors.items()]


def path_of(output):
    return {tensor.order: path for tensor, path in paths_of(output)}[output.order]


def test_ops_know_their_module():
    net = Net()
    output = net(images())
    by_path = {}
    for tensor, path in paths_of(output):
        by_path.setdefault(path, set()).add(tensor.op.name)
    assert by_path["stem"] == {"conv2d"}
    assert by_path["layer1.0.branches.1.0"] == {"conv2d"}
    assert by_path["layer1.1.branches.0.1"] == {"relu"}
    assert by_path["layer1.1.norm"] == {"batch_norm"}
    assert {"add", "multiply"} <= {*by_path["layer1.0"]}
    assert "relu" in by_path[""]  # the call in Net.forward itself
    assert by_path["fc"] == {"linear"}


def test_paths_start_at_the_outermost_module_of_the_call():
    net = Net()
    x = images(4)
    assert {path for _, path in paths_of(net.layer1[0].branches[1](x))} == {"0", "1"}
    assert path_of(net.fc(minise.ones(1, 4))) == ""
    assert path_of(net.layer1(x)) == "1"
    assert path_of(x * net.fc.weight.sum()) == ""  # outside of any call


def test_modules_outside_of_the_tree_work_for_their_caller():
    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = Inner()

        def forward(self, input):
            return self.inner(input)

    class Inner(nn.Module):
        def forward(self, input):
            return nn.Linear(2, 2)(input)

    assert path_of(Outer()(minise.ones(1, 2))) == "inner"


def test_threads_do_not_see_each_other_s_paths():
    class Meeting(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(1, 1)

        def forward(self, input):
            barrier.wait()
            output = self.fc(input)
            barrier.wait()
            return output

    barrier, paths = threading.Barrier(2, timeout=10), {}
    nets = {"fc": Meeting(), "0.fc": nn.Sequential(Meeting())}

    def call(expected):
        paths[expected] = path_of(nets[expected](minise.ones(1, 1)))

    threads = [threading.Thread(target=call, args=(expected,)) for expected in nets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert paths == {"fc": "fc", "0.fc": "0.fc"}


def test_an_error_says_once_in_which_module():
    net = Net()
    net.layer1[1].branches[0][0] = nn.Conv2d(3, 4, 1)
    with pytest.raises(RuntimeError) as error:
        net(images())
    assert str(error.value).startswith("conv2d: input has 4 channels")
    assert str(error.value).endswith(" (in module layer1.1.branches.0.0)")
    assert str(error.value).count("(in module") == 1
    assert error.value.module_path == "layer1.1.branches.0.0"
    with pytest.raises(RuntimeError, match=r"expects 3$"):  # called by itself it has no path
        net.layer1[1].branches[0][0](images(4))
    assert path_of(net.stem(images())) == ""  # the failed calls left nothing behind


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (ValueError("bad"), "bad (in module 0)"),
        (IndexError("bad"), "bad (in module 0)"),
        (NotImplementedError("bad"), "bad (in module 0)"),
        (ValueError("bad", 3), "('bad', 3)"),
        (OSError("bad"), "bad"),
    ],
)
def test_errors_keep_their_type(raised, expected):
    class Failing(nn.Module):
        def forward(self, input):
            raise raised

    with pytest.raises(type(raised)) as error:
        nn.Sequential(Failing())(1)
    assert error.value is raised
    assert str(raised) == expected


# --- hooks --------------------------------------------------------------------------------------


def test_forward_hooks_see_and_replace_the_output():
    layer, seen = nn.Linear(2, 2), []
    x = minise.ones(1, 2)

    def look(module, args, output):
        seen.append((module, args, output))

    handle = layer.register_forward_hook(look)
    replace = layer.register_forward_hook(lambda module, args, output: output * 0)
    assert layer(x).numpy().tolist() == [[0, 0]]
    assert seen[0][0] is layer
    assert seen[0][1] == (x,)
    assert seen[0][2].shape == (1, 2)
    handle.remove()
    replace.remove()
    replace.remove()  # twice does no harm
    assert layer(x).numpy().any()
    assert len(seen) == 1


def test_forward_pre_hooks_replace_the_arguments():
    layer = nn.Identity()
    handle = layer.register_forward_pre_hook(lambda module, args: args[0] * 2)
    assert layer(minise.ones(1)).item() == 2
    layer.register_forward_pre_hook(lambda module, args: (args[0] + 1,))
    assert layer(minise.ones(1)).item() == 3
    handle.remove()
    assert layer(minise.ones(1)).item() == 2


def test_a_hook_may_remove_itself():
    layer, calls = nn.Identity(), []

    def once(module, args, output):
        calls.append(output)
        handle.remove()

    handle = layer.register_forward_hook(once)
    layer(1)
    layer(2)
    assert calls == [1]


# --- saving and loading -------------------------------------------------------------------------


def test_state_dict_shares_memory_and_leaves_out_what_is_temporary():
    block = Block()
    state = block.state_dict()
    assert list(state) == [
        "scale", "offset", "branches.0.0.weight", "branches.0.0.bias", "branches.1.0.weight",
        "branches.1.0.bias", "norm.weight", "norm.bias", "norm.running_mean", "norm.running_var",
        "norm.num_batches_tracked",
    ]  # fmt: skip
    assert state["scale"].data is block.scale.data
    assert not state["scale"].requires_grad
    assert type(state["scale"]) is minise.Tensor
    assert state["norm.num_batches_tracked"].dtype == np.int64
    assert state["norm.num_batches_tracked"].shape == ()


def test_state_dict_round_trip():
    minise.manual_seed(0)
    first, second = Net(), Net()
    first(images())  # so that the running statistics are not those of a new net
    weight = second.fc.weight
    memory = weight.data
    keys = second.load_state_dict(first.state_dict())
    assert keys == ([], [])
    assert keys.missing_keys == keys.unexpected_keys == []
    assert second.fc.weight is weight
    assert weight.data is memory
    assert memory is not first.fc.weight.data
    np.testing.assert_array_equal(first.eval()(images()).numpy(), second.eval()(images()).numpy())
    assert second.layer1[0].norm.num_batches_tracked.item() == 1


def test_loading_keeps_dtype_and_takes_arrays_and_whatever_numpy_reads():
    class Foreign:
        def __array__(self, dtype=None, copy=None):
            return np.full((2, 3), 5.0)

    layer = nn.Linear(3, 2)
    layer.load_state_dict({"weight": Foreign(), "bias": np.arange(2)})
    assert layer.weight.dtype == layer.bias.dtype == np.float32
    assert (layer.weight.numpy() == 5).all()
    assert layer.bias.numpy().tolist() == [0, 1]


def test_loading_names_everything_that_is_wrong_and_changes_nothing():
    net = Net()
    before = {path: tensor.numpy().copy() for path, tensor in net.state_dict().items()}
    state = {path: np.full(array.shape, 7.0) for path, array in before.items()}
    del state["stem.weight"], state["fc.bias"]
    state |= {"head.weight": np.ones(1), "fc.weight": np.ones((4, 2)), "stem.bias": np.ones(3)}
    with pytest.raises(RuntimeError) as error:
        net.load_state_dict(state)
    for part in (
        "does not fit Net",
        "missing: stem.weight",
        "missing: fc.bias",
        "unexpected: head.weight",
        "wrong shape: fc.weight must be (2, 4), got (4, 2)",
        "wrong shape: stem.bias must be (4,), got (3,)",
    ):
        assert part in str(error.value)
    with pytest.raises(RuntimeError) as error:
        net.load_state_dict(state, strict=False)
    assert "missing" not in str(error.value)
    assert "fc.weight must be (2, 4)" in str(error.value)
    for path, tensor in net.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), before[path])


def test_loading_what_cannot_be_converted_changes_nothing():
    layer = nn.Linear(2, 2)
    before = layer.weight.numpy().copy()
    with pytest.raises((TypeError, ValueError)):
        layer.load_state_dict({"weight": np.ones((2, 2)), "bias": np.array(["a", "b"])})
    np.testing.assert_array_equal(layer.weight.numpy(), before)
    with pytest.raises(TypeError, match="expected a dict, got list"):
        layer.load_state_dict([1])


def test_loading_without_strict_reports_what_did_not_match():
    layer = nn.Linear(2, 2)
    keys = layer.load_state_dict({"weight": np.zeros((2, 2)), "gamma": np.zeros(1)}, strict=False)
    assert keys.missing_keys == ["bias"]
    assert keys.unexpected_keys == ["gamma"]
    assert not layer.weight.numpy().any()


def test_state_goes_to_torch_and_back():
    torch = pytest.importorskip("torch")

    def build(nn):
        return nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Sequential(nn.ReLU(), nn.Flatten()),
            nn.Linear(36, 2),
        )  # fmt: skip

    ours, theirs = build(nn), build(torch.nn)
    ours(images())
    assert list(ours.state_dict()) == list(theirs.state_dict())
    theirs.load_state_dict(
        {path: torch.from_numpy(t.numpy().copy()) for path, t in ours.state_dict().items()}
    )
    fresh = build(nn)
    fresh.load_state_dict(theirs.state_dict())
    for path, tensor in ours.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), fresh.state_dict()[path].numpy())


# --- changing all of it -------------------------------------------------------------------------


def test_train_and_eval_reach_everything():
    net = Net()
    assert net.training
    assert net.eval() is net
    assert not any(module.training for module in net.modules())
    assert net.train() is net
    assert all(module.training for module in net.modules())
    with pytest.raises(ValueError, match="'yes'"):
        net.train("yes")


def test_zero_grad():
    layer = nn.Linear(2, 2)
    layer(minise.ones(1, 2)).sum().backward()
    layer.zero_grad(set_to_none=False)
    assert layer.weight.grad.numpy().tolist() == [[0, 0], [0, 0]]
    layer.zero_grad()
    assert layer.weight.grad is None


def test_frozen_parameters_get_no_gradient():
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    assert net[0].requires_grad_(False) is net[0]
    net(minise.ones(1, 2)).sum().backward()
    assert net[0].weight.grad is None
    assert net[1].weight.grad is not None


def test_casting_keeps_parameters_and_integers():
    net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    params = list(net.parameters())
    net(minise.ones(2, 1, 2, 2)).sum().backward()
    assert net.double() is net
    assert all(a is b for a, b in zip(params, net.parameters()))
    assert {p.dtype for p in params} == {p.grad.dtype for p in params} == {np.dtype("float64")}
    assert net[1].running_mean.dtype == np.float64
    assert net[1].num_batches_tracked.dtype == np.int64
    assert net(minise.ones(2, 1, 2, 2, dtype=np.float64)).dtype == np.float64
    assert net.float()[0].weight.dtype == np.float32
    assert net.to(np.float16)[0].weight.dtype == np.float16
    with pytest.raises(TypeError, match="int64"):
        net.to(np.int64)
    with pytest.raises(ValueError, match="abacus"):
        net.to("abacus")


def test_apply_goes_from_the_leaves_to_the_root():
    net, order = nn.Sequential(nn.Sequential(nn.ReLU()), nn.Tanh()), []
    assert net.apply(lambda module: order.append(module)) is net
    assert order == [net[0][0], net[0], net[1], net]


def test_deepcopy_is_independent_and_keeps_sharing():
    net = Net()
    net.tied = net.fc
    net(images()).sum().backward()
    twin = copy.deepcopy(net)
    assert twin.tied is twin.fc
    assert twin.fc.weight is not net.fc.weight
    assert isinstance(twin.fc.weight, nn.Parameter)
    np.testing.assert_array_equal(twin.fc.weight.grad.numpy(), net.fc.weight.grad.numpy())
    np.testing.assert_array_equal(twin.eval()(images()).numpy(), net.eval()(images()).numpy())
    twin.fc.weight.data += 1
    assert not np.array_equal(twin.fc.weight.numpy(), net.fc.weight.numpy())


def test_repr_is_a_tree():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.factor = nn.Parameter(minise.ones(1))
            self.body = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
            self.empty = nn.ModuleList()

        def extra_repr(self):
            return "factor=1"

    assert repr(Scaled()) == (
        "Scaled(\n"
        "  factor=1\n"
        "  (body): Sequential(\n"
        "    (0): Linear(in_features=2, out_features=3, bias=True)\n"
        "    (1): ReLU()\n"
        "  )\n"
        "  (empty): ModuleList()\n"
        ")"
    )


# --- containers ---------------------------------------------------------------------------------


def test_sequential_with_names():
    conv = nn.Conv2d(1, 1, 1)
    net = nn.Sequential(OrderedDict(conv=conv, act=nn.ReLU()))
    assert net.conv is conv
    assert net[0] is conv
    assert names(net.named_children()) == ["conv", "act"]
    assert names(net[1:].named_children()) == ["act"]


@pytest.mark.parametrize("build", [lambda m: nn.Sequential(*m), nn.ModuleList])
def test_containers_are_sequences(build):
    modules = [nn.ReLU(), nn.Tanh(), nn.Sigmoid()]
    series = build(modules)
    assert len(series) == 3
    assert list(series) == modules
    assert series[-1] is modules[2]
    assert series[np.int64(1)] is modules[1]
    assert list(series[:2]) == modules[:2]
    assert type(series[:2]) is type(series)
    assert series.append(nn.Identity()) is series
    assert series.extend([nn.Flatten()]) is series
    assert names(series.named_children()) == ["0", "1", "2", "3", "4"]
    series[-1] = modules[0]
    assert series[4] is modules[0]
    for index in (5, -6):
        with pytest.raises(IndexError, match=str(index)):
            series[index]
    with pytest.raises(TypeError, match="got int"):
        series.append(3)


def test_an_empty_sequential_returns_its_input():
    net = nn.Sequential()
    assert net(5) == 5
    parent = nn.Module()
    parent.empty = net  # has length 0, and is a child all the same
    assert list(parent.children()) == [net]
    assert list(parent.modules()) == [parent, net]


# --- another backend ----------------------------------------------------------------------------


def test_moving_to_another_backend():
    strict = backend.register(strict_backend()).name
    minise.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    params = list(net.parameters())
    net(images()).sum().backward()
    expected = net[0].weight.grad.numpy()
    assert net.to(strict) is net
    assert all(a is b for a, b in zip(params, net.parameters()))
    assert {t.backend for t in (*net.parameters(), *net.buffers())} == {strict}
    assert {p.grad.backend for p in params} == {strict}
    np.testing.assert_array_equal(net[0].weight.grad.numpy(), expected)
    assert all(p.op is None for p in params)
    state = {path: tensor.numpy() for path, tensor in net.state_dict().items()}
    net.load_state_dict(state)  # host arrays into a net on a device
    host = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    host.load_state_dict(net.state_dict())  # and back
    assert {t.backend for t in host.state_dict().values()} == {"numpy"}
    np.testing.assert_array_equal(host[0].weight.numpy(), net.to("numpy")[0].weight.numpy())
