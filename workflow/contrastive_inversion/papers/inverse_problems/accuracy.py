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
from contrastive_inversion.learn import linear_heads, metrics, networks, outputs
from contrastive_inversion.learn.checkpoints import KeptRows
from contrastive_inversion.learn.loop import ahead
from contrastive_inversion.papers.inverse_problems.recipes import Accuracy, Head, Level

METRICS: dict[str, Callable[[torch.Tensor, torch.Tensor], float]] = {
    "top1": functools.partial(metrics.top_k, k=1), "top5": functools.partial(metrics.top_k, k=5),
    "mrr": metrics.reciprocal_rank, "auc": metrics.auc,  # of INFECTED, label 0
}  # fmt: skip
View = Iterable[torch.Tensor]  # batches (B, 3, S, S) of a level's images once


def measure(recipe: Accuracy, job: Job) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """All rows of a measurement, one per level, head and metric with a value per instantiation, and no facts.

    Percentages for top1, top5 and mrr, a fraction for auc, from -1 to 1 for cosine. An ImageNet-C level has a value
    per severity instead. Raises UserError for a classifier of its own that an encoder does not have.
    """
    encoder, own = networks.load(job.input(recipe.encoder))
    networks.placed(encoder, recipe.settings.precision, job)
    kept, tests = KeptRows(job), Tests(recipe, job)
    progress = Progress(job, len(recipe.levels), 1, len(kept.parts))
    for position in range(len(kept.parts), len(recipe.levels)):
        level = recipe.levels[position]
        linear = {h.head: weights_of(h, own, recipe, job) for h in level.heads if not h.compares}
        others = {h.head: tests.undistorted(level.images, str(h.encoder)) for h in level.heads if h.compares}
        kept.add(rows_of(level, encoder, linear, others, tests))
        progress.advance(position, 1)
    progress.close()
    return kept.rows, {}


def rows_of(
    level: Level, encoder: networks.Encoder, linear: dict[str, networks.Linear], others: dict[str, torch.Tensor],
    tests: "Tests",
) -> list[dict[str, Any]]:  # fmt: skip
    """The rows of one level: each view is embedded once, whatever the number of heads.

    others: by head, the representations (N, dim) that those of the level are compared with.
    """
    if level.constants:
        encoder = networks.renormalised(encoder, level.constants.mean, level.constants.std)
    labels, views = tests.embedded(level, encoder)
    values: dict[tuple[str, str], list[float]] = {}
    for embeddings in views:
        for head, (weight, bias) in linear.items():
            logits = F.linear(embeddings, weight.to(embeddings), bias.to(embeddings)).cpu()  # (N, classes)
            for metric in filter(METRICS.__contains__, level.metrics):
                values.setdefault((head, metric), []).append(METRICS[metric](logits, labels))
        for head, clean in others.items():
            values.setdefault((head, "cosine"), []).append(F.cosine_similarity(embeddings, clean).mean().item())
    over = "severities" if level.severities else "instantiations"
    return [
        {"head": head, "distortion": level.name, "metric": metric, "over": over, "values": each, "images": len(labels)}
        for (head, metric), each in values.items()
    ]


def weights_of(head: Head, own: networks.Linear | None, recipe: Accuracy, job: Job) -> networks.Linear:
    """Weight (classes, dim) and bias (classes,) of a head: the encoder's own, or a probe from its file."""
    if head.key is None:
        if own is None:
            raise UserError(f"{job.product}: {recipe.encoder} has no classifier of its own ('{head.head}')")
        return own
    return linear_heads.read(job.input(f"heads/{head.encoder}/{recipe.classes_of}"), head.key)


class Tests:
    """The test images of a measurement: undistorted ones are read and cropped once and stay on the job's device."""

    def __init__(self, recipe: Accuracy, job: Job) -> None:
        self.recipe, self.job = recipe, job
        self.read_once: dict[int | None, list[tuple[torch.Tensor, torch.Tensor]]] = {}
        self.embedded_once: dict[tuple[int | None, str], torch.Tensor] = {}

    @functools.cached_property
    def data(self) -> store.Split:
        """The split that is measured on."""
        return store.split(self.job.input(self.recipe.test), self.recipe.split)

    def clean(self, count: int | None) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """So many images in batches (None: all): positions int64 (B,) and uint8 (B, S, S, 3), on the device."""
        if count not in self.read_once:
            data, job = self.data, self.job
            parts = data.spread(count or len(data)).split(self.recipe.settings.batch)
            read = [(i.to(job.device), test_pixels(data, i, self.recipe.images, job)) for i in parts]
            self.read_once[count] = read
        return self.read_once[count]

    def embedded(self, level: Level, encoder: networks.Encoder) -> tuple[torch.Tensor, Iterable[torch.Tensor]]:
        """A level's labels, int64 (N,), and the raw embeddings of each of its views, float32 (N, dim)."""
        if level.restored:
            return self.restored(level.restored, encoder)
        labels, views = self.views_of(level)
        return labels, (outputs.over(view, encoder, self.job.device) for view in views)

    def undistorted(self, count: int | None, encoder: str) -> torch.Tensor:
        """What another encoder makes of so many images before they are distorted: float32 (N, dim)."""
        if (count, encoder) not in self.embedded_once:
            model, _ = networks.load(self.job.input(f"encoders/{encoder}"))
            networks.placed(model, self.recipe.settings.precision, self.job)
            clean = self.distorted(self.clean(count), [], 0)
            self.embedded_once[count, encoder] = outputs.over(clean, model, self.job.device)
        return self.embedded_once[count, encoder]

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
        spec, shown = level.distortion or [], self.clean(level.images)
        often = 1 if is_deterministic(spec) else self.recipe.settings.instantiations
        labels = self.data.labels[torch.cat([ids for ids, _ in shown]).cpu()]
        return labels, (self.distorted(shown, spec, i) for i in range(often))

    def distorted(
        self, shown: list[tuple[torch.Tensor, torch.Tensor]], spec: Specification, instantiation: int
    ) -> View:
        """An instantiation of a distortion of some images."""
        for ids, pixels in shown:
            purpose = f"evaluate/{self.data.name}"
            yield corrupt(as_floats(pixels), spec, self.recipe.seed, purpose, ids, instantiation)

    def read(self, data: store.Split) -> View:
        """The images of a split as they are stored, read while earlier ones are embedded."""
        parts = torch.arange(len(data)).split(self.recipe.settings.batch)
        return ahead(
            lambda index: test_batch(data, index, self.recipe.images, self.job), parts, self.job.threads,
            self.job.device,
        )  # fmt: skip
