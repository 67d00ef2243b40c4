"""Stage 2 of the second report: logistic regression on an encoder's frozen, normalised features.

Features are those of undistorted, uncropped images, embedded once; all label fractions are fitted in one job.
"""

import math

import torch
import torch.nn.functional as F

from contrastive_inversion.base import rng
from contrastive_inversion.base.job import Progress
from contrastive_inversion.data import store
from contrastive_inversion.learn import networks
from contrastive_inversion.learn.loop import learning_rate
from contrastive_inversion.papers.inverse_problems.probes import EMBEDDED_AT_ONCE, stratified


def fit(recipe, job, load):
    """Fit the probes of an encoder. Returns `<key>.weight`, `<key>.bias` of each, and facts.

    load(product) gives the path and the recipe's hash of an input product.
    """
    data = store.split(*load(recipe["train"]), "train")
    encoder, _, _ = networks.load(*load(recipe["encoder"]))
    encoder.to(job.device)
    features = embed(encoder, data, recipe, job)
    progress = Progress(job, len(recipe["probes"]), recipe["settings"]["epochs"])
    tensors, labelled = {}, {}
    for number, probe in enumerate(recipe["probes"]):
        subset = stratified(data.labels, probe["fraction"], recipe["seed"])
        settings = settings_of(probe, recipe["settings"])
        linear = regression(features[subset], data.labels[subset], data.classes, settings, recipe["seed"])
        tensors |= {f"{probe['key']}.{name}": t.detach() for name, t in linear.state_dict().items()}
        labelled[probe["key"]] = len(subset)
        progress.advance(number, recipe["settings"]["epochs"])
    progress.close()
    return tensors, {"labelled_images": labelled}


@torch.no_grad()
def embed(encoder, data, recipe, job):
    """Unit-length embeddings of all images: float32 (N, dim), on the CPU."""
    batches = store.test_batches(data, recipe["images"], EMBEDDED_AT_ONCE, job)
    rows = [encoder(batch).cpu() for _, batch in batches]
    return F.normalize(torch.cat(rows), dim=1)


def settings_of(probe, settings):
    """A probe's settings; `part` holds what differs where only a part of the labels is known."""
    return settings | (settings.get("part", {}) if probe["fraction"] < 100 else {})


def regression(features, labels, classes, settings, seed):
    """Multinomial logistic regression by SGD, as the report fits it. features: (N, dim); labels: int64 (N,)."""
    torch.manual_seed(seed)
    linear = torch.nn.Linear(features.shape[1], classes)
    optimizer = torch.optim.SGD(linear.parameters(), lr=settings["lr"])
    steps = math.ceil(len(features) / settings["batch"])
    for epoch in range(settings["epochs"]):
        order = rng.permutation(len(features), seed, "logistic", epoch)
        for number, index in enumerate(order.split(settings["batch"])):
            step = epoch * steps + number
            optimizer.param_groups[0]["lr"] = learning_rate(settings, step, steps, settings["epochs"])
            loss = F.cross_entropy(linear(features[index]), labels[index])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
    return linear
