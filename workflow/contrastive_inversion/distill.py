"""Distillation: a student sees distorted images and learns the embeddings that the frozen teacher has of clean ones.

The student starts from the teacher's weights. Both see the same crop and flip; only the student's view is
distorted. The teacher stays in eval mode; in the authors' code the training framework put it back into train mode.
"""

import copy

import torch

from contrastive_inversion import encoders, images
from contrastive_inversion.corruptions import corrupt
from contrastive_inversion.losses import LOSSES
from contrastive_inversion.training import fit


def train(recipe, job, load):
    """Train a student. Returns its tensors and the facts of its training.

    load(product) gives the path and the recipe's hash of an input product.
    """
    settings, seed = recipe["settings"], recipe["seed"]
    data = images.split(*load(recipe["train"]), "train")
    teacher, _, _ = encoders.load(*load(recipe["teacher"]))
    teacher.to(job.device)
    student = copy.deepcopy(teacher).train().requires_grad_(True)
    loss_function = LOSSES[settings["loss"]]

    def loss_of(index, epoch):
        clean = images.training_batch(data, index, recipe["images"], seed, epoch).to(job.device)
        distorted = corrupt(clean, recipe["distortion"], seed, "train", index.to(job.device), epoch)
        with torch.no_grad():
            target = teacher(clean)  # (B, D)
        return loss_function(student(distorted), target, settings["temperature"])

    history = fit(student, student.parameters(), loss_of, data, recipe, job)
    return encoders.state(student), {"losses": history, "network": recipe["network"]}
