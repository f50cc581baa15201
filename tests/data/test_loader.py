"""DataLoader: order, resume, prefetching and its ends."""

import threading
import time

import numpy as np
import pytest

from minise.data import DataLoader, Dataset
from minise.data.transforms import Compose, RandomCrop, RandomHorizontalFlip


@pytest.fixture
def dataset():
    images = np.random.RandomState(0).randint(0, 256, (50, 3, 8, 8)).astype(np.uint8)
    return Dataset(images, np.arange(50), [str(i) for i in range(50)])


AUGMENT = Compose([RandomCrop(8, 2), RandomHorizontalFlip()])
both = pytest.mark.parametrize("prefetch", [True, False])


def epoch(loader):
    return [(images.copy(), labels.copy()) for images, labels in loader]


def same(one, two):
    return len(one) == len(two) and all(
        np.array_equal(a, b) and np.array_equal(c, d) for (a, c), (b, d) in zip(one, two)
    )


@both
@pytest.mark.parametrize(("drop_last", "count"), [(False, 4), (True, 3)])
def test_plain(dataset, prefetch, drop_last, count):
    loader = DataLoader(dataset, 16, drop_last=drop_last, prefetch=prefetch)
    batches = epoch(loader)
    assert len(batches) == len(loader) == count
    images, labels = (np.concatenate(part) for part in zip(*batches))
    assert (images.dtype, labels.dtype) == (np.float32, np.int64)
    assert np.array_equal(labels, dataset.labels[: len(labels)])
    assert np.allclose(images * 255, dataset.images[: len(labels)])


@both
def test_shuffle(dataset, prefetch):
    loader = DataLoader(dataset, 16, shuffle=True, prefetch=prefetch)
    first, second = (np.concatenate([labels for _, labels in epoch(loader)]) for _ in range(2))
    assert sorted(first) == sorted(second) == list(range(50))
    assert first.tolist() != second.tolist()


def test_the_order_is_the_same_with_any_version(dataset):
    (_, labels), *_ = DataLoader(dataset, 8, shuffle=True, seed=3)
    assert labels.tolist() == [43, 18, 42, 35, 41, 17, 13, 5]


@both
def test_an_epoch_depends_on_seed_and_number_alone(dataset, prefetch):
    def loader(seed=5):
        return DataLoader(dataset, 16, True, AUGMENT, seed=seed, prefetch=prefetch)

    unbroken = loader()
    epochs = [epoch(unbroken) for _ in range(3)]
    assert not same(epochs[0], epochs[1])

    resumed = loader()
    next(iter(resumed))  # an epoch that was broken off
    resumed.set_epoch(2)
    assert same(epoch(resumed), epochs[2])
    resumed.set_epoch(0)
    assert same(epoch(resumed), epochs[0])
    assert not same(epoch(loader(seed=6)), epochs[0])


def test_prefetching_changes_nothing(dataset):
    loaders = [DataLoader(dataset, 16, True, AUGMENT, prefetch=p) for p in (True, False)]
    assert same(*(epoch(loader) for loader in loaders))


def loader_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("minise-loader")]


def test_the_thread_ends_with_the_epoch(dataset):
    epoch(DataLoader(dataset, 16))
    assert loader_threads() == []


def test_the_thread_ends_after_a_break(dataset):
    for _ in DataLoader(dataset, 1):
        break
    assert loader_threads() == []


def test_the_thread_ends_after_an_interrupt(dataset):
    def train():
        for _ in DataLoader(dataset, 1):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train()
    assert loader_threads() == []


@both
def test_errors_come_out_where_the_batch_would(dataset, prefetch):
    calls = []

    def failing(images, random):
        calls.append(1)
        if len(calls) == 3:
            raise ArithmeticError("third batch")
        return images

    batches = iter(DataLoader(dataset, 16, transform=failing, prefetch=prefetch))
    next(batches)
    next(batches)
    with pytest.raises(ArithmeticError, match="third batch"):
        next(batches)
    assert loader_threads() == []


def test_batches_are_prepared_while_the_caller_works(dataset):
    prepared = []

    def note(images, random):
        prepared.append(len(images))
        return images

    batches = iter(DataLoader(dataset, 5, transform=note))
    next(batches)
    deadline = time.monotonic() + 5
    while len(prepared) < 3 and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(0.02)
    assert len(prepared) == 3, "one in use, two ahead"
    batches.close()


@pytest.mark.parametrize("batch_size", [0, -1, float("nan"), 2.5, "8", None])
def test_bad_batch_size(dataset, batch_size):
    with pytest.raises(ValueError, match="batch_size must be a positive integer"):
        DataLoader(dataset, batch_size)


def test_bad_arguments(dataset):
    with pytest.raises(ValueError, match="seed"):
        DataLoader(dataset, seed=-1)
    with pytest.raises(ValueError, match="make no batch of 64 when the last one is dropped"):
        DataLoader(dataset, 64, drop_last=True)
    with pytest.raises(ValueError, match="0 pictures"):
        DataLoader(dataset.subset(slice(0)))
    with pytest.raises(ValueError, match="negative"):
        DataLoader(dataset).set_epoch(-1)
    with pytest.raises(ValueError, match="expected images uint8"):
        Dataset(dataset.images, dataset.labels[:-1], dataset.classes)
