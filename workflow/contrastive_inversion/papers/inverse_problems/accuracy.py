"""Measurements: every level, head and metric of an encoder on a data set, ten instantiations each, kept raw."""

import functools

import torch

from contrastive_inversion.base.job import Progress
from contrastive_inversion.data import store
from contrastive_inversion.distort.names import is_deterministic
from contrastive_inversion.distort.operators import corrupt
from contrastive_inversion.learn import networks


def top_k(logits, labels, k):
    """Percentage of images whose label is among the k largest logits. logits: (N, C); labels: int64 (N,)."""
    k = min(k, logits.shape[1])
    return 100 * (logits.topk(k, dim=1).indices == labels[:, None]).any(dim=1).double().mean().item()


def auc(logits, labels, positive=0):
    """Area under the ROC curve of class `positive`'s probability (label 0: INFECTED), in [0, 1]."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score((labels == positive).numpy(), logits.softmax(dim=1)[:, positive].numpy()))


METRICS = {"top1": functools.partial(top_k, k=1), "top5": functools.partial(top_k, k=5), "auc": auc}


def measure(recipe, job, load):
    """All rows of a measurement, one per level, head and metric with a value per instantiation, and no facts.

    Percentages for top1 and top5, a fraction for auc. An ImageNet-C level has a value per severity instead.
    load(product) gives the path and the recipe's hash of an input product.
    """
    encoder, own, _ = networks.load(*load(recipe["encoder"]))
    encoder.to(job.device)
    progress = Progress(job, len(recipe["levels"]), 1)
    rows = []
    for position, level in enumerate(recipe["levels"]):
        heads = {head["head"]: weights_of(head, own, recipe, load) for head in level["heads"]}
        labels, views = views_of(level, recipe, job, load)
        network = networks.renormalised(encoder, level["constants"]) if "constants" in level else encoder
        values = {}
        for view in views:
            embeddings = embed(network, view, job)
            for name, (weight, bias) in heads.items():
                logits = torch.nn.functional.linear(embeddings, weight, bias)  # (N, C)
                for metric in level["metrics"]:
                    values.setdefault((name, metric), []).append(METRICS[metric](logits, labels))
        rows += [row(level, name, metric, found, len(labels)) for (name, metric), found in values.items()]
        progress.advance(position, 1)
    progress.close()
    return rows, {}


def row(level, head, metric, values, images_tested):
    kind = "severities" if "severities" in level else "instantiations"
    return {
        "head": head, "distortion": level["name"], "metric": metric, "over": kind, "values": values,
        "images": images_tested,
    }  # fmt: skip


def weights_of(head, own, recipe, load):
    """Weight (C, dim) and bias (C,) of a head: the encoder's own, or a probe from its file."""
    if "key" not in head:
        return own
    tensors, _ = store.load(*load(f"heads/{head['encoder']}/{recipe['classes_of']}"))
    return tensors[f"{head['key']}.weight"], tensors[f"{head['key']}.bias"]


def views_of(level, recipe, job, load):
    """The labels of a level and an iterator over its views; a view is an iterable of batches (B, 3, S, S)."""
    if "severities" in level:
        return severities(level, recipe, job, load)
    if "restored" in level:
        return restorations(level, recipe, load)
    data = store.split(*load(recipe["test"]), recipe["split"])
    count = 1 if is_deterministic(level["distortion"]) else recipe["settings"]["instantiations"]
    clean = clean_batches(data, recipe, job)
    return data.labels, (distorted(clean, data, level, recipe, i) for i in range(count))


def clean_batches(data, recipe, job):
    """The test images before any distortion: a list of (positions, float32 (B, 3, S, S)) on the job's device."""
    return list(store.test_batches(data, recipe["images"], recipe["settings"]["batch"], job))


def distorted(clean, data, level, recipe, instantiation):
    """The batches of one instantiation of a level."""
    for index, batch in clean:
        yield corrupt(batch, level["distortion"], recipe["seed"], f"evaluate/{data.name}", index, instantiation)


def severities(level, recipe, job, load):
    """One view for each severity of an ImageNet-C corruption."""
    found = [store.split(*load(recipe["test"]), f"{level['name']}/{severity}") for severity in level["severities"]]
    batches = (
        (batch for _, batch in store.test_batches(data, recipe["images"], recipe["settings"]["batch"], job))
        for data in found
    )
    return found[0].labels, batches


def restorations(level, recipe, load):
    """One view for each instantiation of images that were restored in pixel space."""
    tensors, _ = store.load(*load(level["restored"]))
    return tensors["labels"], (
        view.split(recipe["settings"]["batch"]) for view in tensors["images"]
    )  # (instantiations, N, 3, S, S)


@torch.no_grad()
def embed(encoder, batches, job):
    """Raw embeddings of a view's batches: float32 (N, dim), on the CPU."""
    return torch.cat([encoder(batch.to(job.device)).cpu() for batch in batches])
