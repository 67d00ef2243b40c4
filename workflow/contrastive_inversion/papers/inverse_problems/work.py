"""What each kind of job of the paper takes. Imports no torch."""

import dataclasses
from math import ceil

from contrastive_inversion.base.work import GB, Amounts, Work, total
from contrastive_inversion.data.work import CLASSES, Behind, reading, split_size
from contrastive_inversion.distort.names import is_deterministic
from contrastive_inversion.learn.settings import Weights
from contrastive_inversion.learn.work import (
    AT_ONCE,
    BACKWARD,
    FROZEN,
    distorted,
    embedding,
    embeddings_gb,
    linear_heads,
    network_of,
    of_network,
    training,
)
from contrastive_inversion.papers.inverse_problems.recipes import (
    Accuracy,
    ClipTraining,
    Denoising,
    Distillation,
    Heads,
    Inpainting,
    Level,
    Restoration,
    Samples,
    SupervisedTraining,
    Targets,
)

OUTPUTS_KEPT = 6  # of each layer of a Deep Decoder for the backward pass: 0.4 GB an image at 224 px, as measured
FITTED_TOGETHER = 8  # Deep Decoders, at least; as many as a device has memory for


def published(recipe: Weights, behind: Behind) -> Work:
    """Reading a published file."""
    size = 4 * of_network(recipe.network, 1).weights / GB
    return Work(host={"write": size, "hash": size}, ram_gb=1 + 2 * size, kept_gb=size)


def of_trained(recipe: ClipTraining | SupervisedTraining | Distillation, behind: Behind, **how: float) -> Work:
    """A training of an encoder; how: see `learn.work.training`."""
    images = split_size(recipe.train, "train", behind)
    feed = reading(recipe.train, "train", images * recipe.settings.epochs, behind)
    return training(recipe.network, recipe.images.image_size, recipe.settings, images, feed, **how)  # type: ignore[arg-type]


def supervised(recipe: SupervisedTraining, behind: Behind) -> Work:
    """A classifier; where its trunk is frozen, every step is a forward pass that keeps nothing."""
    backward, kept = FROZEN if recipe.settings.frozen else (BACKWARD, 1)
    return of_trained(recipe, behind, backward=backward, kept=kept)


def distill(recipe: Distillation, behind: Behind) -> Work:
    """A student, and beside each step a forward pass of its teacher, unless a job has kept what that gives.

    What is kept is held in memory as a whole: a check of its content reads all of it.
    """
    work = of_trained(recipe, behind, extra=0 if recipe.sparing else 1)
    held = targets_gb(recipe, behind) if recipe.sparing else 0
    return dataclasses.replace(work, ram_gb=work.ram_gb + held)


def targets(recipe: Targets, behind: Behind) -> Work:
    """The teacher's embeddings of all that students see; held whole in memory, and hashed."""
    images, size = split_size(recipe.train, "train", behind) * recipe.settings.epochs, recipe.images.image_size
    kept = targets_gb(recipe, behind)
    feed = reading(recipe.train, "train", images, behind)
    work = embedding(recipe.network, size, images, feed, recipe.settings.batch, recipe.settings.precision)
    host = {"write": kept, "hash": kept}
    return dataclasses.replace(work, host=host, ram_gb=work.ram_gb + 2 * kept, kept_gb=kept)


def targets_gb(recipe: Distillation | Targets, behind: Behind) -> float:
    """What the teacher's embeddings of all that students of a seed see take, in 32 bits."""
    images = split_size(recipe.train, "train", behind) * recipe.settings.epochs
    return 4 * images * of_network(recipe.network, recipe.images.image_size).dim / GB


def heads(recipe: Heads, behind: Behind) -> Work:
    """Probes: the labelled images embedded once an epoch under each distortion, and the steps of every fit.

    A pass's embeddings lie on the device: of the images with a label for some probe.
    """
    network, size = network_of(recipe.encoder, behind), recipe.images.image_size
    images, groups, fits = split_size(recipe.train, "train", behind), dict[str, float](), []
    dim, largest = of_network(network, size).dim, max(probe.fraction for probe in recipe.probes)
    for probe in recipe.probes:
        fit = recipe.settings.fit_of(probe.fraction, on_clean=not probe.distortion)
        labelled = images * probe.fraction / 100
        under = str(probe.distortion)
        groups[under] = max(groups.get(under, 0), labelled * fit.epochs)
        fits.append(linear_heads(fit.epochs * ceil(labelled / fit.batch), fit.batch, dim, CLASSES))
    views = sum(groups.values())
    work = embedding(
        network, size, views, reading(recipe.train, "train", int(views), behind), AT_ONCE, recipe.settings.precision
    )
    held = embeddings_gb(images * largest / 100, dim)
    return dataclasses.replace(work, host=total(*fits), gpu_gb=work.gpu_gb + held, kept_gb=0.001)


def images_of(recipe: Restoration, images: int | None, behind: Behind) -> float:
    """How many images a block has, of so many (None: all) that are restored."""
    return (images or split_size(recipe.test, recipe.split, behind)) / recipe.blocks


def denoise(recipe: Denoising, behind: Behind) -> Work:
    """A block of noisy images after non-local means."""
    settings, size = recipe.settings, recipe.images.image_size
    images = images_of(recipe, settings.images, behind)
    views = images * settings.draws
    places, kept = ((2 * settings.patch_distance + 1) / 23) ** 2, views * 12 * size**2 / GB
    host = {"nlm": views * places * size**2 / 1e6, "write": kept, "hash": kept}
    feed = reading(recipe.test, "test", int(images), behind)
    return Work(host=total(host, feed), ram_gb=1 + 2 * kept, kept_gb=kept)


def inpaint(recipe: Inpainting, behind: Behind) -> Work:
    """A block of masked images after Deep Decoder fits: convolutions forward and back, upsampling as two products."""
    settings, size = recipe.settings, recipe.images.image_size
    images = images_of(recipe, settings.images, behind)
    layers = settings.channels * size**2 * 4 / 3  # values of all layers: each has four times those of the one before
    step = 6e-12 * layers * settings.channels + 24e-12 * settings.channels * (size / 2) ** 3 * 8 / 7  # TFLOP an image
    image, picture = OUTPUTS_KEPT * 4 * layers / GB, 12 * size**2 / GB
    host = {"write": images * picture, "hash": images * picture}
    return Work(
        device={f"decode_{settings.precision}": images * settings.steps * step},
        host=total(host, reading(recipe.test, "test", int(images), behind)),
        gpu_gb=min(images, FITTED_TOGETHER) * image, image_gb=image, ram_gb=1 + 4 * images * picture,
        kept_gb=images * picture,
    )  # fmt: skip


def measure(recipe: Accuracy, behind: Behind) -> Work:
    """Every view of every level embedded once; undistorted pictures are cropped once and lie on the device as bytes."""
    network, size = network_of(recipe.encoder, behind), recipe.images.image_size
    images = split_size(recipe.test, recipe.split, behind)
    seen = sum(views_of(level, recipe, images, behind) for level in recipe.levels) + compared(recipe.levels, images)
    drawn = {level.images or images for level in recipe.levels if not (level.restored or level.severities)}
    stored = images * sum(len(level.severities or []) for level in recipe.levels)
    feed = reading(recipe.test, "test", sum(drawn) + stored, behind)
    work = embedding(network, size, seen, feed, recipe.settings.batch, recipe.settings.precision)
    return dataclasses.replace(work, gpu_gb=work.gpu_gb + sum(drawn) * 3 * size**2 / GB)


def compared(levels: list[Level], images: int) -> int:
    """How many images other encoders embed, undistorted and once, to compare representations with theirs."""
    beside = {(level.images or images, head.encoder) for level in levels for head in level.heads if head.compares}
    return sum(count for count, _ in beside)


def views_of(level: Level, recipe: Accuracy, images: int, behind: Behind) -> int:
    """How many images a level embeds."""
    if level.restored:
        restoration = behind[level.restored[0]].settings  # type: ignore[attr-defined]
        return getattr(restoration, "draws", 1) * (restoration.images or images)
    if level.severities:
        return images * len(level.severities)
    draws = 1 if is_deterministic(level.distortion or []) else recipe.settings.instantiations
    return draws * (level.images or images)


def gallery(recipe: Samples, behind: Behind) -> Work:
    """A few pictures."""
    views: Amounts = distorted(recipe.settings.images * len(recipe.levels), recipe.images.image_size)
    return Work(device=views, ram_gb=2, kept_gb=0.01)
