"""Measurements: clean accuracy, and how far an image must be moved to be misclassified."""

from typing import Any

import numpy as np
import torch
from scipy.stats import bootstrap
from torch import Tensor, nn

from contrastive_inversion.base.job import Job, Progress
from contrastive_inversion.data import batches, store
from contrastive_inversion.distort import attacks, published_attacks
from contrastive_inversion.distort.attacks import Adversarial
from contrastive_inversion.learn import linear_heads, metrics, networks, outputs
from contrastive_inversion.learn.checkpoints import KeptRows
from contrastive_inversion.learn.networks import Classifier
from contrastive_inversion.learn.settings import Network
from contrastive_inversion.ledger.quantities import Head
from contrastive_inversion.papers.contrastive_robustness.classifiers import load_model
from contrastive_inversion.papers.contrastive_robustness.recipes import Distances, Level
from contrastive_inversion.papers.contrastive_robustness.settings import Pgd, Plb

RESAMPLES = 200  # of the bootstrap: the standard error to 5 %
NOISE = 1e-5  # of a float32 distance: PGD walks in strides of a threshold, and lands on it but for the last digits
Row = dict[str, Any]


def measure(recipe: Distances, job: Job) -> tuple[list[Row], Row]:
    """All rows of a measurement: top-1 on clean images, and per attack the rows of its distances. No facts."""
    data = store.split(job.input(recipe.test), recipe.split)
    kept = KeptRows(job)
    parts = [(level, head) for level in recipe.levels for head in level.heads]
    for level, head in parts[len(kept.parts) :]:
        rows = united(level, head, kept.rows) if level.strongest_of else measured(level, head, data, recipe, job)
        kept.add([{"head": head.head, "distortion": level.name} | row for row in rows])
    return kept.rows, {}


def measured(level: Level, head: Head, data: store.Split, recipe: Distances, job: Job) -> list[Row]:
    """The rows of one head on clean images, or under an attack."""
    normalised = level.settings is None or recipe.settings.features == "normalised"
    model = model_of(recipe.encoder, head, normalised, recipe, job)
    if level.settings is None:
        return [clean_row(model, data, recipe, job)]
    other = level.source
    source = model_of(other.encoder, other.head, normalised, recipe, job) if other else model
    return attacked_rows(model, source, data, level.metrics, level.settings, recipe, job)


def united(level: Level, head: Head, rows: list[Row]) -> list[Row]:
    """The rows of the nearest that any of some attacks found of each image, from every image's distances in theirs."""
    behind = [
        row["values"]
        for row in rows
        if (row["head"], row["metric"]) == (head.head, "distances") and row["distortion"] in level.strongest_of
    ]
    each = torch.tensor([[torch.inf if d is None else d for d in distances] for distances in behind])  # (attacks, N)
    nearest = each.amin(dim=0)
    return described(level.metrics, nearest, nearest == 0, farthest(nearest))


def model_of(encoder_of: str, head: Head, normalised: bool, recipe: Distances, job: Job) -> Classifier:
    """The classifier that a head's text names, on the job's device: a network trained end to end, or with a probe.

    encoder_of: the product that holds its encoder.
    """
    source = job.input(encoder_of)
    if head.key is None:
        tensors, record = store.load(source)
        return load_model(tensors, Network.model_validate(record["recipe"]["network"])).to(job.device)
    encoder, _ = networks.load(source)
    weight, bias = linear_heads.read(job.input(f"heads/{head.encoder}/{recipe.classes_of}"), head.key)
    linear = nn.Linear(weight.shape[1], weight.shape[0])
    linear.load_state_dict({"weight": weight, "bias": bias})
    return Classifier(encoder, linear, normalised).eval().requires_grad_(False).to(job.device)


def clean_row(model: Classifier, data: store.Split, recipe: Distances, job: Job) -> Row:
    """Top-1 accuracy on all images, in percent."""
    tested = batches.test_batches(data, recipe.images, recipe.settings.batch, job)
    logits = outputs.over((images for _, images in tested), model, job.device).cpu()
    return {"metric": "top1", "over": "images", "values": [metrics.top_k(logits, data.labels, 1)], "images": len(data)}


def attacked_rows(
    model: Classifier, source: Classifier, data: store.Split, wanted: list[str], attack: Pgd | Plb, recipe: Distances,
    job: Job,
) -> list[Row]:  # fmt: skip
    """One row per metric, and one with every image's own distance behind them; source: the model that is attacked."""
    chosen, parts = data.spread(recipe.settings.images), []
    progress = Progress(job, 1, len(chosen))
    for index, images in batches.test_batches(data, recipe.images, recipe.settings.batch, job, chosen):
        parts.append(attacked(model, source, images, data.labels.to(job.device)[index], index, attack, recipe.seed))
        progress.advance(0, len(index))
    progress.close()
    distances = torch.cat([each.distance for each in parts]).cpu()  # (N,)
    wrong = torch.cat([each.clean_error for each in parts]).cpu()  # (N,)
    reached = attack.epsilon if isinstance(attack, Pgd) else farthest(distances)
    return described(wanted, distances, wrong, reached)


def farthest(distances: Tensor) -> float:
    """The largest distance of a success."""
    return distances.nan_to_num(posinf=0).max().item()


def described(wanted: list[str], distances: Tensor, wrong: Tensor, reached: float) -> list[Row]:
    """One row per metric, and one with every image's own distance behind them; see `value`."""
    rows = [estimated(metric, distances, wrong, reached) for metric in wanted]
    return [{"over": "images", "images": len(distances)} | row for row in [*rows, raw(distances, wrong)]]


def attacked(
    model: Classifier, source: Classifier, images: Tensor, labels: Tensor, ids: Tensor, attack: Pgd | Plb, seed: int
) -> Adversarial:
    """One attack on one batch, as described or with the published code's mistake; source: see `attacks.transferred`."""
    if isinstance(attack, Pgd):
        told = attack.model_dump(exclude={"misplaced", "random_start", "norm", "transferred"})
        if attack.transferred:
            return attacks.transferred(model, source, images, labels, norm=attack.norm, **told)
        if attack.misplaced:
            return published_attacks.pgd_misplaced(model, images, labels, **told)
        start = attacks.random_start(images, attack.epsilon, attack.norm, seed, ids) if attack.random_start else None
        return attacks.pgd(model, images, labels, norm=attack.norm, start=start, **told)
    told = attack.model_dump(exclude={"keep_best"})
    adversarial = attacks.proximal_log_barrier(model, images, labels, "l2", seed=seed, ids=ids, **told)
    return adversarial if attack.keep_best else published_attacks.losing_best(adversarial, images)


def estimated(metric: str, distances: Tensor, wrong: Tensor, reached: float) -> Row:
    """A metric and its standard error over the draw of the attacked images, by the bootstrap."""

    def of_rows(rows: np.ndarray) -> float:
        return value(metric, distances[rows], wrong[rows], reached)

    every, random = np.arange(len(wrong)), np.random.default_rng(0)
    drawn = bootstrap([every], of_rows, n_resamples=RESAMPLES, vectorized=False, method="percentile", rng=random)
    row = {"metric": metric, "values": [of_rows(every)], "se": float(drawn.standard_error)}
    return row | ({"censored": True} if censored(metric, distances, wrong) else {})


def censored(metric: str, distances: Tensor, wrong: Tensor) -> bool:
    """Whether a metric is at least what it says: a median, where the attack failed on more than half of the images."""
    return metric == "median" and value("failed", distances, wrong, 0) > 50


def value(metric: str, distances: Tensor, wrong: Tensor, reached: float) -> float:
    """A metric of the distances (N,), inf where the attack failed. wrong: bool (N,), misclassified from the start.

    `all@x`: % of all images misclassified within a distance x, clean errors counted. `printed@x`: % within x of the
    images that the report's figure counts, those with a positive and finite distance. `median`: of the images that
    are classified correctly. All that a failure says is that the distance is at least what the attack has `reached`,
    so where more than half failed, the median is at least that. `failed`: % of those images on which it failed.
    """
    counted, _, within = metric.partition("@")
    if counted in ("median", "failed"):
        of_right = distances[~wrong] if (~wrong).any() else torch.zeros(1)
        failed = 100 * (~of_right.isfinite()).double().mean().item()
        return failed if counted == "failed" else of_right.clamp(max=reached).median().item()
    near = distances <= float(within) + NOISE
    # the published code moves clean errors, too: misclassified they are all the same
    near = near[(distances > 0) & distances.isfinite()] if counted == "printed" else near | wrong
    return 100 * near.double().mean().item() if len(near) else 0.0


def raw(distances: Tensor, wrong: Tensor) -> Row:
    """Every image's distance, and how many failed or were wrong before any attack.

    It is 0 where the image was wrong, None where nothing was found or the published code lost what it had found.
    """
    places = zip(distances.tolist(), distances.isfinite().tolist(), wrong.tolist(), strict=True)
    return {
        "metric": "distances", "values": [0.0 if was else round(d, 6) if has else None for d, has, was in places],
        "clean_errors": int(wrong.sum()), "failures": int((~distances.isfinite()).sum()),
    }  # fmt: skip
