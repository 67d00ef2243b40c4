"""An ImageNet-C made here of photographs at the released size, where there are no released files."""

from typing import Any

import torch
from tqdm import tqdm

from contrastive_inversion.base.job import Job
from contrastive_inversion.data import batches, store
from contrastive_inversion.data.settings import CorruptedPhotographs, GeneratedImageNetC, Pictures
from contrastive_inversion.distort.released_imagenet_c import RELEASED, corrupted


def make(recipe: CorruptedPhotographs, job: Job) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """All corruptions and severities of some test pictures.

    Returns `<corruption>/<severity>` uint8 (N, 224, 224, 3), `labels` int64 (N,), and the source as a fact.
    """
    settings = recipe.settings
    assert isinstance(settings, GeneratedImageNetC)
    data = store.split(job.input(f"images/{settings.classes_of}"), "test")
    chosen = data.first_of_each_class(settings.images_per_class)
    pictures = Pictures(image_size=recipe.image_size, crop="resized")
    clean = batches.test_batch(data, chosen, pictures).permute(0, 2, 3, 1).numpy()
    tensors = {"labels": data.labels[chosen]}
    for corruption, severities in tqdm(RELEASED.items(), unit="corruption", mininterval=5):
        for severity in range(1, len(severities) + 1):
            made = corrupted(clean, corruption, severity, recipe.seed)
            tensors[f"{corruption.__name__}/{severity}"] = torch.from_numpy(made)
    return tensors, {"origin": "generated"}
