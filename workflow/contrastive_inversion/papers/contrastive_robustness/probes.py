"""Stage 2 of the report: logistic regression on an encoder's frozen, normalised features.

Features are those of undistorted, uncropped images, embedded once; all label fractions are fitted in one job.
"""

from typing import Any

import torch
import torch.nn.functional as F

from contrastive_inversion.base.job import Job, Progress
from contrastive_inversion.data import store
from contrastive_inversion.data.batches import test_batches
from contrastive_inversion.learn import networks, outputs
from contrastive_inversion.learn.linear_heads import Fit, LinearHead, stratified
from contrastive_inversion.papers.contrastive_robustness.recipes import Heads, ProbeSpec
from contrastive_inversion.papers.contrastive_robustness.settings import Probes, Regression


def fit(recipe: Heads, job: Job) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Fit the probes of an encoder.

    Returns `<key>.weight` (classes, dim) and `<key>.bias` (classes,) of each, and as a fact how many labels each saw.
    """
    data = store.split(job.input(recipe.train), "train")
    features = embedded(data, recipe, job)
    progress = Progress(job, len(recipe.probes), recipe.settings.epochs)
    tensors: dict[str, torch.Tensor] = {}
    labels_seen = {}
    for number, spec in enumerate(recipe.probes):
        subset = stratified(data.labels, spec.fraction, recipe.seed)
        settings = settings_of(spec, recipe.settings)
        how = Fit(torch.optim.SGD, settings, settings.epochs, settings.batch, "logistic")
        head = LinearHead(features.shape[1], data.classes, how, recipe.seed)
        for epoch in range(settings.epochs):
            head.fit_epoch(features, data.labels, subset, epoch)
        tensors |= head.tensors(spec.key)
        labels_seen[spec.key] = len(subset)
        progress.advance(number, recipe.settings.epochs)
    progress.close()
    return tensors, {"labelled_images": labels_seen}


def embedded(data: store.Split, recipe: Heads, job: Job) -> torch.Tensor:
    """Unit-length embeddings of all images: float32 (N, dim), on the CPU."""
    encoder, _, _ = networks.load(job.input(recipe.encoder))
    batches = (batch for _, batch in test_batches(data, recipe.images, outputs.AT_ONCE, job))
    return F.normalize(outputs.over(batches, encoder.to(job.device), job.device), dim=1)


def settings_of(spec: ProbeSpec, settings: Probes) -> Regression:
    """A probe's settings; `part` holds what differs where only a part of the labels is known."""
    return settings.part.over(settings) if settings.part and spec.fraction < 100 else settings
