"""The pictures of Figures 1 and 11: sample test images under each distortion, with predictions for Figure 1."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F

from contrastive_inversion.base.errors import UserError
from contrastive_inversion.base.job import Job
from contrastive_inversion.data import store
from contrastive_inversion.data.batches import test_batch
from contrastive_inversion.distort.operators import corrupt
from contrastive_inversion.learn import linear_heads, networks
from contrastive_inversion.papers.inverse_problems.recipes import Samples


def make(recipe: Samples, job: Job) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Distorted sample images and what the models take them for.

    Returns `clean` and one tensor per distortion, uint8 (N, S, S, 3), and as facts the captions and, for each
    distortion, model and image, the three likeliest classes with their probabilities.
    """
    source = job.input("images/imagenet100")
    data, captions = store.split(source, recipe.split), store.load(source)[1]["classes"]
    chosen = data.spread(recipe.settings.images)
    clean = test_batch(data, chosen, recipe.images)
    tensors, predictions = {"clean": as_pixels(clean)}, {}
    for level in recipe.levels:
        distorted = corrupt(clean, level.distortion, recipe.seed, f"evaluate/{data.name}", chosen)
        tensors[level.name] = as_pixels(distorted)
        if recipe.gallery == "predictions":
            predictions[level.name] = predicted(distorted, level.name, captions, job)
    labels = [captions[label] for label in data.labels[chosen].tolist()]
    return tensors, {"labels": labels, "predictions": predictions}


def as_pixels(batch: torch.Tensor) -> torch.Tensor:
    """float (N, 3, S, S) -> uint8 (N, S, S, 3), clipped for display."""
    return (batch.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()


@torch.no_grad()
def predicted(
    distorted: torch.Tensor, distortion: str, captions: Sequence[str], job: Job
) -> dict[str, list[list[list[Any]]]]:
    """The three likeliest classes of each image by our probe and by the supervised baseline."""
    student, _ = networks.load(job.input(f"encoders/student-{distortion}"))
    probe = linear_heads.read(job.input(f"heads/student-{distortion}/imagenet100"), f"probe 100% on {distortion}")
    baseline, own = networks.load(job.input(f"encoders/baseline-{distortion}"))
    if own is None:
        raise UserError(f"{job.product}: encoders/baseline-{distortion} has no classifier of its own")
    logits = {"ours": F.linear(student(distorted), *probe), "baseline": F.linear(baseline(distorted), *own)}
    return {model: [top_three(row, captions) for row in values.softmax(dim=1)] for model, values in logits.items()}


def top_three(probabilities: torch.Tensor, captions: Sequence[str]) -> list[list[Any]]:
    """The three likeliest classes of an image, float (classes,), each with its probability; of two classes both."""
    values, classes = probabilities.topk(min(3, len(captions)))
    return [[captions[c], round(p, 4)] for c, p in zip(classes.tolist(), values.tolist(), strict=True)]
