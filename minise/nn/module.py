"""Modules: functions that own their parameters, and know what they are called.

An op computes; a module remembers. A module's attributes that are `Parameter`s or modules are
registered as they are assigned, so the tree can be walked: to train it, save it, move it, print it.

A call of a module has a path in the tree, such as `layer1.0.se.fc1`: what `named_modules` of the
outermost module of the call says, so it does not matter how the module was reached. Errors name it,
and the op that made the output of a call is marked with it, from which minise/tracing/paths.py
finds the module of every op of a graph.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from typing import Any, NamedTuple, TypeVar

import numpy

from .. import backend
from ..autograd import Array, next_order
from ..creation import zeros_like
from ..tensor import Tensor


class Parameter(Tensor):
    """A tensor that is trained: assigned to a module, it becomes one of `module.parameters()`.

    Wraps the memory of `data` (a Tensor or an array) without copying.
    """

    __slots__ = ()

    def __init__(self, data: Tensor | Array, requires_grad: bool = True) -> None:
        super().__init__(data.data if isinstance(data, Tensor) else data, requires_grad)

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"


Hook = Callable[..., Any]  # see Module.register_forward_hook and register_forward_pre_hook


class IncompatibleKeys(NamedTuple):
    """What `load_state_dict(strict=False)` could not match."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class HookHandle:
    """What registering a hook returns: `remove()` takes the hook off again."""

    _next_key = count().__next__

    def __init__(self, hooks: dict[int, Hook], hook: Hook) -> None:
        self._hooks, self._key = hooks, self._next_key()
        hooks[self._key] = hook

    def remove(self) -> None:
        """Take the hook off; nothing happens if it is off already."""
        self._hooks.pop(self._key, None)


class Call(NamedTuple):
    """The mark that a module leaves on the op that made its output."""

    start: int  # what the call made has a higher order
    path: str


class _Calls(threading.local):
    """The calls that are under way in this thread."""

    paths: dict[Module, str] | None = None  # of all modules below the outermost one being called
    path: str = ""  # of the innermost one


_calls = _Calls()

Self = TypeVar("Self", bound="Module")


class Module:
    """Base of all layers and networks. Subclasses write `__init__` and `forward`.

    class Scale(Module):
        def __init__(self, channels):
            super().__init__()
            self.factor = Parameter(minise.ones(channels, 1, 1))

        def forward(self, input):
            return input * self.factor

    training   True in training, False in evaluation; set by `train()` and `eval()`
    """

    training: bool
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]  # state that is saved and moved, but not trained
    _modules: dict[str, Module | None]
    _temporary_buffers: set[str]  # names of the buffers that are not saved
    _forward_hooks: dict[int, Hook]
    _forward_pre_hooks: dict[int, Hook]

    def __init__(self) -> None:
        vars(self).update(  # past __setattr__, which looks into these
            training=True,
            _parameters={},
            _buffers={},
            _modules={},
            _temporary_buffers=set(),
            _forward_hooks={},
            _forward_pre_hooks={},
        )

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes; subclasses write it. Call the module itself, not this."""
        raise NotImplementedError(f"{type(self).__name__}: forward is not written")

    # Calling

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the hooks and `forward`."""
        return self.call(self._run_with_hooks, *args, **kwargs)

    def call(self, body: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """body(*args, **kwargs) as a call of this module: errors and ops in it get its path."""
        paths, outer = _calls.paths, _calls.path
        is_outermost = paths is None
        if paths is None:
            paths = _calls.paths = {module: path for path, module in self.named_modules()}
        # A module outside of the tree works on behalf of the one that calls it.
        path = _calls.path = paths.get(self, outer)
        start = next_order()
        try:
            output = body(*args, **kwargs)
        except (ValueError, TypeError, RuntimeError, IndexError) as error:
            _say_where(error, path)
            raise
        finally:
            _calls.path = outer
            if is_outermost:
                _calls.paths = None
        _mark(output, Call(start, path))
        return output

    def _run_with_hooks(self, *args: Any, **kwargs: Any) -> Any:
        for hook in tuple(self._forward_pre_hooks.values()):
            changed = hook(self, args)
            if changed is not None:
                args = changed if isinstance(changed, tuple) else (changed,)
        output = self.forward(*args, **kwargs)
        for hook in tuple(self._forward_hooks.values()):
            changed = hook(self, args, output)
            if changed is not None:
                output = changed
        return output

    @property
    def has_hooks(self) -> bool:
        """Whether anybody looks at what goes in or comes out."""
        return bool(self._forward_hooks or self._forward_pre_hooks)

    def register_forward_hook(self, hook: Hook) -> HookHandle:
        """Call `hook(module, args, output)` after each forward; what it returns, unless None,
        replaces the output."""
        return HookHandle(self._forward_hooks, hook)

    def register_forward_pre_hook(self, hook: Hook) -> HookHandle:
        """Call `hook(module, args)` before each forward; what it returns, unless None, replaces
        the positional arguments."""
        return HookHandle(self._forward_pre_hooks, hook)

    # Attributes

    def __setattr__(self, name: str, value: Any) -> None:
        for registry, kind in REGISTRIES.items():
            if name in vars(self).get(registry, ()):
                self._check_kind(name, value, kind)
            elif isinstance(value, kind) and kind is not Tensor:  # buffers have to be registered
                self._check_initialised()
                if hasattr(type(self), name):  # `self.double` would go on finding the method
                    raise KeyError(f"{type(self).__name__}: attribute {name!r} already exists")
                self._forget(name)
            else:
                continue
            vars(self)[registry][name] = value
            return
        super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:  # reached only for what is no plain attribute
        for registry in REGISTRIES:
            members = vars(self).get(registry, {})
            if name in members:
                return members[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __delattr__(self, name: str) -> None:
        if any(name in vars(self).get(registry, ()) for registry in REGISTRIES):
            self._forget(name)
        else:
            super().__delattr__(name)

    def __dir__(self) -> list[str]:
        registered = (name for registry in REGISTRIES for name in vars(self).get(registry, ()))
        return sorted({*super().__dir__(), *registered})

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """The attribute `name` is a parameter; None keeps the place of one that is not there.

        Raises KeyError for a name that is taken, empty or dotted, TypeError for another value.
        """
        self._register("_parameters", name, param)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """The attribute `name` is a buffer: moved with the module, and saved if `persistent`.

        Raises as `register_parameter`.
        """
        self._register("_buffers", name, tensor)
        if persistent:
            self._temporary_buffers.discard(name)
        else:
            self._temporary_buffers.add(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """The attribute `name` is a child module. Raises as `register_parameter`."""
        self._register("_modules", name, module)

    def _register(self, registry: str, name: str, value: Any) -> None:
        self._check_initialised()
        if not isinstance(name, str):
            raise TypeError(f"{type(self).__name__}: a name must be a str, got {name!r}")
        if "." in name or name == "":
            raise KeyError(
                f"{type(self).__name__}: a name must not be empty or dotted, got {name!r}"
            )
        if hasattr(self, name) and name not in vars(self)[registry]:
            raise KeyError(f"{type(self).__name__}: attribute {name!r} already exists")
        self._check_kind(name, value, REGISTRIES[registry])
        vars(self)[registry][name] = value

    def _check_kind(self, name: str, value: Any, kind: type) -> None:
        if value is not None and not isinstance(value, kind):
            raise TypeError(
                f"{type(self).__name__}.{name}: expected a {kind.__name__} or None, "
                f"got {type(value).__name__}"
            )

    def _check_initialised(self) -> None:
        if "_modules" not in vars(self):
            raise AttributeError(
                f"{type(self).__name__}: cannot assign parameters, buffers or modules before "
                "super().__init__() was called"
            )

    def _forget(self, name: str) -> None:
        vars(self).pop(name, None)
        for registry in REGISTRIES:
            vars(self)[registry].pop(name, None)
        self._temporary_buffers.discard(name)

    # Walking the tree: each parameter, buffer and module comes once, however often it is used

    def named_modules(
        self, memo: set[Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """(path, module) of this module (its path is `prefix`) and of everything below it."""
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, child in self._modules.items():
            if child is not None:
                yield from child.named_modules(memo, _join(prefix, name), remove_duplicate)

    def modules(self) -> Iterator[Module]:
        """This module and all below it."""
        return (module for _, module in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """(name, module) of the modules directly below this one."""
        seen = set()
        for name, child in self._modules.items():
            if child is not None and child not in seen:
                seen.add(child)
                yield name, child

    def children(self) -> Iterator[Module]:
        """The modules directly below this one."""
        return (child for _, child in self.named_children())

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """(path, parameter) of this module and, with `recurse`, of all below it."""
        return self._members("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """The parameters of this module and, with `recurse`, of all below it."""
        return (param for _, param in self.named_parameters(recurse=recurse))

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """(path, buffer) of this module and, with `recurse`, of all below it."""
        return self._members("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """The buffers of this module and, with `recurse`, of all below it."""
        return (buffer for _, buffer in self.named_buffers(recurse=recurse))

    def _members(
        self, registry: str, prefix: str, recurse: bool, remove_duplicate: bool
    ) -> Iterator[tuple[str, Any]]:
        walk = self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate)
        seen = set()
        for path, module in walk if recurse else [(prefix, self)]:
            for name, member in vars(module)[registry].items():
                if member is None or id(member) in seen:
                    continue
                if remove_duplicate:
                    seen.add(id(member))
                yield _join(path, name), member

    def get_submodule(self, target: str) -> Module:
        """The module of that path ("" is this one); AttributeError if there is none."""
        module = self
        for name in target.split(".") if target else ():
            child = getattr(module, name)
            if not isinstance(child, Module):
                raise AttributeError(f"{type(module).__name__}.{name} is not a module")
            module = child
        return module

    def get_parameter(self, target: str) -> Parameter:
        """The parameter of that path; AttributeError if there is none."""
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        param = getattr(module, name)
        if not isinstance(param, Parameter):
            raise AttributeError(f"{type(module).__name__}.{name} is not a Parameter")
        return param

    def apply(self: Self, fn: Callable[[Module], Any]) -> Self:
        """Call `fn(module)` for everything below this module, then for itself."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    # Saving and loading

    def state_dict(self) -> dict[str, Tensor]:
        """Parameters and buffers by path: detached tensors that share the module's memory."""
        state = {}
        for path, module in self.named_modules(remove_duplicate=False):
            for name, tensor in {**module._parameters, **module._buffers}.items():
                if tensor is not None and name not in module._temporary_buffers:
                    state[_join(path, name)] = tensor.detach()
        return state

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True
    ) -> IncompatibleKeys:
        """Copy the values of `state_dict` into the parameters and buffers of the same path.

        Values may be tensors or arrays of any backend, or anything that NumPy can read (a PyTorch
        tensor). Each is converted to the dtype and moved to the backend of what it replaces.
        With strict=False paths may be missing or too many; shapes have to match always.

        Raises RuntimeError that names every path that does not fit; then nothing was changed.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"load_state_dict: expected a dict, got {type(state_dict).__name__}")
        own = self.state_dict()
        given = {path: _as_array(state_dict[path]) for path in own if path in state_dict}
        missing = [path for path in own if path not in state_dict]
        unexpected = [path for path in state_dict if path not in own]
        problems = [f"missing: {path}" for path in missing if strict]
        problems += [f"unexpected: {path}" for path in unexpected if strict]
        problems += [
            f"wrong shape: {path} must be {own[path].shape}, got {array.shape}"
            for path, array in given.items()
            if array.shape != own[path].shape
        ]
        if problems:
            raise RuntimeError(
                "\n    ".join([f"load_state_dict: does not fit {type(self).__name__}", *problems])
            )
        converted = {
            path: backend.of(own[path].data).as_array(array, dtype=own[path].dtype)
            for path, array in given.items()
        }
        for path, array in converted.items():  # only now, when nothing can fail any more
            own[path].data[...] = array
        return IncompatibleKeys(missing, unexpected)

    # Changing all of it at once

    def train(self: Self, mode: bool = True) -> Self:
        """Training mode (batch statistics, dropout) for this module and all below it."""
        if not isinstance(mode, bool):
            raise ValueError(f"train: mode must be True or False, got {mode!r}")
        for module in self.modules():
            module.training = mode
        return self

    def eval(self: Self) -> Self:
        """Evaluation mode: `train(False)`."""
        return self.train(False)

    def requires_grad_(self: Self, requires_grad: bool = True) -> Self:
        """Whether the parameters are trained (True) or frozen (False)."""
        for param in self.parameters():
            param.requires_grad = requires_grad
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients; with set_to_none=False those that exist become zeros."""
        for param in self.parameters():
            if param.grad is not None:
                param.grad = None if set_to_none else zeros_like(param)

    def to(self: Self, target: Any) -> Self:
        """Move all parameters, gradients and buffers to a backend ("cupy"), or to a float dtype.

        The Parameter objects stay, so an optimizer that holds them goes on working. Integer
        buffers keep their dtype. Raises TypeError for a dtype that is not floating point, and as
        `backend.get` for a backend.
        """
        try:
            dtype = numpy.dtype(target)
        except TypeError:  # not a dtype, so the name of a backend
            dtype = None
        if dtype is not None and dtype.kind != "f":
            raise TypeError(f"to: a module can be cast to floating point dtypes only, got {dtype}")
        for tensor in (*self.parameters(), *self.buffers()):
            for part in (tensor, tensor.grad):
                if part is not None and (dtype is None or part.dtype.kind == "f"):
                    part.data = part.detach().to(target).data
        return self

    def float(self: Self) -> Self:
        """All parameters and floating point buffers in float32."""
        return self.to(numpy.float32)

    def double(self: Self) -> Self:
        """All parameters and floating point buffers in float64."""
        return self.to(numpy.float64)

    # Printing

    def extra_repr(self) -> str:
        """The options of this module, for its line in the printed tree."""
        return ""

    def __repr__(self) -> str:
        lines = [
            f"  ({name}): " + repr(child).replace("\n", "\n  ")
            for name, child in self._modules.items()
        ]
        if not lines:
            return f"{type(self).__name__}({self.extra_repr()})"
        options = [f"  {self.extra_repr()}"] if self.extra_repr() else []
        return "\n".join([f"{type(self).__name__}(", *options, *lines, ")"])


# Where a module keeps its members, and what they are.
REGISTRIES: dict[str, type] = {"_parameters": Parameter, "_modules": Module, "_buffers": Tensor}


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _as_array(value: Any) -> Array:
    if isinstance(value, Tensor):
        return value.data
    return numpy.asarray(value) if backend.of(value, default=None) is None else value


def _say_where(error: Any, path: str) -> None:
    """Add the path to the message, once: the innermost module is the first to see the error."""
    if hasattr(error, "module_path"):
        return
    error.module_path = path
    if path and len(error.args) == 1 and isinstance(error.args[0], str):
        error.args = (f"{error.args[0]} (in module {path})",)


def _mark(output: Any, call: Call) -> None:
    """Leave the mark of a call on the op behind each tensor of its output that it made itself."""
    if isinstance(output, Tensor):
        if output.op is not None and output.order > call.start:
            vars(output.op).setdefault("calls", []).append(call)
    elif isinstance(output, (tuple, list)):
        for part in output:
            _mark(part, call)
