"""Nearer misclassified images, by walks from the original straight to the boundary between classes.

Of a half space, the point nearest to x in some norm within the box [0, 1] lies on a path that the plane's normal w
fixes: along sign(w) in L-infinity, along w in L2, and in L1 and L0 one entry after the other goes to the wall of the
box, those first that gain most for what they cost. So walk the path until the model is wrong, take the boundary's
normal there, the margin's gradient, and walk again. It is DeepFool's iteration (Moosavi-Dezfooli et al., CVPR 2016)
with a search along the path instead of a linear step, and with a running mean of the normals, without which it swings.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from contrastive_inversion.distort.attacked_models import Model, gradient, margin, misclassified
from contrastive_inversion.distort.norms import broadcast, distance

MEMORY = 0.8  # of the running mean
HALVINGS = 20  # of a path's length, 1: within 1e-6

Path = Callable[[Tensor], Tensor]


def polished(model: Model, u: Tensor, x: Tensor, y: Tensor, norm: str, rounds: int) -> Tensor:
    """Misclassified images no farther from x than misclassified u, (B, C, H, W) all, after so many walks.

    Takes one gradient and 21 classifications of each image a round.
    """
    best, nearest, at, normal = u, distance(u - x, norm), x, torch.zeros_like(x)
    for _ in range(rounds):
        slope = gradient(lambda images: margin(model(images), y), at)
        slope /= broadcast(distance(slope, "l2").clamp(min=1e-12), x)
        normal = MEMORY * normal + (1 - MEMORY) * slope
        at, crossed = first_wrong(model, PATHS[norm](x, normal), y)
        now = distance(at - x, norm)
        better = crossed & (now < nearest)
        best = torch.where(broadcast(better, x), at, best)
        nearest = torch.where(better, now, nearest)
    return best


def first_wrong(model: Model, path: Path, y: Tensor) -> tuple[Tensor, Tensor]:
    """Where paths, from places (B,) in [0, 1] to images, cross to another class than y; and whether they do: bool (B,).

    Found by halving; the images at the end of paths that do not.
    """
    low, high = torch.zeros(len(y), device=y.device), torch.ones(len(y), device=y.device)
    crossed = misclassified(model, path(high), y)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        wrong = misclassified(model, path(middle), y) | ~crossed
        high, low = torch.where(wrong & crossed, middle, high), torch.where(wrong, low, middle)
    return path(high), crossed


def all_at_once(x: Tensor, normal: Tensor) -> Path:
    """L-infinity: every entry moves alike."""
    return lambda place: (x + broadcast(place, x).to(x.dtype) * normal.sign()).clamp(0, 1)


def straight(x: Tensor, normal: Tensor) -> Path:
    """L2: along the normal, at most the box's diagonal."""
    unit = normal / broadcast(distance(normal, "l2").clamp(min=1e-12), x)
    diagonal = x[0].numel() ** 0.5
    return lambda place: (x + diagonal * broadcast(place, x).to(x.dtype) * unit).clamp(0, 1)


def one_by_one(x: Tensor, normal: Tensor, partly: bool) -> Path:
    """L1 (`partly`) and L0: entries go to their walls in turn, in L1 by their slopes, in L0 by slope times room."""
    flat, wall = x.flatten(1), (normal.flatten(1) > 0).to(x.dtype)  # (B, D)
    room = (wall - flat).abs()
    gain = normal.flatten(1).abs() * ((room > 0) if partly else room)
    turn = gain.argsort(dim=1, descending=True, stable=True).argsort(dim=1)  # (B, D), 0 goes first

    def path(place: Tensor) -> Tensor:
        gone = (place[:, None] * flat.shape[1] - turn).clamp(0, 1).to(x.dtype)
        gone = gone if partly else gone.ceil()
        return torch.lerp(flat, wall, gone).view_as(x)

    return path


PATHS: dict[str, Callable[[Tensor, Tensor], Path]] = {
    "l0": lambda x, normal: one_by_one(x, normal, partly=False),
    "l1": lambda x, normal: one_by_one(x, normal, partly=True),
    "l2": straight,
    "linf": all_at_once,
}
