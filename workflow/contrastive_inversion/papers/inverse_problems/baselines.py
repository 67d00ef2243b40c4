"""Supervised training end to end: the baselines, and the weights that they start from."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from contrastive_inversion.base.job import Job
from contrastive_inversion.data import store
from contrastive_inversion.data.batches import training_batch
from contrastive_inversion.learn import networks
from contrastive_inversion.learn.loop import Step, fit
from contrastive_inversion.learn.views import distorted_for_training
from contrastive_inversion.papers.inverse_problems.recipes import SupervisedTraining


def train(recipe: SupervisedTraining, job: Job) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Train a classifier on labelled, distorted images. Returns its tensors, and the loss of each epoch as a fact."""
    settings, spec = recipe.settings, recipe.distortion or []
    data = store.split(job.input(recipe.train), "train")
    classifier, labels = untrained(recipe, data.classes, job), data.labels.to(job.device)

    def batch_of(step: Step) -> torch.Tensor:
        return training_batch(data, step.index, recipe.images, recipe.seed, step.epoch, job)

    def loss_of(clean: torch.Tensor, step: Step) -> torch.Tensor:
        distorted = distorted_for_training(clean, spec, recipe.seed, step, settings.repeated_draws)
        logits = networks.sharded(classifier, distorted, settings.shards)  # (B, classes)
        return F.cross_entropy(logits, labels[step.ids])

    trained = classifier.head if settings.frozen else classifier
    history = fit(classifier, trained.parameters(), batch_of, loss_of, data, recipe, job)
    return networks.state(classifier), {"losses": history}


def untrained(recipe: SupervisedTraining, classes: int, job: Job) -> networks.Classifier:
    """A classifier before its first step: its trunk that of `initial` or random, its linear head always new.

    `frozen: true` leaves the trunk as it is, in eval mode.
    """
    torch.manual_seed(recipe.seed)
    encoder = networks.build(recipe.network)  # even where it is replaced, the head's draws come after these
    if recipe.initial is not None:
        encoder, _ = networks.load(job.input(recipe.initial))
    head = nn.Linear(encoder.dim, classes)
    classifier = networks.Classifier(networks.prepare(encoder, recipe.settings, job), head).to(job.device)
    classifier.train().requires_grad_(True)
    encoder.train(not recipe.settings.frozen).requires_grad_(not recipe.settings.frozen)
    return classifier
