"""Downloads from a loopback server that misbehaves, and archives that want to escape."""

import hashlib
import io
import os
import tarfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from minise.data.download import DownloadError, extract, fetch

CONTENT = bytes(range(256)) * 4000  # about 1 MB
MD5 = hashlib.md5(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """/NAME/file behaves as NAME says; every request is noted in `server.requests`."""

    def do_GET(self):
        wanted = self.headers.get("Range")
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        behaviour = self.path.split("/")[1]
        self.server.requests.append((behaviour, start))
        getattr(self, behaviour)(start)

    def whole(self, start):
        if start > len(CONTENT) or (start and start == len(CONTENT)):
            self.send_error(416)
        elif start:
            self.deliver(206, CONTENT[start:], f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        else:
            self.deliver(200, CONTENT)

    def broken(self, start):
        """Sends at most 300,000 bytes of what it promises."""
        self.deliver(206 if start else 200, CONTENT[start:], f"bytes {start}-", 300_000)

    def norange(self, start):
        self.deliver(200, CONTENT)

    def stuck(self, start):
        """Always breaks off at the same place, and knows no ranges."""
        self.deliver(200, CONTENT, sent=1000)

    def wrong(self, start):
        self.deliver(200, CONTENT[::-1])

    def hanging(self, start):
        self.server.released.wait(10)

    def stalling(self, start):
        """Sends a beginning, then nothing more."""
        self.deliver(200, CONTENT, sent=1000)
        self.wfile.flush()
        self.server.released.wait(10)

    def missing(self, start):
        self.send_error(404)

    def busy(self, start):
        if len(self.server.requests) < 3:
            self.send_error(503)
        else:
            self.whole(start)

    def huge(self, start):
        self.send_response(200)
        self.send_header("Content-Length", str(10**15))
        self.end_headers()

    def endless(self, start):
        """No length, and more than was asked for."""
        self.send_response(200)
        self.end_headers()
        try:
            for _ in range(100):
                self.wfile.write(CONTENT)
        except ConnectionError:
            pass  # the client has had enough

    def deliver(self, status, body, content_range="", sent=None):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if status == 206:
            self.send_header("Content-Range", content_range)
        self.end_headers()
        self.wfile.write(body[:sent])

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.requests, server.released = [], threading.Event()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.released.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def get(server, tmp_path):
    """get("missing", "whole") tries these two sources in turn."""

    def get(*behaviours, **arguments):
        sources = [f"http://127.0.0.1:{server.server_port}/{name}/file" for name in behaviours]
        settings = {"max_bytes": 2 * len(CONTENT), "timeout": 5, "pause": 0.01, "progress": False}
        return fetch(sources, tmp_path / "folder" / "file", MD5, **(settings | arguments))

    get.part = tmp_path / "folder" / "file.part"
    return get


def check(path):
    assert path.read_bytes() == CONTENT
    assert os.listdir(path.parent) == ["file"]


def test_whole(get, server, capfd):
    check(get("whole", progress=True))
    assert "100%" in capfd.readouterr().err
    assert server.requests == [("whole", 0)]


def test_a_broken_connection_is_resumed(get, server):
    check(get("broken"))
    assert server.requests == [("broken", n) for n in range(0, len(CONTENT), 300_000)]


def test_a_later_call_resumes(get, server):
    get.part.parent.mkdir()
    get.part.write_bytes(CONTENT[:5000])
    check(get("whole"))
    assert server.requests == [("whole", 5000)]


def test_a_whole_part_needs_no_request(get, server):
    get.part.parent.mkdir()
    get.part.write_bytes(CONTENT)
    check(get("whole"))
    assert server.requests == []


def test_a_server_without_ranges_starts_over(get, server):
    get.part.parent.mkdir()
    get.part.write_bytes(b"?" * 5000)
    check(get("norange"))
    assert server.requests == [("norange", 5000)]


def test_a_part_that_is_too_long_is_thrown_away(get, server):
    get.part.parent.mkdir()
    get.part.write_bytes(CONTENT + b"?")
    check(get("whole"))
    assert server.requests == [("whole", len(CONTENT) + 1), ("whole", 0)]


def test_a_source_that_makes_no_progress_is_given_up(get, server):
    with pytest.raises(DownloadError, match="broke off after 1,000 of 1,024,000 bytes"):
        get("stuck", attempts=2)
    assert len(server.requests) == 3  # one that brought bytes, two that brought none


def test_wrong_checksum(get):
    with pytest.raises(DownloadError, match="wrong checksum"):
        get("wrong")
    assert os.listdir(get.part.parent) == []
    check(get("wrong", "whole"))


def test_a_damaged_part_does_not_spoil_the_next_source(get, server):
    get.part.parent.mkdir()
    get.part.write_bytes(b"?" * 5000)
    check(get("whole", "whole"))
    assert server.requests == [("whole", 5000), ("whole", 0)]


@pytest.mark.parametrize("behaviour", ["hanging", "stalling"])
def test_a_silent_server_is_left(get, behaviour):
    started = time.monotonic()
    with pytest.raises(DownloadError, match="timed out"):
        get(behaviour, timeout=0.2, attempts=1)
    check(get(behaviour, "whole", timeout=0.2, attempts=1))
    assert time.monotonic() - started < 4


def test_404_then_the_second_source(get, server):
    check(get("missing", "whole"))
    assert server.requests == [("missing", 0), ("whole", 0)]


def test_a_busy_server_is_asked_again(get):
    check(get("busy"))


def test_every_failure_is_told(get):
    with pytest.raises(DownloadError, match=r"missing/file: .* 404 .*; .*wrong/file: wrong check"):
        get("missing", "wrong")


@pytest.mark.parametrize("behaviour", ["huge", "endless"])
def test_size_is_bounded(get, behaviour):
    with pytest.raises(DownloadError, match="more than the limit of 2,048,000"):
        get(behaviour)
    assert not get.part.exists() or get.part.stat().st_size <= 2 * len(CONTENT)


def test_nobody_listens(tmp_path):
    with pytest.raises(DownloadError, match="refused"):
        fetch(["http://127.0.0.1:9/file"], tmp_path / "file", MD5, 9, attempts=1, progress=False)


@pytest.mark.parametrize("sources", [[], ["file:///etc/passwd"], ["ftp://127.0.0.1/file"]])
def test_only_web_addresses(tmp_path, sources):
    with pytest.raises(ValueError, match="fetch: "):
        fetch(sources, tmp_path / "file", MD5, 9)


def entry(name, content=b"", **attributes):
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in attributes.items():
        setattr(info, key, value)
    return info, content


def archive(path, *entries):
    with tarfile.open(path, "w:gz") as tar:
        for info, content in entries:
            tar.addfile(info, io.BytesIO(content))
    return path


@pytest.fixture
def out(tmp_path):
    return tmp_path / "in" / "out"


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_extract_takes_what_was_asked_for(tmp_path, out):
    source = archive(
        tmp_path / "a.tgz",
        entry("../evil", b"x"),
        entry("/tmp/evil", b"x"),
        entry("set/../../evil", b"x"),
        entry("set/readme", b"x"),
        entry("set/link", type=tarfile.SYMTYPE, linkname="/etc"),
        entry("set/link/evil", b"x"),
        entry("set/a.bin", b"abc"),
        entry("set/b.bin", b"de"),
    )
    extract(source, out, {"set/a.bin": 3, "set/b.bin": 2})
    assert files(tmp_path) == ["a.tgz", "in/out/a.bin", "in/out/b.bin"]
    assert (out / "a.bin").read_bytes() == b"abc"


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (entry("set/a.bin", type=tarfile.SYMTYPE, linkname="/etc/passwd"), "is a link"),
        (entry("set/a.bin", type=tarfile.LNKTYPE, linkname="../../secret"), "is a link"),
        (entry("set/a.bin", type=tarfile.FIFOTYPE), "is a link or another special entry"),
        (entry("set/a.bin", type=tarfile.DIRTYPE), "not a plain file"),
        (entry("set/a.bin", b"abcd"), "has 4 bytes, expected 3"),
        (entry("set/a.bin", b""), "has 0 bytes, expected 3"),
        (entry("../set/a.bin", b"abc"), "holds no set/a.bin"),
    ],
)
def test_extract_refuses(tmp_path, out, member, message):
    source = archive(tmp_path / "a.tgz", member)
    with pytest.raises(ValueError, match=rf"a\.tgz: .*{message}"):
        extract(source, out, {"set/a.bin": 3})
    assert files(tmp_path) == ["a.tgz"]
    assert not list(out.iterdir())


def test_extract_does_not_write_through_a_link(tmp_path, out):
    """A link that lies in the way is replaced, not followed."""
    out.mkdir(parents=True)
    (tmp_path / "victim").write_bytes(b"safe")
    (out / "a.bin").symlink_to(tmp_path / "victim")
    extract(archive(tmp_path / "a.tgz", entry("set/a.bin", b"abc")), out, {"set/a.bin": 3})
    assert (tmp_path / "victim").read_bytes() == b"safe"
    assert (out / "a.bin").read_bytes() == b"abc"


def test_extract_from_damaged_archives(tmp_path, out):
    source = archive(tmp_path / "a.tgz", entry("set/a.bin", os.urandom(50_000)))
    whole = source.read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :]
    for content in (b"", b"text", whole[:100], whole[:middle]):
        source.write_bytes(content)
        with pytest.raises(ValueError, match=r"a\.tgz"):
            extract(source, out, {"set/a.bin": 50_000})
        assert not (out / "a.bin").exists()
    source.write_bytes(flipped)  # what only the checksum of the archive or of the file can tell
    try:
        extract(source, out, {"set/a.bin": 50_000})
    except ValueError:
        assert not (out / "a.bin").exists()
