"""Distillation: a student sees distorted images and learns the embeddings that the frozen teacher has of clean ones.

The student starts from the teacher's weights. Both see the same crop and flip; only the student's view is
distorted. The teacher stays in eval mode; in the authors' code the training framework put it back into train mode
(`teacher_mode: train`).
"""

import copy
from typing import Any

import torch

from contrastive_inversion import papers
from contrastive_inversion.base import files
from contrastive_inversion.base.canonical import digest
from contrastive_inversion.base.job import Job, Progress, file_of
from contrastive_inversion.data import store
from contrastive_inversion.data.batches import sent, training_batch
from contrastive_inversion.learn import networks
from contrastive_inversion.learn.loop import Step, ahead, fit, steps_of
from contrastive_inversion.learn.losses import LOSSES
from contrastive_inversion.learn.views import distorted_for_training
from contrastive_inversion.ledger import plan
from contrastive_inversion.papers.inverse_problems.recipes import Distillation, Targets, targets_at, targets_of


def train(recipe: Distillation, job: Job) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Train a student. Returns its tensors, and the loss of each epoch as a fact."""
    settings = recipe.settings
    data = store.split(job.input(recipe.train), "train")
    student, teacher = student_and_teacher(recipe, job)
    criterion, kept = LOSSES[str(settings.loss)], kept_targets(recipe, job)

    def batch_of(step: Step) -> tuple[torch.Tensor, torch.Tensor | None]:
        clean = training_batch(data, step.index, recipe.images, recipe.seed, step.epoch, job)
        return clean, None if kept is None else sent(kept[step.epoch, step.index], job)

    def loss_of(batch: tuple[torch.Tensor, torch.Tensor | None], step: Step) -> torch.Tensor:
        clean, target = batch
        distorted = distorted_for_training(clean, recipe.distortion, recipe.seed, step, settings.repeated_draws)
        with torch.no_grad():
            target = networks.sharded(teacher, clean, settings.shards) if target is None else target.float()  # (B, D)
        embedded = networks.sharded(student, distorted, settings.shards)  # (B, D)
        return criterion(embedded, target, settings.temperature)

    history = fit(student, student.parameters(), batch_of, loss_of, data, recipe, job)
    return networks.state(student), {"losses": history}


@torch.no_grad()
def embed_targets(recipe: Targets, job: Job) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The teacher's embeddings of every image in every epoch, in the very batches in which students see them.

    Returns `embeddings` (epochs, N, D), in 16 bits where that loses nothing, else in 32; and no facts.
    """
    settings, data = recipe.settings, store.split(job.input(recipe.train), "train")
    teacher, _ = networks.load(job.input(recipe.teacher))
    networks.prepare(teacher, settings, job)
    embeddings = torch.zeros(settings.epochs, len(data), teacher.dim)
    progress = Progress(job, settings.epochs, len(data))
    for epoch in range(settings.epochs):
        rows = torch.zeros(len(data), teacher.dim, device=job.device)
        steps = steps_of(len(data), recipe, epoch, job.device)

        def clean(step: Step) -> torch.Tensor:
            return training_batch(data, step.index, recipe.images, recipe.seed, step.epoch, job)

        for step, batch in zip(steps, ahead(clean, steps, job.threads, job.device), strict=True):
            rows[step.ids] = networks.sharded(teacher, batch, settings.shards)
            progress.advance(epoch, len(batch))
        embeddings[epoch] = rows.cpu()
    progress.close()
    short = embeddings.half()
    return {"embeddings": short if torch.equal(short.float(), embeddings) else embeddings}, {}


def kept_targets(recipe: Distillation, job: Job) -> torch.Tensor | None:
    """The teacher's embeddings (epochs, N, D), where a job has kept those that this student would compute."""
    path = job.root / file_of(targets_at(recipe.seed))
    if recipe.settings.teacher_mode == "train" or not path.exists():
        return None
    wanted = digest(plan.written(targets_of(recipe), papers.paper("inverse_problems")))
    if files.record_in(path).get("recipe_hash") != wanted:
        return None
    embeddings: torch.Tensor = files.load(path)[0]["embeddings"]
    return embeddings


def student_and_teacher(recipe: Distillation, job: Job) -> tuple[networks.Encoder, networks.Encoder]:
    """A student before its first step, and its teacher, which is trained no more: both on the job's device."""
    teacher, _ = networks.load(job.input(recipe.teacher))
    student = copy.deepcopy(teacher).train().requires_grad_(True)
    student.input = recipe.network.input
    networks.prepare(teacher, recipe.settings, job).train(recipe.settings.teacher_mode == "train")
    return networks.prepare(student, recipe.settings, job), teacher
