"""Linear probes: all label fractions and training distortions of an encoder, fitted sharing frozen passes.

The encoder stays in eval mode. In each epoch every image is cropped and distorted anew and embedded once; each
probe then takes the embeddings of its own labelled subset.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from contrastive_inversion.base.job import Job, Progress
from contrastive_inversion.data import store
from contrastive_inversion.data.batches import training_batch
from contrastive_inversion.distort.operators import corrupt
from contrastive_inversion.learn import networks, outputs
from contrastive_inversion.learn.linear_heads import Fit, LinearHead, checkpoint_of, stratified
from contrastive_inversion.learn.loop import ahead
from contrastive_inversion.learn.settings import Schedule
from contrastive_inversion.learn.work import AT_ONCE
from contrastive_inversion.papers.inverse_problems.recipes import Heads, ProbeSpec
from contrastive_inversion.papers.inverse_problems.settings import Probes


class Probe:
    """A linear head with its labelled subset and the distortion that it is fitted under."""

    def __init__(self, spec: ProbeSpec, data: store.Split, dim: int, recipe: Heads, device: str = "cpu") -> None:
        self.key, self.distortion = spec.key, spec.distortion
        self.subset = stratified(data.labels, spec.fraction, recipe.seed, recipe.settings.share_of)
        self.how = fit_of(spec, recipe.settings)
        self.head = LinearHead(dim, data.classes, self.how, recipe.seed, device)


@dataclass(frozen=True)
class Pass:
    """One pass of the encoder over images under one distortion, in an epoch of the probes that are fitted then."""

    epoch: int
    probes: Sequence[Probe]


def fit_of(spec: ProbeSpec, settings: Probes) -> Fit:
    """How a probe is fitted; a stalled schedule's period goes with its share of labels."""
    chosen = settings.fit_of(spec.fraction, on_clean=not spec.distortion)
    period = chosen.period
    if period and chosen is not settings.clean:
        period = period * spec.fraction / 100
    decay = Schedule(lr=chosen.lr, schedule=chosen.schedule, period=period)
    return Fit(torch.optim.Adam, decay, chosen.epochs, chosen.batch, f"probe/{spec.key}")


def fit(recipe: Heads, job: Job) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Fit all probes of an encoder on a data set.

    Returns `<key>.weight` (classes, dim) and `<key>.bias` (classes,) of each, and as a fact how many labels each saw.
    A restart goes on after the last pass that was finished.
    """
    data = store.split(job.input(recipe.train), "train")
    encoder, _ = networks.load(job.input(recipe.encoder))
    networks.placed(encoder, recipe.settings.precision, job)
    probes = [Probe(spec, data, encoder.dim, recipe, job.device) for spec in recipe.probes]
    passes, checkpoint = passes_of(probes), checkpoint_of([probe.head for probe in probes], job)
    done, _ = checkpoint.resumed()
    progress = Progress(job, len(passes), len(data), done)
    for number in range(done, len(passes)):
        fit_pass(passes[number], encoder, data, recipe, job)
        progress.advance(number, len(data))
        checkpoint.save(number + 1, [])
    progress.close()
    tensors = {name: tensor for probe in probes for name, tensor in probe.head.tensors(probe.key).items()}
    return tensors, {"labelled_images": {probe.key: len(probe.subset) for probe in probes}}


def passes_of(probes: Iterable[Probe]) -> list[Pass]:
    """All passes that some probes need: those under one distortion share theirs."""
    groups: dict[str, list[Probe]] = {}
    for probe in probes:
        groups.setdefault(str(probe.distortion), []).append(probe)
    return [
        Pass(epoch, [probe for probe in group if epoch < probe.how.epochs])
        for group in groups.values()
        for epoch in range(max(probe.how.epochs for probe in group))
    ]


def fit_pass(one: Pass, encoder: networks.Encoder, data: store.Split, recipe: Heads, job: Job) -> None:
    """Embed the images that some probes need once, and fit each probe for an epoch."""
    needed = torch.cat([probe.subset for probe in one.probes]).unique()  # (M,), sorted
    views = distorted(data, needed, one.probes[0], one.epoch, recipe, job)
    embeddings, labels = outputs.over(views, encoder, job.device), data.labels[needed].to(job.device)  # (M, dim), (M,)
    for probe in one.probes:
        probe.head.fit_epoch(embeddings, labels, torch.searchsorted(needed, probe.subset), one.epoch)


def distorted(
    data: store.Split, needed: torch.Tensor, probe: Probe, epoch: int, recipe: Heads, job: Job
) -> Iterator[torch.Tensor]:
    """The needed images, int64 (M,), cropped and distorted anew: batches (B, 3, S, S)."""
    parts = needed.split(AT_ONCE)

    def cropped(index: torch.Tensor) -> torch.Tensor:
        return training_batch(data, index, recipe.images, recipe.seed, epoch, job)

    coming = zip(needed.to(job.device).split(AT_ONCE), ahead(cropped, parts, job.threads, job.device), strict=True)
    for ids, clean in coming:
        yield corrupt(clean, probe.distortion, recipe.seed, "probe", ids, epoch)
