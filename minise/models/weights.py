"""Weights to and from files: safetensors, which holds arrays and runs no code."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from .. import files
from ..nn import Module

SOURCES = ("minise", "timm", "cadene")


def save_weights(model: Module, path: str | os.PathLike[str], **notes: Any) -> None:
    """Write the model's parameters and buffers to `path` (safetensors).

    How `models.create` built it goes along as metadata, so that `minise predict` can rebuild it;
    `notes` do too, each as JSON under its own name.
    The file appears under its name only when it is complete; until then an older one stays.

    Raises OSError where the file cannot be written.
    """
    path = Path(path)
    state = {  # not ascontiguousarray: it would make the counters, (), arrays of one element
        key: numpy.asarray(value.numpy(), order="C") for key, value in model.state_dict().items()
    }
    notes = {"config": getattr(model, "config", None), **notes}
    metadata = {"format": "minise", **{name: json.dumps(note) for name, note in notes.items()}}
    try:
        with files.replacing(path, sync=False) as temporary:
            save_file(state, temporary, metadata=metadata)
    except SafetensorError as error:
        raise OSError(f"save_weights: {path}: {error}") from None


def load_weights(
    model: Module, path: str | os.PathLike[str], source: str = "minise"
) -> Module:
    """Read weights from `path` into `model`, in place; returns the model.

    source  "minise"  as `save_weights` wrote them
            "timm"    timm's `resnet*`, `seresnet*` (18 and 34 need `se_width="timm"`), and
                      `legacy_se*` (which are Cadene's)
            "cadene"  pretrained-models.pytorch

    `path` is a safetensors file; a `.pth` is read only where PyTorch is installed, and only its
    tensors (weights_only). Names and shapes are translated, then all of them must fit.

    Raises OSError for a file that cannot be opened, ValueError for one that is damaged or of
    another kind or for a model built with another `variant`, `placement`, `squeeze` or `gate`
    (which have the same shapes and compute something else), RuntimeError naming every
    missing, unexpected or misshapen key; the model is unchanged then.
    """
    if source not in SOURCES:
        raise ValueError(f"load_weights: source must be one of {SOURCES}, got {source!r}")
    arrays = read_arrays(path)
    if source == "minise":
        check_choices(read_config(path), model, path)
    else:
        arrays = translate(arrays, model)
    arrays = with_counters(arrays, model)
    check_types(arrays, model)
    try:
        model.load_state_dict(arrays)
    except RuntimeError as error:
        reason = class_mismatch(arrays, model) + str(error)
        raise RuntimeError(f"load_weights: {path}: {reason}") from None
    return model


def check_choices(noted: Any, model: Module, path: Any) -> None:
    """ValueError if the file belongs to a net that has the same shapes and computes otherwise."""
    own = getattr(model, "config", {})
    for choice in ("variant", "placement", "squeeze", "gate"):
        theirs = noted.get(choice) if isinstance(noted, dict) else None
        if theirs is not None and own.get(choice, theirs) != theirs:
            raise ValueError(
                f"load_weights: {path} is for {choice}={theirs!r}, "
                f"the model has {choice}={own[choice]!r}"
            )


def read_arrays(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The arrays of a weights file by name; ValueError in one sentence if it is none."""
    path = Path(path)
    if is_pickle(path):
        return _read_pth(path)
    with _open_safetensors(path) as file:
        return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118


def read_notes(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What `save_weights` noted beside the weights, by name; {} for other files.

    Raises as `read_arrays`. Anybody can write such notes, so each may be any JSON value; those
    that are not JSON are left out.
    """
    path = Path(path)
    if is_pickle(path):
        return {}
    with _open_safetensors(path) as file:
        metadata = file.metadata() or {}
    notes = {}
    for name, note in metadata.items():
        try:
            notes[name] = json.loads(note)
        except ValueError:
            continue
    return notes


def read_config(path: str | os.PathLike[str]) -> Any:
    """What `save_weights` noted of `models.create`'s arguments, or None. Raises as `read_notes`."""
    return read_notes(path).get("config")


def is_pickle(path: Path) -> bool:
    """Whether the file starts as PyTorch's do: a pickle, alone or in a ZIP archive.

    A safetensors file starts with the length of its header, which may be any byte, but then `{`.
    """
    with path.open("rb") as file:
        start = file.read(9)
    return start.startswith((b"PK\x03\x04", b"\x80")) and start[8:] not in (b"", b"{")


@contextmanager
def _open_safetensors(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="numpy") as file:
            yield file
    except SafetensorError as error:
        raise ValueError(f"load_weights: {path} is no intact safetensors file ({error})") from None
    except (TypeError, AttributeError) as error:  # bfloat16, float8
        raise ValueError(
            f"load_weights: {path} holds numbers that NumPy does not have ({error}); "
            "convert them to float32"
        ) from None


def _read_pth(path: Path) -> dict[str, Any]:
    """A PyTorch file is a pickle; only PyTorch's own restricted reader may open it."""
    try:
        import torch
    except ImportError:
        raise ValueError(
            f"load_weights: {path} is a PyTorch file (a pickle, which can run code); convert it to "
            "safetensors, or install PyTorch, whose weights_only reader is used then"
        ) from None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds, pickle.UnpicklingError among them
        raise ValueError(  # its own words recommend to read the file without the restriction
            f"load_weights: {path} is damaged or holds more than tensors; "
            f"PyTorch's weights_only reader refuses it ({type(error).__name__})"
        ) from error
    state = state.get("state_dict", state) if isinstance(state, Mapping) else state
    if not isinstance(state, Mapping) or not all(torch.is_tensor(v) for v in state.values()):
        raise ValueError(f"load_weights: {path} holds no mapping from names to tensors")
    return {  # NumPy has no bfloat16; float32 holds all its values
        key: (value.float() if value.dtype == torch.bfloat16 else value).detach().numpy()
        for key, value in state.items()
    }


def translate(arrays: Mapping[str, Any], model: Module) -> dict[str, Any]:
    """timm's and Cadene's names and shapes to ours.

    What has our shapes but computes something else is refused: it would load and be wrong.
    """
    of_authors = any(key.startswith("layer0.") for key in arrays)
    expected = "caffe" if of_authors else "torch"
    variant = getattr(model, "variant", expected)
    if variant != expected:
        raise ValueError(
            f"load_weights: these weights belong to variant={expected!r}, "
            f"the model is variant={variant!r} (same shapes, other strides and padding)"
        )
    if of_authors and not any(".conv3." in key for key in arrays):
        raise ValueError(
            "load_weights: timm's legacy_seresnet18 and 34 have a ReLU before SE, "
            "which no network of minise has; use timm's seresnet18 or 34"
        )
    return {
        rename(key): array.reshape(array.shape[:2]) if is_se_kernel(key, array) else array
        for key, array in arrays.items()
    }


def rename(key: str) -> str:
    """A key of Cadene's networks as minise calls it."""
    key = key.removeprefix("layer0.")
    return key.replace(".se_module.", ".se.").replace("last_linear.", "fc.")


def is_se_kernel(key: str, array: Any) -> bool:
    """SE's layers are 1×1 convolutions there, (out, in, 1, 1), and linear here, (out, in)."""
    inside_se = ".se." in key or ".se_module." in key
    return inside_se and array.ndim == 4 and array.shape[2:] == (1, 1)


def with_counters(arrays: Mapping[str, Any], model: Module) -> dict[str, Any]:
    """Weights older than PyTorch 0.4.1 lack BatchNorm's batch counters; the model's own stay."""
    own = {
        key: value
        for key, value in model.state_dict().items()
        if key.endswith(".num_batches_tracked")
    }
    return {**own, **arrays}


def check_types(arrays: Mapping[str, Any], model: Module) -> None:
    """Whole numbers in place of weights are quantised ones, which mean nothing without scales."""
    own = model.state_dict()
    wrong = [
        f"{key} is {array.dtype}"
        for key, array in arrays.items()
        if key in own and own[key].dtype.kind == "f" and array.dtype.kind != "f"
    ]
    if wrong:
        raise ValueError(f"load_weights: expected floating-point weights, but {', '.join(wrong)}")


def class_mismatch(arrays: Mapping[str, Any], model: Module) -> str:
    """The commonest mistake in words, or "": a net of `models.create` for other classes."""
    classifier = list(model.state_dict())[-1]  # its bias, (classes,)
    if not hasattr(model, "config") or classifier not in arrays:
        return ""
    given, expected = arrays[classifier].size, model.config["num_classes"]
    if given == expected:
        return ""
    return f"the file is for {given} classes (num_classes={given}), the model for {expected}; "
