"""Test images that are distorted and then restored in pixel space, the same ones that measurements distort.

Each job restores a block of them; a draw depends on the image alone, so blocks change nothing.
"""

import functools
from typing import Any

import torch
from torch import Tensor

from contrastive_inversion.base.errors import UserError
from contrastive_inversion.base.job import Job, Progress
from contrastive_inversion.data import batches, store
from contrastive_inversion.distort.operators import corrupt
from contrastive_inversion.distort.restoration import deep_decoder, non_local_means
from contrastive_inversion.learn import networks
from contrastive_inversion.papers.inverse_problems.recipes import Denoising, Inpainting, Restoration
from contrastive_inversion.papers.inverse_problems.settings import DeepDecoder

IMAGES_HELD = 10  # as large as a decoder's widest layer, in float32: what the fit of one image takes of memory
ROOM, SHARE = 4e9, 0.8  # bytes for fits on a CPU; of what is free of a GPU's memory, which others may share


def denoise(recipe: Denoising, job: Job) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Noisy images after non-local means: `images` float32 (instantiations, N, 3, S, S) and `labels` (N,)."""
    data, index = block_of(recipe, recipe.settings.images, job)
    clean = batches.test_batch(data, index, recipe.images)
    how = recipe.settings.model_dump(include={"patch_size", "patch_distance", "h"})
    views = torch.empty(recipe.settings.draws, *clean.shape)
    progress = Progress(job, len(views), len(index))
    for number, view in enumerate(views):
        noisy = distorted(clean, index, data, recipe, number)
        view[:] = non_local_means(noisy, **how, done=functools.partial(progress.advance, number, 1))
    progress.close()
    return {"images": views, "labels": data.labels[index]}, {"images_restored": len(index)}


def inpaint(recipe: Inpainting, job: Job) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Masked images after Deep Decoder fits: `images` float32 (1, N, 3, S, S) and `labels` (N,)."""
    data, index = block_of(recipe, recipe.settings.images, job)
    clean = batches.test_batch(data, index, recipe.images)
    mask = MASKS[recipe.settings.mask](clean, index, data, recipe)
    views = inpainted(distorted(clean, index, data, recipe), mask, index, recipe.settings, recipe.seed, job)
    return {"images": views[None], "labels": data.labels[index]}, {"images_restored": len(index)}


def own_mask(clean: Tensor, index: Tensor, data: store.Split, recipe: Inpainting) -> Tensor:
    """Which pixels a fit knows: (N, 1, S, S), 0 where one is missing."""
    return distorted(torch.ones_like(clean), index, data, recipe)[:, :1]


def stale_mask(clean: Tensor, index: Tensor, data: store.Split, recipe: Inpainting) -> Tensor:
    """`own_mask` of the first test image for every image, which the authors' script never replaced."""
    return own_mask(clean, torch.zeros_like(index), data, recipe)


MASKS = {"own": own_mask, "stale": stale_mask}


def block_of(recipe: Restoration, count: int | None, job: Job) -> tuple[store.Split, Tensor]:
    """The test images, and the positions in them, int64 (N,), of a block of the `count` that are restored."""
    data = store.split(job.input(recipe.test), recipe.split)
    index = data.spread(count or len(data)).tensor_split(recipe.blocks)[recipe.block]
    if not len(index):
        raise UserError(f"{job.product}: an empty block; set `blocks` of `restore` to at most {len(data)}")
    return data, index


def distorted(images: Tensor, ids: Tensor, data: store.Split, recipe: Restoration, instantiation: int = 0) -> Tensor:
    """Images (N, 3, S, S) as measurements distort those of some numbers, int64 (N,)."""
    return corrupt(images, recipe.distortion, recipe.seed, f"evaluate/{data.name}", ids, instantiation)


def inpainted(masked: Tensor, mask: Tensor, ids: Tensor, settings: DeepDecoder, seed: int, job: Job) -> Tensor:
    """Deep Decoder inpainting of masked images on the job's device: float32 (N, 3, S, S)."""
    together = at_once(settings.channels, masked.shape[-1], job.device)
    groups = list(zip(masked.split(together), mask.split(together), ids.split(together), strict=True))
    progress = Progress(job, settings.steps * len(groups), 1)
    how = settings.model_dump(include={"channels", "upsamplings", "steps", "lr", "input_noise"})
    how |= {"seed": seed, "compiled": settings.compile, "done": lambda: progress.advance(progress.done, 1)}
    with networks.ROUNDINGS[settings.precision]():
        restored = [deep_decoder(*(each.to(job.device) for each in group), **how).cpu() for group in groups]
    progress.close()
    return torch.cat(restored)


def at_once(channels: int, size: int, device: str) -> int:
    """How many images' decoders are fitted together: as many as memory holds.

    Each fit is its own. On a GPU their number may choose other kernels, which move last bits, as another card does.
    """
    room = ROOM if device == "cpu" else SHARE * torch.cuda.mem_get_info(device)[0]
    return max(1, int(room / (4 * IMAGES_HELD * channels * size**2)))
