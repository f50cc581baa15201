"""What CuPy has: a committed snapshot of its names and signatures; and a check against it.

Most machines have neither CuPy nor a GPU, so `cupy_names.json` keeps what they would need to know:
every public name of the namespaces in `MODULES`, of `cupy.ndarray` and of `cupy.ufunc`, each with
its kind ("module", "type", "constant", "attribute") or the signature of its call; in a signature
`name=` stands for an argument that may be left out. The check reads minise's sources and never
runs them, so it also covers lines that no test reaches; it cannot know which variables hold
arrays, so methods of arrays are left to the strict array (strict_array.py).

    python tests/helpers/cupy_namespace.py            check minise's sources
    python tests/helpers/cupy_namespace.py --write    take a new snapshot (needs CuPy, no GPU)
"""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SNAPSHOT = Path(__file__).with_name("cupy_names.json")
MODULES = ("cupy", "cupy.linalg", "cupy.lib", "cupy.lib.stride_tricks")
# The sources that write `xp.something`; a path that does not exist (yet) is passed over.
CHECKED = (
    "minise/autograd.py",
    "minise/backend",
    "minise/creation.py",
    "minise/functional.py",
    "minise/gradcheck.py",
    "minise/models",
    "minise/nn",
    "minise/ops",
    "minise/optim",
    "minise/train",
)

Names = dict[str, dict[str, str]]


def load() -> Names:
    """The snapshot: names by namespace. `load()["cupy"]["__version__"]` is CuPy's version."""
    names: Names = json.loads(SNAPSHOT.read_text(encoding="utf-8"))
    return names


def signature(text: str) -> inspect.Signature:
    """`"(a, axis=, *, out=)"` as an inspect.Signature."""
    kind: Any = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters: list[inspect.Parameter] = []
    for word in filter(None, text.strip("()").split(", ")):
        if word == "/":
            only = inspect.Parameter.POSITIONAL_ONLY
            parameters = [parameter.replace(kind=only) for parameter in parameters]
        elif word == "*":
            kind = inspect.Parameter.KEYWORD_ONLY
        elif word.startswith("**"):
            parameters.append(inspect.Parameter(word[2:], inspect.Parameter.VAR_KEYWORD))
        elif word.startswith("*"):
            parameters.append(inspect.Parameter(word[1:], inspect.Parameter.VAR_POSITIONAL))
            kind = inspect.Parameter.KEYWORD_ONLY
        else:
            default = None if word.endswith("=") else inspect.Parameter.empty
            parameters.append(inspect.Parameter(word.rstrip("="), kind, default=default))
    return inspect.Signature(parameters)


def find(chain: str, names: Names) -> str | None:
    """What the snapshot says of `"linalg.norm"` or `"add.reduce"`; None if nothing."""
    space = "cupy"
    found: str | None = "module"
    for part in chain.split("."):
        found = names[space].get(part)
        if found == "module":
            space = f"{space}.{part}"
            if space not in names:
                return None  # cupy.random, cupy.fft, ...: minise has no use for them
        elif found is None or not found.startswith("ufunc"):
            return found
        else:
            space = "cupy.ufunc"
    return found


def check_source(source: str, file: str, names: Names) -> Iterator[str]:
    """One line per use of `xp.NAME`, or of a keyword in `xp.NAME(...)`, that CuPy lacks."""
    called: dict[ast.expr, list[str]] = {}
    inner: set[ast.expr] = set()
    for node in ast.walk(ast.parse(source)):  # outer nodes come before the nodes inside them
        if isinstance(node, ast.Call):
            called[node.func] = [keyword.arg for keyword in node.keywords if keyword.arg]
        if not isinstance(node, ast.Attribute) or node in inner:
            continue
        chain = _chain_after_xp(node)
        if chain is None:
            continue
        inner.update(child for child in ast.walk(node) if isinstance(child, ast.Attribute))
        found = find(chain, names)
        if found is None:
            yield f"{file}:{node.lineno}: xp.{chain}: CuPy has no such name"
        elif "(" in found:
            accepted = signature(found[found.index("(") :]).parameters.values()
            if any(parameter.kind is parameter.VAR_KEYWORD for parameter in accepted):
                continue
            known = {parameter.name for parameter in accepted}
            for keyword in called.get(node, []):
                if keyword not in known:
                    yield f"{file}:{node.lineno}: xp.{chain}({keyword}=): CuPy has no such keyword"


def _chain_after_xp(node: ast.Attribute) -> str | None:
    """`"lib.stride_tricks.as_strided"` for that chain after `xp`, `self.xp` or `anything.xp`."""
    parts: list[str] = []
    rest: ast.expr = node
    while isinstance(rest, ast.Attribute) and rest.attr != "xp":
        parts.append(rest.attr)
        rest = rest.value
    is_xp = isinstance(rest, ast.Attribute) or (isinstance(rest, ast.Name) and rest.id == "xp")
    return ".".join(reversed(parts)) if is_xp and parts else None


def chains(source: str, start: str) -> Iterator[str]:
    """`"cupy.cuda.Device"`, and every longer chain of names that begins with `start`."""
    for node in ast.walk(ast.parse(source)):
        parts: list[str] = []
        rest: ast.AST = node
        while isinstance(rest, ast.Attribute):
            parts.append(rest.attr)
            rest = rest.value
        if parts and isinstance(rest, ast.Name):
            chain = ".".join([rest.id, *reversed(parts)])
            if chain.startswith(start + "."):
                yield chain


def check(root: Path = ROOT) -> list[str]:
    """Everything that the sources under `root` ask of `xp` and CuPy lacks."""
    names = load()
    complaints: list[str] = []
    for entry in CHECKED:
        path = root / entry
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path] * path.is_file():
            source = file.read_text(encoding="utf-8")
            complaints += check_source(source, str(file.relative_to(root)), names)
    return complaints


def take_snapshot() -> Names:
    """The names of the CuPy that can be imported here. It allocates nothing: no GPU needed."""
    cupy = importlib.import_module("cupy")
    spaces = {name: importlib.import_module(name) for name in MODULES}
    names = {name: _describe_all(space) for name, space in spaces.items()}
    names["cupy"]["__version__"] = cupy.__version__
    names["cupy.ndarray"] = _describe_all(cupy.ndarray)
    names["cupy.ufunc"] = _describe_all(cupy.ufunc)
    return names


def _describe_all(space: Any) -> dict[str, str]:
    described = {}
    for name in sorted(name for name in dir(space) if not name.startswith("_")):
        value = getattr(space, name)
        foreign = inspect.ismodule(value) and not value.__name__.startswith("cupy")
        if not foreign and name != "annotations":  # what a module only imports for itself
            described[name] = _describe(value)
    return described


def _describe(value: Any) -> str:
    if inspect.ismodule(value):
        return "module"
    if inspect.isclass(value):
        return "type"
    if type(value).__name__ == "ufunc":
        inputs = ["x"] if value.nin == 1 else [f"x{i + 1}" for i in range(value.nin)]
        out = "/, out=, *" if value.nout == 1 else "/, *, out="
        return f"ufunc ({', '.join(inputs)}, {out}, casting=, dtype=)"
    if type(value).__name__ == "_GUFunc":
        return "ufunc " + _compact(inspect.signature(value))
    if not callable(value):
        return "attribute" if inspect.isdatadescriptor(value) else "constant"
    try:
        return _compact(inspect.signature(value))
    except (TypeError, ValueError):  # compiled: the first line of its docstring tells
        return _from_docstring(value.__doc__ or "")


def _compact(full: inspect.Signature) -> str:
    words: list[str] = []
    previous: Any = inspect.Parameter.POSITIONAL_OR_KEYWORD
    for parameter in full.parameters.values():
        kind = parameter.kind
        if previous is kind.POSITIONAL_ONLY and kind is not previous:
            words.append("/")
        if kind is kind.KEYWORD_ONLY and previous not in (kind, kind.VAR_POSITIONAL):
            words.append("*")
        stars = {kind.VAR_POSITIONAL: "*", kind.VAR_KEYWORD: "**"}.get(kind, "")
        default = "" if parameter.default is parameter.empty else "="
        words.append(stars + parameter.name + default)
        previous = kind
    if previous is inspect.Parameter.POSITIONAL_ONLY:
        words.append("/")
    return f"({', '.join(word for word in words if word != 'self')})"


def _from_docstring(doc: str) -> str:
    """`"_ndarray_base.sort(self, int axis=-1, kind=None)"` as `"(axis=, kind=)"`."""
    line = doc.strip().partition("\n")[0].partition(" -> ")[0]
    if "(" not in line:
        return "(*args, **kwargs)"
    words = []
    for word in filter(None, line[line.index("(") + 1 : line.rindex(")")].split(", ")):
        name, equals, _ = word.partition("=")
        words.append(name.split()[-1] + equals)
    return f"({', '.join(word for word in words if word not in ('self', 'cls'))})"


def main(arguments: list[str]) -> int:
    if arguments == ["--write"]:
        text = json.dumps(take_snapshot(), indent=1, sort_keys=True) + "\n"
        SNAPSHOT.write_text(text, encoding="utf-8")
        return 0
    complaints = check()
    print("\n".join(complaints) or "every xp name and keyword exists in CuPy")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
