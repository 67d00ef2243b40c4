"""Packing image files into one store at full resolution, so that training decodes nothing and crops stay exact.

The store is a safetensors file whose pixels lie behind one another, each image's place in `<split>/offsets` and
`<split>/sizes` and its sha256 in `<split>/pixels.sha256`; it is read as a memory map. Packing knows the size it needs
before it starts, shows progress, resumes after a kill, and moves the finished file into place in one step.
"""

import hashlib
import json
import math
import os
import shutil
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeVar

import numpy as np
import torch
from tqdm import tqdm

from contrastive_inversion.base import files, machine
from contrastive_inversion.base.canonical import digest
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.data.entries import Entry, decode, size_of

HEADER_BYTES = 1 << 16  # room for the record, which is written last
IMAGES_BETWEEN_NOTES = 500
KEPT_FREE = 1 << 30
TYPES: dict[str, np.dtype[Any]] = {"U8": np.dtype(np.uint8), "I64": np.dtype(np.int64)}
DIGEST_BYTES = 32
Item = TypeVar("Item")
Made = TypeVar("Made")
Splits = Mapping[str, Sequence[Entry]]


class Region(NamedTuple):
    """Where a tensor lies, in bytes behind the header."""

    dtype: str
    shape: list[int]
    start: int
    stop: int


@dataclass(frozen=True)
class Layout:
    """Where everything lies, by tensor name, and each split's sizes (height, width): int64 (N, 2)."""

    regions: dict[str, Region]
    sizes: dict[str, np.ndarray]

    @property
    def length(self) -> int:
        """Bytes behind the header."""
        return max((region.stop for region in self.regions.values()), default=0)

    def offsets(self, split: str) -> np.ndarray:
        """Where each picture begins among its split's pixels: int64 (N,)."""
        lengths = 3 * self.sizes[split].prod(axis=1)
        return np.cumsum(lengths) - lengths

    def places(self, split: str) -> np.ndarray:
        """Where each picture and its sha256 begin, behind the header: int64 (N, 2)."""
        pixels, digests = (self.regions[f"{split}/{name}"].start for name in ("pixels", "pixels.sha256"))
        numbers = np.arange(len(self.sizes[split]))
        return np.stack([pixels + self.offsets(split), digests + DIGEST_BYTES * numbers], axis=1)


def sizes_of(entries: Sequence[Entry], split: str) -> np.ndarray:
    """The sizes of a split's image files, read in the order in which they lie: int64 (N, 2)."""
    order = sorted(range(len(entries)), key=lambda i: entries[i].place)
    read = on_all_cores(size_of, [entries[i] for i in order])
    sizes = np.zeros((len(entries), 2), np.int64)
    for i, size in zip(order, shown(read, f"{split} sizes", len(order)), strict=True):
        sizes[i] = size
    return sizes


def on_all_cores(make: Callable[[Item], Made], items: Sequence[Item]) -> Iterator[Made]:
    """make(item) for every item in turn, by a thread per core: Pillow, hashes and writes work outside Python's lock."""
    with ThreadPoolExecutor(machine.cores()) as pool:
        for start in range(0, len(items), IMAGES_BETWEEN_NOTES):  # a task for each of a million would take its own RAM
            yield from pool.map(make, items[start : start + IMAGES_BETWEEN_NOTES])


def shown(images: Iterable[Made], what: str, total: int, done: int = 0) -> Iterator[Made]:
    """The same images, with their rate and the time that is left in the log."""
    yield from tqdm(images, desc=what, initial=done, total=total, unit="image", mininterval=5)


def layout_of(splits: Splits) -> Layout:
    """The layout of a store. Raises UserError for a file whose header is not that of an image."""
    layout = Layout({}, {split: sizes_of(entries, split) for split, entries in splits.items()})
    for split, sizes in layout.sizes.items():
        pixels = int(3 * sizes.prod(axis=1).sum())
        # safetensors allows no gap between tensors: zeros at the end align the next split's labels
        shapes = {"labels": [len(sizes)], "sizes": [len(sizes), 2], "offsets": [len(sizes)]}
        shapes |= {"pixels.sha256": [len(sizes), DIGEST_BYTES], "pixels": [pixels + (-pixels) % 8]}
        for name, shape in shapes.items():
            dtype, start = "U8" if name.startswith("pixels") else "I64", layout.length
            stop = start + math.prod(shape) * TYPES[dtype].itemsize
            layout.regions[f"{split}/{name}"] = Region(dtype, shape, start, stop)
    return layout


def check_space(path: Path, needed: int) -> None:
    """Raise UserError unless the disk has room for the store, before any image is decoded."""
    path.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(path.parent).free
    if free < needed + KEPT_FREE:
        raise UserError(
            f"{path}: the store needs {needed / 1e9:.1f} GB and the disk has {free / 1e9:.1f} GB free; "
            "free some space, or move results to a larger disk"
        )


def header(layout: Layout, record: Mapping[str, Any]) -> bytes:
    """A safetensors header of HEADER_BYTES, its record padded with spaces as the format allows."""
    content: dict[str, Any] = {"__metadata__": files.metadata_of(record)}
    for name, (dtype, shape, start, stop) in layout.regions.items():
        content[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}
    text = json.dumps(content).encode()
    if len(text) > HEADER_BYTES - 8:
        raise UserError("the record of an image store outgrew its header")
    return struct.pack("<Q", HEADER_BYTES - 8) + text.ljust(HEADER_BYTES - 8)


def pack(splits: Splits, target: Path, state: Path) -> "Packed":
    """Decode every entry of {split: [Entry]} into a store at `target`, resuming what `state` remembers.

    Raises UserError on a full disk or an image that cannot be decoded.
    """
    layout = layout_of(splits)
    partial, note = state / "store.partial", state / "store.json"
    names = digest("\n".join(str(entry.place) for entries in splits.values() for entry in entries))
    images = {split: len(entries) for split, entries in splits.items()}
    expected = {"bytes": layout.length, "images": images, "names": names}
    done = resumed(note, expected) if partial.exists() else 0
    if not done:
        check_space(target, layout.length)
    total = sum(map(len, splits.values()))
    state.mkdir(parents=True, exist_ok=True)
    # written and not mapped: where the disk is full, a memory map ends the process with a signal
    with files.writable(partial), open(partial, "r+b" if done else "w+b") as file:
        if not done:
            reserve(file, HEADER_BYTES + layout.length)
        write_index(file, layout, splits)
        for number in decoded(file, layout, splits, done):
            if number % IMAGES_BETWEEN_NOTES == 0 or number == total:
                os.fsync(file.fileno())
                files.write_text(note, json.dumps(expected | {"done": number}))
    return Packed(layout, state)


def reserve(file: BinaryIO, length: int) -> None:
    """Take a new file's space from the disk before hours of work are put into it; another packing cannot have it then.

    Raises OSError where there is too little of it, and leaves an empty file.
    """
    try:
        if hasattr(os, "posix_fallocate"):  # not on macOS
            os.posix_fallocate(file.fileno(), 0, length)
        file.truncate(length)
    except OSError:
        file.truncate(0)
        raise


def put(file: BinaryIO, start: int, values: np.ndarray) -> None:
    """Write an array's bytes at a place behind the header; threads may do so at once."""
    place, rest = HEADER_BYTES + start, np.ascontiguousarray(values).reshape(-1).view(np.uint8).data
    while len(rest):
        written = os.pwrite(file.fileno(), rest, place)
        place, rest = place + written, rest[written:]


def resumed(note: Path, expected: Mapping[str, Any]) -> int:
    """How many images a killed packing of the same files had written for certain."""
    try:
        noted = json.loads(note.read_text())
    except (OSError, ValueError):
        return 0
    matches = isinstance(noted, dict) and {key: noted.get(key) for key in expected} == expected
    return int(noted["done"]) if matches else 0


def write_index(file: BinaryIO, layout: Layout, splits: Splits) -> None:
    """Write labels, sizes and offsets."""
    for split, entries in splits.items():
        labels = [entry.label for entry in entries]
        columns = {"labels": labels, "sizes": layout.sizes[split], "offsets": layout.offsets(split)}
        for name, values in columns.items():
            put(file, layout.regions[f"{split}/{name}"].start, np.asarray(values, np.int64))


def decoded(file: BinaryIO, layout: Layout, splits: Splits, done: int) -> Iterator[int]:
    """Write the images that are not done yet, yielding how many are. Raises UserError for a damaged one."""
    places = np.concatenate([layout.places(split) for split in splits])  # (N, 2)
    every = zip(chain(*splits.values()), places, np.concatenate([*layout.sizes.values()]), strict=True)
    in_order = sorted(every, key=lambda row: row[0].place)  # archives are read once, from beginning to end

    def write(row: tuple[Entry, np.ndarray, np.ndarray]) -> None:
        entry, (start, digest), size = row
        pixels = decode(entry)
        if pixels.shape[:2] != tuple(size):
            raise UserError(f"{entry}: its header promises another size than it holds; fetch this file again")
        put(file, start, pixels)
        put(file, digest, np.frombuffer(hashlib.sha256(pixels.data).digest(), np.uint8))

    written = on_all_cores(write, in_order[done:])
    for number, _ in enumerate(shown(written, "pictures", len(in_order), done), done + 1):
        yield number


def listing(splits: Splits, root: Path) -> dict[str, torch.Tensor]:
    """A store of names instead of pixels, for files that are decoded whenever they are needed.

    Returns `<split>/labels` int64 (N,) and `<split>/paths` uint8, the paths below `root`, a line each. Raises
    UserError for a file whose header is not that of an image.
    """
    tensors = {}
    for split, entries in splits.items():
        sizes_of(entries, split)  # reads every header
        names = "\n".join(entry.line(root) for entry in entries)
        tensors[f"{split}/labels"] = torch.tensor([entry.label for entry in entries])
        tensors[f"{split}/paths"] = torch.frombuffer(bytearray(names.encode()), dtype=torch.uint8)
    return tensors


@dataclass(frozen=True)
class Packed:
    """A packed store that waits for its record: its layout and the folder that it was packed in."""

    layout: Layout
    state: Path

    def content_hash(self) -> str:
        """The content hash of all tensors, pictures by their sha256."""
        flat = np.memmap(self.state / "store.partial", np.uint8, "r", HEADER_BYTES)
        regions = self.layout.regions.items()
        return files.content_hash({n: flat[r.start : r.stop].view(TYPES[r.dtype]).reshape(r.shape) for n, r in regions})

    def finish(self, target: Path, record: Mapping[str, Any]) -> None:
        """Write the record into the header and move the store into place."""
        partial = self.state / "store.partial"
        with files.writable(target):
            with open(partial, "r+b") as file:
                file.write(header(self.layout, record))
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(partial, target)
        (self.state / "store.json").unlink(missing_ok=True)
