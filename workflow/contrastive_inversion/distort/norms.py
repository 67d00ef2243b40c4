"""Norms of differences between images, and their proximal maps: where t * ||p|| + ||p - s||^2 / 2 is smallest in p."""

import torch
from torch import Tensor

DEGREES = {"l1": 1, "l2": 2, "linf": float("inf")}


def broadcast(values: Tensor, images: Tensor) -> Tensor:
    """Values (B,) that go with images (B, C, H, W): (B, 1, 1, 1)."""
    return values.view(-1, *[1] * (images.ndim - 1))


def distance(differences: Tensor, norm: str) -> Tensor:
    """A norm, `l0` to `linf`, of each difference: (B, C, H, W) -> (B,). L0 counts the entries that differ."""
    flat = differences.flatten(1)
    if norm == "l0":
        return (flat != 0).sum(dim=1).to(flat.dtype)
    return flat.norm(p=DEGREES[norm], dim=1)


def prox_l2(s: Tensor, t: float) -> Tensor:
    """Shrink the length of each s by t."""
    length = broadcast(distance(s, "l2"), s)
    return (1 - t / length.clamp(min=t)) * s


def prox_l1(s: Tensor, t: float | Tensor) -> Tensor:
    """Soft thresholding."""
    return s.sign() * (s.abs() - t).clamp(min=0)


def prox_l0(s: Tensor, t: float) -> Tensor:
    """Hard thresholding at sqrt(2 t)."""
    return torch.where(s.abs() > (2 * t) ** 0.5, s, 0)


def prox_linf(s: Tensor, t: float) -> Tensor:
    """By Moreau's identity: s minus its projection onto the L1 ball of radius t."""
    return s - onto_l1_ball(s.flatten(1), t).view_as(s)


def onto_l1_ball(rows: Tensor, radius: float) -> Tensor:
    """Each row's nearest point with an L1 norm of at most `radius` (Duchi et al., 2008): (B, D) -> (B, D)."""
    sizes = rows.abs().sort(dim=1, descending=True).values
    counts = torch.arange(1, rows.shape[1] + 1, device=rows.device, dtype=rows.dtype)
    excess = (sizes.cumsum(dim=1) - radius) / counts  # (B, D)
    last = (sizes > excess).sum(dim=1, keepdim=True) - 1
    threshold = excess.gather(1, last).clamp(min=0)
    return torch.where(rows.abs().sum(dim=1, keepdim=True) <= radius, rows, prox_l1(rows, threshold))


PROX = {"l0": prox_l0, "l1": prox_l1, "l2": prox_l2, "linf": prox_linf}
