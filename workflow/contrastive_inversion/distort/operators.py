"""The paper's forward operators on batches of images in [0, 1]: random mask, Gaussian noise, Gaussian blur.

Order and scale follow the authors' code (main:utils.py): crop and flip, then distort in [0, 1], then normalise.
Each image draws from its own counter (see `rng`), so a distorted image is the same in any batch.
"""

import numpy as np
import torch

from contrastive_inversion.base import rng
from contrastive_inversion.distort.colour import colour_jitter, grey


def corrupt(images, spec, seed, purpose, ids, epoch=0, repeated=None):
    """Distort images by a specification (see `distortions`).

    images: float32 (B, C, H, W) in [0, 1]; ids: int64 (B,), the images' own numbers; epoch: epoch or
    instantiation. repeated: (ids, epoch) for what the authors drew from NumPy's global generator, which repeated
    itself (see docs/PROTOCOL.md). Returns float32 (B, C, H, W); noise is not clipped, as in the paper.
    """
    for position, op in enumerate(spec):
        stream = f"{purpose}/{position}/{op['op']}"
        distorted = OPERATIONS[op["op"]](images, op, seed, stream, (ids, epoch), repeated or (ids, epoch))
        if "probability" in op:
            applies = rng.uniform(1, seed, f"{stream}/applies", ids, epoch)[:, 0] < op["probability"]
            distorted = torch.where(applies[:, None, None, None], distorted, images)
        images = distorted
    return images


def drawn(bounds, seed, stream, ids, epoch):
    """One parameter per image, uniform between the two bounds: float64 (B,)."""
    low, high = bounds
    if low == high:
        return torch.full((len(ids),), low, dtype=torch.float64, device=ids.device)
    return low + (high - low) * rng.uniform(1, seed, f"{stream}/parameter", ids, epoch)[:, 0]


def mask(images, op, seed, stream, drawn_by, numpy_drawn_by):
    """Set exactly floor(fraction * H * W) pixels of each image to 0, the same ones in all channels."""
    pixels = images.shape[2] * images.shape[3]
    fraction = drawn(op["fraction"], seed, stream, *numpy_drawn_by)
    # the tiny addend keeps 0.29 * 100, say, from falling below 29
    count = (fraction * pixels + 1e-9).floor().long()
    # the pixel's index breaks ties, so that every rank is distinct and the count exact
    rank = (rng.words(pixels, seed, stream, *numpy_drawn_by) << 20) | torch.arange(pixels, device=images.device)
    threshold = in_order(rank).gather(1, (count - 1).clamp(min=0)[:, None])
    keep = (rank > threshold) | (count == 0)[:, None]
    return images * keep.view(-1, 1, *images.shape[2:]).to(images.dtype)  # (B, H*W) -> (B, 1, H, W)


def in_order(rows):
    """Each row sorted. NumPy's vectorised sort of integers is ten times torch's on a CPU."""
    if rows.device.type == "cpu":
        return torch.from_numpy(np.sort(rows.numpy(), axis=1))
    return rows.sort(dim=1).values


def noise(images, op, seed, stream, drawn_by, numpy_drawn_by):
    """Add sigma * N(0, 1), independent for each pixel and channel, sigma on the [0, 1] scale."""
    sigma = drawn(op["sigma"], seed, stream, *numpy_drawn_by).float()
    normals = rng.normal(images[0].numel(), seed, stream, *drawn_by).view(images.shape)
    return images + sigma[:, None, None, None] * normals


def blur(images, op, seed, stream, drawn_by, numpy_drawn_by):
    """Gaussian blur with reflect padding as two matrix products, equal to torchvision's `gaussian_blur`."""
    sigma = drawn(op["sigma"], seed, stream, *drawn_by)
    if op["sigma"][0] == op["sigma"][1]:
        sigma = sigma[:1]
    rows = blur_matrix(images.shape[2], op["kernel"], sigma)  # (B or 1, H, H)
    columns = blur_matrix(images.shape[3], op["kernel"], sigma)  # (B or 1, W, W)
    return rows[:, None] @ images @ columns[:, None].transpose(2, 3)


def blur_matrix(size, kernel, sigma):
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


def jittered(images, op, seed, stream, drawn_by, numpy_drawn_by):
    """Colour jitter, of which only the authors' probe of Table 14 has any."""
    return colour_jitter(images, op, seed, stream, *drawn_by)


def greyed(images, op, seed, stream, drawn_by, numpy_drawn_by):
    """All channels the luma, or their mean where `mean` says so."""
    luma = images.mean(dim=1, keepdim=True) if op.get("mean") else grey(images)
    return luma.expand_as(images)


OPERATIONS = {"mask": mask, "noise": noise, "blur": blur, "jitter": jittered, "grey": greyed}
