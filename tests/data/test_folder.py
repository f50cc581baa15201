"""ImageFolder: a person's own pictures, with everything that lies about in such folders."""

import numpy as np
import pytest
from PIL import Image

from minise.data import DataLoader, ImageFolder


@pytest.fixture
def root(tmp_path):
    """Two classes of three pictures each, in different formats, modes and sizes."""
    for name, colour in (("cat", "#ff0000"), ("dog", "#0000ff")):
        folder = tmp_path / name
        (folder / "more").mkdir(parents=True)
        Image.new("RGB", (50, 40), colour).save(folder / "a.png")
        Image.new("RGB", (20, 90), colour).convert("P").save(folder / "b.gif")
        Image.new("RGB", (33, 32), colour).convert("CMYK").save(folder / "more" / "c.tif")
    return tmp_path


def test_read(root):
    data = ImageFolder(root, size=24)
    assert (data.images.shape, data.images.dtype) == ((6, 3, 24, 24), np.uint8)
    assert data.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert data.classes == ["cat", "dog"]
    assert data.skipped == []
    assert data.paths[0] == str(root / "cat" / "a.png")
    assert (data.images[:3, 0] > 250).all()
    assert (data.images[3:, 2] > 250).all()
    assert next(iter(DataLoader(data, 6)))[0].shape == (6, 3, 24, 24)
    assert data.subset(np.array([4, 0])).paths.tolist() == [data.paths[4], data.paths[0]]


def test_hidden_entries_are_passed_over(root):
    (root / ".DS_Store").write_bytes(b"x")
    (root / ".git").mkdir()
    (root / "cat" / ".thumb").write_bytes(b"x")
    assert len(ImageFolder(root, on_error="raise")) == 6


@pytest.mark.parametrize("name", ["cat/notes.txt", "dog/broken.png", "README.md"])
def test_unreadable_files_are_skipped_or_refused(root, name):
    (root / name).write_bytes(b"not a picture")
    data = ImageFolder(root)
    assert len(data) == 6
    (message,) = data.skipped
    assert str(root / name) in message
    with pytest.raises(ValueError, match=name):
        ImageFolder(root, on_error="raise")


def test_classes_of_a_trained_network(root):
    data = ImageFolder(root, classes=["bird", "dog", "cat"])
    assert data.labels.tolist() == [2, 2, 2, 1, 1, 1]
    assert data.classes == ["bird", "dog", "cat"]
    with pytest.raises(ValueError, match="none of the 2 classes: dog"):
        ImageFolder(root, classes=["bird", "cat"])


def test_folders_that_hold_no_data_set(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        ImageFolder(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="one folder of pictures per class, found nothing"):
        ImageFolder(tmp_path)
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"found only files, such as a\.png"):
        ImageFolder(tmp_path)
    with pytest.raises(NotADirectoryError):
        ImageFolder(tmp_path / "a.png")


def test_a_class_without_pictures(root):
    (root / "empty").mkdir()
    with pytest.raises(ValueError, match="empty: holds no picture"):
        ImageFolder(root)
    (root / "empty" / "a.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match=r"holds no picture .*a\.jpg: the file is empty"):
        ImageFolder(root)


@pytest.mark.parametrize("arguments", [{"size": 0}, {"on_error": "ignore"}])
def test_bad_arguments(root, arguments):
    with pytest.raises(ValueError, match=f"ImageFolder: {next(iter(arguments))}"):
        ImageFolder(root, **arguments)
