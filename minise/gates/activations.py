"""What the gates of squeeze-and-excitation do over a data set (Hu et al., section 7.2).

The paper asks which channels SE blocks favour for which class, and finds that early gates hardly
depend on the class while late ones do. Here the same can be asked of any division of the pictures.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy

from ..autograd import no_grad
from ..nn import Module, SEBlock
from ..tensor import Tensor


@contextmanager
def recording(model: Module) -> Iterator[dict[str, numpy.ndarray]]:
    """Keeps the gates of every SE block of `model` in each forward inside a `with`.

        with recording(model) as gates:
            model(x)
        gates["layer1.0.se"]  # (N, C), filled in when the `with` ends

    Raises ValueError for a model without SE.
    """
    paths = {block: path for path, block in model.named_modules() if isinstance(block, SEBlock)}
    if not paths:
        name = getattr(model, "config", {}).get("name", type(model).__name__)
        raise ValueError(f"gates: {name} has no SE blocks, so there are no gates")
    seen: dict[str, list[numpy.ndarray]] = {path: [] for path in paths.values()}

    def keep(block: SEBlock, inputs: Any, output: Tensor) -> None:
        assert block.gate is not None  # the block has just run
        seen[paths[block]].append(block.gate.numpy()[:, :, 0, 0])  # (N, C)

    handles = [block.register_forward_hook(keep) for block in paths]
    gates: dict[str, numpy.ndarray] = {}
    try:
        yield gates
    finally:
        for handle in handles:
            handle.remove()
    gates.update({path: numpy.concatenate(parts) for path, parts in seen.items() if parts})


def collect(
    model: Module, batches: Iterable[numpy.ndarray | tuple[numpy.ndarray, numpy.ndarray]]
) -> dict[str, numpy.ndarray]:
    """The gates (N, C) of every SE block by its path, over all pictures, in evaluation mode.

    batches  pictures (N, 3, H, W) as the model wants them, or pairs (pictures, labels) as a
             DataLoader gives them; the rows of the result come in the same order

    Raises ValueError for a model without SE and where there are no pictures.
    """
    was_training, backend = model.training, next(model.parameters()).backend
    model.eval()
    try:
        with recording(model) as gates, no_grad():
            for batch in batches:
                images = batch[0] if isinstance(batch, tuple) else batch
                model(Tensor(images).to(backend))
    finally:
        model.train(was_training)
    if not gates:
        raise ValueError("gates: there are no pictures to collect gates from")
    return gates


class Groups(NamedTuple):
    """Mean and standard deviation of each gate within each group, (groups, C) both.

    A group without pictures has NaNs.
    """

    mean: numpy.ndarray
    std: numpy.ndarray


def by_group(gates: numpy.ndarray, group: numpy.ndarray, count: int | None = None) -> Groups:
    """Mean and deviation of gates (N, C) over the pictures of each group (figures 6 and 7).

    group  (N,) integers: which group each picture belongs to, such as its label
    count  how many groups there are; None: up to the highest number that occurs

    Raises ValueError unless there is one number, 0 to count - 1, for each picture.
    """
    gates, group = numpy.asarray(gates, numpy.float64), numpy.asarray(group)
    if gates.ndim != 2 or len(gates) == 0 or group.shape != gates.shape[:1]:
        raise ValueError(
            "by_group: expected gates (N, C) and a group (N,) for each, "
            f"got {gates.shape} and {group.shape}"
        )
    count = int(group.max()) + 1 if count is None else count
    if group.min() < 0 or group.max() >= count:
        raise ValueError(
            f"by_group: groups must be 0 to {count - 1}, got {group.min()} to {group.max()}"
        )
    member = (group == numpy.arange(count)[:, None]).astype(numpy.float64)  # (groups, N)
    size = member.sum(axis=1, keepdims=True)  # (groups, 1)
    size[size == 0] = numpy.nan
    mean = member @ gates / size  # (groups, C)
    variance = member @ (gates - mean[group]) ** 2 / size  # (groups, C)
    return Groups(mean, numpy.sqrt(variance))


def variance_explained(gates: numpy.ndarray, group: numpy.ndarray) -> float:
    """Share of the variance of gates (N, C), over all channels, that the groups account for.

    1 if a picture's group says all about its gates, near 0 if it says nothing, NaN if the gates
    never change (the correlation ratio η² of the analysis of variance). Raises as `by_group`.
    """
    gates = numpy.asarray(gates, numpy.float64)
    within = ((gates - by_group(gates, group).mean[group]) ** 2).sum()
    total = ((gates - gates.mean(axis=0)) ** 2).sum()
    return float(1 - within / total) if total > 0 else float("nan")


def stage_of(path: str) -> str:
    """The stage that a block belongs to: "layer3.1.se" -> "layer3"."""
    return re.match(r"\D*\d*", path).group()  # type: ignore[union-attr]  # it matches anything


def last_of_stages(paths: Iterable[str]) -> list[str]:
    """The last block of each stage, which are those that the paper shows."""
    return list({stage_of(path): path for path in paths}.values())
