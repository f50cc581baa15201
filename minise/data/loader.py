"""Batches for training: shuffled, augmented and made ready one step ahead of the network."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from .dataset import Dataset
from .transforms import ToFloat, Transform

Batch = tuple[np.ndarray, np.ndarray]


class DataLoader:
    """Goes through a data set in batches: (images float32 (N, C, H, W), labels int64 (N,)).

    What an epoch brings depends on `seed` and the epoch's number alone, not on what was drawn
    before, so training that is resumed with `set_epoch(e, step)` sees exactly the batches that it
    would have seen. Each pass moves on to the next epoch.

    Args:
        dataset: a `Dataset`.
        batch_size: pictures per batch; the last batch of an epoch may be smaller.
        shuffle: whether each epoch has its own order.
        transform: called with (images, random) for each batch; see `minise.data.transforms`. If it
            returns uint8, the loader still scales that to 0 … 1.
        drop_last: whether to leave out a last batch that is smaller.
        seed: 0 to 2**32 - 1.
        prefetch: whether a thread prepares the next two batches while the caller works.

    Raises:
        ValueError: an argument outside of its range, or no batch at all.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int = 128,
        shuffle: bool = False,
        transform: Transform | None = None,
        drop_last: bool = False,
        seed: int = 0,
        prefetch: bool = True,
    ) -> None:
        if not isinstance(batch_size, int | np.integer) or batch_size < 1:
            raise ValueError(f"DataLoader: batch_size must be a positive integer, got {batch_size}")
        if not 0 <= seed < 2**32:
            raise ValueError(f"DataLoader: seed must lie in 0 … 2**32 - 1, got {seed}")
        self.dataset = dataset
        self.batch_size = int(batch_size)
        self.shuffle = shuffle
        self.transform = transform
        self.drop_last = drop_last
        self.seed = seed
        self.prefetch = prefetch
        self.epoch = self.step = 0
        if len(self) == 0:
            raise ValueError(
                f"DataLoader: {len(dataset)} pictures make no batch of {batch_size}"
                + (" when the last one is dropped" if drop_last else "")
            )

    def __len__(self) -> int:
        """Batches per epoch."""
        whole, rest = divmod(len(self.dataset), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def set_epoch(self, epoch: int, step: int = 0) -> None:
        """Makes the next pass that of epoch number `epoch`, from its batch number `step` on.

        Both are counted from 0. Raises ValueError if one is negative.
        """
        if epoch < 0 or step < 0:
            raise ValueError(
                "DataLoader.set_epoch: epoch and step must not be negative, "
                f"got {epoch} and {step}"
            )
        self.epoch, self.step = epoch, step

    def __iter__(self) -> Iterator[Batch]:
        batches = self._batches(self.epoch, self.step)
        self.epoch, self.step = self.epoch + 1, 0
        return _ahead(batches) if self.prefetch else batches

    def _batches(self, epoch: int, start: int) -> Iterator[Batch]:
        order = np.arange(len(self.dataset))
        if self.shuffle:
            np.random.RandomState([self.seed, epoch]).shuffle(order)
        for step in range(start, len(self)):
            chosen = order[step * self.batch_size : (step + 1) * self.batch_size]
            images, labels = self.dataset[chosen]
            if self.transform is not None:
                images = self.transform(images, np.random.RandomState([self.seed, epoch, step]))
            yield ToFloat()(images), labels


def _ahead(batches: Iterator[Batch], count: int = 2) -> Iterator[Batch]:
    """The same batches, `count` of them prepared in advance by a thread.

    An error in the thread comes out where its batch would have. Leaving early (break, Ctrl-C)
    closes this generator, which ends the thread after the batches under way.
    """
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="minise-loader") as thread:
        pending = deque(thread.submit(next, batches, None) for _ in range(count))
        while (batch := pending.popleft().result()) is not None:
            pending.append(thread.submit(next, batches, None))
            yield batch
