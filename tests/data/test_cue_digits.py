"""CueDigits: the same bytes everywhere, and a task that is what it says."""

import hashlib

import numpy as np
import pytest

from minise.data import CueDigits


def digest(dataset):
    arrays = (dataset.images, dataset.labels, dataset.cues)
    return hashlib.sha256(b"".join(a.astype("<i8").tobytes() for a in arrays)).hexdigest()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"size": 50}, "6569bc607712fb418d22a4cdf54b461c41bd27d7782d24de07ae3c304fb922f3"),
        (
            {"size": 50, "train": False},
            "0f19e6d97b7fc1329eac739ce8eaa47267b4eef1a3d9f767f19fe9b3a439e39a",
        ),
        (
            {"size": 50, "seed": 7, "cue": "tint"},
            "39714cee454e549bfad506ab9ae1fa0c3ec0b4d6ec03c784a1567cb1a6de2d63",
        ),
    ],
)
def test_the_same_bytes_on_every_machine(arguments, expected):
    """The hashes also hold Pillow's font still; a change needs a new `cue_digits.VERSION`."""
    assert digest(CueDigits(**arguments)) == expected


def test_arrays():
    data = CueDigits(size=600)
    assert (data.images.shape, data.images.dtype) == ((600, 3, 32, 32), np.uint8)
    assert (data.labels.dtype, data.cues.dtype) == (np.int64, np.int64)
    assert data.classes == list("0123456789")
    assert (np.bincount(data.labels, minlength=10) > 30).all()
    assert (np.bincount(data.cues, minlength=3) > 150).all()
    assert len(CueDigits()) == 10_000


def test_the_frame_shows_the_plane_that_counts():
    data = CueDigits(size=200)
    frame = np.ones((32, 32), bool)
    frame[2:-2, 2:-2] = False
    brightness = data.images[:, :, frame].mean(axis=2)  # (N, 3)
    assert np.array_equal(brightness.argmax(axis=1), data.cues)
    assert np.sort(brightness, axis=1)[:, 1].max() < 20  # the other two planes stay dark


def test_nothing_but_the_frame_tells_which_plane_counts():
    """Digits keep clear of the frame, and the planes are alike inside of it."""
    data = CueDigits(size=2000)
    inside = data.images[:, :, 2:-2, 2:-2].astype(float)
    margin = np.concatenate([inside[:, :, :4].ravel(), inside[..., :4].ravel()])
    assert margin.max() <= 21  # noise alone: three dice of at most 7
    brightness = inside.mean(axis=(2, 3))
    assert (brightness.argmax(axis=1) == data.cues).mean() == pytest.approx(1 / 3, abs=0.05)


def test_tint_brightens_the_whole_plane():
    data = CueDigits(size=200, cue="tint")
    corner = data.images[:, :, :6, :6].mean(axis=(2, 3))
    assert np.array_equal(corner.argmax(axis=1), data.cues)


def test_training_and_test_pictures_differ():
    train, test = CueDigits(size=300), CueDigits(train=False, size=300)
    known = {image.tobytes() for image in train.images}
    assert not any(image.tobytes() in known for image in test.images)
    assert digest(CueDigits(size=20, seed=1)) != digest(CueDigits(size=20, seed=2))


def test_cache(tmp_path):
    folder = tmp_path / "new" / "folder"
    drawn = CueDigits(size=20, root=folder)
    (path,) = folder.iterdir()
    assert digest(CueDigits(size=20, root=folder)) == digest(drawn)

    tampered = dict(np.load(path))
    tampered["labels"] = tampered["labels"] * 0
    np.savez(path, **tampered)
    assert not CueDigits(size=20, root=folder).labels.any(), "the cache is not read"

    whole = path.read_bytes()
    for damaged in (b"", b"x", whole[: len(whole) // 2], whole[:-1]):
        path.write_bytes(damaged)
        assert digest(CueDigits(size=20, root=folder)) == digest(drawn)
    assert list(folder.iterdir()) == [path], "temporary files are left"


def test_a_failing_write_leaves_nothing(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="No space"):
        CueDigits(size=5, root=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_take_and_subset_keep_the_arrays_together():
    data = CueDigits(size=30)
    part = data.subset(np.array([3, 1, 4]))
    assert np.array_equal(part.cues, data.cues[[3, 1, 4]])
    assert np.array_equal(part.images, data.images[[3, 1, 4]])
    assert (len(data.take(7)), len(data.take(99)), len(data)) == (7, 30, 30)
    assert len(data.take(7).cues) == 7
    assert repr(part) == "CueDigits(3 pictures of 32 x 32, 10 classes)"
    with pytest.raises(ValueError, match="at least 1"):
        data.take(0)


@pytest.mark.parametrize("arguments", [{"size": 0}, {"seed": -1}, {"seed": 2**32}, {"cue": "none"}])
def test_bad_arguments(arguments):
    with pytest.raises(ValueError, match=f"CueDigits: {next(iter(arguments))}"):
        CueDigits(**arguments)
