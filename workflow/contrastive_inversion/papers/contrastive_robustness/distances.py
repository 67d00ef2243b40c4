"""Measurements of the second report: clean accuracy, and how far an image must be moved to be misclassified."""

import math

import numpy as np
import torch
from torch import nn

from contrastive_inversion.base.job import Progress
from contrastive_inversion.data import store
from contrastive_inversion.distort import attacks
from contrastive_inversion.learn import networks
from contrastive_inversion.ledger.quantities import WITHIN
from contrastive_inversion.papers.contrastive_robustness.classifiers import Model, load_model
from contrastive_inversion.papers.inverse_problems.accuracy import top_k

RESAMPLES = 200  # of the bootstrap: the standard error to 5 %


def measure(recipe, job, load):
    """All rows of a measurement: top-1 on clean images, and per attack the rows of its distances.

    load(product) gives the path and the recipe's hash of an input product.
    """
    data = store.split(*load(recipe["test"]), recipe["split"])
    rows = []
    for level in recipe["levels"]:
        for head in level["heads"]:
            attacked = level["name"] != "clean"
            normalised = not attacked or recipe["settings"]["features"] == "normalised"
            model = model_of(head, normalised, recipe, load).to(job.device)
            found = attacked_rows if attacked else clean_rows
            rows += [
                {"head": head["head"], "distortion": level["name"]} | r for r in found(model, data, level, recipe, job)
            ]
    return rows, {}


def model_of(head, normalised, recipe, load):
    """The classifier that a head's text names: a network trained end to end, or an encoder with a probe."""
    path, recipe_hash = load(recipe["encoder"])
    if "key" not in head:
        tensors, record = store.load(path, recipe_hash)
        return load_model(tensors, record["network"])
    encoder, _, _ = networks.load(path, recipe_hash)
    tensors, _ = store.load(*load(f"heads/{recipe['encoder'].removeprefix('encoders/')}/{recipe['classes_of']}"))
    weight, bias = tensors[f"{head['key']}.weight"], tensors[f"{head['key']}.bias"]
    linear = nn.Linear(weight.shape[1], weight.shape[0])
    linear.load_state_dict({"weight": weight, "bias": bias})
    return Model(encoder, linear, normalised).eval().requires_grad_(False)


@torch.no_grad()
def clean_rows(model, data, level, recipe, job):
    batches = store.test_batches(data, recipe["images"], recipe["settings"]["batch"], job)
    logits = torch.cat([model(batch).cpu() for _, batch in batches])
    return [{"metric": "top1", "over": "images", "values": [top_k(logits, data.labels, 1)], "images": len(data)}]


def attacked_rows(model, data, level, recipe, job):
    """One row per metric, and one with every image's own distance behind them."""
    chosen = data.spread(recipe["settings"]["images"])
    progress = Progress(job, 1, len(chosen))
    found = []
    for index, batch in store.test_batches(data, recipe["images"], recipe["settings"]["batch"], job, chosen):
        found.append(run(model, batch, data.labels.to(job.device)[index], index, level, recipe))
        progress.advance(0, len(index))
    progress.close()
    distances = torch.cat([f.distance for f in found]).cpu()
    wrong = torch.cat([f.clean_error for f in found]).cpu()
    common = {"over": "images", "images": len(chosen)}
    rows = [common | estimated(m, distances, wrong, batch[0].numel()) for m in level["metrics"]]
    return [*rows, common | raw(distances, wrong)]


def estimated(metric, distances, wrong, size):
    """A metric and its standard error over the draw of the attacked images, by the bootstrap."""
    random = np.random.default_rng(0)
    draws = [torch.from_numpy(random.integers(0, len(wrong), len(wrong))) for _ in range(RESAMPLES)]
    resampled = [value(metric, distances[rows], wrong[rows], size) for rows in draws]
    found = value(metric, distances, wrong, size)
    return {"metric": metric, "values": [found], "se": float(np.std(resampled, ddof=1))}


def run(model, batch, labels, ids, level, recipe):
    """One attack on one batch."""
    settings = level["settings"]
    if level["name"] == "pgd":
        return attacks.pgd(model, batch, labels, **settings)
    return attacks.proximal_log_barrier(model, batch, labels, "l2", seed=recipe["seed"], ids=ids, **settings)


def value(metric, distances, wrong, size):
    """A metric of the distances (N,), inf where the attack failed. wrong: bool (N,), misclassified from the start.

    `all@x`: % of all images misclassified within a distance x, clean errors counted. `printed@x`: % within x of the
    images that the report's figure counts, those with a positive and finite distance. `median`: of the images that
    are classified correctly; a failure counts as the diagonal of the box, sqrt(`size`).
    """
    if metric == "median":
        of_right = distances[~wrong].clamp(max=math.sqrt(size))
        return of_right.median().item() if len(of_right) else 0.0
    counted, within = WITHIN.fullmatch(metric).groups()
    if counted == "printed":
        distances = distances[(distances > 0) & distances.isfinite()]
    return 100 * (distances <= float(within)).double().mean().item() if len(distances) else 0.0


def raw(distances, wrong):
    """Every image's distance, those of failures left out, and how many failed or were wrong before any attack."""
    kept = distances[~wrong & distances.isfinite()]
    return {
        "metric": "distances", "values": [round(d, 6) for d in kept.tolist()] or [0.0],
        "clean_errors": int(wrong.sum()), "failures": int((~distances.isfinite()).sum()),
    }  # fmt: skip
