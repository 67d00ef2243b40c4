"""Crops and resizes of full-resolution pictures: torchvision's on Pillow images, with counted draws.

torchvision is imported by the first resize: that takes seconds, and jobs on stored squares never resize.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from contrastive_inversion.base import rng

SCALE, RATIO, TRIES = (0.08, 1.0), (3 / 4, 4 / 3), 10  # RandomResizedCrop's defaults
Box = tuple[int, int, int, int]  # top, left, height, width


def resized(picture: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """A uint8 picture (H, W, 3) at another size, bilinear with antialiasing: `[S]` for its shorter side, `[H, W]`."""
    from torchvision.transforms import functional

    return np.asarray(functional.resize(Image.fromarray(picture), list(size)))


def for_testing(picture: np.ndarray, resize: int, size: int) -> np.ndarray:
    """The shorter side resized, then the centre cropped: uint8 (size, size, 3)."""
    from torchvision.transforms import functional

    return np.asarray(functional.center_crop(Image.fromarray(resized(picture, [resize])), [size]))


def random_box(height: int, width: int, draws: np.ndarray, scale: Sequence[float]) -> Box:
    """RandomResizedCrop's box from 4 * TRIES uniforms; scale: bounds of its share.

    torchvision's algorithm: an area and an aspect ratio, tried ten times, then the largest allowed centre crop.
    """
    for area_draw, ratio_draw, top_draw, left_draw in np.asarray(draws).reshape(TRIES, 4):
        area = height * width * (scale[0] + (scale[1] - scale[0]) * area_draw)
        low, high = math.log(RATIO[0]), math.log(RATIO[1])
        ratio = math.exp(low + (high - low) * ratio_draw)
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            return int(top_draw * (height - h + 1)), int(left_draw * (width - w + 1)), h, w
    return central_box(height, width)


def central_box(height: int, width: int) -> Box:
    """The largest centre crop whose aspect ratio is allowed."""
    if width / height < RATIO[0]:
        w, h = width, round(width / RATIO[0])
    elif width / height > RATIO[1]:
        w, h = round(height * RATIO[1]), height
    else:
        w, h = width, height
    return (height - h) // 2, (width - w) // 2, h, w


def for_training(
    picture: np.ndarray, draws: np.ndarray, size: int, flip: float, scale: Sequence[float] | None
) -> np.ndarray:
    """A random resized crop, flipped with probability `flip`: uint8 (size, size, 3).

    draws: 4 * TRIES + 1 uniforms, the image's own; scale: see `random_box`, None for the centre of the whole picture.
    """
    if scale is None:
        square = for_testing(picture, size, size)
    else:
        top, left, height, width = random_box(picture.shape[0], picture.shape[1], draws[:-1], scale)
        square = resized(picture[top : top + height, left : left + width], [size, size])
    return square[:, ::-1] if draws[-1] < flip else square


def draws_of(seed: int, split: str, index: torch.Tensor, epoch: int) -> np.ndarray:
    """The uniforms of `for_training` for each image: float64 (B, 4 * TRIES + 1)."""
    return rng.uniform(4 * TRIES + 1, seed, f"crop/{split}", index, epoch).numpy()
