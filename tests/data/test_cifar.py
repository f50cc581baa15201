"""CIFAR files: small stand-ins in the same layout, whole and spoilt in every way."""

import hashlib
import io
import tarfile

import numpy as np
import pytest

from minise.data import CIFAR10, CIFAR100
from minise.data.cifar import MIRROR_VARIABLE, OFFICIAL, BinaryFile, _mirrors

RECORDS = 6


def content_of(kind, name):
    """The bytes of a small file: RECORDS records of random pixels and valid labels."""
    random = np.random.RandomState(sum(name.encode()))
    columns = [random.randint(count, size=(RECORDS, 1)) for count in kind.label_counts]
    pixels = random.randint(256, size=(RECORDS, 3072))
    return np.concatenate([*columns, pixels], axis=1).astype(np.uint8).tobytes()


@pytest.fixture(params=[CIFAR10, CIFAR100])
def kind(request, monkeypatch):
    """The class, told to expect the small files."""
    kind = request.param
    for part in ("train_files", "test_files"):
        small = tuple(
            BinaryFile(name, RECORDS, hashlib.md5(content_of(kind, name)).hexdigest())
            for name, _, _ in getattr(kind, part)
        )
        monkeypatch.setattr(kind, part, small)
    return kind


def write(kind, folder):
    folder.mkdir(parents=True, exist_ok=True)
    for file in kind.train_files + kind.test_files:
        (folder / file.name).write_bytes(content_of(kind, file.name))


def first_file(kind, root):
    return root / kind.train_files[0].name


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("nested", [True, False])
def test_read(kind, tmp_path, train, nested):
    write(kind, tmp_path / kind.folder if nested else tmp_path)
    data = kind(tmp_path, train=train)
    files = kind.train_files if train else kind.test_files
    assert (data.images.shape, data.images.dtype) == ((len(files) * RECORDS, 3, 32, 32), np.uint8)
    assert data.labels.dtype == np.int64
    assert len(data.classes) == kind.label_counts[-1]

    record = content_of(kind, files[0].name)[: data.record_bytes]
    skip = len(kind.label_counts)
    assert data.labels[0] == record[skip - 1]
    assert data.images[0, 0, 0, 1] == record[skip + 1]          # red, first row
    assert data.images[0, 1, 0, 0] == record[skip + 1024]       # green
    assert data.images[0, 2, 31, 31] == record[skip + 3071]     # blue, last row


def test_superclasses(tmp_path, monkeypatch):
    content = content_of(CIFAR100, "test.bin")
    monkeypatch.setattr(
        CIFAR100, "test_files", (BinaryFile("test.bin", RECORDS, hashlib.md5(content).hexdigest()),)
    )
    (tmp_path / "test.bin").write_bytes(content)
    coarse = CIFAR100(tmp_path, train=False, coarse=True)
    assert len(coarse.classes) == 20
    assert coarse.labels.tolist() == [content[i * 3074] for i in range(RECORDS)]


def test_names():
    assert CIFAR10.train_files[4].name == "data_batch_5.bin"
    assert sum(file.records for file in CIFAR10.train_files) == 50_000


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda content: b"", "empty: 0 bytes"),
        (lambda content: content[:-1], "cut off"),
        (lambda content: content[:3000], "cut off"),
        (lambda content: content + b"x", "too long"),
        (lambda content: b"\xc8" + content[1:], "record 0 has label 200, expected 0 … "),
        (lambda content: content[:-1] + bytes([content[-1] ^ 1]), "damaged: MD5 is"),
    ],
    ids=["empty", "truncated", "short", "oversize", "mislabelled", "one bit"],
)
def test_spoilt_files(kind, tmp_path, spoil, message):
    write(kind, tmp_path)
    path = first_file(kind, tmp_path)
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(ValueError, match=message) as caught:
        kind(tmp_path)
    assert str(path) in str(caught.value)
    kind(tmp_path, train=False)  # the other part is whole


def test_missing(kind, tmp_path):
    with pytest.raises(FileNotFoundError, match=kind.archive):
        kind(tmp_path / "nowhere")
    write(kind, tmp_path)
    first_file(kind, tmp_path).unlink()
    with pytest.raises(FileNotFoundError, match=f"needs {kind.train_files[0].name} there"):
        kind(tmp_path)


def test_pickles_are_refused(kind, tmp_path):
    for name in kind.pickles:
        folder = tmp_path / f"with-{name}"
        folder.mkdir()
        (folder / name).write_bytes(b"\x80\x02}q\x01.")
        with pytest.raises(ValueError, match=r"Python version .* pickle"):
            kind(folder)


@pytest.fixture
def archive(kind, monkeypatch, tmp_path):
    """A small archive at its source; the network is replaced by copying from there."""
    path = tmp_path / "source" / kind.archive
    path.parent.mkdir()
    with tarfile.open(path, "w:gz") as tar:
        for file in kind.train_files + kind.test_files:
            content = content_of(kind, file.name)
            info = tarfile.TarInfo(f"{kind.folder}/{file.name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    monkeypatch.setattr(kind, "archive_md5", hashlib.md5(path.read_bytes()).hexdigest())
    return path


@pytest.fixture
def asked(archive, monkeypatch):
    """The addresses that were asked for."""
    asked = []

    def fetch(sources, path, md5, max_bytes):
        asked.extend(sources)
        assert hashlib.md5(archive.read_bytes()).hexdigest() == md5
        assert archive.stat().st_size <= max_bytes
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(archive.read_bytes())
        return path

    monkeypatch.setattr("minise.data.download.fetch", fetch)
    return asked


def test_download(kind, tmp_path, asked):
    root = tmp_path / "data"
    data = kind(root, download=True, sources=["https://mirror.invalid/cifar/"])
    assert asked == [f"https://mirror.invalid/cifar/{kind.archive}"]
    assert [path.name for path in root.iterdir()] == [kind.folder], "the archive is left"
    again = kind(root, train=False, download=True)
    assert len(asked) == 1, "what is there is downloaded again"
    assert (len(data), len(again)) == (len(kind.train_files) * RECORDS, RECORDS)


def test_mirrors(monkeypatch):
    monkeypatch.delenv(MIRROR_VARIABLE, raising=False)
    assert _mirrors(None) == list(OFFICIAL)
    monkeypatch.setenv(MIRROR_VARIABLE, "http://a/ http://b")
    assert _mirrors(None) == ["http://a/", "http://b", *OFFICIAL]
    assert _mirrors(["http://c"]) == ["http://c"]
