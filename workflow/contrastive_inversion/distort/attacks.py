"""Minimal adversarial perturbations: the proximal log-barrier attack (PLB) in four norms, and PGD in L2 and L-infinity.

Both attacks work on batches, keep every image in the box [0, 1], never mix images of a batch, and say for each image
whether they succeeded.

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
from contrastive_inversion.distort.attacked_models import Model, check, gradient, margin, misclassified
from contrastive_inversion.distort.norms import PROX, broadcast, distance
from contrastive_inversion.distort.polishing import polished

GROWTH = 1.01  # of the starting noise from try to try
TRIES = 1500  # of a start: its noise then has a deviation of 3 million times the first
BACKTRACKS = 10  # 0.05 ** 10 is below float32's resolution
# How strongly the proximal step pulls to the original: the authors' 1, in L2 a pure contraction within the unit ball.
# In L1 a 1 would set every entry of [0, 1] to the original's.
STRENGTH = {"l0": 1.0, "l1": 0.01, "l2": 1.0, "linf": 1.0}
# Rounds of PLB that are worth their time where walks follow; the report ran 30 of them and no walks.
ROUNDS = {"l0": 2, "l1": 15, "l2": 2, "linf": 2}
WALKS = 40  # after PLB, which alone lies farther than the best attacks (benchmarks/README.md)


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


# --- proximal log-barrier -------------------------------------------------------------------------------------------


def proximal_log_barrier(
    model: Model, images: Tensor, labels: Tensor, norm: str = "l2", *, outer: int | None = None, inner: int = 30,
    step: float = 0.1, barrier: float = 0.1, decay: float = 0.75, back: float = 0.05, strength: float | None = None,
    start_noise: float = 0.01, seed: int = 0, ids: Tensor | None = None, polish: int = WALKS,
) -> Adversarial:  # fmt: skip
    """The nearest misclassified image that PLB finds for each image, in the norm l0, l1, l2 or linf.

    outer, inner: rounds (see ROUNDS) and steps in each; step: of the gradient; barrier, decay: its weight is
    barrier * decay**k in round k; back: share of a step that backing up keeps; strength: of the proximal step (see
    STRENGTH); start_noise: deviation of the first start; ids: int64 (N,), the images' numbers, which fix their starts
    in any batch; polish: walks to the boundary afterwards (see `polishing`). The published one is outer=30, polish=0.
    Other libraries' attacks, some quicker, are compared with it in benchmarks/README.md.
    Returns an Adversarial. Raises ValueError for another norm, numbers below 0, ids of another shape, and for what
    `check`, `misclassified` and `gradient` refuse.
    """
    check(model, images, labels)
    if norm not in PROX:
        raise ValueError(f"norm '{norm}' is not one of {', '.join(PROX)}")
    check_counts(outer=outer or 0, inner=inner, polish=polish)
    ids = torch.arange(len(images), device=images.device) if ids is None else ids
    check_ids(ids, images)
    clean_error = misclassified(model, images, labels)
    u, started = starts(model, images, labels, start_noise, seed, ids, ~clean_error)
    rounds = ROUNDS[norm] if outer is None else outer
    weights = [barrier * decay**k for k in range(rounds) for _ in range(inner)] if started.any() else []
    pull = STRENGTH[norm] if strength is None else strength
    x, y = images[started], labels[started]
    best, gave_up = nearest(model, u[started], x, y, norm, weights, step, pull, back)
    best = polished(model, best, x, y, norm, polish if started.any() else 0)
    result = Adversarial(
        images.clone(), torch.where(clean_error, 0, images.new_tensor(torch.inf)), clean_error, started,
        gave_up=torch.zeros_like(started),
    )  # fmt: skip
    result.images[started], result.distance[started] = best, distance(best - x, norm)
    result.gave_up[started] = gave_up
    return result


def check_counts(**counts: int) -> None:
    """Raise ValueError for numbers of rounds, steps or walks below 0."""
    for name, count in counts.items():
        if count < 0:
            raise ValueError(f"{name} must be 0 or more, not {count}")


def check_ids(ids: Tensor, images: Tensor) -> None:
    """Raise ValueError unless ids (N,) go with images (N, C, H, W)."""
    if ids.shape != images.shape[:1] or ids.dtype != torch.int64:
        raise ValueError(f"ids must be int64 of shape ({len(images)},), not {ids.dtype} {tuple(ids.shape)}")


def starts(
    model: Model, images: Tensor, labels: Tensor, noise: float, seed: int, ids: Tensor, wanted: Tensor
) -> tuple[Tensor, Tensor]:
    """Noisy images that are misclassified: (N, C, H, W), and for which images one was found: bool (N,)."""
    u, hits = images.clone(), torch.zeros_like(wanted)
    rows = torch.nonzero(wanted)[:, 0]
    for attempt in range(TRIES):
        if not len(rows):
            break
        draws = rng.normal(images[0].numel(), seed, "plb/start", ids[rows], attempt).view_as(images[rows])
        tried = (images[rows] + noise * GROWTH**attempt * draws.to(images.dtype)).clamp(0, 1)
        hit = misclassified(model, tried, labels[rows])
        u[rows[hit]], hits[rows[hit]] = tried[hit], True
        rows = rows[~hit]
    return u, hits


def nearest(
    model: Model, u: Tensor, x: Tensor, y: Tensor, norm: str, weights: Iterable[float], step: float, pull: float,
    back: float,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """PLB from misclassified u towards x, (B, C, H, W) both, with one step for each weight of the barrier.

    Returns the nearest misclassified images on the way, and which ever gave up: bool (B,).
    """
    best, best_distance = u, distance(u - x, norm)
    gave_up = torch.zeros_like(best_distance, dtype=torch.bool)
    for weight in weights:
        ahead = u - step * barrier_gradient(model, u, y, weight)
        pulled = (x + PROX[norm](ahead - x, pull)).clamp(0, 1)
        u, stuck = backed_up(model, pulled, u, y, back)
        now = distance(u - x, norm)
        better = now <= best_distance
        best = torch.where(broadcast(better, x), u, best)
        best_distance = torch.where(better, now, best_distance)
        gave_up |= stuck
    return best, gave_up


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

    def barrier(u: Tensor) -> Tensor:
        p = model(u).softmax(dim=1)
        gap = p.amax(dim=1) - p.gather(1, y[:, None])[:, 0]
        # where two classes tie the gap is 0, and the logarithm has no gradient to speak of
        return -weight * gap.clamp(min=1e-12).log().sum()

    return gradient(barrier, u)


# --- projected gradient descent -------------------------------------------------------------------------------------


def pgd(
    model: Model, images: Tensor, labels: Tensor, *, norm: str = "l2", epsilon: float = 0.5, steps: int = 20,
    step: float = 0.05, loss: str = "ce", start: Tensor | None = None,
) -> Adversarial:  # fmt: skip
    """PGD within epsilon, in the norm l2 or linf; an image that is misclassified moves no further.

    loss: `ce`, the cross-entropy, or `margin`, the largest wrong logit minus the right one, which does not saturate;
    start: (N, C, H, W), added to the images first (see `random_start`); none where nothing is said.
    Returns an Adversarial; distances of successes lie in (0, epsilon]. Raises ValueError for input that `check`,
    `misclassified` and `gradient` refuse, for another norm or loss, fewer steps than none, and an epsilon that is not
    between 0 and the box's diagonal.
    """
    check(model, images, labels)
    check_radius(epsilon, images, norm)
    check_way(steps, loss)
    clean_error = misclassified(model, images, labels)
    delta = torch.zeros_like(images) if start is None else projected(start, images, epsilon, norm)
    delta = torch.where(broadcast(clean_error, images), 0, delta)
    right = ~clean_error if start is None else ~misclassified(model, images + delta, labels)
    for _ in range(steps):
        if not right.any():
            break
        delta[right] += stride(model, (images + delta)[right], labels[right], loss, step, norm)
        delta = projected(delta, images, epsilon, norm)
        right = ~misclassified(model, images + delta, labels)
    return moved(images, delta, right, clean_error, norm)


def transferred(
    model: Model, source: Model, images: Tensor, labels: Tensor, *, norm: str = "l2", epsilon: float = 0.5,
    steps: int = 20, step: float = 0.05, loss: str = "margin",
) -> Adversarial:  # fmt: skip
    """PGD on another model, `source`, and what it does to a model whose own gradients nobody asked for.

    It takes all its steps with every image, wrong or not: what just fools the source seldom fools another. Where it
    finds more than an attack by the model's own gradients does, those gradients are masked.
    Returns an Adversarial of the model. Raises ValueError as `pgd` does.
    """
    for each in (model, source):
        check(each, images, labels)
    check_radius(epsilon, images, norm)
    check_way(steps, loss)
    delta = torch.zeros_like(images)
    for _ in range(steps):
        delta = delta + stride(source, images + delta, labels, loss, step, norm)
        delta = projected(delta, images, epsilon, norm)
    clean_error = misclassified(model, images, labels)
    delta = torch.where(broadcast(clean_error, images), 0, delta)
    return moved(images, delta, ~misclassified(model, images + delta, labels), clean_error, norm)


def random_start(images: Tensor, epsilon: float, norm: str, seed: int, ids: Tensor) -> Tensor:
    """A random step of length epsilon, in l2 or linf, for each image: (N, C, H, W), drawn by its number in ids."""
    check_ids(ids, images)
    draws = rng.normal(images[0].numel(), seed, "pgd/start", ids).view_as(images).to(images.dtype)
    return epsilon * draws / broadcast(distance(draws, norm), images)


def check_radius(epsilon: float, images: Tensor, norm: str) -> None:
    """Raise ValueError for a norm that PGD lacks, and a radius that is not between 0 and the images' box's diagonal."""
    if norm not in ("l2", "linf"):
        raise ValueError(f"norm '{norm}' is not one of l2, linf, those of PGD")
    diagonal = images[0].numel() ** 0.5 if norm == "l2" else 1.0
    if not 0 < epsilon <= diagonal:
        raise ValueError(
            f"epsilon {epsilon:g} lies outside of the box [0, 1]: it must be above 0, at most {diagonal:g}"
        )


def check_way(steps: int, loss: str) -> None:
    """Raise ValueError for fewer steps than none, and for a loss that PGD does not raise."""
    check_counts(steps=steps)
    if loss not in LOSSES:
        raise ValueError(f"loss '{loss}' is not one of {', '.join(LOSSES)}")


def stride(model: Model, images: Tensor, labels: Tensor, loss: str, step: float, norm: str = "l2") -> Tensor:
    """The stride of length `step` in a norm along which each image's loss rises most: (B, C, H, W)."""
    slope = gradient(lambda images: LOSSES[loss](model(images), labels), images)
    if norm == "linf":
        return step * slope.sign()
    return step * slope / broadcast(distance(slope, "l2").clamp(min=1e-12), slope)


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "ce": functools.partial(F.cross_entropy, reduction="sum"),
    "margin": margin,
}


def projected(delta: Tensor, images: Tensor, epsilon: float, norm: str = "l2") -> Tensor:
    """The steps from images cut at the walls of the box, then to a length of at most epsilon."""
    within = (images + delta).clamp(0, 1) - images
    return within.clamp(-epsilon, epsilon) if norm == "linf" else within.renorm(2, 0, epsilon)


def moved(images: Tensor, delta: Tensor, right: Tensor, clean_error: Tensor, norm: str = "l2") -> Adversarial:
    """The outcome for images that were moved by delta, and then were right: bool (N,), or not."""
    length = distance(delta, norm)
    broken = ~right & (length > 0)
    distances = torch.where(broken, length, torch.where(clean_error, 0.0, float("inf")))
    return Adversarial(
        torch.where(broadcast(broken, images), images + delta, images), distances, clean_error, broken & ~clean_error,
        gave_up=torch.zeros_like(broken),
    )  # fmt: skip
