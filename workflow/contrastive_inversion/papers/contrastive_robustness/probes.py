"""Stage 2 of the report: logistic regression on an encoder's frozen, normalised features.

Features are those of undistorted, uncropped images, embedded once; all label fractions are fitted in one job.
"""

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from contrastive_inversion.base.job import Job, Progress
from contrastive_inversion.data import store
from contrastive_inversion.data.batches import test_batches
from contrastive_inversion.learn import metrics, networks, outputs
from contrastive_inversion.learn.linear_heads import Fit, LinearHead, checkpoint_of, labelled
from contrastive_inversion.learn.work import AT_ONCE
from contrastive_inversion.papers.contrastive_robustness.recipes import Heads, ProbeSpec
from contrastive_inversion.papers.contrastive_robustness.settings import Probes, Regression

Labelled = tuple[Tensor, Tensor]  # embeddings (N, dim) and labels (N,)


def fit(recipe: Heads, job: Job) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Fit the probes of an encoder.

    Returns `<key>.weight` (classes, dim) and `<key>.bias` (classes,) of each, and as a fact how many labels each saw.
    A restart goes on after the last probe that was finished.
    """
    data = store.split(job.input(recipe.train), "train")
    features, labels = embedded(data, recipe, job), data.labels.to(job.device)
    how = recipe.settings.subset
    subsets = {spec.key: labelled(data.labels, spec.fraction, recipe.seed, how) for spec in recipe.probes}
    heads = {spec.key: head_of(spec, features.shape[1], data.classes, recipe, job) for spec in recipe.probes}
    checkpoint = checkpoint_of(list(heads.values()), job)
    done, _ = checkpoint.resumed()
    progress = Progress(job, len(heads), recipe.settings.epochs, done)
    tested = test_images(recipe, job) if recipe.settings.selection == "best_test" else None
    for number, (key, head) in list(enumerate(heads.items()))[done:]:
        follow(head, features, labels, subsets[key], tested)
        progress.advance(number, recipe.settings.epochs)
        checkpoint.save(number + 1, [])
    progress.close()
    tensors = {name: tensor for key, head in heads.items() for name, tensor in head.tensors(key).items()}
    return tensors, {"labelled_images": {key: len(subset) for key, subset in subsets.items()}}


def head_of(spec: ProbeSpec, dim: int, classes: int, recipe: Heads, job: Job) -> LinearHead:
    """A probe before its fit."""
    settings = settings_of(spec, recipe.settings)
    how = Fit(torch.optim.SGD, settings, settings.epochs, settings.batch, "logistic")
    return LinearHead(dim, classes, how, recipe.seed, job.device)


def follow(head: LinearHead, features: Tensor, labels: Tensor, subset: Tensor, tested: Labelled | None) -> None:
    """Fit a probe on a subset of the images; with tested images, to the first epoch of the best accuracy on them."""
    best, kept = -1.0, head.linear.state_dict()
    for epoch in range(head.how.epochs):
        head.fit_epoch(features, labels, subset, epoch)
        accuracy = metrics.top_k(head.linear(tested[0]).cpu(), tested[1], 1) if tested else best
        if accuracy > best:
            best, kept = accuracy, copy.deepcopy(head.linear.state_dict())
    head.linear.load_state_dict(kept)


def test_images(recipe: Heads, job: Job) -> Labelled:
    """The test images as embeddings (N, dim) and labels (N,): `selection: best_test` chose its probes on them."""
    data = store.split(job.input(recipe.train), "test")
    return embedded(data, recipe, job), data.labels


def embedded(data: store.Split, recipe: Heads, job: Job) -> torch.Tensor:
    """Unit-length embeddings of all images: float32 (N, dim), on the job's device."""
    encoder, _ = networks.load(job.input(recipe.encoder))
    batches = (batch for _, batch in test_batches(data, recipe.images, AT_ONCE, job))
    return F.normalize(outputs.over(batches, encoder.to(job.device), job.device), dim=1)


def settings_of(spec: ProbeSpec, settings: Probes) -> Regression:
    """A probe's settings; `part` holds what differs where only a part of the labels is known."""
    return settings.part.over(settings) if settings.part and spec.fraction < 100 else settings
