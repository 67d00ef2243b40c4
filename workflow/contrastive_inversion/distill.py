"""Distillation: a student sees distorted images and learns the embeddings that the frozen teacher has of clean ones.

The student starts from the teacher's weights. Both see the same crop and flip; only the student's view is
distorted. The teacher stays in eval mode; in the authors' code the training framework put it back into train mode
(`teacher_mode: train`).
"""

import copy

import torch

from contrastive_inversion import encoders, images
from contrastive_inversion.finetune import distorted_for_training
from contrastive_inversion.losses import LOSSES
from contrastive_inversion.recipes import setting
from contrastive_inversion.training import fit


def train(recipe, job, load):
    """Train a student. Returns its tensors and the facts of its training.

    load(product) gives the path and the recipe's hash of an input product.
    """
    settings, seed = recipe["settings"], recipe["seed"]
    data = images.split(*load(recipe["train"]), "train")
    teacher, _, _ = encoders.load(*load(recipe["teacher"]))
    student = encoders.prepare(copy.deepcopy(teacher).train().requires_grad_(True), settings, job)
    encoders.prepare(teacher, settings, job).train(setting(settings, "teacher_mode") == "train")
    loss_function, shards = LOSSES[settings["loss"]], setting(settings, "shards")

    def batch_of(step):
        return images.training_batch(data, step.index, recipe["images"], seed, step.epoch, job)

    def loss_of(clean, step):
        distorted = distorted_for_training(clean, recipe, step)
        with torch.no_grad():
            target = encoders.sharded(teacher, clean, shards)  # (B, D)
        embedded = encoders.sharded(student, rounded(distorted, settings), shards)
        return loss_function(embedded, target, settings["temperature"])

    history = fit(student, student.parameters(), batch_of, loss_of, data, recipe, job)
    return encoders.state(student), {"losses": history, "network": recipe["network"]}


def rounded(images, settings):
    """The student's input, rounded to 16 bits where the study says so."""
    return images.half().float() if setting(settings, "input") == "fp16" else images
