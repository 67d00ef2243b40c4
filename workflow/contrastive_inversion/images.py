"""Image stores in memory and the batches that training and testing take from them."""

import functools
from dataclasses import dataclass

import torch

from contrastive_inversion import artifacts, rng


@dataclass(frozen=True)
class Split:
    """The images of one split: uint8 (N, H, W, 3) with labels int64 (N,). An image's number is its position."""

    pixels: torch.Tensor
    labels: torch.Tensor
    name: str

    def __len__(self):
        return len(self.labels)

    @property
    def classes(self):
        return int(self.labels.max()) + 1

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
    return artifacts.load(path, recipe_hash)


def split(path, recipe_hash, name):
    """One split of an image store."""
    tensors, _ = load(path, recipe_hash)
    return Split(tensors[f"{name}/images"], tensors[f"{name}/labels"], name)


def training_batch(data, index, settings, seed, epoch):
    """Randomly cropped and flipped images: float32 (B, 3, S, S) in [0, 1], channels last.

    index: int64 (B,), positions in the split. Crop and flip hang on (seed, image, epoch) alone.
    """
    size = settings["image_size"]
    draws = rng.uniform(3, seed, f"crop/{data.name}", index, epoch)
    tops = (draws[:, 0] * (data.pixels.shape[1] - size + 1)).long()
    lefts = (draws[:, 1] * (data.pixels.shape[2] - size + 1)).long()
    flipped = draws[:, 2] < settings.get("flip", 0)
    return as_floats(cropped(data.pixels, index, tops, lefts, flipped, size))


def test_batch(data, index, settings):
    """Centre crops: float32 (B, 3, S, S) in [0, 1], channels last."""
    size = settings["image_size"]
    top, left = (data.pixels.shape[1] - size) // 2, (data.pixels.shape[2] - size) // 2
    return as_floats(data.pixels[index, top : top + size, left : left + size])


def cropped(pixels, index, tops, lefts, flipped, size):
    """Square crops, each at a place of its own: uint8 (B, size, size, 3)."""
    places = zip(index.tolist(), tops.tolist(), lefts.tolist(), strict=True)
    crops = torch.stack([pixels[i, top : top + size, left : left + size] for i, top, left in places])
    return torch.where(flipped[:, None, None, None], crops.flip(2), crops) if flipped.any() else crops


def as_floats(pixels):
    """uint8 (B, H, W, 3) -> float32 (B, 3, H, W) in [0, 1], without moving memory: channels last."""
    return pixels.permute(0, 3, 1, 2).float().div_(255)
