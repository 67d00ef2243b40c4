"""The pictures of Figures 1 and 11: sample test images under each distortion, with predictions for Figure 1."""

import torch

from contrastive_inversion.data import store
from contrastive_inversion.distort.operators import corrupt
from contrastive_inversion.learn import networks


def make(recipe, job, load):
    """Distorted sample images and what the models take them for.

    Returns `clean` and one tensor per distortion, uint8 (N, S, S, 3), and as facts the captions and, for each
    distortion, model and image, the three likeliest classes with their probabilities.
    """
    path, recipe_hash = load("images/imagenet100")
    data = store.split(path, recipe_hash, recipe["split"])
    names = store.load(path, recipe_hash)[1]["classes"]
    chosen = data.spread(recipe["settings"]["images"])
    clean = store.test_batch(data, chosen, recipe["images"])
    tensors, predictions = {"clean": as_pixels(clean)}, {}
    for level in recipe["levels"]:
        distorted = corrupt(clean, level["distortion"], recipe["seed"], f"evaluate/{data.name}", chosen)
        tensors[level["name"]] = as_pixels(distorted)
        if recipe["gallery"] == "predictions":
            predictions[level["name"]] = predicted(distorted, level["name"], names, load)
    labels = [names[label] for label in data.labels[chosen].tolist()]
    return tensors, {"labels": labels, "predictions": predictions}


def as_pixels(batch):
    """float (N, 3, S, S) -> uint8 (N, S, S, 3), clipped for display."""
    return (batch.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()


@torch.no_grad()
def predicted(distorted, name, names, load):
    """The three likeliest classes of each image by our probe and by the supervised baseline."""
    student, _, _ = networks.load(*load(f"encoders/student-{name}"))
    probes, _ = store.load(*load(f"heads/student-{name}/imagenet100"))
    baseline, own, _ = networks.load(*load(f"encoders/baseline-{name}"))
    key = f"probe 100% on {name}"
    logits = {
        "ours": torch.nn.functional.linear(student(distorted), probes[f"{key}.weight"], probes[f"{key}.bias"]),
        "baseline": torch.nn.functional.linear(baseline(distorted), *own),
    }
    return {model: [top_three(row, names) for row in values.softmax(dim=1)] for model, values in logits.items()}


def top_three(probabilities, names):
    values, classes = probabilities.topk(3)
    return [[names[c], round(p, 4)] for c, p in zip(classes.tolist(), values.tolist(), strict=True)]
