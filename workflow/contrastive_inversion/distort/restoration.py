"""Restoration in pixel space, the alternative to robust encoders: non-local means, Deep Decoder.

Both as Ravula et al. (2021, Appendix D.3) and their code have them.
"""

import math
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from contrastive_inversion.base import rng

NOISE_DECAY, NOISE_PERIOD = 0.7, 500  # of the noise on the Deep Decoder's input, from step 0 on
WORTH_KEEPING = 1.005  # the best network is replaced when the loss falls by more than 0.5 %
# B networks by layer: `0.weight` (B, out, in), `0.scale` and `0.shift` (B, k, 1), ...; the last has a weight alone
Decoders = dict[str, Tensor]
Decode = Callable[[Tensor, Decoders], Tensor]
Done = Callable[[], object]  # called after each part of the work


def non_local_means(
    noisy: Tensor, *, patch_size: int, patch_distance: int, h: float, done: Done = lambda: None
) -> Tensor:
    """scikit-image's fast non-local means on unclipped images: float32 (N, 3, S, S).

    The noise level is the mean of `estimate_sigma` over the channels of each image; h stays fixed. patch_size,
    patch_distance: in pixels; done: called after each image.
    """
    from skimage.restoration import denoise_nl_means, estimate_sigma

    restored = []
    for picture in noisy.permute(0, 2, 3, 1).numpy():  # (S, S, 3)
        sigma = float(np.mean(estimate_sigma(picture, channel_axis=-1)))
        restored.append(
            denoise_nl_means(picture, patch_size, patch_distance, h, fast_mode=True, sigma=sigma, channel_axis=-1)
        )
        done()
    return torch.from_numpy(np.stack(restored)).float().permute(0, 3, 1, 2).contiguous()


def deep_decoder(
    masked: Tensor, mask: Tensor, ids: Tensor, seed: int, *, channels: int, upsamplings: int, steps: int, lr: float,
    input_noise: float, compiled: bool = False, done: Done = lambda: None,
) -> Tensor:  # fmt: skip
    """Fit one untrained decoder to the known pixels of each image; all images at once, each exactly as if alone.

    Heckel & Hand (2019), their `decodernw`: blocks of 1x1 convolution, x2 bilinear upsampling (not in the
    last block), ReLU and batch normalisation, then a 1x1 convolution to three channels and a sigmoid. A 1x1
    convolution of B images by B networks is one batched matrix product; batch normalisation of one image is
    instance normalisation.

    masked: (B, 3, S, S); mask: (B, 1, S, S) of 0 and 1; ids: int64 (B,), the images' numbers, which fix their
    initial weights; all three lie on the device that computes. input_noise: deviation of the noise on the input, at
    first; compiled: the decoder's passes by torch's compiler; done: called after each step.
    Returns (B, 3, S, S), the output of each image's best network.
    """
    side = masked.shape[-1] // 2**upsamplings
    draws = rng.uniform(channels * side * side, seed, "deep decoder/input", ids)
    start = 0.1 * draws.to(masked.dtype).view(-1, channels, side * side)
    decoders = initial_decoders(ids, channels, upsamplings, seed, masked.dtype)
    inputs = noisy_inputs(start, input_noise, steps, ids, seed)
    best = fitted(torch.compile(decode) if compiled else decode, decoders, inputs, masked, mask, lr, done)
    with torch.no_grad():
        return decode(start, best)


def initial_decoders(ids: Tensor, channels: int, upsamplings: int, seed: int, dtype: torch.dtype) -> Decoders:
    """PyTorch's default initialisation of 1x1 convolutions, drawn for each image, and of batch normalisation."""
    bound, decoders = channels**-0.5, {}
    for layer in range(upsamplings + 2):
        out = channels if layer <= upsamplings else 3
        draws = rng.uniform(out * channels, seed, f"deep decoder/weights {layer}", ids)
        decoders[f"{layer}.weight"] = ((2 * draws - 1) * bound).to(dtype).view(-1, out, channels)
        if layer <= upsamplings:
            decoders[f"{layer}.scale"] = torch.ones(len(ids), channels, 1, dtype=dtype, device=ids.device)
            decoders[f"{layer}.shift"] = torch.zeros(len(ids), channels, 1, dtype=dtype, device=ids.device)
    return decoders


def noisy_inputs(start: Tensor, deviation: float, steps: int, ids: Tensor, seed: int) -> Iterator[Tensor]:
    """What the decoders see at each step: the start (B, k, s * s) and fading noise."""
    for step in range(steps):
        sigma = deviation * NOISE_DECAY ** (step // NOISE_PERIOD + 1)
        noise = rng.normal(start[0].numel(), seed, "deep decoder/noise", ids, step).to(start.dtype)
        yield start + sigma * noise.view_as(start)


def fitted(
    forward: Decode, decoders: Decoders, inputs: Iterable[Tensor], masked: Tensor, mask: Tensor, lr: float, done: Done
) -> Decoders:
    """The decoders that came closest to the known pixels, of all steps of Adam from the given ones, one per input."""
    optimizer = torch.optim.Adam([p.requires_grad_() for p in decoders.values()], lr=lr)
    best, smallest = decoders, masked.new_full((len(masked),), float("inf"))
    for x in inputs:
        misfit = F.mse_loss(forward(x, decoders) * mask, masked * mask, reduction="none").mean(dim=(1, 2, 3))  # (B,)
        better = smallest > WORTH_KEEPING * misfit.detach()
        best, smallest = chosen(better, decoders, best), torch.where(better, misfit.detach(), smallest)
        optimizer.zero_grad(set_to_none=True)
        misfit.sum().backward()  # a sum keeps the images' gradients apart
        optimizer.step()
        done()
    return best


def chosen(wanted: Tensor, ours: Decoders, others: Decoders) -> Decoders:
    """A copy of our decoders for the images that are wanted, bool (B,), and of the others for the rest."""
    return {name: torch.where(wanted.view(-1, 1, 1), ours[name], others[name]).detach() for name in ours}


def decode(x: Tensor, decoders: Decoders) -> Tensor:
    """The decoders' outputs. x: (B, k, side * side) -> (B, 3, S, S)."""
    side, last = math.isqrt(x.shape[2]), len(decoders) // 3
    for layer in range(last):
        x = torch.bmm(decoders[f"{layer}.weight"], x)  # (B, k, side * side)
        if layer < last - 1:
            up = upsampling(side, x)
            x = (up @ x.unflatten(2, (side, side)) @ up.T).flatten(2)
            side *= 2
        x = F.instance_norm(x.relu()) * decoders[f"{layer}.scale"] + decoders[f"{layer}.shift"]
    return torch.sigmoid(torch.bmm(decoders[f"{last}.weight"], x)).unflatten(2, (side, side))


def upsampling(side: int, like: Tensor) -> Tensor:
    """x2 bilinear upsampling (align_corners=False) of a line as a matrix (2 * side, side), of a tensor's kind."""
    unit = torch.eye(side, dtype=like.dtype, device=like.device)[:, None]  # (side, 1, side)
    return F.interpolate(unit, scale_factor=2, mode="linear", align_corners=False)[:, 0].T
