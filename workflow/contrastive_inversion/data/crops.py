"""Crops and resizes of full-resolution pictures, equal bit for bit to torchvision's on Pillow images."""

import math

import numpy as np
import torch
from PIL import Image

from contrastive_inversion.base import rng

SCALE, RATIO, TRIES = (0.08, 1.0), (3 / 4, 4 / 3), 10  # RandomResizedCrop's defaults


def resized(picture, height, width):
    """A uint8 picture (H, W, 3) at another size: Pillow's bilinear with its antialiasing."""
    if picture.shape[:2] == (height, width):
        return picture
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR))


def shorter_side(picture, size):
    """torchvision's Resize(size): the shorter side to `size`, the longer one truncated to an integer."""
    height, width = picture.shape[:2]
    if height <= width:
        return resized(picture, size, int(size * width / height))
    return resized(picture, int(size * height / width), size)


def centre(picture, size):
    """torchvision's CenterCrop(size) of a picture that is at least as large."""
    top = round((picture.shape[0] - size) / 2.0)
    left = round((picture.shape[1] - size) / 2.0)
    return picture[top : top + size, left : left + size]


def for_testing(picture, resize, size):
    """Resize the shorter side, then crop the centre: uint8 (size, size, 3)."""
    return centre(shorter_side(picture, resize), size)


def random_box(height, width, draws, scale=SCALE):
    """RandomResizedCrop's box (top, left, height, width) from 4 * TRIES uniforms; scale: bounds of its share.

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


def central_box(height, width):
    """The largest centre crop whose aspect ratio is allowed."""
    if width / height < RATIO[0]:
        w, h = width, round(width / RATIO[0])
    elif width / height > RATIO[1]:
        w, h = round(height * RATIO[1]), height
    else:
        w, h = width, height
    return (height - h) // 2, (width - w) // 2, h, w


def for_training(picture, draws, size, flip, scale=SCALE):
    """A random resized crop, flipped with probability `flip`: uint8 (size, size, 3).

    draws: 4 * TRIES + 1 uniforms, the image's own.
    """
    top, left, height, width = random_box(*picture.shape[:2], draws[:-1], scale)
    crop = resized(np.ascontiguousarray(picture[top : top + height, left : left + width]), size, size)
    return crop[:, ::-1] if draws[-1] < flip else crop


def whole_for_training(picture, draws, size, flip):
    """The whole picture, resized, its centre cropped, and flipped with probability `flip`: uint8 (size, size, 3)."""
    square = for_testing(picture, size, size)
    return square[:, ::-1] if draws[-1] < flip else square


def draws_of(seed, name, index, epoch):
    """The uniforms of `for_training` for each image: float64 (B, 4 * TRIES + 1)."""
    return rng.uniform(4 * TRIES + 1, seed, f"crop/{name}", index, epoch).numpy()


def stacked(pictures):
    """uint8 pictures of one size as a tensor (B, H, W, 3)."""
    return torch.from_numpy(np.stack(pictures))
