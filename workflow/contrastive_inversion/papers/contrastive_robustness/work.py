"""What each kind of job of the report takes. Imports no torch."""

from dataclasses import replace
from math import ceil

from contrastive_inversion.base.work import Work, total
from contrastive_inversion.data.work import Behind, reading, split_size
from contrastive_inversion.learn.settings import share
from contrastive_inversion.learn.work import (
    AT_ONCE,
    BACKWARD,
    FROZEN,
    embedding,
    embeddings_gb,
    linear_heads,
    network_of,
    of_network,
    training,
)
from contrastive_inversion.papers.contrastive_robustness.recipes import (
    Classification,
    Distances,
    Finetuning,
    Heads,
    Level,
    Pretraining,
)
from contrastive_inversion.papers.contrastive_robustness.settings import Pgd

# forward passes that a step is worth whose gradient is differentiated again, and what it keeps for that: counted on the
# real network, the same for each form of the penalty
TWICE, KEPT = 6, 2
HALVINGS = 21  # forward passes by which a walk finds the boundary
CLASSES = 10


def trained(
    recipe: Pretraining | Classification | Finetuning, behind: Behind, views: int, backward: float, kept: float = 1
) -> Work:
    """A training on the labelled part of the images."""
    images = share(getattr(recipe, "labels", 100), split_size(recipe.train, "train", behind))
    feed = reading(recipe.train, "train", views * images * recipe.settings.epochs, behind)
    size = recipe.images.image_size
    return training(recipe.network, size, recipe.settings, images, feed, views=views, backward=backward, kept=kept)


def pretrain(recipe: Pretraining, behind: Behind) -> Work:
    """An encoder without labels, from two views of each image."""
    return trained(recipe, behind, 2, *(TWICE, KEPT) if recipe.settings.strength else (BACKWARD,))


def classify(recipe: Classification, behind: Behind) -> Work:
    """A supervised classifier."""
    return trained(recipe, behind, 1, *(TWICE, KEPT) if recipe.settings.strength else (BACKWARD,))


def finetune(recipe: Finetuning, behind: Behind) -> Work:
    """A classifier on a trained encoder."""
    return trained(recipe, behind, 1, *FROZEN if recipe.settings.encoder == "detached" else (BACKWARD,))


def heads(recipe: Heads, behind: Behind) -> Work:
    """Probes: all images embedded once and held on the device, and the steps of every fit."""
    network, size = network_of(recipe.encoder, behind), recipe.images.image_size
    images, dim, fits = split_size(recipe.train, "train", behind), of_network(network, size).dim, []
    for probe in recipe.probes:
        part = recipe.settings.part if recipe.settings.part and probe.fraction < 100 else None
        how = part.over(recipe.settings) if part else recipe.settings
        fits.append(linear_heads(how.epochs * ceil(images * probe.fraction / 100 / how.batch), how.batch, dim, CLASSES))
    work = embedding(network, size, images, reading(recipe.train, "test", images, behind), AT_ONCE)
    return replace(work, host=total(*fits), gpu_gb=work.gpu_gb + embeddings_gb(images, dim))


def measure(recipe: Distances, behind: Behind) -> Work:
    """Clean accuracy, and the steps of every attack on every head."""
    network, size = network_of(recipe.encoder, behind), recipe.images.image_size
    images = split_size(recipe.test, recipe.split, behind)
    passes = sum(len(level.heads) * passes_of(level, images, recipe.settings.images) for level in recipe.levels)
    work = embedding(network, size, passes, reading(recipe.test, "test", images, behind), recipe.settings.batch)
    image_gb = of_network(network, size).kept_mb / 1e3
    return replace(work, image_gb=image_gb, gpu_gb=work.gpu_gb + recipe.settings.batch * image_gb)


def passes_of(level: Level, images: int, attacked: int) -> float:
    """Forward passes that a level's images are worth; what is read from other levels is worth none."""
    if level.strongest_of:
        return 0
    if level.settings is None:
        return images
    if isinstance(level.settings, Pgd):
        return BACKWARD * level.settings.steps * min(attacked, images)
    steps, walks = level.settings.outer * level.settings.inner, level.settings.polish
    return (BACKWARD * steps + (BACKWARD + HALVINGS) * walks) * min(attacked, images)
