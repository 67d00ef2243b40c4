"""Supervised training end to end: the baselines, and the weights that they start from."""

import torch
import torch.nn.functional as F

from contrastive_inversion.data import store
from contrastive_inversion.distort.operators import corrupt
from contrastive_inversion.learn import networks
from contrastive_inversion.learn.loop import fit
from contrastive_inversion.ledger.plan import setting


def train(recipe, job, load):
    """Train a classifier on labelled, distorted images. Returns its tensors and the facts of its training.

    With `initial` in the recipe the trunk starts from that encoder, else from random weights; the linear head is
    always new. `frozen: true` trains the head alone. load(product) gives the path and the recipe's hash of an input
    product.
    """
    settings, seed = recipe["settings"], recipe["seed"]
    data = store.split(*load(recipe["train"]), "train")
    torch.manual_seed(seed)
    encoder = networks.build(recipe["network"])
    if "initial" in recipe:
        encoder, _, _ = networks.load(*load(recipe["initial"]))
    frozen = setting(settings, "frozen")
    classifier = networks.Classifier(networks.prepare(encoder, settings, job), data.classes).to(job.device)
    classifier.train().requires_grad_(True)
    encoder.train(not frozen).requires_grad_(not frozen)

    def batch_of(step):
        return store.training_batch(data, step.index, recipe["images"], seed, step.epoch, job)

    def loss_of(clean, step):
        distorted = distorted_for_training(clean, recipe, step)
        logits = networks.sharded(classifier, distorted, setting(settings, "shards"))
        return F.cross_entropy(logits, data.labels[step.index].to(job.device))

    trained = classifier.head if frozen else classifier
    history = fit(classifier, trained.parameters(), batch_of, loss_of, data, recipe, job)
    return networks.state(classifier), {"losses": history, "network": recipe["network"]}


def distorted_for_training(clean, recipe, step):
    """A batch as a training sees it. `repeated_draws` gives the masks and levels that the authors' workers repeated.

    Each of their `workers` drew the same numbers for its k-th batch of `batch` images, in every epoch.
    """
    ids, repeated = step.index.to(clean.device), None
    if "repeated_draws" in recipe["settings"]:
        workers, batch = (recipe["settings"]["repeated_draws"][key] for key in ("workers", "batch"))
        place = torch.arange(len(ids), device=clean.device) % batch
        repeated = place + batch * (step.number // workers), 0
    return corrupt(clean, recipe.get("distortion", []), recipe["seed"], "train", ids, step.epoch, repeated)
