"""Counter-based random numbers: every draw is a function of what it is for, never of when it is drawn.

Philox-4x32-10 (Salmon et al., SC 2011) maps a 128-bit counter and a 64-bit key to four 32-bit words. The key
comes from (study seed, purpose), the counter from (block, image id, epoch or instantiation). A draw therefore
does not depend on the batch size, the order of images, the number of workers or a restart.
"""

import hashlib
import math
from collections.abc import Sequence

import torch

MASK32 = 0xFFFFFFFF
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
ROUNDS = 10
CACHED = 120_000


def philox(counter: Sequence[torch.Tensor], key: tuple[int, int]) -> tuple[torch.Tensor, ...]:
    """Philox-4x32-10.

    counter: four int64 tensors (broadcastable) holding words in [0, 2**32); key: two ints in [0, 2**32).
    Returns four int64 tensors of words in [0, 2**32), of the broadcast shape.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(ROUNDS):
        # the 64-bit products wrap into negative int64: shifted or not, their low 32 bits are the halves. Only what is
        # multiplied must have no others
        p0, p1 = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
        c0 = ((p1 >> 32) ^ (c1 ^ k0)).bitwise_and_(MASK32)
        c2 = ((p0 >> 32) ^ (c3 ^ k1)).bitwise_and_(MASK32)
        c1, c3 = p1, p0
        k0, k1 = (k0 + WEYL[0]) & MASK32, (k1 + WEYL[1]) & MASK32
    return c0, c1 & MASK32, c2, c3 & MASK32


def stream_key(seed: int, purpose: str) -> tuple[int, int]:
    """The 64-bit Philox key of a (study seed, purpose) pair, as two 32-bit words."""
    digest = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:8], "little")


# torch.compiler.assume_constant_result, which would import the compiler for it, a second and a half in every job
stream_key._dynamo_marked_constant = True  # type: ignore[attr-defined]


def words(n: int, seed: int, purpose: str, ids: torch.Tensor, epoch: int = 0) -> torch.Tensor:
    """n random 32-bit words for each image: int64 of shape (len(ids), n), values in [0, 2**32).

    ids: int64 (B,), the images' own numbers; epoch: the epoch or instantiation.
    """
    blocks = torch.arange(math.ceil(n / 4), device=ids.device)[None]  # (1, n/4)
    image = ids.to(torch.int64)[:, None]  # (B, 1)
    epoch_word = torch.full((1, 1), epoch, device=ids.device)
    lanes = philox((blocks, image, epoch_word, torch.zeros_like(epoch_word)), stream_key(seed, purpose))
    return torch.stack(torch.broadcast_tensors(*lanes), dim=2).flatten(1)[:, :n]  # (B, n/4, 4) -> (B, n)


def uniform(n: int, seed: int, purpose: str, ids: torch.Tensor, epoch: int = 0) -> torch.Tensor:
    """n uniforms in the open interval (0, 1) for each image: float64 (len(ids), n)."""
    return (words(n, seed, purpose, ids, epoch).to(torch.float64) + 0.5) * 2.0**-32


def normal(n: int, seed: int, purpose: str, ids: torch.Tensor, epoch: int = 0) -> torch.Tensor:
    """n standard normals for each image by Box-Muller: float32 (len(ids), n).

    Computed in float64 and rounded once, so that devices agree up to rare last-bit cases.
    """
    if ids.device.type != "cpu":
        return box_muller(n, seed, purpose, ids, epoch)  # as many kernels for many images as for one
    few = max(1, CACHED // n)  # images at a time, so that a CPU's cache holds what they need
    return torch.cat([box_muller(n, seed, purpose, some, epoch) for some in ids.split(few)])


def box_muller(n: int, seed: int, purpose: str, ids: torch.Tensor, epoch: int) -> torch.Tensor:
    """The normals of `normal` for a few images."""
    half = math.ceil(n / 2)
    u = uniform(2 * half, seed, purpose, ids, epoch)
    radius = torch.log(u[:, :half]).mul_(-2).sqrt_()
    angle = u[:, half:] * (2 * math.pi)
    return torch.cat([radius * torch.cos(angle), radius * torch.sin(angle)], dim=1)[:, :n].float()


def permutation(n: int, seed: int, purpose: str, epoch: int = 0) -> torch.Tensor:
    """A random permutation of range(n), int64 (n,): the order of images within an epoch."""
    return torch.argsort(words(n, seed, purpose, torch.zeros(1, dtype=torch.int64), epoch)[0], stable=True)
