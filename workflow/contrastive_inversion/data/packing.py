"""Packing image files into one store at full resolution, so that training decodes nothing and crops stay exact.

The store is a safetensors file whose pixels lie behind one another, each image's place in `<split>/offsets` and
`<split>/sizes`; it is read as a memory map. Packing knows the size it needs before it starts, shows progress,
resumes after a kill, and moves the finished file into place in one step.
"""

import hashlib
import json
import math
import shutil
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from contrastive_inversion.base import files
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.data.readers import decode

HEADER_BYTES = 1 << 16  # room for the record, which is written last
IMAGES_BETWEEN_NOTES = 500
KEPT_FREE = 1 << 30


def size_of(path):
    """An image file's (height, width) from its header, without decoding it. Raises UserError if it has none."""
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except OSError as error:
        raise UserError(f"{path}: not an image ({error}); fetch this file again") from None


def layout(splits):
    """Where everything lies: {tensor name: (dtype, shape, start, stop)} in bytes, and each split's image sizes."""
    places, sizes, position = {}, {}, 0

    def place(name, dtype, shape):
        nonlocal position
        length = math.prod(shape) * {"U8": 1, "I64": 8}[dtype]
        places[name] = (dtype, shape, position, position + length)
        position += length

    for split, entries in splits.items():
        found = [size_of(entry.path) for entry in tqdm(entries, desc=f"{split} sizes", unit="image", mininterval=5)]
        sizes[split] = np.array(found, np.int64).reshape(-1, 2)
        place(f"{split}/labels", "I64", [len(entries)])
        place(f"{split}/sizes", "I64", [len(entries), 2])
        place(f"{split}/offsets", "I64", [len(entries)])
        pixels = int(3 * sizes[split].prod(axis=1).sum())
        # safetensors allows no gap between tensors: zeros at the end align the next split's labels
        place(f"{split}/pixels", "U8", [pixels + (-pixels) % 8])
    return places, sizes, position


def check_space(path, needed):
    """Raise UserError unless the disk has room for the store, before any image is decoded."""
    path.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(path.parent).free
    if free < needed + KEPT_FREE:
        raise UserError(
            f"{path}: the store needs {needed / 1e9:.1f} GB and the disk has {free / 1e9:.1f} GB free; "
            "free some space, or move results to a larger disk"
        )


def header(places, record):
    """A safetensors header of HEADER_BYTES, its record padded with spaces as the format allows."""
    content = {"__metadata__": {"record": json.dumps(record, ensure_ascii=True)}}
    content |= {n: {"dtype": d, "shape": s, "data_offsets": [a, b]} for n, (d, s, a, b) in places.items()}
    text = json.dumps(content).encode()
    if len(text) > HEADER_BYTES - 8:
        raise UserError("the record of an image store outgrew its header")
    return struct.pack("<Q", HEADER_BYTES - 8) + text.ljust(HEADER_BYTES - 8)


def pack(splits, target, state):
    """Decode every entry of {split: [Entry]} into a store at `target`, resuming what `state` remembers.

    Returns a Packed, for `finish`. Raises UserError on a full disk or an image that cannot be decoded.
    """
    places, sizes, length = layout(splits)
    partial, note = state / "store.partial", state / "store.json"
    expected = {"bytes": length, "images": {split: len(entries) for split, entries in splits.items()}}
    done = resumed(note, expected) if partial.exists() else 0
    if not done:
        check_space(target, length)
    state.mkdir(parents=True, exist_ok=True)
    with open(partial, "r+b" if done else "w+b") as file:
        file.truncate(HEADER_BYTES + length)
    flat = np.memmap(partial, np.uint8, "r+", HEADER_BYTES)
    index(flat, places, sizes, splits)
    decode_all(flat, places, sizes, splits, done, note, expected)
    return Packed(places, state)


def resumed(note, expected):
    """How many images a killed packing of the same files had written for certain."""
    try:
        found = json.loads(note.read_text())
    except (OSError, json.JSONDecodeError):
        return 0
    return found["done"] if {key: found[key] for key in expected} == expected else 0


def index(flat, places, sizes, splits):
    """Write labels, sizes and offsets."""
    for split, entries in splits.items():
        ends = np.cumsum(3 * sizes[split].prod(axis=1))
        content = {
            "labels": [entry.label for entry in entries],
            "sizes": sizes[split],
            "offsets": np.append(0, ends)[:-1],
        }
        for name, values in content.items():
            _, _, start, stop = places[f"{split}/{name}"]
            flat[start:stop] = np.ascontiguousarray(values, np.int64).reshape(-1).view(np.uint8)


def decode_all(flat, places, sizes, splits, done, note, expected):
    """Decode the images that are not done yet, noting now and then how far the disk has them."""
    entries = [(split, i, entry) for split, listed in splits.items() for i, entry in enumerate(listed)]
    starts = {split: np.append(0, np.cumsum(3 * sizes[split].prod(axis=1))) for split in splits}
    progress = tqdm(entries[done:], initial=done, total=len(entries), unit="image", mininterval=5)
    for number, (split, i, entry) in enumerate(progress, done):
        pixels = decode(entry.path)
        if pixels.shape[:2] != tuple(sizes[split][i]):
            raise UserError(f"{entry.path}: its header promises another size than it holds; fetch this file again")
        start = places[f"{split}/pixels"][2] + starts[split][i]
        flat[start : start + pixels.size] = pixels.reshape(-1)
        if (number + 1) % IMAGES_BETWEEN_NOTES == 0 or number + 1 == len(entries):
            flat.flush()
            files.write_text(note, json.dumps(expected | {"done": number + 1}))


def listed(splits, root):
    """A store of names instead of pixels, for files that are decoded whenever they are needed.

    Returns tensors: `<split>/labels` int64 (N,) and `<split>/paths` uint8, the paths below `root`, a line each.
    Raises UserError for a file whose header is not that of an image.
    """
    import torch

    tensors = {}
    for split, entries in splits.items():
        for entry in tqdm(entries, desc=f"{split} headers", unit="image", mininterval=5):
            size_of(entry.path)
        names = "\n".join(entry.path.relative_to(root).as_posix() for entry in entries)
        tensors[f"{split}/labels"] = torch.tensor([entry.label for entry in entries])
        tensors[f"{split}/paths"] = torch.frombuffer(bytearray(names.encode()), dtype=torch.uint8)
    return tensors


@dataclass(frozen=True)
class Packed:
    """A packed store that waits for its record: its layout and the folder that it was packed in."""

    places: dict
    state: Path

    def content_hash(self):
        """sha256 of everything behind the header."""
        digest = hashlib.sha256()
        with open(self.state / "store.partial", "rb") as file:
            file.seek(HEADER_BYTES)
            while block := file.read(1 << 24):
                digest.update(block)
        return digest.hexdigest()

    def finish(self, target, record):
        """Write the record into the header and move the store into place."""
        partial = self.state / "store.partial"
        with open(partial, "r+b") as file:
            file.write(header(self.places, record))
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(partial, target)
        (self.state / "store.json").unlink(missing_ok=True)
