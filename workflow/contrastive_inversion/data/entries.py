"""Image files wherever they lie: on their own, as a stretch of a tar archive, or in a row of a parquet shard.

An entry opens what it needs each time that it is read, so threads and processes may share entries.
"""

import contextlib
import functools
import io
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import ContainerIO, Image, UnidentifiedImageError

from contrastive_inversion.base.errors import UserError

READING = threading.Lock()  # threads that want rows of one group read it once


@dataclass(frozen=True)
class Entry:
    """An image file and its label.

    path: the file that holds it, its own or an archive; within: (first byte, bytes) of a tar archive, (row group, row)
    of a parquet shard; name: its own name there, for people.
    """

    path: Path
    label: int
    within: tuple[int, int] | None = None
    name: str = ""

    def __str__(self) -> str:
        return f"{self.path}: {self.name}" if self.within else str(self.path)

    @property
    def place(self) -> tuple[str, tuple[int, ...]]:
        """A key to sort by: in this order every archive is read once, from its beginning to its end."""
        return str(self.path), self.within or ()

    @contextlib.contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """The image file, open for reading."""
        if self.path.suffix == ".parquet" and self.within:
            yield io.BytesIO(row_group(self.path, self.within[0])[self.within[1]].as_py())
            return
        with open(self.path, "rb") as file:
            yield ContainerIO.ContainerIO(file, *self.within) if self.within else file  # type: ignore[misc]

    def line(self, root: Path) -> str:
        """The entry's place below a folder in one line of text."""
        return "\t".join([self.path.relative_to(root).as_posix(), *map(str, self.within or ())])


def from_line(line: str, root: Path) -> Entry:
    """The entry, without label, that `Entry.line` wrote."""
    path, *within = line.split("\t")
    return Entry(root / path, 0, (int(within[0]), int(within[1])) if within else None, f"bytes {'+'.join(within)}")


def row_group(path: Path, number: int) -> Any:
    """The image files of a row group of a shard: an array of pyarrow."""
    with READING:
        return cached_group(path, number)


@functools.lru_cache(maxsize=2)
def cached_group(path: Path, number: int) -> Any:
    from contrastive_inversion.data.parquet import shard

    table = shard(path).read_row_group(number, columns=["image.bytes"])
    return table["image"].combine_chunks().field("bytes")


def decode(entry: Entry) -> np.ndarray:
    """An image file as torchvision's loader reads it: uint8 (H, W, 3), converted to RGB, EXIF orientation left alone.

    CMYK files and PNGs named .JPEG are among ImageNet's. Raises UserError for a truncated or unreadable file.
    """
    with readable(entry) as image:
        return np.array(image.convert("RGB"))


def size_of(entry: Entry) -> tuple[int, int]:
    """An image file's (height, width) from its header, without decoding it. Raises UserError if it has none."""
    with readable(entry) as image:
        return image.height, image.width


@contextlib.contextmanager
def readable(entry: Entry) -> Iterator[Image.Image]:
    """An image file opened by Pillow. Raises UserError for one that cannot be read, now or while it is decoded."""
    try:
        with entry.opened() as file, Image.open(file) as image:
            yield image
    except UnidentifiedImageError:
        raise UserError(f"{entry}: not an image; fetch this file again") from None
    except (MemoryError, UserError):
        raise
    except Exception as error:  # Pillow raises many kinds for a damaged file, and one of its own for a bomb
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{entry}: cannot be read ({reason}); fetch this file again") from None
