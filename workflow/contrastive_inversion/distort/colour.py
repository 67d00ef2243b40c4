"""Colour jitter with an order and factors of each image's own; torchvision draws one set for a whole batch.

The formulas are torchvision's for float images; grey weights are ITU-R 601.
"""

import torch

from contrastive_inversion.base import rng

GREY = (0.2989, 0.587, 0.114)
ADJUSTMENTS = ("brightness", "contrast", "saturation", "hue")


def grey(images):
    """Luma of RGB images: (B, 3, H, W) -> (B, 1, H, W)."""
    weights = torch.tensor(GREY, dtype=images.dtype, device=images.device)
    return (images * weights.view(1, 3, 1, 1)).sum(dim=1, keepdim=True)


def blended(images, others, factor):
    """`factor` of the images and the rest of the others, kept in [0, 1]; factor: (B, 1, 1, 1)."""
    return (factor * images + (1 - factor) * others).clamp(0, 1)


def brightness(images, factor):
    return (images * factor).clamp(0, 1)


def contrast(images, factor):
    return blended(images, grey(images).mean(dim=(2, 3), keepdim=True), factor)


def saturation(images, factor):
    return blended(images, grey(images), factor)


def hue(images, shift):
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
    places = torch.tensor([5.0, 3.0, 1.0], dtype=images.dtype, device=images.device).view(1, 3, 1, 1)
    k = (places + sixths + 6 * shift) % 6
    return value - chroma * torch.minimum(k, 4 - k).clamp(0, 1)


def colour_jitter(images, strengths, seed, stream, ids, epoch=0):
    """torchvision's ColorJitter, per image: the four adjustments in a random order with random factors.

    images: float (B, 3, H, W) in [0, 1]; strengths: {adjustment: s}, factors uniform in [1 - s, 1 + s], the hue's
    shift in [-s, s] turns; ids: int64 (B,). Returns the same shape, in [0, 1].
    """
    draws = rng.uniform(8, seed, stream, ids, epoch).to(images.device)  # factors, then sort keys for the order
    order = draws[:, 4:].argsort(dim=1)  # (B, 4)
    for turn in range(4):
        result = images.clone()
        for number, name in enumerate(ADJUSTMENTS):
            rows = torch.nonzero(order[:, turn] == number)[:, 0]
            strength = strengths.get(name, 0)
            if len(rows) and strength:
                spread = strength * (2 * draws[rows, number] - 1)
                factor = spread if name == "hue" else (1 + spread).clamp(min=0)
                adjusted = FUNCTIONS[name](images[rows], factor.to(images.dtype).view(-1, 1, 1, 1))
                result[rows] = adjusted
        images = result
    return images


FUNCTIONS = {"brightness": brightness, "contrast": contrast, "saturation": saturation, "hue": hue}
