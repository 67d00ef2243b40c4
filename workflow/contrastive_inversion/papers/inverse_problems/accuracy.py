"""Measurements: every level, head and metric of an encoder on a data set, ten instantiations each, kept raw."""

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
import torch.nn.functional as F

from contrastive_inversion.base.errors import UserError
from contrastive_inversion.base.job import Job, Progress
from contrastive_inversion.data import store
from contrastive_inversion.data.batches import test_batches
from contrastive_inversion.distort.names import is_deterministic
from contrastive_inversion.distort.operators import corrupt
from contrastive_inversion.learn import metrics, networks, outputs
from contrastive_inversion.papers.inverse_problems.recipes import Accuracy, Head, Level

METRICS: dict[str, Callable[[torch.Tensor, torch.Tensor], float]] = {
    "top1": functools.partial(metrics.top_k, k=1), "top5": functools.partial(metrics.top_k, k=5),
    "auc": metrics.auc,  # of INFECTED, label 0
}  # fmt: skip
View = Iterable[torch.Tensor]  # batches (B, 3, S, S) of all test images once


def measure(recipe: Accuracy, job: Job) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """All rows of a measurement, one per level, head and metric with a value per instantiation, and no facts.

    Percentages for top1 and top5, a fraction for auc. An ImageNet-C level has a value per severity instead. Raises
    UserError for a classifier of its own that an encoder does not have.
    """
    encoder, own, _ = networks.load(job.input(recipe.encoder))
    encoder.to(job.device)
    progress = Progress(job, len(recipe.levels), 1)
    rows = []
    for position, level in enumerate(recipe.levels):
        linear = {head.head: weights_of(head, own, recipe, job) for head in level.heads}
        rows += rows_of(level, encoder, linear, recipe, job)
        progress.advance(position, 1)
    progress.close()
    return rows, {}


def rows_of(
    level: Level, encoder: networks.Encoder, linear: dict[str, networks.Linear], recipe: Accuracy, job: Job
) -> list[dict[str, Any]]:
    """The rows of one level: each view is embedded once, whatever the number of heads."""
    if level.constants:
        encoder = networks.renormalised(encoder, level.constants.mean, level.constants.std)
    labels, views = views_of(level, recipe, job)
    values: dict[tuple[str, str], list[float]] = {}
    for view in views:
        embeddings = outputs.over(view, encoder, job.device)  # (N, dim), raw
        for head, (weight, bias) in linear.items():
            logits = F.linear(embeddings, weight, bias)  # (N, classes)
            for metric in level.metrics:
                values.setdefault((head, metric), []).append(METRICS[metric](logits, labels))
    over = "severities" if level.severities else "instantiations"
    return [
        {"head": head, "distortion": level.name, "metric": metric, "over": over, "values": found, "images": len(labels)}
        for (head, metric), found in values.items()
    ]


def weights_of(head: Head, own: networks.Linear | None, recipe: Accuracy, job: Job) -> networks.Linear:
    """Weight (classes, dim) and bias (classes,) of a head: the encoder's own, or a probe from its file."""
    if head.key is None:
        if own is None:
            raise UserError(f"{job.product}: {recipe.encoder} has no classifier of its own ('{head.head}')")
        return own
    tensors, _ = store.load(job.input(f"heads/{head.encoder}/{recipe.classes_of}"))
    return tensors[f"{head.key}.weight"], tensors[f"{head.key}.bias"]


def views_of(level: Level, recipe: Accuracy, job: Job) -> tuple[torch.Tensor, Iterator[View]]:
    """The labels of a level, int64 (N,), and its views: one per restored or drawn instantiation, or per severity."""
    if level.restored:
        tensors, _ = store.load(job.input(level.restored))
        return tensors["labels"], (view.split(recipe.settings.batch) for view in tensors["images"])  # (n, N, 3, S, S)
    if level.severities:
        splits = [store.split(job.input(recipe.test), f"{level.name}/{severity}") for severity in level.severities]
        return splits[0].labels, ((batch for _, batch in batches_of(data, recipe, job)) for data in splits)
    data, spec = store.split(job.input(recipe.test), recipe.split), level.distortion or []
    clean = list(batches_of(data, recipe, job))

    def view(instantiation: int) -> View:
        for index, batch in clean:
            yield corrupt(batch, spec, recipe.seed, f"evaluate/{data.name}", index, instantiation)

    return data.labels, map(view, range(1 if is_deterministic(spec) else recipe.settings.instantiations))


def batches_of(data: store.Split, recipe: Accuracy, job: Job) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Undistorted test images on the job's device: their positions, int64 (B,), and float32 (B, 3, S, S)."""
    return test_batches(data, recipe.images, recipe.settings.batch, job)
