"""Augmentation: each transform against a loop over single pictures."""

import numpy as np
import pytest

from minise.data.transforms import (
    Compose,
    Cutout,
    Normalize,
    RandomCrop,
    RandomHorizontalFlip,
    ToFloat,
)


@pytest.fixture
def images():
    return np.random.RandomState(0).randint(1, 256, (40, 3, 12, 10)).astype(np.uint8)


def random(seed=0):
    return np.random.RandomState(seed)


ALL = [
    RandomCrop(8, padding=2),
    RandomHorizontalFlip(),
    Cutout(4),
    ToFloat(),
    Normalize((0.5, 0.4, 0.3), (0.2, 0.2, 0.1)),
]


@pytest.mark.parametrize("transform", ALL, ids=repr)
def test_pure_and_seeded(transform, images):
    before = images.copy()
    one, two, other = transform(images, random(1)), transform(images, random(1)), None
    assert np.array_equal(one, two)
    assert np.array_equal(images, before)
    assert not np.shares_memory(one, images)
    other = transform(images, random(2))
    seeded = not isinstance(transform, ToFloat | Normalize)
    assert np.array_equal(one, other) != seeded


@pytest.mark.parametrize("transform", ALL[:3], ids=repr)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_dtype_is_kept(transform, images, dtype):
    assert transform(images.astype(dtype), random()).dtype == dtype


def test_every_crop_is_a_window_of_the_padded_picture(images):
    padded = np.pad(images, ((0, 0), (0, 0), (3, 3), (3, 3)))
    places = set()
    for image, crop in zip(padded, RandomCrop(9, padding=3)(images, random())):
        found = [
            (y, x)
            for y in range(10)
            for x in range(8)
            if np.array_equal(image[:, y : y + 9, x : x + 9], crop)
        ]
        assert found
        places.update(found)
    assert {y for y, _ in places} == set(range(10))
    assert {x for _, x in places} == set(range(8))


def test_crop_of_the_full_size_changes_nothing(images):
    square = images[..., :10, :]
    assert np.array_equal(RandomCrop(10)(square, random()), square)


def test_flip(images):
    flipped = RandomHorizontalFlip()(images, random())
    kinds = [
        "same" if np.array_equal(a, b) else "mirrored" if np.array_equal(a, b[..., ::-1]) else "?"
        for a, b in zip(images, flipped)
    ]
    assert set(kinds) == {"same", "mirrored"}
    assert np.array_equal(RandomHorizontalFlip(0)(images, random()), images)
    assert np.array_equal(RandomHorizontalFlip(1)(images, random()), images[..., ::-1])


def test_cutout_blanks_one_square(images):
    holes = Cutout(4)(images, random()) == 0
    assert (holes == holes[:, :1]).all(), "the channels differ"
    for hole in holes[:, 0]:
        rows, columns = np.flatnonzero(hole.any(axis=1)), np.flatnonzero(hole.any(axis=0))
        assert hole[np.ix_(rows, columns)].all()
        assert hole.sum() == len(rows) * len(columns)
        assert 2 <= len(rows) <= 4
        assert 2 <= len(columns) <= 4
        assert np.ptp(rows) == len(rows) - 1
    assert (Cutout(100)(images, random()) == 0).all()


def test_normalize(images):
    mean, std = np.array([0.5, 0.4, 0.3]), np.array([0.2, 0.2, 0.1])
    expected = (images / 255 - mean.reshape(3, 1, 1)) / std.reshape(3, 1, 1)
    for batch in (images, (images / 255).astype(np.float32)):
        normalized = Normalize(mean.tolist(), std.tolist())(batch)
        assert normalized.dtype == np.float32
        assert np.allclose(normalized, expected, atol=1e-5)


def test_compose(images):
    steps = [RandomCrop(8, 2), RandomHorizontalFlip(), ToFloat()]
    one, stream = Compose(steps)(images, random()), random()
    for step in steps:
        images = step(images, stream)
    assert np.array_equal(one, images)


@pytest.mark.parametrize(
    "make",
    [
        lambda: RandomCrop(0),
        lambda: RandomCrop(8, padding=-1),
        lambda: RandomHorizontalFlip(1.5),
        lambda: RandomHorizontalFlip(float("nan")),
        lambda: Cutout(0),
        lambda: Normalize((0, 0), (1, 1)),
        lambda: Normalize((0, 0, 0), (1, 1, 0)),
        lambda: Normalize((0, 0, float("nan")), (1, 1, 1)),
        lambda: RandomCrop(11)(np.zeros((1, 3, 12, 10), np.uint8), random()),
    ],
)
def test_bad_arguments(make):
    with pytest.raises(ValueError):
        make()
