"""An ImageNet-C made here of photographs at the released size, where there are no released files."""

from typing import Any

import torch

from contrastive_inversion.base.job import Job
from contrastive_inversion.data import generated
from contrastive_inversion.data.settings import CorruptedPhotographs
from contrastive_inversion.distort.released_imagenet_c import RELEASED


def make(recipe: CorruptedPhotographs, job: Job) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """`generated.make` by the released formulas."""
    return generated.made(recipe, job, RELEASED)
