"""Batches of pixels for training and testing: cropped, flipped, and on the job's device."""

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F

from contrastive_inversion.base import rng
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.base.job import Job
from contrastive_inversion.data import crops
from contrastive_inversion.data.settings import Pictures
from contrastive_inversion.data.store import Split

MARGIN = 4  # px, of `crop: padded`
CPU = Job("", Path(), "")  # one thread, no GPU
T = TypeVar("T")


def training_batch(
    data: Split, index: torch.Tensor, pictures: Pictures, seed: int, epoch: int, job: Job = CPU
) -> torch.Tensor:
    """Randomly cropped and flipped images on the job's device: float32 (B, 3, S, S) in [0, 1], channels last.

    index: int64 (B,), positions in the split. Crop and flip depend on (seed, image, epoch) alone. `crop: random` cuts
    a square out of stored squares, `crop: padded` after putting a black margin around them; otherwise pictures are
    resized as torchvision does, whole where the data set says so (CIFAR, STL-10) and by RandomResizedCrop where not.
    Raises UserError where stored squares are wanted and the store holds pictures of any size.
    """
    flip = pictures.flip if data.settings.flip is None else data.settings.flip
    if pictures.crop != "resized":
        return as_floats(sent(random_squares(data, index, pictures, flip, seed, epoch), job))
    size, scale = pictures.image_size, pictures.scale or crops.SCALE
    bounds = None if data.settings.training_crop == "whole" else scale
    draws = crops.draws_of(seed, data.name, index, epoch)
    made = mapped(
        lambda i, row: crops.for_training(data.picture(i), row, size, flip, bounds),
        (index.tolist(), draws),
        job.threads,
    )
    return as_floats(sent(stacked(made), job))


def sent(pixels: torch.Tensor, job: Job) -> torch.Tensor:
    """Pixels on the job's device, without waiting for the transfer."""
    pixels = pixels.pin_memory() if job.device == "cuda" else pixels
    return pixels.to(job.device, non_blocking=True)


def mapped(make: Callable[..., T], columns: Sequence[Iterable[object]], threads: int) -> list[T]:
    """make(*row) for every row of some columns, by several threads: Pillow works outside Python's lock."""
    return list(map(make, *columns) if threads == 1 else pool(threads).map(make, *columns))


@functools.cache
def pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads)


def stored_squares(data: Split) -> torch.Tensor:
    """The pixels of a split that is stored as squares, uint8 (N, H, W, 3). Raises UserError for one that is not."""
    if not isinstance(data.pixels, torch.Tensor):
        raise UserError(f"the {data.name} pictures have sizes of their own: they need `crop: resized` and a `resize`")
    return data.pixels


def random_squares(
    data: Split, index: torch.Tensor, pictures: Pictures, flip: float, seed: int, epoch: int
) -> torch.Tensor:
    """Squares of stored squares, each at a random place: uint8 (B, S, S, 3)."""
    draws = rng.uniform(3, seed, f"crop/{data.name}", index, epoch)  # (B, 3)
    stored, rows = stored_squares(data), index
    if pictures.crop == "padded":
        stored, rows = F.pad(stored[index], (0, 0, *[MARGIN] * 4)), torch.arange(len(index))
    tops = (draws[:, 0] * (stored.shape[1] - pictures.image_size + 1)).long()
    lefts = (draws[:, 1] * (stored.shape[2] - pictures.image_size + 1)).long()
    return cropped(stored, rows, tops, lefts, draws[:, 2] < flip, pictures.image_size)


def cropped(
    pixels: torch.Tensor, rows: torch.Tensor, tops: torch.Tensor, lefts: torch.Tensor, flipped: torch.Tensor, size: int
) -> torch.Tensor:
    """Square crops, each at a place of its own: uint8 (B, size, size, 3)."""
    corners = zip(rows.tolist(), tops.tolist(), lefts.tolist(), strict=True)
    squares = torch.stack([pixels[i, top : top + size, left : left + size] for i, top, left in corners])
    return torch.where(flipped[:, None, None, None], squares.flip(2), squares) if flipped.any() else squares


def test_batch(data: Split, index: torch.Tensor, pictures: Pictures, job: Job = CPU) -> torch.Tensor:
    """Centre crops as float32 (B, 3, S, S) in [0, 1], channels last. Raises UserError as `test_pixels` does."""
    return as_floats(test_pixels(data, index, pictures, job))


def test_pixels(data: Split, index: torch.Tensor, pictures: Pictures, job: Job = CPU) -> torch.Tensor:
    """Centre crops on the job's device, resized first where the data set says how: uint8 (B, S, S, 3).

    Raises UserError where nothing says how to resize pictures of any size.
    """
    size, resize = pictures.image_size, data.settings.resize
    if resize is not None:
        made = mapped(lambda i: crops.for_testing(data.picture(i), resize, size), (index.tolist(),), job.threads)
        return sent(stacked(made), job)
    stored = stored_squares(data)
    top, left = (stored.shape[1] - size) // 2, (stored.shape[2] - size) // 2
    return sent(stored[index, top : top + size, left : left + size], job)


def test_batches(
    data: Split, pictures: Pictures, size: int, job: Job = CPU, chosen: torch.Tensor | None = None
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Test images, all or the `chosen` positions: pairs of positions int64 (B,) and float32 (B, 3, S, S)."""
    chosen = torch.arange(len(data)) if chosen is None else chosen
    for index in chosen.split(size):
        yield index.to(job.device), test_batch(data, index, pictures, job)


def stacked(pictures: Sequence[np.ndarray]) -> torch.Tensor:
    """uint8 pictures of one size as a tensor (B, H, W, 3)."""
    return torch.from_numpy(np.stack(pictures))


def as_floats(pixels: torch.Tensor) -> torch.Tensor:
    """uint8 (B, H, W, 3) -> float32 (B, 3, H, W) in [0, 1], without moving memory: channels last."""
    return pixels.permute(0, 3, 1, 2).float().div_(255)
