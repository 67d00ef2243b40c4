"""Image stores in memory, and the batches that training and testing take from them."""

import functools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from contrastive_inversion.base import files, machine, rng
from contrastive_inversion.base.job import Job
from contrastive_inversion.data import crops, readers

MARGIN = 4  # px, of `crop: padded`
CPU = Job("", Path(), "")  # one thread, no GPU


@dataclass(frozen=True)
class Flat:
    """Pictures of any size behind one another, as packed: indexing gives uint8 (H, W, 3), read from the memory map."""

    values: torch.Tensor
    offsets: torch.Tensor
    sizes: torch.Tensor

    def __getitem__(self, i):
        height, width = self.sizes[i].tolist()
        start = int(self.offsets[i])
        return self.values[start : start + 3 * height * width].view(height, width, 3)


@dataclass(frozen=True)
class Listed:
    """Image files below a folder: indexing decodes one to uint8 (H, W, 3)."""

    root: Path
    paths: list

    def __getitem__(self, i):
        return readers.decode(self.root / self.paths[i])


@dataclass(frozen=True)
class Split:
    """The images of one split, with labels int64 (N,). An image's number is its position.

    pixels: uint8 (N, H, W, 3), or a Flat or Listed of full-resolution pictures. settings: those of its data set.
    """

    pixels: torch.Tensor | Flat | Listed
    labels: torch.Tensor
    name: str
    settings: dict = field(default_factory=dict)

    def __len__(self):
        return len(self.labels)

    @property
    def classes(self):
        return int(self.labels.max()) + 1

    def picture(self, i):
        """One picture as stored: a uint8 array (H, W, 3)."""
        return np.asarray(self.pixels[i])

    def first_of_each_class(self, count=None):
        """Positions of the first `count` images of every class (all where None): int64, sorted."""
        members = [torch.nonzero(self.labels == label)[:count, 0] for label in self.labels.unique()]
        return torch.cat(members).sort().values

    def spread(self, count):
        """`count` positions spread evenly over the split, which is sorted by class: int64."""
        return torch.linspace(0, len(self) - 1, min(count, len(self))).round().long()


@functools.cache
def load(path, recipe_hash):
    """All tensors and the record of an image store. Raises UserError if it is damaged or of another recipe."""
    return files.load(path, recipe_hash)


def split(path, recipe_hash, name):
    """One split of an image store."""
    tensors, record = load(path, recipe_hash)
    settings = record["recipe"]["settings"]
    labels = tensors.get(f"{name}/labels", tensors.get("labels"))  # an ImageNet-C that we made has the same for all
    return Split(pixels_of(tensors, name, settings), labels, name, settings)


def pixels_of(tensors, name, settings):
    """A split's pictures in whichever form the store has them."""
    if f"{name}/pixels" in tensors:
        return Flat(tensors[f"{name}/pixels"], tensors[f"{name}/offsets"], tensors[f"{name}/sizes"])
    if f"{name}/paths" in tensors:
        names = tensors[f"{name}/paths"].numpy().tobytes().decode().split("\n")
        return Listed(machine.folder(readers.key_of(settings["source"])), names)
    return tensors[f"{name}/images"] if f"{name}/images" in tensors else tensors[name]


def training_batch(data, index, settings, seed, epoch, job=CPU):
    """Randomly cropped and flipped images on the job's device: float32 (B, 3, S, S) in [0, 1], channels last.

    index: int64 (B,), positions in the split. Crop and flip hang on (seed, image, epoch) alone. `crop: random` cuts
    a square out of stored squares, `crop: padded` after putting a black margin around them; otherwise pictures are
    resized as torchvision does, whole where the data set says so (CIFAR, STL-10) and by RandomResizedCrop where not.
    """
    if settings["crop"] != "resized":
        return as_floats(random_squares(data, index, settings, seed, epoch).to(job.device))
    size, flip = settings["image_size"], data.settings.get("flip", settings.get("flip", 0))
    draws = crops.draws_of(seed, data.name, index, epoch)
    whole = data.settings.get("training_crop") == "whole"
    if whole:
        make = functools.partial(crops.whole_for_training, size=size, flip=flip)
    else:
        make = functools.partial(crops.for_training, size=size, flip=flip, scale=settings.get("scale", crops.SCALE))
    pictures = mapped(lambda i, row: make(data.picture(i), row), (index.tolist(), draws), job.threads)
    return as_floats(crops.stacked(pictures).to(job.device))


def mapped(make, columns, threads):
    """make(*row) for every row of some columns, by several threads: Pillow works outside Python's lock."""
    return list(map(make, *columns) if threads == 1 else pool(threads).map(make, *columns))


@functools.cache
def pool(threads):
    return ThreadPoolExecutor(threads)


def random_squares(data, index, settings, seed, epoch):
    """Squares of stored squares, each at a random place: uint8 (B, S, S, 3)."""
    size = settings["image_size"]
    draws = rng.uniform(3, seed, f"crop/{data.name}", index, epoch)
    pixels, places = data.pixels, index
    if settings["crop"] == "padded":
        pixels, places = F.pad(pixels[index], (0, 0, *[MARGIN] * 4)), torch.arange(len(index))
    tops = (draws[:, 0] * (pixels.shape[1] - size + 1)).long()
    lefts = (draws[:, 1] * (pixels.shape[2] - size + 1)).long()
    flipped = draws[:, 2] < settings.get("flip", 0)
    return cropped(pixels, places, tops, lefts, flipped, size)


def test_batch(data, index, settings, job=CPU):
    """Centre crops, resized first where the data set says how: float32 (B, 3, S, S) in [0, 1], channels last."""
    size = settings["image_size"]
    if "resize" in data.settings:
        make = functools.partial(crops.for_testing, resize=data.settings["resize"], size=size)
        pictures = mapped(lambda i: make(data.picture(i)), (index.tolist(),), job.threads)
        return as_floats(crops.stacked(pictures).to(job.device))
    top, left = (data.pixels.shape[1] - size) // 2, (data.pixels.shape[2] - size) // 2
    return as_floats(data.pixels[index, top : top + size, left : left + size].to(job.device))


def test_batches(data, settings, size, job=CPU, chosen=None):
    """Test images, all or the `chosen` positions: pairs of positions int64 (B,) and float32 (B, 3, S, S)."""
    chosen = torch.arange(len(data)) if chosen is None else chosen
    for index in chosen.split(size):
        yield index.to(job.device), test_batch(data, index, settings, job)


def cropped(pixels, index, tops, lefts, flipped, size):
    """Square crops, each at a place of its own: uint8 (B, size, size, 3)."""
    places = zip(index.tolist(), tops.tolist(), lefts.tolist(), strict=True)
    squares = torch.stack([pixels[i, top : top + size, left : left + size] for i, top, left in places])
    return torch.where(flipped[:, None, None, None], squares.flip(2), squares) if flipped.any() else squares


def as_floats(pixels):
    """uint8 (B, H, W, 3) -> float32 (B, 3, H, W) in [0, 1], without moving memory: channels last."""
    return pixels.permute(0, 3, 1, 2).float().div_(255)
