"""Forward operators on batches of images in [0, 1]: random mask, Gaussian noise, Gaussian blur, colour jitter, grey.

Order and scale follow the code of Ravula et al. (2021; main:utils.py): crop and flip, distort in [0, 1], normalise.
Each image draws from its own counter (see `rng`), so a distorted image is the same in any batch.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from contrastive_inversion.base import rng
from contrastive_inversion.distort import colour
from contrastive_inversion.distort.names import Blur, Grey, Jitter, Mask, Noise, Operation, Specification


class Draws(NamedTuple):
    """What one operation's random numbers are functions of, in the order of the arguments of `rng`."""

    seed: int
    stream: str
    ids: Tensor
    epoch: int


def corrupt(images: Tensor, spec: Specification, seed: int, purpose: str, ids: Tensor, epoch: int = 0) -> Tensor:
    """Distort images by a specification (see `names`).

    images: float32 (B, C, H, W) in [0, 1]; ids: int64 (B,), the images' own numbers; epoch: epoch or
    instantiation. Returns float32 (B, C, H, W); noise is not clipped.
    """
    for position, op in enumerate(spec):
        draws = Draws(seed, f"{purpose}/{position}/{op.op}", ids, epoch)
        images = where_it_applies(images, distorted(images, op, draws, parameters(images, op, draws)), op, draws)
    return images


def parameters(images: Tensor, op: Operation, draws: Draws) -> Tensor:
    """What an operation draws before it looks at an image.

    Of a mask the pixels that it keeps, bool (B, H * W); of noise and blur the levels, float64 (B,); of jitter its
    factors and order, (B, 8); of grey nothing.
    """
    match op:
        case Mask():
            return kept(between(op.fraction, draws), rng.words(images.shape[2:].numel(), *draws))
        case Noise() | Blur():
            return between(op.sigma, draws)
        case Jitter():
            return rng.uniform(8, *draws)
        case Grey():
            return torch.empty(0)


def distorted(images: Tensor, op: Operation, draws: Draws, drawn: Tensor) -> Tensor:
    """Images (B, C, H, W) after one operation with the parameters that were drawn for it."""
    match op:
        case Mask():
            return images * drawn.view(-1, 1, *images.shape[2:]).to(images.dtype)  # (B, H * W) -> (B, 1, H, W)
        case Noise():
            normals = rng.normal(images[0].numel(), *draws).view(images.shape)
            return images + drawn.float()[:, None, None, None] * normals
        case Blur():
            return blurred(images, op.kernel, drawn[:1] if op.sigma[0] == op.sigma[1] else drawn)
        case Jitter():
            return colour.jittered(images, op, drawn)
        case Grey():
            grey = images.mean(dim=1, keepdim=True) if op.mean else colour.luma(images)
            return grey.expand_as(images)


def where_it_applies(images: Tensor, changed: Tensor, op: Operation, draws: Draws) -> Tensor:
    """The changed images where an operation that has a probability applies, else the others."""
    if op.probability is None:
        return changed
    applies = rng.uniform(1, draws.seed, f"{draws.stream}/applies", draws.ids, draws.epoch)[:, 0] < op.probability
    return torch.where(applies[:, None, None, None], changed, images)


def between(bounds: list[float], draws: Draws) -> Tensor:
    """One parameter per image, uniform between two bounds: float64 (B,)."""
    low, high = bounds
    if low == high:
        return torch.full((len(draws.ids),), low, dtype=torch.float64, device=draws.ids.device)
    return low + (high - low) * rng.uniform(1, *draws._replace(stream=f"{draws.stream}/parameter"))[:, 0]


def kept(fractions: Tensor, words: Tensor) -> Tensor:
    """The pixels of each image that a mask leaves, bool (B, H * W): all but exactly floor(fraction * H * W).

    fractions: (B,) in [0, 1]; words: int64 (B, H * W) in [0, 2**32), the pixels with the smallest of them are hidden.
    """
    pixels = words.shape[1]
    # the tiny addend keeps 0.29 * 100, say, from falling below 29
    count = (fractions * pixels + 1e-9).long()
    # the pixel's index breaks ties, so that every rank is distinct and the count exact
    rank = (words << 20) | torch.arange(pixels, device=words.device)
    threshold = in_order(rank).gather(1, (count - 1).clamp(min=0)[:, None])
    return (rank > threshold) | (count == 0)[:, None]


def in_order(rows: Tensor) -> Tensor:
    """Each row sorted. NumPy's vectorised sort of integers is ten times torch's on a CPU."""
    if rows.device.type == "cpu":
        return torch.from_numpy(np.sort(rows.numpy(), axis=1))
    return rows.sort(dim=1).values


def blurred(images: Tensor, kernel: int, sigma: Tensor) -> Tensor:
    """Gaussian blur with reflect padding as two matrix products, equal to torchvision's `gaussian_blur`.

    kernel: its size in pixels, odd; sigma: (B,) in pixels, or (1,) for all images alike.
    """
    rows = blur_matrix(images.shape[2], kernel, sigma)  # (B or 1, H, H)
    columns = blur_matrix(images.shape[3], kernel, sigma)  # (B or 1, W, W)
    return rows[:, None] @ images @ columns[:, None].transpose(2, 3)


def blur_matrix(size: int, kernel: int, sigma: Tensor) -> Tensor:
    """The 1-D blur of a line of `size` pixels as matrices: float32 (len(sigma), size, size).

    Reflect padding is folded in: a weight that falls outside the line is added where its reflection lies.
    """
    offsets = torch.arange(kernel, device=sigma.device) - kernel // 2
    weights = torch.exp(-0.5 * (offsets[None] / sigma[:, None]) ** 2)
    weights = weights / weights.sum(dim=1, keepdim=True)  # (B, kernel)
    source = (torch.arange(size, device=sigma.device)[:, None] + offsets).abs()  # (size, kernel)
    source = torch.where(source >= size, 2 * (size - 1) - source, source)
    matrix = torch.zeros(len(sigma), size, size, dtype=torch.float64, device=sigma.device)
    matrix.scatter_add_(2, source.expand(len(sigma), -1, -1), weights[:, None].expand(-1, size, -1))
    return matrix.float()
