"""Downloads that survive bad connections, and archives that may not write where they want."""

import gzip
import hashlib
import http.client
import os
import shutil
import ssl
import tarfile
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from .. import files

BLOCK = 1 << 18  # bytes per read

NETWORK_ERRORS = (
    urllib.error.URLError,
    http.client.HTTPException,
    TimeoutError,
    ConnectionError,
    ssl.SSLError,
)


class DownloadError(OSError):
    """No source delivered the file; the message says what went wrong with each."""


def fetch(
    sources: Sequence[str],
    path: str | os.PathLike,
    md5: str,
    max_bytes: int,
    timeout: float = 30.0,
    attempts: int = 4,
    pause: float = 1.0,
    progress: bool = True,
) -> Path:
    """Downloads one file from the first source that delivers it, and checks its MD5.

    What has arrived is kept beside it as `NAME.part`: a later attempt, a later source or a later
    call goes on from there. `path` itself appears only when it is whole and its checksum is right.

    Args:
        sources: http or https addresses of the same file, in the order to try them.
        path: where to put it; its folder is made if missing.
        md5: expected checksum, 32 hexadecimal digits.
        max_bytes: more than this is never accepted.
        timeout: seconds of silence after which a server counts as hanging.
        attempts: tries per source that bring no new byte before it is given up.
        pause: seconds before the second try; doubled for each one after it.
        progress: whether to draw a bar on stderr.

    Raises:
        ValueError: a source is not an http or https address, or there is none.
        DownloadError: no source delivered the file.
        OSError: the file cannot be written.
    """
    if not sources:
        raise ValueError("fetch: sources is empty")
    for url in sources:
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"fetch: expected an http or https address, got {url!r}")

    path = Path(path)
    part = path.with_name(path.name + ".part")
    path.parent.mkdir(parents=True, exist_ok=True)
    failures = []
    for url in sources:
        try:
            # A kill just before the renaming leaves a part that is whole.
            if not (part.exists() and md5_of(part) == md5):
                _download(url, part, max_bytes, timeout, attempts, pause, progress)
                _check(part, md5)
        except DownloadError as error:
            failures.append(f"{url}: {error}")
        else:
            os.replace(part, path)
            return path
    raise DownloadError(f"could not download {path.name}: " + "; ".join(failures))


def md5_of(path: str | os.PathLike) -> str:
    """The MD5 checksum of a file, as hexadecimal digits."""
    digest = hashlib.md5(usedforsecurity=False)
    with Path(path).open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def extract(
    archive: str | os.PathLike, folder: str | os.PathLike, sizes: Mapping[str, int]
) -> None:
    """Takes the named members, and nothing else, out of a .tar.gz.

    An archive decides neither where nor how much is written: only the members that `sizes` names
    are looked at, each must be a plain file of exactly that size, and it is written to
    `folder / (last part of its name)` under a temporary name first.

    Args:
        archive: the .tar.gz file.
        folder: where to put the files; made if missing.
        sizes: full name of each wanted member, with its size in bytes.

    Raises:
        ValueError: the archive is damaged, or a member is missing, a link or of another size.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    missing = dict(sizes)
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                if member.name in missing:
                    _extract_member(tar, member, folder, missing.pop(member.name))
                if not missing:
                    return
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, ValueError) as error:
        raise ValueError(f"{os.fspath(archive)}: {error}") from error
    raise ValueError(f"{os.fspath(archive)}: holds no {', '.join(sorted(missing))}")


def _extract_member(
    tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path, size: int
) -> None:
    if not member.isreg():
        raise ValueError(f"{member.name} is a link or another special entry, not a plain file")
    if member.size != size:
        raise ValueError(f"{member.name} has {member.size:,} bytes, expected {size:,}")
    source = tar.extractfile(member)
    assert source is not None  # a plain file always has content
    target = folder / Path(member.name).name
    with source, files.replacing(target, sync=False) as temporary, temporary.open("wb") as file:
        shutil.copyfileobj(source, file)


def _download(
    url: str,
    part: Path,
    max_bytes: int,
    timeout: float,
    attempts: int,
    pause: float,
    progress: bool,
) -> None:
    """Brings `part` to its full length from one source, going on after each break."""
    furthest, failed = _size(part), 0
    while True:
        try:
            _continue(url, part, max_bytes, timeout, progress)
            return
        except urllib.error.HTTPError as error:
            error.close()
            reason = f"the server answers {error.code} {error.reason}"
            if error.code == 416:  # the part is longer than the server's file
                part.unlink(missing_ok=True)
            elif error.code < 500 and error.code not in (408, 429):
                raise DownloadError(reason) from error  # asking again would not help
        except NETWORK_ERRORS as error:
            reason = str(getattr(error, "reason", error)) or type(error).__name__
        failed = 0 if _size(part) > furthest else failed + 1
        furthest = max(furthest, _size(part))
        if failed >= attempts:
            raise DownloadError(reason)
        time.sleep(pause * 2**failed / 2)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _continue(url: str, part: Path, max_bytes: int, timeout: float, progress: bool) -> None:
    """One request: appends what is missing, or starts over where the server knows no ranges."""
    from tqdm import tqdm  # late: only a download needs it

    start = _size(part)
    headers = {"User-Agent": "minise", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=timeout) as response:
        resumes = response.status == 206 and response.headers.get("Content-Range", "").startswith(
            f"bytes {start}-"
        )
        start = start if resumes else 0
        length = response.headers.get("Content-Length")
        total = start + int(length) if length and length.isdigit() else None
        if total is not None and total > max_bytes:
            raise DownloadError(f"offers {total:,} bytes, more than the limit of {max_bytes:,}")

        name = part.name.removesuffix(".part")
        bar = tqdm(
            total=total, initial=start, desc=name, unit="B", unit_scale=True, disable=not progress
        )
        received = start
        with bar, part.open("ab" if resumes else "wb") as file:
            while block := response.read(BLOCK):
                received += len(block)
                if received > max_bytes:
                    raise DownloadError(f"sends more than the limit of {max_bytes:,} bytes")
                file.write(block)
                bar.update(len(block))
    if total is not None and received < total:
        raise ConnectionError(f"the connection broke off after {received:,} of {total:,} bytes")


def _check(part: Path, md5: str) -> None:
    """A wrong file is thrown away: nothing could be resumed from it."""
    actual = md5_of(part)
    if actual != md5:
        part.unlink()
        raise DownloadError(f"wrong checksum: MD5 is {actual}, expected {md5}")
