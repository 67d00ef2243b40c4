"""An ImageNet-C made here of another data set's test pictures, where there are no released files."""

from typing import Any

import torch
from tqdm import tqdm

from contrastive_inversion.base.job import Job
from contrastive_inversion.data import batches, store
from contrastive_inversion.data.settings import GeneratedImageNetC, Images, Pictures
from contrastive_inversion.distort.imagenet_c import CORRUPTIONS, Corruptions, corrupted


def make(recipe: Images, job: Job) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """All corruptions and severities of some test pictures, by formulas for any size.

    Returns `<corruption>/<severity>` uint8 (N, S, S, 3), `labels` int64 (N,), and the source as a fact.
    """
    return made(recipe, job, CORRUPTIONS)


def made(recipe: Images, job: Job, corruptions: Corruptions) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """What `make` returns, by some corruptions."""
    settings = recipe.settings
    assert isinstance(settings, GeneratedImageNetC)
    data = store.split(job.input(f"images/{settings.classes_of}"), "test")
    chosen = data.first_of_each_class(settings.images_per_class)
    pictures = Pictures(image_size=recipe.image_size, crop="resized")
    clean = batches.test_batch(data, chosen, pictures).permute(0, 2, 3, 1).numpy()  # (N, S, S, 3)
    tensors = {"labels": data.labels[chosen]}
    for name, (_, severities) in tqdm(corruptions.items(), unit="corruption", mininterval=5):
        for severity in range(1, len(severities) + 1):
            images = corrupted(clean, name, severity, recipe.seed, settings.reference, corruptions)
            tensors[f"{name}/{severity}"] = torch.from_numpy(images)
    return tensors, {"origin": "generated"}
