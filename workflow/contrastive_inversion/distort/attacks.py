"""Minimal adversarial perturbations: the proximal log-barrier attack (PLB) in four norms, and PGD in L2.

Both attacks work on batches, keep every image in the box [0, 1], never mix images of a batch, and say for each image
whether they succeeded. `model` is any callable from images (B, C, H, W) in [0, 1] to logits (B, K); normalisation
belongs inside of it.

PLB (Pooladian et al., "A principled approach for generating adversarial images under non-smooth dissimilarity
metrics", AISTATS 2020) minimises a norm m(u - x) subject to f(u) != y. From a misclassified start it takes a gradient
step on the barrier -a log(max_i p_i - p_y), then the proximal step of m, then backs up until it is misclassified.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from contrastive_inversion.base import rng

GROWTH = 1.01  # of the starting noise from try to try
TRIES = 1500  # of a start: its noise then has a deviation of 30,000 times the first
BACKTRACKS = 10  # 0.05 ** 10 is below float32's resolution


@dataclass(frozen=True)
class Adversarial:
    """What an attack found, for each of N images.

    images: (N, C, H, W), the original where it failed; distance: (N,), 0 for clean errors, inf for failures;
    clean_error: bool (N,), misclassified from the start; success: bool (N,), misclassified by the attack.
    """

    images: torch.Tensor
    distance: torch.Tensor
    clean_error: torch.Tensor
    success: torch.Tensor


def check(model, images, labels):
    """Raise ValueError for a model in training mode, images outside of [0, 1], or labels that do not fit them."""
    if isinstance(model, torch.nn.Module) and model.training:
        raise ValueError("the model is in training mode: its batch normalisation would mix images; call model.eval()")
    if images.ndim != 4 or not images.is_floating_point():
        raise ValueError(f"images must be float (N, C, H, W), not {images.dtype} {tuple(images.shape)}")
    if not (images.min() >= 0 and images.max() <= 1):
        raise ValueError(f"images must lie in [0, 1]; these go from {images.min():g} to {images.max():g}")
    if labels.shape != images.shape[:1] or labels.dtype != torch.int64:
        raise ValueError(f"labels must be int64 of shape ({len(images)},), not {labels.dtype} {tuple(labels.shape)}")


def broadcast(values, images):
    """Values (B,) that go with images (B, C, H, W): (B, 1, 1, 1)."""
    return values.view(-1, *[1] * (images.ndim - 1))


@torch.no_grad()
def misclassified(model, images, labels):
    return model(images).argmax(dim=1) != labels


# --- norms ----------------------------------------------------------------------------------------------------------


def distance(differences, norm):
    """The norm of each difference: (B, C, H, W) -> (B,). L0 counts the entries that differ."""
    flat = differences.flatten(1)
    if norm == "l0":
        return (flat != 0).sum(dim=1).to(flat.dtype)
    return flat.norm(p={"l1": 1, "l2": 2, "linf": float("inf")}[norm], dim=1)


def prox_l2(s, t):
    """Shrink the length of each s by t: the proximal map of t * ||s||_2."""
    length = broadcast(distance(s, "l2"), s)
    return (1 - t / length.clamp(min=t)) * s


def prox_l1(s, t):
    """Soft thresholding."""
    return s.sign() * (s.abs() - t).clamp(min=0)


def prox_l0(s, t):
    """Hard thresholding at sqrt(2 t)."""
    return torch.where(s.abs() > (2 * t) ** 0.5, s, 0)


def prox_linf(s, t):
    """By Moreau's identity: s minus its projection onto the L1 ball of radius t."""
    return s - onto_l1_ball(s.flatten(1), t).view_as(s)


def onto_l1_ball(rows, radius):
    """Each row's nearest point with an L1 norm of at most `radius` (Duchi et al., 2008): (B, D) -> (B, D)."""
    sizes = rows.abs().sort(dim=1, descending=True).values
    counts = torch.arange(1, rows.shape[1] + 1, device=rows.device, dtype=rows.dtype)
    excess = (sizes.cumsum(dim=1) - radius) / counts  # (B, D)
    last = (sizes > excess).sum(dim=1, keepdim=True) - 1
    threshold = excess.gather(1, last).clamp(min=0)
    return torch.where(rows.abs().sum(dim=1, keepdim=True) <= radius, rows, prox_l1(rows, threshold))


PROX = {"l0": prox_l0, "l1": prox_l1, "l2": prox_l2, "linf": prox_linf}
# How strongly the proximal step pulls to the original. 1 is the authors' for L2, and there a pure contraction within
# the unit ball; in L1 and L0 a 1 would set every entry of [0, 1] to the original's.
STRENGTH = {"l0": 0.005, "l1": 0.01, "l2": 1.0, "linf": 0.1}


# --- proximal log-barrier -------------------------------------------------------------------------------------------


def proximal_log_barrier(
    model, images, labels, norm="l2", *, outer=30, inner=30, step=0.1, barrier=0.1, decay=0.75, back=0.05,
    strength=None, start_noise=0.01, seed=0, ids=None, keep_best=True,
):  # fmt: skip
    """The nearest misclassified image that PLB finds for each image, in the norm l0, l1, l2 or linf.

    outer, inner: rounds and steps in each; step: of the gradient; barrier, decay: its weight is barrier * decay**k in
    round k; back: share of a step that backing up keeps; strength: of the proximal step (see STRENGTH); start_noise:
    deviation of the first start; ids: int64 (N,), the images' numbers, which fix their starts in any batch.
    keep_best=False lets a step that had to give up reset an image to its original, distance 0, as published code did.
    Returns an Adversarial. Raises ValueError for input that `check` refuses.
    """
    check(model, images, labels)
    if norm not in PROX:
        raise ValueError(f"norm '{norm}' is not one of {', '.join(PROX)}")
    strength = STRENGTH[norm] if strength is None else strength
    ids = torch.arange(len(images), device=images.device) if ids is None else ids
    clean_error = misclassified(model, images, labels)
    u, started = starts(model, images, labels, start_noise, seed, ids, ~clean_error)
    best, best_distance = u.clone(), torch.where(started, distance(u - images, norm), float("inf"))
    rows = torch.nonzero(started)[:, 0]
    for round_ in range(outer if len(rows) else 0):
        for _ in range(inner):
            x, y = images[rows], labels[rows]
            u[rows], lost = stepped(
                model, u[rows], x, y, norm, step, barrier * decay**round_, back, strength, keep_best
            )
            found = distance(u[rows] - x, norm)
            better = (found <= best_distance[rows]) | lost
            best[rows] = torch.where(broadcast(better, x), u[rows], best[rows])
            best_distance[rows] = torch.where(better, found, best_distance[rows])
    best_distance[clean_error] = 0
    kept = started & (best_distance > 0)
    return Adversarial(torch.where(broadcast(kept, images), best, images), best_distance, clean_error, kept)


def starts(model, images, labels, noise, seed, ids, wanted):
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


def stepped(model, u, x, y, norm, step, weight, back, strength, keep_best):
    """One step of PLB for misclassified u: the next misclassified images, and which gave up and lost theirs."""
    ahead = u - step * barrier_gradient(model, u, y, weight)
    new = (x + PROX[norm](ahead - x, strength)).clamp(0, 1)
    infeasible = torch.nonzero(~misclassified(model, new, y))[:, 0]
    for _ in range(BACKTRACKS):
        if not len(infeasible):
            break
        new[infeasible] = back * new[infeasible] + (1 - back) * u[infeasible]
        still = ~misclassified(model, new[infeasible], y[infeasible])
        infeasible = infeasible[still]
    new[infeasible] = u[infeasible] if keep_best else x[infeasible]
    lost = torch.zeros(len(u), dtype=torch.bool, device=u.device)
    lost[infeasible] = not keep_best
    return new, lost


def barrier_gradient(model, u, y, weight):
    """The gradient of -weight * log(max_i p_i - p_y) in u, summed over the batch."""
    with torch.enable_grad():
        u = u.detach().requires_grad_()
        p = model(u).softmax(dim=1)
        gap = p.amax(dim=1) - p.gather(1, y[:, None])[:, 0]
        # where two classes tie the gap is 0, and the logarithm has no gradient to speak of
        loss = -weight * gap.clamp(min=1e-12).log().sum()
        return torch.autograd.grad(loss, u)[0]


# --- projected gradient descent -------------------------------------------------------------------------------------


def pgd(model, images, labels, *, epsilon=0.5, steps=20, step=0.05, loss="ce", misplaced=False):
    """L2 PGD within epsilon without a random start; an image that is misclassified moves no further.

    loss: `ce`, the cross-entropy, or `margin`, the largest wrong logit minus the right one, which does not saturate.
    misplaced=True puts the gradients of the images that are still right onto the first places of the batch, as
    published code did. Returns an Adversarial; distances of successes lie in (0, epsilon]. Raises ValueError for input
    that `check` refuses, and for an epsilon that is not between 0 and the box's diagonal.
    """
    check(model, images, labels)
    diagonal = images[0].numel() ** 0.5
    if not 0 < epsilon <= diagonal:
        raise ValueError(
            f"epsilon {epsilon:g} lies outside of the box [0, 1]: it must be above 0, at most {diagonal:g}"
        )
    clean_error = misclassified(model, images, labels)
    delta, right = torch.zeros_like(images), ~clean_error
    for _ in range(steps):
        rows = torch.nonzero(right)[:, 0]
        if not len(rows):
            break
        ascent = loss_gradient(model, images[rows] + delta[rows], labels[rows], loss)
        moved = torch.arange(len(rows), device=rows.device) if misplaced else rows
        delta[moved] += step * ascent / broadcast(distance(ascent, "l2").clamp(min=1e-12), ascent)
        delta = ((images + delta).clamp(0, 1) - images).renorm(2, 0, epsilon)
        right = ~misclassified(model, images + delta, labels)
    wrong = ~right
    success = wrong & ~clean_error if not misplaced else wrong & (distance(delta, "l2") > 0)
    found = torch.where(success, distance(delta, "l2"), torch.where(clean_error, 0.0, float("inf")))
    return Adversarial(
        torch.where(broadcast(success, images), images + delta, images), found, clean_error, success & ~clean_error
    )


def loss_gradient(model, images, labels, loss):
    with torch.enable_grad():
        images = images.detach().requires_grad_()
        logits = model(images)
        if loss == "margin":
            right = logits.gather(1, labels[:, None])[:, 0]
            others = logits.scatter(1, labels[:, None], float("-inf")).amax(dim=1)
            value = (others - right).sum()
        else:
            value = F.cross_entropy(logits, labels, reduction="sum")
        return torch.autograd.grad(value, images)[0]
