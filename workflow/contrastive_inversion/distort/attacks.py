"""Minimal adversarial perturbations: the proximal log-barrier attack (PLB) in four norms, and PGD in L2.

Both attacks work on batches, keep every image in the box [0, 1], never mix images of a batch, and say for each image
whether they succeeded. `model` is any callable from images (B, C, H, W) in [0, 1] to logits (B, K); normalisation
belongs inside of it.

PLB (Pooladian et al., "A principled approach for generating adversarial images under non-smooth dissimilarity
metrics", AISTATS 2020) minimises a norm m(u - x) subject to f(u) != y. From a misclassified start it takes a gradient
step on the barrier -a log(max_i p_i - p_y), then the proximal step of m, then backs up until it is misclassified.
"""

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from contrastive_inversion.base import rng
from contrastive_inversion.distort.norms import PROX, broadcast, distance

Model = Callable[[Tensor], Tensor]
GROWTH = 1.01  # of the starting noise from try to try
TRIES = 1500  # of a start: its noise then has a deviation of 30,000 times the first
BACKTRACKS = 10  # 0.05 ** 10 is below float32's resolution
# How strongly the proximal step pulls to the original. 1 is the authors' for L2, and there a pure contraction within
# the unit ball; in L1 and L0 a 1 would set every entry of [0, 1] to the original's.
STRENGTH = {"l0": 0.005, "l1": 0.01, "l2": 1.0, "linf": 0.1}


@dataclass(frozen=True)
class Adversarial:
    """What an attack found, for each of N images.

    images: (N, C, H, W), the original where it failed; distance: (N,), 0 for clean errors, inf for failures;
    clean_error: bool (N,), misclassified from the start; success: bool (N,), misclassified by the attack;
    gave_up: bool (N,), some step of PLB found nothing misclassified and was undone.
    """

    images: Tensor
    distance: Tensor
    clean_error: Tensor
    success: Tensor
    gave_up: Tensor


def check(model: Model, images: Tensor, labels: Tensor) -> None:
    """Raise ValueError for a model in training mode, images outside of [0, 1], or labels that do not fit them."""
    if isinstance(model, torch.nn.Module) and model.training:
        raise ValueError("the model is in training mode: its batch normalisation would mix images; call model.eval()")
    if images.ndim != 4 or not images.is_floating_point():
        raise ValueError(f"images must be float (N, C, H, W), not {images.dtype} {tuple(images.shape)}")
    if not (images.min() >= 0 and images.max() <= 1):
        raise ValueError(f"images must lie in [0, 1]; these go from {images.min():g} to {images.max():g}")
    if labels.shape != images.shape[:1] or labels.dtype != torch.int64:
        raise ValueError(f"labels must be int64 of shape ({len(images)},), not {labels.dtype} {tuple(labels.shape)}")


@torch.no_grad()
def misclassified(model: Model, images: Tensor, labels: Tensor) -> Tensor:
    """Whether a model takes each image for another class than its label: bool (B,)."""
    return model(images).argmax(dim=1) != labels


# --- proximal log-barrier -------------------------------------------------------------------------------------------


def proximal_log_barrier(
    model: Model, images: Tensor, labels: Tensor, norm: str = "l2", *, outer: int = 30, inner: int = 30,
    step: float = 0.1, barrier: float = 0.1, decay: float = 0.75, back: float = 0.05, strength: float | None = None,
    start_noise: float = 0.01, seed: int = 0, ids: Tensor | None = None,
) -> Adversarial:  # fmt: skip
    """The nearest misclassified image that PLB finds for each image, in the norm l0, l1, l2 or linf.

    outer, inner: rounds and steps in each; step: of the gradient; barrier, decay: its weight is barrier * decay**k in
    round k; back: share of a step that backing up keeps; strength: of the proximal step (see STRENGTH); start_noise:
    deviation of the first start; ids: int64 (N,), the images' numbers, which fix their starts in any batch.
    Returns an Adversarial. Raises ValueError for input that `check` refuses, and for another norm.
    """
    check(model, images, labels)
    if norm not in PROX:
        raise ValueError(f"norm '{norm}' is not one of {', '.join(PROX)}")
    ids = torch.arange(len(images), device=images.device) if ids is None else ids
    clean_error = misclassified(model, images, labels)
    u, started = starts(model, images, labels, start_noise, seed, ids, ~clean_error)
    weights = [barrier * decay**k for k in range(outer) for _ in range(inner)] if started.any() else []
    pull = STRENGTH[norm] if strength is None else strength
    found = nearest(model, u[started], images[started], labels[started], norm, weights, step, pull, back)
    result = Adversarial(
        images.clone(), torch.where(clean_error, 0, images.new_tensor(torch.inf)), clean_error, started,
        gave_up=torch.zeros_like(started),
    )  # fmt: skip
    result.images[started], result.distance[started], result.gave_up[started] = found
    return result


def starts(
    model: Model, images: Tensor, labels: Tensor, noise: float, seed: int, ids: Tensor, wanted: Tensor
) -> tuple[Tensor, Tensor]:
    """Noisy images that are misclassified: (N, C, H, W), and for which images one was found: bool (N,)."""
    u, found = images.clone(), torch.zeros_like(wanted)
    rows = torch.nonzero(wanted)[:, 0]
    for attempt in range(TRIES):
        if not len(rows):
            break
        draws = rng.normal(images[0].numel(), seed, "plb/start", ids[rows], attempt).view_as(images[rows])
        tried = (images[rows] + noise * GROWTH**attempt * draws.to(images.dtype)).clamp(0, 1)
        hit = misclassified(model, tried, labels[rows])
        u[rows[hit]], found[rows[hit]] = tried[hit], True
        rows = rows[~hit]
    return u, found


def nearest(
    model: Model, u: Tensor, x: Tensor, y: Tensor, norm: str, weights: Iterable[float], step: float, pull: float,
    back: float,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """PLB from misclassified u towards x, (B, C, H, W) both, with one step for each weight of the barrier.

    Returns the nearest misclassified images on the way, their distances (B,), and which ever gave up: bool (B,).
    """
    best, best_distance = u, distance(u - x, norm)
    gave_up = torch.zeros_like(best_distance, dtype=torch.bool)
    for weight in weights:
        ahead = u - step * barrier_gradient(model, u, y, weight)
        pulled = (x + PROX[norm](ahead - x, pull)).clamp(0, 1)
        u, stuck = backed_up(model, pulled, u, y, back)
        found = distance(u - x, norm)
        better = found <= best_distance
        best = torch.where(broadcast(better, x), u, best)
        best_distance = torch.where(better, found, best_distance)
        gave_up |= stuck
    return best, best_distance, gave_up


def backed_up(model: Model, tried: Tensor, u: Tensor, y: Tensor, back: float) -> tuple[Tensor, Tensor]:
    """What was tried, moved towards misclassified u until it is misclassified too; u itself where it never is.

    Returns images (B, C, H, W), and which are back at u: bool (B,).
    """
    new, at_u = tried.clone(), torch.zeros_like(y, dtype=torch.bool)
    right = torch.nonzero(~misclassified(model, new, y))[:, 0]
    for _ in range(BACKTRACKS):
        if not len(right):
            break
        new[right] = back * new[right] + (1 - back) * u[right]
        right = right[~misclassified(model, new[right], y[right])]
    new[right], at_u[right] = u[right], True
    return new, at_u


def barrier_gradient(model: Model, u: Tensor, y: Tensor, weight: float) -> Tensor:
    """The gradient of -weight * log(max_i p_i - p_y) in u, summed over the batch."""
    with torch.enable_grad():
        u = u.detach().requires_grad_()
        p = model(u).softmax(dim=1)
        gap = p.amax(dim=1) - p.gather(1, y[:, None])[:, 0]
        # where two classes tie the gap is 0, and the logarithm has no gradient to speak of
        loss = -weight * gap.clamp(min=1e-12).log().sum()
        return torch.autograd.grad(loss, u)[0]


# --- projected gradient descent -------------------------------------------------------------------------------------


def pgd(
    model: Model, images: Tensor, labels: Tensor, *, epsilon: float = 0.5, steps: int = 20, step: float = 0.05,
    loss: str = "ce",
) -> Adversarial:  # fmt: skip
    """L2 PGD within epsilon without a random start; an image that is misclassified moves no further.

    loss: `ce`, the cross-entropy, or `margin`, the largest wrong logit minus the right one, which does not saturate.
    Returns an Adversarial; distances of successes lie in (0, epsilon]. Raises ValueError for input that `check`
    refuses, and for an epsilon that is not between 0 and the box's diagonal.
    """
    check(model, images, labels)
    check_radius(epsilon, images)
    clean_error = misclassified(model, images, labels)
    delta, right = torch.zeros_like(images), ~clean_error
    for _ in range(steps):
        if not right.any():
            break
        delta[right] += stride(model, (images + delta)[right], labels[right], loss, step)
        delta = projected(delta, images, epsilon)
        right = ~misclassified(model, images + delta, labels)
    return moved(images, delta, right, clean_error)


def check_radius(epsilon: float, images: Tensor) -> None:
    """Raise ValueError for a radius of PGD that is not between 0 and the diagonal of the images' box."""
    diagonal = images[0].numel() ** 0.5
    if not 0 < epsilon <= diagonal:
        raise ValueError(
            f"epsilon {epsilon:g} lies outside of the box [0, 1]: it must be above 0, at most {diagonal:g}"
        )


def stride(model: Model, images: Tensor, labels: Tensor, loss: str, step: float) -> Tensor:
    """A stride of L2 length `step` to where each image's loss rises: (B, C, H, W)."""
    with torch.enable_grad():
        images = images.detach().requires_grad_()
        gradient = torch.autograd.grad(LOSSES[loss](model(images), labels), images)[0]
    return step * gradient / broadcast(distance(gradient, "l2").clamp(min=1e-12), gradient)


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """The largest wrong logit minus the right one, summed over the batch."""
    right = logits.gather(1, labels[:, None])[:, 0]
    others = logits.scatter(1, labels[:, None], float("-inf")).amax(dim=1)
    return (others - right).sum()


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "ce": functools.partial(F.cross_entropy, reduction="sum"),
    "margin": margin,
}


def projected(delta: Tensor, images: Tensor, epsilon: float) -> Tensor:
    """The steps from images cut at the walls of the box, then to an L2 length of at most epsilon."""
    return ((images + delta).clamp(0, 1) - images).renorm(2, 0, epsilon)


def moved(images: Tensor, delta: Tensor, right: Tensor, clean_error: Tensor) -> Adversarial:
    """The outcome for images that were moved by delta, and then were right: bool (N,), or not."""
    length = distance(delta, "l2")
    broken = ~right & (length > 0)
    found = torch.where(broken, length, torch.where(clean_error, 0.0, float("inf")))
    return Adversarial(
        torch.where(broadcast(broken, images), images + delta, images), found, clean_error, broken & ~clean_error,
        gave_up=torch.zeros_like(broken),
    )  # fmt: skip
