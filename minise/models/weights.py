"""Weights to and from files: safetensors, which holds arrays and runs no code."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ..nn import Module

SOURCES = ("minise", "timm", "cadene")


def save_weights(model: Module, path: str | os.PathLike[str]) -> None:
    """Write the model's parameters and buffers to `path` (safetensors).

    How `models.create` built it goes along as metadata, so that `minise predict` can rebuild it.
    The file appears under its name only when it is complete.
    """
    path = Path(path)
    state = {
        key: numpy.ascontiguousarray(value.numpy()) for key, value in model.state_dict().items()
    }
    metadata = {"format": "minise", "config": json.dumps(getattr(model, "config", None))}
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    os.close(handle)
    try:
        save_file(state, temporary, metadata=metadata)
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def load_weights(
    model: Module, path: str | os.PathLike[str], source: str = "minise"
) -> Module:
    """Read weights from `path` into `model`, in place; returns the model.

    source  "minise"  as `save_weights` wrote them
            "timm"    timm's `resnet*`, `seresnet*`, and `legacy_se*` (which are Cadene's)
            "cadene"  pretrained-models.pytorch

    `path` is a safetensors file; a `.pth` is read only where PyTorch is installed, and only its
    tensors (weights_only). Names and shapes are translated, then all of them must fit.

    Raises FileNotFoundError, ValueError for a file that is damaged or of another kind or for a
    model whose `variant` is not that of the weights, RuntimeError naming every missing, unexpected
    or misshapen key; the model is unchanged then.
    """
    if source not in SOURCES:
        raise ValueError(f"load_weights: source must be one of {SOURCES}, got {source!r}")
    arrays = read_arrays(path)
    if source != "minise":
        arrays = translate(arrays, model)
    model.load_state_dict(with_counters(arrays, model))
    return model


def read_arrays(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The arrays of a weights file by name; ValueError in one sentence if it is none."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"load_weights: no file {path}")
    with path.open("rb") as file:
        start = file.read(9)
    if start[:4] == b"PK\x03\x04" or start[:1] == b"\x80":
        return _read_pth(path)
    try:
        with safe_open(path, framework="numpy") as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, TypeError, ValueError) as error:
        raise ValueError(f"load_weights: {path} is no intact safetensors file ({error})") from None


def read_config(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """The arguments of `models.create` that `save_weights` noted, or None."""
    try:
        with safe_open(path, framework="numpy") as file:
            return json.loads((file.metadata() or {}).get("config", "null"))
    except (SafetensorError, OSError, ValueError):
        return None


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
        reason = str(error).splitlines()[0]
        raise ValueError(f"load_weights: {path} holds more than tensors: {reason}") from None
    state = state.get("state_dict", state) if isinstance(state, Mapping) else state
    if not isinstance(state, Mapping) or not all(torch.is_tensor(v) for v in state.values()):
        raise ValueError(f"load_weights: {path} holds no mapping from names to tensors")
    return {key: value.numpy() for key, value in state.items()}


def translate(arrays: Mapping[str, Any], model: Module) -> dict[str, Any]:
    """timm's and Cadene's names and shapes to ours."""
    authors = any(key.startswith(("layer0.", "last_linear.")) for key in arrays)
    variant = getattr(model, "variant", None)
    if authors and variant != "caffe":  # same shapes, other strides: it would load and be wrong
        raise ValueError(
            "load_weights: these weights belong to the authors' architecture; "
            "build the model with variant='caffe'"
        )
    if not authors and variant == "caffe":
        raise ValueError(
            "load_weights: these weights belong to PyTorch's architecture; "
            "build the model with variant='torch'"
        )
    return {
        rename(key): array.reshape(array.shape[:2]) if is_se_kernel(key, array) else array
        for key, array in arrays.items()
    }


def rename(key: str) -> str:
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
