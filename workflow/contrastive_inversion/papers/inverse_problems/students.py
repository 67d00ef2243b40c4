"""Distillation: a student sees distorted images and learns the embeddings that the frozen teacher has of clean ones.

The student starts from the teacher's weights. Both see the same crop and flip; only the student's view is
distorted. The teacher stays in eval mode; in the authors' code the training framework put it back into train mode
(`teacher_mode: train`).
"""

import copy

import torch

from contrastive_inversion.data import store
from contrastive_inversion.learn import networks
from contrastive_inversion.learn.loop import fit
from contrastive_inversion.learn.losses import LOSSES
from contrastive_inversion.ledger.plan import setting
from contrastive_inversion.papers.inverse_problems.baselines import distorted_for_training


def train(recipe, job, load):
    """Train a student. Returns its tensors and the facts of its training.

    load(product) gives the path and the recipe's hash of an input product.
    """
    settings, seed = recipe["settings"], recipe["seed"]
    data = store.split(*load(recipe["train"]), "train")
    teacher, _, _ = networks.load(*load(recipe["teacher"]))
    student = networks.prepare(copy.deepcopy(teacher).train().requires_grad_(True), settings, job)
    networks.prepare(teacher, settings, job).train(setting(settings, "teacher_mode") == "train")
    loss_function, shards = LOSSES[settings["loss"]], setting(settings, "shards")

    def batch_of(step):
        return store.training_batch(data, step.index, recipe["images"], seed, step.epoch, job)

    def loss_of(clean, step):
        distorted = distorted_for_training(clean, recipe, step)
        with torch.no_grad():
            target = networks.sharded(teacher, clean, shards)  # (B, D)
        embedded = networks.sharded(student, rounded(distorted, settings), shards)
        return loss_function(embedded, target, settings["temperature"])

    history = fit(student, student.parameters(), batch_of, loss_of, data, recipe, job)
    return networks.state(student), {"losses": history, "network": recipe["network"]}


def rounded(images, settings):
    """The student's input, rounded to 16 bits where the study says so."""
    return store.half().float() if setting(settings, "input") == "fp16" else images
