"""Image stores in memory: the splits that training and testing take their batches from."""

import functools
import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from contrastive_inversion.base import files, machine
from contrastive_inversion.base.job import Input
from contrastive_inversion.data import entries, readers
from contrastive_inversion.data.settings import DATA_SET, Source


@dataclass(frozen=True)
class Flat:
    """Pictures of any size behind one another, as packed: indexing gives uint8 (H, W, 3), read from the memory map.

    digests: their sha256, uint8 (N, 32), that a picture must have when it is read for the first time; older stores
    have none. Indexing raises UserError for a damaged picture.
    """

    path: Path
    values: np.ndarray
    offsets: torch.Tensor
    sizes: torch.Tensor
    digests: torch.Tensor | None
    sound: set[int] = field(default_factory=set)

    def __getitem__(self, i: int) -> np.ndarray:
        height, width = self.sizes[i].tolist()
        start = int(self.offsets[i])
        picture = self.values[start : start + 3 * height * width].reshape(height, width, 3)
        if self.digests is not None and i not in self.sound:
            if hashlib.sha256(picture.data).digest() != self.digests[i].numpy().tobytes():
                raise files.damaged(self.path, f"picture {i} is not what was packed")
            self.sound.add(i)
        return picture


@dataclass(frozen=True)
class Listed:
    """Image files below a folder: indexing decodes one to uint8 (H, W, 3)."""

    root: Path
    paths: list[str]

    def __getitem__(self, i: int) -> np.ndarray:
        return entries.decode(entries.from_line(self.paths[i], self.root))


@dataclass(frozen=True)
class Split:
    """The images of one split, with labels int64 (N,). An image's number is its position.

    pixels: uint8 (N, H, W, 3), or a Flat or Listed of full-resolution pictures. settings: those of its data set.
    """

    pixels: torch.Tensor | Flat | Listed
    labels: torch.Tensor
    name: str
    settings: Source = Source()

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def classes(self) -> int:
        """How many classes there are, the highest label's being the last."""
        return int(self.labels.max()) + 1

    def picture(self, i: int) -> np.ndarray:
        """One picture as stored: a uint8 array (H, W, 3)."""
        return np.asarray(self.pixels[i])

    def first_of_each_class(self, count: int | None = None) -> torch.Tensor:
        """Positions of the first `count` images of every class (all where None): int64, sorted."""
        members = [torch.nonzero(self.labels == label)[:count, 0] for label in self.labels.unique()]
        return torch.cat(members).sort().values

    def spread(self, count: int) -> torch.Tensor:
        """`count` positions spread evenly over the split, which is sorted by class: int64."""
        return torch.linspace(0, len(self) - 1, min(count, len(self))).round().long()


@functools.cache
def load(source: Input) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """All tensors and the record of a store; packed pixels are a map of numpy's, for they may be larger than memory.

    Raises UserError if it is missing, damaged or of another recipe.
    """
    tensors, record = files.load(source.path, source.recipe_hash)
    read = {name: torch.from_numpy(array) for name, array in tensors.items() if type(array) is np.ndarray}
    return tensors | read, record


def split(source: Input, name: str) -> Split:
    """One split of an image store. Raises UserError as `load` does."""
    tensors, record = load(source)
    settings = DATA_SET.validate_python(record["recipe"]["settings"])
    # an ImageNet-C that was made here has the same labels for all levels
    labels = tensors[f"{name}/labels" if f"{name}/labels" in tensors else "labels"]
    return Split(pixels_of(source, name, settings.source), labels, name, settings)


def pixels_of(source: Input, name: str, publisher: str) -> torch.Tensor | Flat | Listed:
    """A split's pictures in whichever form the store has them."""
    tensors, _ = load(source)
    if f"{name}/pixels" in tensors:
        values, offsets, sizes = (tensors[f"{name}/{part}"] for part in ("pixels", "offsets", "sizes"))
        return Flat(source.path, np.asarray(values), offsets, sizes, tensors.get(f"{name}/pixels.sha256"))
    if f"{name}/paths" in tensors:
        lines = tensors[f"{name}/paths"].numpy().tobytes().decode()
        return Listed(machine.folder(readers.KEYS[publisher]), lines.split("\n"))
    return tensors[f"{name}/images"] if f"{name}/images" in tensors else tensors[name]
