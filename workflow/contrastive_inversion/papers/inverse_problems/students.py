"""Distillation: a student sees distorted images and learns the embeddings that the frozen teacher has of clean ones.

The student starts from the teacher's weights. Both see the same crop and flip; only the student's view is
distorted. The teacher stays in eval mode; in the authors' code the training framework put it back into train mode
(`teacher_mode: train`).
"""

import copy
from typing import Any

import torch

from contrastive_inversion.base.job import Job
from contrastive_inversion.data import store
from contrastive_inversion.data.batches import training_batch
from contrastive_inversion.learn import networks
from contrastive_inversion.learn.loop import Step, fit
from contrastive_inversion.learn.losses import LOSSES
from contrastive_inversion.learn.views import distorted_for_training
from contrastive_inversion.papers.inverse_problems.recipes import Distillation


def train(recipe: Distillation, job: Job) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Train a student. Returns its tensors, and the loss of each epoch as a fact."""
    settings = recipe.settings
    data = store.split(job.input(recipe.train), "train")
    student, teacher = student_and_teacher(recipe, job)
    criterion = LOSSES[str(settings.loss)]

    def batch_of(step: Step) -> torch.Tensor:
        return training_batch(data, step.index, recipe.images, recipe.seed, step.epoch, job)

    def loss_of(clean: torch.Tensor, step: Step) -> torch.Tensor:
        distorted = distorted_for_training(clean, recipe.distortion, recipe.seed, step, settings.repeated_draws)
        with torch.no_grad():
            target = networks.sharded(teacher, clean, settings.shards)  # (B, D)
        embedded = networks.sharded(student, distorted, settings.shards)  # (B, D)
        return criterion(embedded, target, settings.temperature)

    history = fit(student, student.parameters(), batch_of, loss_of, data, recipe, job)
    return networks.state(student), {"losses": history}


def student_and_teacher(recipe: Distillation, job: Job) -> tuple[networks.Encoder, networks.Encoder]:
    """A student before its first step, and its teacher, which is trained no more: both on the job's device."""
    teacher, _, _ = networks.load(job.input(recipe.teacher))
    student = copy.deepcopy(teacher).train().requires_grad_(True)
    student.input = recipe.network.input
    networks.prepare(teacher, recipe.settings, job).train(recipe.settings.teacher_mode == "train")
    return networks.prepare(student, recipe.settings, job), teacher
