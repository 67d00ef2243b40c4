"""Supervised training end to end: the baselines, and the weights that they start from."""

import torch
import torch.nn.functional as F

from contrastive_inversion import encoders, images
from contrastive_inversion.corruptions import corrupt
from contrastive_inversion.training import fit


def train(recipe, job, load):
    """Train a classifier on labelled, distorted images. Returns its tensors and the facts of its training.

    With `initial` in the recipe the trunk starts from that encoder, else from random weights; the linear head is
    always new. load(product) gives the path and the recipe's hash of an input product.
    """
    seed = recipe["seed"]
    data = images.split(*load(recipe["train"]), "train")
    torch.manual_seed(seed)
    encoder = encoders.build(recipe["network"])
    if "initial" in recipe:
        encoder, _, _ = encoders.load(*load(recipe["initial"]))
    classifier = encoders.Classifier(encoder, data.classes).to(job.device).train().requires_grad_(True)

    def loss_of(index, epoch):
        clean = images.training_batch(data, index, recipe["images"], seed, epoch).to(job.device)
        distorted = corrupt(clean, recipe.get("distortion", []), seed, "train", index.to(job.device), epoch)
        return F.cross_entropy(classifier(distorted), data.labels[index].to(job.device))

    history = fit(classifier, classifier.parameters(), loss_of, data, recipe, job)
    return encoders.state(classifier), {"losses": history, "network": recipe["network"]}
