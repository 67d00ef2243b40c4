"""Linear probes: all label fractions and training distortions of an encoder, fitted over one frozen pass.

The encoder stays in eval mode. In each epoch every image is cropped and distorted anew and embedded once; each
probe then takes the embeddings of its own labelled subset.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from contrastive_inversion.base.job import Job, Progress
from contrastive_inversion.data import store
from contrastive_inversion.data.batches import training_batch
from contrastive_inversion.distort.operators import corrupt
from contrastive_inversion.learn import networks, outputs
from contrastive_inversion.learn.linear_heads import Fit, LinearHead, stratified
from contrastive_inversion.learn.loop import ahead
from contrastive_inversion.learn.settings import Schedule
from contrastive_inversion.papers.inverse_problems.recipes import Heads, ProbeSpec
from contrastive_inversion.papers.inverse_problems.settings import Probes


class Probe:
    """A linear head with its labelled subset and the distortion that it is fitted under."""

    def __init__(self, spec: ProbeSpec, data: store.Split, dim: int, recipe: Heads) -> None:
        self.key, self.distortion = spec.key, spec.distortion
        self.subset = stratified(data.labels, spec.fraction, recipe.seed)
        self.how = fit_of(spec, recipe.settings)
        self.head = LinearHead(dim, data.classes, self.how, recipe.seed)


def fit_of(spec: ProbeSpec, settings: Probes) -> Fit:
    """How a probe is fitted; a stalled schedule's period goes with its share of labels."""
    if settings.clean and not spec.distortion:
        chosen, period = settings.clean, settings.clean.period
    else:
        chosen = settings.full if spec.fraction == 100 else settings.subset
        period = chosen.period * spec.fraction / 100 if chosen.period else None
    schedule = Schedule(lr=chosen.lr, schedule=chosen.schedule, period=period)
    return Fit(torch.optim.Adam, schedule, chosen.epochs, chosen.batch, f"probe/{spec.key}")


def fit(recipe: Heads, job: Job) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Fit all probes of an encoder on a data set.

    Returns `<key>.weight` (classes, dim) and `<key>.bias` (classes,) of each, and as a fact how many labels each saw.
    """
    data = store.split(job.input(recipe.train), "train")
    encoder, _, _ = networks.load(job.input(recipe.encoder))
    encoder.to(job.device)
    probes = [Probe(spec, data, encoder.dim, recipe) for spec in recipe.probes]
    groups: dict[str, list[Probe]] = {}
    for probe in probes:
        groups.setdefault(str(probe.distortion), []).append(probe)
    progress = Progress(job, sum(map(epochs_of, groups.values())), len(data))
    for group in groups.values():
        fit_group(encoder, data, group, recipe, job, progress)
    progress.close()
    tensors = {name: tensor for probe in probes for name, tensor in probe.head.tensors(probe.key).items()}
    return tensors, {"labelled_images": {probe.key: len(probe.subset) for probe in probes}}


def epochs_of(group: Sequence[Probe]) -> int:
    """The epochs of the probe that has most."""
    return max(probe.how.epochs for probe in group)


def fit_group(
    encoder: networks.Encoder,
    data: store.Split,
    group: Sequence[Probe],
    recipe: Heads,
    job: Job,
    progress: Progress,
) -> None:
    """Fit the probes that are fitted under one distortion."""
    for epoch in range(epochs_of(group)):
        active = [probe for probe in group if epoch < probe.how.epochs]
        needed = torch.cat([probe.subset for probe in active]).unique()  # (M,), sorted
        views = distorted(data, needed, active[0], epoch, recipe, job)
        embeddings, labels = outputs.over(views, encoder, job.device), data.labels[needed]  # (M, dim), (M,)
        for probe in active:
            probe.head.fit_epoch(embeddings, labels, torch.searchsorted(needed, probe.subset), epoch)
        progress.advance(epoch, len(data))


def distorted(
    data: store.Split, needed: torch.Tensor, probe: Probe, epoch: int, recipe: Heads, job: Job
) -> Iterator[torch.Tensor]:
    """The needed images, int64 (M,), cropped and distorted anew: batches (B, 3, S, S)."""
    parts = needed.split(outputs.AT_ONCE)

    def cropped(index: torch.Tensor) -> torch.Tensor:
        return training_batch(data, index, recipe.images, recipe.seed, epoch, job)

    for index, clean in zip(parts, ahead(cropped, parts, job.threads), strict=True):
        yield corrupt(clean, probe.distortion, recipe.seed, "probe", index.to(job.device), epoch)
