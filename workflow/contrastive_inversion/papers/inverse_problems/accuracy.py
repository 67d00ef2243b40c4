"""Measurements: every level, head and metric of an encoder on a data set, ten instantiations each, kept raw."""

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
import torch.nn.functional as F

from contrastive_inversion.base import files
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.base.job import Job, Progress
from contrastive_inversion.data import store
from contrastive_inversion.data.batches import as_floats, test_batch, test_pixels
from contrastive_inversion.distort.names import Specification, is_deterministic
from contrastive_inversion.distort.operators import corrupt
from contrastive_inversion.learn import metrics, networks, outputs
from contrastive_inversion.learn.checkpoints import KeptRows
from contrastive_inversion.learn.loop import ahead
from contrastive_inversion.papers.inverse_problems.recipes import Accuracy, Head, Level

METRICS: dict[str, Callable[[torch.Tensor, torch.Tensor], float]] = {
    "top1": functools.partial(metrics.top_k, k=1), "top5": functools.partial(metrics.top_k, k=5),
    "mrr": metrics.reciprocal_rank, "auc": metrics.auc,  # of INFECTED, label 0
}  # fmt: skip
View = Iterable[torch.Tensor]  # batches (B, 3, S, S) of all test images once


def measure(recipe: Accuracy, job: Job) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """All rows of a measurement, one per level, head and metric with a value per instantiation, and no facts.

    Percentages for top1 and top5, a fraction for auc. An ImageNet-C level has a value per severity instead. Raises
    UserError for a classifier of its own that an encoder does not have.
    """
    encoder, own, _ = networks.load(job.input(recipe.encoder))
    networks.placed(encoder, recipe.settings.precision, job)
    kept, tests = KeptRows(job), Tests(recipe, job)
    progress = Progress(job, len(recipe.levels), 1, len(kept.parts))
    for position in range(len(kept.parts), len(recipe.levels)):
        level = recipe.levels[position]
        linear = {head.head: weights_of(head, own, recipe, job) for head in level.heads}
        kept.add(rows_of(level, encoder, linear, tests))
        progress.advance(position, 1)
    progress.close()
    return kept.rows, {}


def rows_of(
    level: Level, encoder: networks.Encoder, linear: dict[str, networks.Linear], tests: "Tests"
) -> list[dict[str, Any]]:
    """The rows of one level: each view is embedded once, whatever the number of heads."""
    if level.constants:
        encoder = networks.renormalised(encoder, level.constants.mean, level.constants.std)
    labels, views = tests.embedded(level, encoder)
    values: dict[tuple[str, str], list[float]] = {}
    for embeddings in views:
        for head, (weight, bias) in linear.items():
            logits = F.linear(embeddings, weight.to(embeddings), bias.to(embeddings)).cpu()  # (N, classes)
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


class Tests:
    """The test images of a measurement: undistorted ones are read and cropped once and stay on the job's device."""

    def __init__(self, recipe: Accuracy, job: Job) -> None:
        self.recipe, self.job = recipe, job

    @functools.cached_property
    def clean(self) -> tuple[store.Split, list[tuple[torch.Tensor, torch.Tensor]]]:
        """The split, and its images in batches: positions int64 (B,) and uint8 (B, S, S, 3), on the device."""
        data = store.split(self.job.input(self.recipe.test), self.recipe.split)
        parts = torch.arange(len(data)).split(self.recipe.settings.batch)
        return data, [(i.to(self.job.device), test_pixels(data, i, self.recipe.images, self.job)) for i in parts]

    def embedded(self, level: Level, encoder: networks.Encoder) -> tuple[torch.Tensor, Iterable[torch.Tensor]]:
        """A level's labels, int64 (N,), and the raw embeddings of each of its views, float32 (N, dim)."""
        if level.restored:
            return self.restored(level.restored, encoder)
        labels, views = self.views_of(level)
        return labels, (outputs.over(view, encoder, self.job.device) for view in views)

    def restored(self, blocks: Iterable[str], encoder: networks.Encoder) -> tuple[torch.Tensor, Iterable[torch.Tensor]]:
        """`embedded` of restored images, one view per instantiation; no more than a block is in memory."""
        labels, views = [], []
        for source in map(self.job.input, blocks):
            tensors, _ = files.load(source.path, source.recipe_hash)
            batches = (view.split(self.recipe.settings.batch) for view in tensors["images"])  # (n, N, 3, S, S)
            labels.append(tensors["labels"])
            views.append([outputs.over(view, encoder, self.job.device) for view in batches])
        return torch.cat(labels), map(torch.cat, zip(*views, strict=True))

    def views_of(self, level: Level) -> tuple[torch.Tensor, Iterator[View]]:
        """A level's labels, int64 (N,), and its views: one per drawn instantiation, or per severity."""
        if level.severities:
            names = [f"{level.name}/{severity}" for severity in level.severities]
            splits = [store.split(self.job.input(self.recipe.test), name) for name in names]
            return splits[0].labels, map(self.read, splits)
        often = 1 if is_deterministic(level.distortion or []) else self.recipe.settings.instantiations
        return self.clean[0].labels, (self.distorted(level.distortion or [], i) for i in range(often))

    def distorted(self, spec: Specification, instantiation: int) -> View:
        """An instantiation of a distortion."""
        data, batches = self.clean
        for ids, pixels in batches:
            purpose = f"evaluate/{data.name}"
            yield corrupt(as_floats(pixels), spec, self.recipe.seed, purpose, ids, instantiation)

    def read(self, data: store.Split) -> View:
        """The images of a split as they are stored, read while earlier ones are embedded."""
        parts = torch.arange(len(data)).split(self.recipe.settings.batch)
        return ahead(
            lambda index: test_batch(data, index, self.recipe.images, self.job), parts, self.job.threads,
            self.job.device,
        )  # fmt: skip
