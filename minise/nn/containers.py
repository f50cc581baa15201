"""Modules that hold modules in order, under the names "0", "1", "2", ..."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from .module import Module

Self = TypeVar("Self", bound="Series")


class Series(Module):
    """What Sequential and ModuleList share: length, order, indexing."""

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._modules.values())

    def __getitem__(self, index: int | slice) -> Any:
        """The module at `index`; for a slice, a container of the same modules."""
        if isinstance(index, slice):
            part = type(self)()
            for name, module in list(self._modules.items())[index]:
                part.add_module(name, module)
            return part
        return self._modules[self._name(index)]

    def __setitem__(self, index: int, module: Module) -> None:
        setattr(self, self._name(index), module)

    def append(self: Self, module: Module) -> Self:
        """Put `module` at the end."""
        self.add_module(str(len(self)), module)
        return self

    def extend(self: Self, modules: Iterable[Module]) -> Self:
        """Put all `modules` at the end."""
        for module in modules:
            self.append(module)
        return self

    def _name(self, index: int) -> str:
        """The name of the member at `index`, which may count from the end."""
        index = operator.index(index)
        if not -len(self) <= index < len(self):
            raise IndexError(
                f"{type(self).__name__}: index must lie in [{-len(self)}, {len(self) - 1}], "
                f"got {index}"
            )
        return list(self._modules)[index]


class Sequential(Series):
    """Modules one after the other: the output of each is the input of the next.

    Sequential(first, second, ...) or, with names of their own, Sequential({"conv": first, ...}).
    Raises TypeError for what is no module.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__()
        if len(args) == 1 and isinstance(args[0], dict):
            for name, module in args[0].items():
                self.add_module(name, module)
        else:
            self.extend(args)

    def forward(self, input: Any) -> Any:
        """The output of the last module; `input` itself where there is none."""
        for module in self:
            input = module(input)
        return input


class ModuleList(Series):
    """A list of modules whose parameters count; calling them is up to who holds it."""

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        super().__init__()
        self.extend(modules)
