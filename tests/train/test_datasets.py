"""The pictures of a run: which ones, divided how, normalised by what."""

import numpy as np
import pytest
import tiny_run
from PIL import Image

from minise.data import Dataset, images, transforms
from minise.train import Config, datasets


@pytest.fixture
def load(pictures):
    def call(**changes):
        return datasets.load(Config(**tiny_run.settings(pictures, **changes)))

    return call


@pytest.fixture
def classes_only(tmp_path):
    """root/CLASS/*.png without train/ and test/: 10 a, 5 b, 2 c."""
    for shade, (name, count) in enumerate([("a", 10), ("b", 5), ("c", 2)]):
        (tmp_path / name).mkdir()
        for number in range(count):
            colour = (10 * number, 80 * shade, 5)
            Image.new("RGB", (40, 30), colour).save(tmp_path / name / f"{number}.png")
    Image.new("RGB", (40, 30), (0, 0, 255)).save(tmp_path / "a" / "9.png")
    return tmp_path


def firsts(dataset):
    """Each picture as its first pixel."""
    return [tuple(pixel) for pixel in dataset.images[:, :, 0, 0].tolist()]


def test_a_folder_with_train_and_test(load):
    data = load()
    assert (len(data.train), len(data.test)) == (tiny_run.TRAIN, tiny_run.TEST)
    assert data.classes == data.test.classes == ["green", "red"]
    assert data.num_classes == 2
    assert sorted(data.train.labels) == [0] * 10 + [1] * 10
    assert not data.skipped


def test_val_will_do_for_test(tmp_path, load):
    tiny_run.draw(tmp_path)
    (tmp_path / "test").rename(tmp_path / "val")
    assert len(load(data=str(tmp_path)).test) == tiny_run.TEST
    (tmp_path / "val").rename(tmp_path / "other")
    with pytest.raises(ValueError, match=r"beside train/ there must be test/ or val/"):
        load(data=str(tmp_path))


def test_a_picture_that_cannot_be_read_is_listed_or_refused(load, classes_only):
    (classes_only / "a" / "broken.png").write_bytes(b"no picture")
    data = load(data=str(classes_only))
    assert len(data.train) + len(data.test) == 17
    assert len(data.skipped) == 1
    assert "broken.png" in data.skipped[0]
    with pytest.raises(ValueError, match=r"broken\.png"):
        load(data=str(classes_only), unreadable="refuse")
    with pytest.raises(ValueError, match=r"unreadable: expected skip or refuse, got 'ignore'"):
        load(data=str(classes_only), unreadable="ignore")


def test_one_folder_is_divided_the_same_way_each_time(load, classes_only):
    data = load(data=str(classes_only))
    assert np.bincount(data.test.labels).tolist() == [2, 1, 1]   # a fifth, at least one
    assert np.bincount(data.train.labels).tolist() == [8, 4, 1]
    every = firsts(data.train) + firsts(data.test)
    assert len(set(every)) == len(every) == 17
    assert set(firsts(data.train)).isdisjoint(firsts(data.test))

    again = load(data=str(classes_only), epochs=1, lr=0.7)
    assert firsts(again.train) == firsts(data.train)
    other = load(data=str(classes_only), seed=1)
    assert firsts(other.train) != firsts(data.train)


def test_a_class_of_one_picture_cannot_be_divided(load, classes_only):
    (classes_only / "c" / "1.png").unlink()
    with pytest.raises(ValueError, match="class 'c' has one picture"):
        load(data=str(classes_only))


def test_limit_takes_the_first_of_the_training_pictures(load):
    whole, part = load(), load(limit=6)
    assert firsts(part.train) == firsts(whole.train)[:6]
    assert set(part.train.labels) == {0, 1}  # a folder is stored class by class, so it is shuffled
    assert len(part.test) == tiny_run.TEST
    assert len(load(limit=1000).train) == tiny_run.TRAIN


def test_files_that_are_no_pictures_are_listed(load, tmp_path):
    tiny_run.draw(tmp_path)
    (tmp_path / "train" / "red" / "notes.txt").write_text("nothing to see")
    (tmp_path / "test" / "red" / "0.png").write_bytes(b"\x89PNG")
    data = load(data=str(tmp_path))
    assert (len(data.train), len(data.test)) == (tiny_run.TRAIN, tiny_run.TEST - 1)
    assert ["notes.txt" in data.skipped[0], "0.png" in data.skipped[1]] == [True, True]


@pytest.mark.parametrize("name", ["nowhere", "cifar1O"])
def test_data_that_is_not_there(load, tmp_path, name):
    with pytest.raises(ValueError, match=r"data: expected one of cue-digits, .* or a folder, got"):
        load(data=str(tmp_path / name))


def test_a_class_that_was_not_trained(load, tmp_path):
    tiny_run.draw(tmp_path)
    (tmp_path / "test" / "red").rename(tmp_path / "test" / "blue")
    with pytest.raises(ValueError, match="none of the 2 classes: blue"):
        load(data=str(tmp_path))


def test_statistics(load):
    data = load()
    brightness = data.train.images / 255
    np.testing.assert_allclose(data.mean, brightness.mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(data.std, brightness.std((0, 2, 3)), rtol=1e-12)
    for transform in (data.test_transform, load(augment=False).transform):
        normal = transform(data.train.images, np.random.RandomState(0))
        np.testing.assert_allclose(normal.mean((0, 2, 3)), 0, atol=1e-5)
        np.testing.assert_allclose(normal.std((0, 2, 3)), 1, atol=1e-5)


def test_blank_pictures(load, tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        for number in range(3):
            Image.new("RGB", (32, 32)).save(tmp_path / name / f"{number}.png")
    with pytest.raises(ValueError, match="blank"):
        load(data=str(tmp_path))


def test_augmentation(load):
    def parts(**changes):
        return load(**changes).transform.transforms

    normalize = load().test_transform
    crop, flip = transforms.RandomCrop(32, 4), transforms.RandomHorizontalFlip()
    assert parts() == [crop, flip, normalize]
    assert parts(augment=False) == [normalize]
    assert parts(cutout=8) == [crop, flip, normalize, transforms.Cutout(8)]


def test_pictures_have_the_size_that_the_network_is_made_for(load):
    assert load(model="se_resnet18").train.images.shape[2:] == (224, 224)


@pytest.mark.parametrize(("name", "cue"), [("cue-digits", "frame"), ("cue-digits-tint", "tint")])
def test_cue_digits(monkeypatch, load, tmp_path, name, cue):
    asked = []

    class Digits(Dataset):
        def __init__(self, train, **options):
            asked.append((train, options))
            super().__init__(
                np.arange(192, dtype=np.uint8).reshape(4, 3, 4, 4), np.arange(4), list("0123")
            )

    monkeypatch.setattr(datasets, "CueDigits", Digits)
    data = load(data=name, data_dir=str(tmp_path))
    options = {"seed": 0, "cue": cue, "root": str(tmp_path)}
    assert asked == [(True, options), (False, options)]
    assert data.transform.transforms == [data.test_transform]


@pytest.mark.parametrize(("name", "kind"), [("cifar10", "CIFAR10"), ("cifar100", "CIFAR100")])
def test_cifar(monkeypatch, load, tmp_path, name, kind):
    asked = []

    def read(root, train, download):
        asked.append((root, train, download))
        return Dataset(np.zeros((9, 3, 32, 32), np.uint8), np.zeros(9, int), ["a", "b"])

    monkeypatch.setattr(datasets, kind, read)
    data = load(data=name, data_dir=str(tmp_path), limit=5)
    assert asked == [(str(tmp_path), True, True), (str(tmp_path), False, True)]
    assert (len(data.train), len(data.test)) == (5, 9)
    assert (data.mean, data.std) == (
        getattr(images, f"{kind}_MEAN"), getattr(images, f"{kind}_STD"),
    )  # fmt: skip
