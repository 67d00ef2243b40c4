"""The attacks as published code ran them, with the mistakes behind some printed numbers (docs/PROTOCOL.md)."""

from dataclasses import replace

import torch
from torch import Tensor

from contrastive_inversion.distort import attacks
from contrastive_inversion.distort.attacked_models import Model, check, misclassified
from contrastive_inversion.distort.attacks import Adversarial
from contrastive_inversion.distort.norms import broadcast


def pgd_misplaced(
    model: Model, images: Tensor, labels: Tensor, *, epsilon: float = 0.5, steps: int = 20, step: float = 0.05,
    loss: str = "ce",
) -> Adversarial:  # fmt: skip
    """`attacks.pgd`, but the strides of the images that are still right move the first images of the batch instead.

    A clean error that was moved and stayed wrong has its distance counted, but is no success.
    """
    check(model, images, labels)
    attacks.check_radius(epsilon, images, "l2")
    attacks.check_way(steps, loss)
    clean_error = misclassified(model, images, labels)
    delta, right = torch.zeros_like(images), ~clean_error
    for _ in range(steps):
        if not right.any():
            break
        strides = attacks.stride(model, (images + delta)[right], labels[right], loss, step)
        delta[: len(strides)] += strides
        delta = attacks.projected(delta, images, epsilon)
        right = ~misclassified(model, images + delta, labels)
    return attacks.moved(images, delta, right, clean_error)


def losing_best(adversarial: Adversarial, images: Tensor) -> Adversarial:
    """What `attacks.proximal_log_barrier` found of some images, but an image of a step that gave up is lost.

    Such a step put the original, at distance 0, in the place of the nearest image so far; since that is classified
    correctly, the code then took the attack for one that had failed.
    """
    return replace(
        adversarial,
        images=torch.where(broadcast(adversarial.gave_up, images), images, adversarial.images),
        distance=torch.where(adversarial.gave_up, torch.inf, adversarial.distance),
        success=adversarial.success & ~adversarial.gave_up,
    )
