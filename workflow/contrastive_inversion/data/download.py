"""Fetching a published file from the first of its addresses that gives it whole, going on where a connection broke.

Nothing else in this package opens a connection. A file appears under its name only with its published checksum; until
then it grows as `<name>.part`, from which the next attempt goes on.
"""

import hashlib
import http.client
import shutil
import tarfile
import tempfile
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit

from tqdm import tqdm

from contrastive_inversion.base.errors import UserError
from contrastive_inversion.base.files import writable

PIECE = 1 << 20  # bytes read at a time
PATIENCE = 30  # seconds without a byte: the connection has stalled
TRIES = 5  # connections in a row that give nothing
PAUSE = 1  # second, doubled with every refusal in a row
HEADERS = {"User-Agent": "contrastive-inversion", "Accept-Encoding": "identity"}


class Unfetchable(Exception):
    """Why an address does not give a file, in a few words."""


@dataclass(frozen=True)
class File:
    """A published file: its name, its addresses, tried in order, and its checksum: an algorithm and (first) digits."""

    name: str
    addresses: tuple[str, ...]
    algorithm: str
    digits: str

    def check(self, digest: str) -> None:
        """Raise Unfetchable unless a checksum is the published one."""
        if not digest.startswith(self.digits):
            raise Unfetchable(f"its {self.algorithm} is {digest[:16]}..., published is {self.digits[:16]}...")

    def checked(self, path: Path) -> None:
        """Raise Unfetchable unless a file has the published checksum."""
        with open(path, "rb") as file:
            self.check(hashlib.file_digest(file, self.algorithm).hexdigest())


class Stream:
    """The bytes of an address from some byte on, as a file to read; a broken connection is taken up where it broke.

    start: where it really begins, 0 where the server cannot go on in the middle. Raises Unfetchable.
    """

    def __init__(self, address: str, start: int = 0) -> None:
        self.address, self.failures = address, 0
        self.start = self.position = self.connect(start)

    def connect(self, start: int) -> int:
        """Ask for the bytes from `start` on. Returns where those that come begin."""
        request = urllib.request.Request(self.address, headers=HEADERS | {"Range": f"bytes={start}-"})
        try:
            self.response = urllib.request.urlopen(request, timeout=PATIENCE)
        except HTTPError as error:
            if error.code == 416 and start:  # nothing is left to send, or what is there is of another file
                return self.connect(0)
            raise Unfetchable(f"the server says {error.code} {error.reason}") from None
        except (OSError, http.client.HTTPException) as error:
            raise Unfetchable(str(getattr(error, "reason", error)) or type(error).__name__) from None
        if self.response.headers.get_content_type() == "text/html":
            raise Unfetchable("a web page instead of the file")
        begin = start if self.response.status == 206 else 0
        length = self.response.headers.get("Content-Length")
        self.total = begin + int(length) if length else None
        return begin

    def read(self, count: int) -> bytes:
        """Up to `count` bytes, none at the end. Raises Unfetchable where the connection breaks again and again."""
        while True:
            try:
                piece, why = self.response.read1(count), "the connection ended early"
            except (OSError, http.client.HTTPException) as error:
                piece, why = b"", "stalled" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
            if piece or self.position >= (self.total or 0):
                self.failures = 0
                self.position += len(piece)
                return piece
            self.take_up(why)

    def take_up(self, why: str) -> None:
        """Connect again where the bytes ended, after a longer pause for every refusal.

        Raises Unfetchable after TRIES in a row, or where the server cannot begin there.
        """
        self.failures += 1
        while self.failures < TRIES:
            try:
                if self.connect(self.position) == self.position:
                    return
                break
            except Unfetchable as refused:
                why = str(refused)
                time.sleep(PAUSE * 2 ** (self.failures - 1))
                self.failures += 1
        raise Unfetchable(f"{why} after {self.position:,} of {self.total or 0:,} bytes")


def fetch(file: File, path: Path) -> None:
    """Fetch a file; one that is there is only checked.

    Raises UserError where no address gives it, with the reason of each; what came is kept as `<name>.part`.
    """
    try:
        if path.exists():
            return file.checked(path)
    except Unfetchable as problem:
        raise UserError(
            f"{path}: {problem}; it is another file, or was not fetched whole: delete it and try again"
        ) from None
    partial, problems = path.with_name(f"{path.name}.part"), []
    for address in file.addresses:
        try:
            with writable(partial):
                path.parent.mkdir(parents=True, exist_ok=True)
                complete(file, address, partial)
                partial.replace(path)
            return None
        except Unfetchable as problem:
            problems.append(f"{urlsplit(address).netloc}: {problem}")
    raise UserError(
        f"{file.name} cannot be fetched ({'; '.join(problems)}); try again, or fetch it elsewhere and put it at {path}"
    )


def complete(file: File, address: str, partial: Path) -> None:
    """Bring the rest of a file; a wrong whole is thrown away, and brought anew where its beginning was there before."""
    resumed = receive(file.name, address, partial)
    try:
        file.checked(partial)
    except Unfetchable:
        partial.unlink()
        if not resumed:
            raise
        complete(file, address, partial)


def receive(name: str, address: str, partial: Path) -> bool:
    """Append what is left of a file to its beginning. Returns whether there was a beginning to go on from."""
    stream = Stream(address, partial.stat().st_size if partial.exists() else 0)
    with open(partial, "ab") as out, bar(name, stream) as progress:
        out.truncate(stream.start)
        while piece := stream.read(PIECE):
            out.write(piece)
            progress.update(len(piece))
    return stream.start > 0


def bar(name: str, stream: Stream) -> "tqdm[Any]":
    """A progress bar over the bytes of a file."""
    return tqdm(
        desc=name, initial=stream.start, total=stream.total, unit="B", unit_scale=True, unit_divisor=1000, mininterval=1
    )


def unpack(archive: Path, folder: str) -> None:
    """Unpack a tar archive that holds one folder beside itself: the folder appears whole or not at all.

    Raises UserError on a full disk and for an archive that is not as published.
    """
    with (
        writable(archive.parent / folder),
        tempfile.TemporaryDirectory(dir=archive.parent, prefix=".unpacking-") as place,
    ):
        try:
            with tarfile.open(archive) as packed:
                packed.extractall(place, filter="data")
            shutil.move(Path(place) / folder, archive.parent / folder)
        except (tarfile.TarError, EOFError, FileNotFoundError) as error:
            why = " ".join(str(error).split())
            raise UserError(f"{archive}: cannot be unpacked ({why}); delete it and fetch it again") from None


class Hashed:
    """A stream that is hashed, and shown as a progress bar, while it is read."""

    def __init__(self, file: File, stream: Stream) -> None:
        self.stream, self.digest, self.progress = stream, hashlib.new(file.algorithm), bar(file.name, stream)

    def read(self, count: int) -> bytes:
        """As the stream does."""
        piece = self.stream.read(count)
        self.digest.update(piece)
        self.progress.update(len(piece))
        return piece


def fetch_members(file: File, folder: Path, kept_as: Callable[[str], Path | None]) -> None:
    """Read a tar archive over the network, keeping below a folder the members for which `kept_as` gives a path.

    What is kept appears after the whole archive was read and its checksum was right, or not at all: the archive itself
    needs no room. Raises UserError as `fetch` does.
    """
    problems = []
    for address in file.addresses:
        with writable(folder), tempfile.TemporaryDirectory(dir=folder, prefix=f".{file.name}-") as place:
            try:
                keep(file, address, Path(place), kept_as)
            except (Unfetchable, tarfile.TarError) as problem:
                problems.append(f"{urlsplit(address).netloc}: {problem}")
                continue
            for kept in Path(place).iterdir():
                if not (folder / kept.name).exists():
                    shutil.move(kept, folder / kept.name)
            return
    raise UserError(f"{file.name} cannot be fetched ({'; '.join(problems)}); nothing of it was kept, try again")


def keep(file: File, address: str, place: Path, kept_as: Callable[[str], Path | None]) -> None:
    """Read an archive to its end, writing some of its members. Raises Unfetchable for a wrong checksum."""
    source = Hashed(file, Stream(address))
    with tarfile.open(fileobj=source, mode="r|") as archive:  # type: ignore[call-overload]
        for member in archive:
            path, content = kept_as(member.name), archive.extractfile(member)
            if path and content:
                (place / path).parent.mkdir(parents=True, exist_ok=True)
                with open(place / path, "wb") as out:
                    shutil.copyfileobj(content, out)
    while source.read(PIECE):  # what lies behind the end of the archive counts for its checksum
        pass
    file.check(source.digest.hexdigest())
