"""Test images that are distorted and then restored in pixel space, the same ones that measurements distort."""

import functools
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from contrastive_inversion.base.job import Job, Progress
from contrastive_inversion.data import batches, store
from contrastive_inversion.distort.operators import corrupt
from contrastive_inversion.distort.restoration import deep_decoder, non_local_means
from contrastive_inversion.papers.inverse_problems.recipes import Restoration
from contrastive_inversion.papers.inverse_problems.settings import DeepDecoder, NonLocalMeans

INSTANTIATIONS = 10  # of the noise, where the settings name no number
TOGETHER = 20  # images whose decoders are fitted at once: it changes nothing but memory


def restore(recipe: Restoration, job: Job) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Distort and restore test images. Returns `images` float32 (instantiations, N, 3, S, S) and `labels` (N,)."""
    settings = recipe.settings
    data = store.split(job.input(recipe.test), recipe.split)
    chosen = data.spread(settings.images or len(data))
    clean = batches.test_batch(data, chosen, recipe.images)

    def distorted(batch: Tensor, instantiation: int) -> Tensor:
        return corrupt(batch, recipe.distortion, recipe.seed, f"evaluate/{data.name}", chosen, instantiation)

    if isinstance(settings, NonLocalMeans):
        count = settings.instantiations or INSTANTIATIONS
        progress = Progress(job, count, len(chosen))
        views = denoised((distorted(clean, i) for i in range(count)), settings, progress)
    else:
        mask = distorted(torch.ones_like(clean), 0)[:, :1]  # (N, 1, S, S), 0 where a pixel is missing
        views = inpainted(distorted(clean, 0), mask, chosen, settings, recipe.seed, job)[None]
    return {"images": views, "labels": data.labels[chosen]}, {"images_restored": len(chosen)}


def denoised(noisy: Iterable[Tensor], settings: NonLocalMeans, progress: Progress) -> Tensor:
    """Non-local means of noisy images (N, 3, S, S) of each instantiation: float32 (instantiations, N, 3, S, S)."""
    how = settings.model_dump(include={"patch_size", "patch_distance", "h"})
    views = [
        non_local_means(images, **how, done=functools.partial(progress.advance, number, 1))
        for number, images in enumerate(noisy)
    ]
    progress.close()
    return torch.stack(views)


def inpainted(masked: Tensor, mask: Tensor, ids: Tensor, settings: DeepDecoder, seed: int, job: Job) -> Tensor:
    """Deep Decoder inpainting of masked images: float32 (N, 3, S, S)."""
    if settings.mask == "stale":
        mask = stale(mask)
    groups = list(zip(masked.split(TOGETHER), mask.split(TOGETHER), ids.split(TOGETHER), strict=True))
    progress = Progress(job, settings.steps * len(groups), 1)
    how = settings.model_dump(include={"channels", "upsamplings", "steps", "lr", "input_noise"})
    restored = [deep_decoder(*group, seed, **how, done=lambda: progress.advance(progress.done, 1)) for group in groups]
    progress.close()
    return torch.cat(restored)


def stale(mask: Tensor) -> Tensor:
    """The first image's mask for every image, as the authors' script fitted them."""
    return mask[:1].expand_as(mask)
