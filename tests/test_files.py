"""Files are replaced as a whole or left alone."""

import os

import pytest

from minise import files


def test_text_and_bytes(tmp_path):
    files.write(tmp_path / "a", "σ\n")
    files.write(str(tmp_path / "b"), b"\x00\r\n")
    assert (tmp_path / "a").read_bytes() == "σ\n".encode()
    assert (tmp_path / "b").read_bytes() == b"\x00\r\n"
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


def test_the_new_name_appears_only_when_the_bytes_are_on_disk(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_text("old")
    seen = []
    fsync = os.fsync

    def look(descriptor):
        seen.append((path.read_text(), os.fstat(descriptor).st_size))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", look)
    files.write(path, "newer")
    assert seen[0] == ("old", 5)  # the file is synced before it is renamed
    if hasattr(os, "O_DIRECTORY"):
        assert [text for text, _ in seen] == ["old", "newer"]  # and the folder after it


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failure_leaves_the_old_file(tmp_path, monkeypatch, error, call):
    path = tmp_path / "file"
    path.write_text("old")

    def fail(*arguments):
        raise error

    monkeypatch.setattr(*(os, call) if call == "fsync" else (type(path), call), fail)
    with pytest.raises(type(error)):
        files.write(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_folders_that_are_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        files.write(tmp_path / "nowhere" / "file", "new")


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX's")
def test_the_file_has_the_mode_that_the_umask_leaves(tmp_path):
    before = os.umask(0o027)
    try:
        files.write(tmp_path / "file", "new")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_failure_while_writing_leaves_the_old_file(tmp_path, error):
    path = tmp_path / "file"
    path.write_text("old")

    def break_off():
        with files.replacing(path) as temporary:
            temporary.write_text("half of the n")
            raise error

    with pytest.raises(type(error)):
        break_off()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_two_writers_at_once_do_not_meet(tmp_path):
    path = tmp_path / "file"
    with files.replacing(path) as first, files.replacing(path) as second:
        assert first != second
        assert first.parent == second.parent == tmp_path  # a rename cannot leave a file system
        first.write_text("first")
        second.write_text("second")
        assert not path.exists()
    assert path.read_text() == "first"  # whose block ends last
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX's")
def test_a_writer_that_narrows_the_mode_does_not_change_it(tmp_path):
    (tmp_path / "plain").touch()
    with files.replacing(tmp_path / "file") as temporary:
        temporary.chmod(0o600)
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_without_sync_nothing_waits_for_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda descriptor: pytest.fail("synced"))
    with files.replacing(tmp_path / "file", sync=False) as temporary:
        temporary.write_text("new")
    assert (tmp_path / "file").read_text() == "new"


def test_leftovers_of_a_killed_process(tmp_path):
    for name in (".3f.part", ".hidden", "file.part", "file"):
        (tmp_path / name).touch()
    files.remove_leftovers(tmp_path)
    assert sorted(os.listdir(tmp_path)) == [".hidden", "file", "file.part"]
