"""Distortions as data loaders drew them whose workers shared NumPy's seed: masks and levels of noise repeat.

The code of Ravula et al. (2021) draws these two from NumPy's global generator, which every worker begins alike in every
epoch; all else comes from PyTorch's, which does not repeat (docs/PROTOCOL.md).
"""

import torch
from torch import Tensor

from contrastive_inversion.distort.names import Mask, Noise, Specification
from contrastive_inversion.distort.operators import Draws, distorted, parameters, where_it_applies


def corrupt(
    images: Tensor, spec: Specification, seed: int, purpose: str, ids: Tensor, epoch: int, place: Tensor
) -> Tensor:
    """`operators.corrupt`, but masks and levels of noise depend on an image's place alone, in whatever epoch.

    place: int64 (B,), where in its worker's sequence each image stood (see `places`).
    """
    for position, op in enumerate(spec):
        draws = Draws(seed, f"{purpose}/{position}/{op.op}", ids, epoch)
        drawn_by = draws._replace(ids=place, epoch=0) if isinstance(op, Mask | Noise) else draws
        images = where_it_applies(images, distorted(images, op, draws, parameters(images, op, drawn_by)), op, draws)
    return images


def places(count: int, number: int, workers: int, batch: int, device: torch.device) -> Tensor:
    """Where the images of a step stood in their workers' sequences: int64 (count,).

    number: the step's, from 0 in each epoch; batch: images of one worker's batch. Each of the workers drew the same
    numbers for its k-th batch.
    """
    return torch.arange(count, device=device) % batch + batch * (number // workers)
