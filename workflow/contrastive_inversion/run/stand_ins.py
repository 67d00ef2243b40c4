"""What stands in for data and weights where time and memory are measured: pictures like ImageNet's, drawn weights."""

import io
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from contrastive_inversion.base.job import Job
from contrastive_inversion.data.entries import Entry
from contrastive_inversion.learn.settings import Weights
from contrastive_inversion.ledger import plan
from contrastive_inversion.ledger.study import Study
from contrastive_inversion.run import jobs, origins

SIZE, QUALITY, PICTURES = (500, 375), 94, 8  # of an ImageNet file of 110 kB; that many are different
CLASSES = 100


def drawn(recipe: Weights, job: Job, study: Study[Any]) -> None:
    """An encoder with random weights in the place of a published file."""
    from contrastive_inversion.learn import networks

    jobs.write(
        job,
        networks.state(networks.build(recipe.network)),
        origins.record_of(job, recorded(job, study), time.time(), {}),
    )


def store(splits: Mapping[str, list[Entry]], job: Job, study: Study[Any]) -> None:
    """A packed store of pictures, in the place of a job's."""
    from contrastive_inversion.data import packing

    record = origins.record_of(job, recorded(job, study), time.time(), {})
    jobs.write(job, packing.pack(splits, job.path, job.state), record | {"classes": list(map(str, range(CLASSES)))})


def entries(paths: list[Path], count: int) -> list[Entry]:
    """So many image files with labels of all classes."""
    labels = np.linspace(0, CLASSES - 1, count).round().astype(int).tolist()
    return [Entry(paths[i % len(paths)], label) for i, label in enumerate(labels)]


def recorded(job: Job, study: Study[Any]) -> dict[str, Any]:
    """A recipe as a file's record has it."""
    recipe: dict[str, Any] = json.loads(plan.recipe(job.product, study))
    return recipe


def pictures(folder: Path) -> list[Path]:
    """JPEG files as large as ImageNet's are on average, in pixels and in bytes."""
    from PIL import Image

    folder.mkdir(exist_ok=True)
    paths = [folder / f"{number}.JPEG" for number in range(PICTURES)]
    for number, path in enumerate(paths):
        random = np.random.default_rng(number)
        coarse = Image.fromarray(random.integers(0, 255, (24, 32, 3), np.uint8)).resize(SIZE, Image.Resampling.BICUBIC)
        grainy = np.asarray(coarse) + random.normal(0, 12, (SIZE[1], SIZE[0], 3))
        content = io.BytesIO()
        Image.fromarray(grainy.clip(0, 255).astype(np.uint8)).save(content, "JPEG", quality=QUALITY)
        path.write_bytes(content.getvalue())
    return paths
