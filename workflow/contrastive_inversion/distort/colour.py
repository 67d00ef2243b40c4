"""Colour jitter with an order and factors of each image's own; torchvision draws one set for a whole batch.

The formulas are torchvision's for float images; grey weights are ITU-R 601.
"""

import functools
from collections.abc import Mapping

import torch
from torch import Tensor

from contrastive_inversion.distort.names import Jitter

GREY = (0.2989, 0.587, 0.114)
STARTS = (5.0, 3.0, 1.0)  # where red, green and blue begin on the circle of hues, in sixths


@functools.cache
def constant(numbers: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """A number for each channel, (1, 3, 1, 1): copied to a device once, since the host waits for a copy."""
    return torch.tensor(numbers, dtype=dtype, device=device).view(1, 3, 1, 1)


def luma(images: Tensor) -> Tensor:
    """The grey of RGB images: (B, 3, H, W) -> (B, 1, H, W)."""
    return (images * constant(GREY, images.dtype, images.device)).sum(dim=1, keepdim=True)


def blended(images: Tensor, others: Tensor, factor: Tensor) -> Tensor:
    """`factor` of the images and the rest of the others, kept in [0, 1]; factor: (B, 1, 1, 1)."""
    return (factor * images + (1 - factor) * others).clamp(0, 1)


def brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Images times a factor, kept in [0, 1]; factor: (B, 1, 1, 1)."""
    return (images * factor).clamp(0, 1)


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with each image's mean grey."""
    return blended(images, luma(images).mean(dim=(2, 3), keepdim=True), factor)


def saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with each pixel's grey."""
    return blended(images, luma(images), factor)


def hue(images: Tensor, shift: Tensor) -> Tensor:
    """Turn the hue of HSV by `shift` of a full turn; shift: (B, 1, 1, 1)."""
    value, low = images.amax(dim=1, keepdim=True), images.amin(dim=1, keepdim=True)
    chroma = value - low  # (B, 1, H, W)
    red, green, blue = images.split(1, dim=1)
    safe = torch.where(chroma == 0, 1, chroma)
    sixths = torch.where(
        value == red,
        (green - blue) / safe,
        torch.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    k = (constant(STARTS, images.dtype, images.device) + sixths + 6 * shift) % 6
    return value - chroma * torch.minimum(k, 4 - k).clamp(0, 1)


ADJUSTMENTS = {"brightness": brightness, "contrast": contrast, "saturation": saturation, "hue": hue}


def jittered(images: Tensor, strengths: Jitter, draws: Tensor) -> Tensor:
    """torchvision's ColorJitter, per image: the four adjustments in a random order with random factors.

    images: float (B, 3, H, W) in [0, 1]; strengths: s of each adjustment, factors lie in [1 - s, 1 + s], the hue's
    shift in [-s, s] turns; draws: float64 (B, 8) in (0, 1), the factors, then what the order is sorted by.
    Returns the same shape, in [0, 1].
    """
    order = draws[:, 4:].argsort(dim=1)  # (B, 4), the number of the adjustment at each turn
    factors = factors_of(strengths, draws, images.dtype)
    for turn in range(4):
        images = adjusted(images, factors, order[:, turn], each=images.device.type == "cpu")
    return images


def factors_of(strengths: Jitter, draws: Tensor, dtype: torch.dtype) -> dict[str, Tensor]:
    """How far each adjustment goes in each image, (B, 1, 1, 1), by name; one without a strength is left out."""
    factors = {}
    for number, name in enumerate(ADJUSTMENTS):
        if strength := getattr(strengths, name):
            spread = strength * (2 * draws[:, number] - 1)
            factor = spread if name == "hue" else (1 + spread).clamp(min=0)
            factors[name] = factor.to(dtype).view(-1, 1, 1, 1)
    return factors


def adjusted(images: Tensor, factors: Mapping[str, Tensor], chosen: Tensor, each: bool) -> Tensor:
    """Images (B, 3, H, W), each after the one adjustment that is chosen for it by number: int64 (B,).

    each: whether an adjustment is worked out only where it is chosen; to ask where would wait for a GPU.
    """
    result = images.clone()
    for number, (name, adjust) in enumerate(ADJUSTMENTS.items()):
        wanted = chosen == number
        if name in factors and each:
            rows = torch.nonzero(wanted)[:, 0]
            result[rows] = adjust(images[rows], factors[name][rows])
        elif name in factors:
            result = torch.where(wanted.view(-1, 1, 1, 1), adjust(images, factors[name]), result)
    return result
