"""Restoration in pixel space, the alternative to robust encoders (Appendix D.3): non-local means, Deep Decoder."""

import numpy as np
import torch
import torch.nn.functional as F

from contrastive_inversion.base import rng
from contrastive_inversion.base.job import Progress
from contrastive_inversion.data import store
from contrastive_inversion.distort.operators import corrupt

NOISE_DECAY, NOISE_PERIOD = 0.7, 500  # of the noise on the Deep Decoder's input, from step 0 on
WORTH_KEEPING = 1.005  # the best network is replaced when the loss falls by more than 0.5 %


def restore(recipe, job, load):
    """Distort and restore test images. Returns `images` float32 (instantiations, N, 3, S, S) and `labels` (N,).

    The images are distorted just as the measurements distort them. load(product) gives the path and the recipe's
    hash of an input product.
    """
    settings = recipe["settings"]
    data = store.split(*load(recipe["test"]), recipe["split"])
    chosen = data.spread(settings.get("images", len(data)))
    clean = store.test_batch(data, chosen, recipe["images"])

    def distorted(batch, instantiation):
        return corrupt(batch, recipe["distortion"], recipe["seed"], f"evaluate/{data.name}", chosen, instantiation)

    if recipe["method"] == "nlm":
        count = settings.get("instantiations", 10)
        progress = Progress(job, count, len(chosen))
        views = torch.stack([non_local_means(distorted(clean, i), settings, progress, i) for i in range(count)])
        progress.close()
    else:
        mask = distorted(torch.ones_like(clean), 0)[:, :1]  # (N, 1, S, S), 0 where a pixel is missing
        views = inpainted(distorted(clean, 0), mask, chosen, recipe, job)[None]
    return {"images": views, "labels": data.labels[chosen]}, {"images_restored": len(chosen)}


def non_local_means(noisy, settings, progress, instantiation):
    """scikit-image's fast non-local means on unclipped images, as the authors ran it: float32 (N, 3, S, S).

    The noise level is the mean of `estimate_sigma` over the channels of each image; h stays fixed.
    """
    from skimage.restoration import denoise_nl_means, estimate_sigma

    restored = []
    for picture in noisy.permute(0, 2, 3, 1).numpy():  # (S, S, 3)
        sigma = float(np.mean(estimate_sigma(picture, channel_axis=-1)))
        restored.append(
            denoise_nl_means(
                picture,
                settings["patch_size"],
                settings["patch_distance"],
                settings["h"],
                fast_mode=True,
                sigma=sigma,
                channel_axis=-1,
            )  # fmt: skip
        )
        progress.advance(instantiation, 1)
    return torch.from_numpy(np.stack(restored)).float().permute(0, 3, 1, 2).contiguous()


def inpainted(masked, mask, ids, recipe, job):
    """Deep Decoder inpainting of masked images: float32 (N, 3, S, S).

    `mask: stale` fits every image with the first image's mask, as the authors' script did.
    """
    settings = recipe["settings"]
    if settings.get("mask", "own") == "stale":
        mask = mask[:1].expand_as(mask)
    groups = list(zip(masked.split(20), mask.split(20), ids.split(20), strict=True))
    progress = Progress(job, settings["steps"] * len(groups), 1)
    restored = torch.cat([deep_decoder(x, m, i, settings, recipe["seed"], progress) for x, m, i in groups])
    progress.close()
    return restored


def deep_decoder(masked, mask, ids, settings, seed, progress=None, dtype=torch.float32):
    """Fit one untrained decoder to the known pixels of each image; all images at once, each exactly as if alone.

    Heckel & Hand (2019), the authors' `decodernw`: blocks of 1x1 convolution, x2 bilinear upsampling (not in the
    last block), ReLU and batch normalisation, then a 1x1 convolution to three channels and a sigmoid. A 1x1
    convolution of B images by B networks is one batched matrix product; batch normalisation of one image is
    instance normalisation.

    masked: (B, 3, S, S); mask: (B, 1, S, S) of 0 and 1; ids: int64 (B,), the images' numbers, which fix their
    initial weights. Returns float32 (B, 3, S, S), the output of each image's best network.
    """
    k, ups = settings["channels"], settings["upsamplings"]
    side = masked.shape[-1] // 2**ups
    weights, scales, shifts = initial_weights(ids, k, ups, seed, dtype)
    start = 0.1 * rng.uniform(k * side * side, seed, "deep decoder/input", ids).to(dtype).view(-1, k, side * side)
    parameters = [p.requires_grad_() for p in (*weights, *scales, *shifts)]
    optimizer = torch.optim.Adam(parameters, lr=settings["lr"])
    masked, mask = masked.to(dtype), mask.to(dtype)
    best_loss = torch.full((len(ids),), float("inf"), dtype=dtype)
    best = [p.detach().clone() for p in parameters]
    for step in range(settings["steps"]):
        sigma = settings["input_noise"] * NOISE_DECAY ** (step // NOISE_PERIOD + 1)
        noise = rng.normal(k * side * side, seed, "deep decoder/noise", ids, step).to(dtype).view_as(start)
        output = decode(start + sigma * noise, weights, scales, shifts, side)
        losses = F.mse_loss(output * mask, masked * mask, reduction="none").mean(dim=(1, 2, 3))  # (B,)
        better = best_loss > WORTH_KEEPING * losses.detach()
        best_loss = torch.where(better, losses.detach(), best_loss)
        best = [torch.where(better.view(-1, 1, 1), p.detach(), kept) for p, kept in zip(parameters, best, strict=True)]
        optimizer.zero_grad(set_to_none=True)
        losses.sum().backward()  # a sum keeps the images' gradients apart
        optimizer.step()
        if progress:
            progress.advance(step, 1)
    n = ups + 1
    with torch.no_grad():
        return decode(start, best[: n + 1], best[n + 1 : 2 * n + 1], best[2 * n + 1 :], side).float()


def initial_weights(ids, channels, upsamplings, seed, dtype):
    """PyTorch's default initialisation of 1x1 convolutions, drawn for each image: lists of (B, out, in), (B, k, 1)."""
    bound = channels**-0.5
    weights = []
    for layer in range(upsamplings + 2):
        out = channels if layer <= upsamplings else 3
        draws = rng.uniform(out * channels, seed, f"deep decoder/weights {layer}", ids)
        weights.append(((2 * draws - 1) * bound).to(dtype).view(-1, out, channels))
    scales = [torch.ones(len(ids), channels, 1, dtype=dtype) for _ in range(upsamplings + 1)]
    shifts = [torch.zeros(len(ids), channels, 1, dtype=dtype) for _ in range(upsamplings + 1)]
    return weights, scales, shifts


def decode(x, weights, scales, shifts, side):
    """The decoders' outputs. x: (B, k, side * side) -> (B, 3, S, S)."""
    last = len(scales) - 1
    for layer, (weight, scale, shift) in enumerate(zip(weights[:-1], scales, shifts, strict=True)):
        x = torch.bmm(weight, x)  # (B, k, side * side)
        if layer < last:
            up = upsampling(side, x.dtype)
            x = (up @ x.unflatten(2, (side, side)) @ up.T).flatten(2)
            side *= 2
        x = F.instance_norm(x.relu()) * scale + shift
    return torch.sigmoid(torch.bmm(weights[-1], x)).unflatten(2, (side, side))


def upsampling(side, dtype):
    """x2 bilinear upsampling (align_corners=False) of a line as a matrix (2 * side, side)."""
    unit = torch.eye(side, dtype=dtype)[:, None]  # (side, 1, side)
    return F.interpolate(unit, scale_factor=2, mode="linear", align_corners=False)[:, 0].T
