"""What a training sees of a batch of clean images."""

from typing import Protocol

import torch

from contrastive_inversion.distort import repeated
from contrastive_inversion.distort.names import Specification
from contrastive_inversion.distort.operators import corrupt
from contrastive_inversion.learn.loop import Step


class Loader(Protocol):
    """A data loader whose workers drew alike: how many there were, and the images of one worker's batch."""

    @property
    def workers(self) -> int: ...

    @property
    def batch(self) -> int: ...


def distorted_for_training(
    clean: torch.Tensor, spec: Specification, seed: int, step: Step, alike: Loader | None = None
) -> torch.Tensor:
    """A batch, float32 (B, 3, S, S), under the distortions of its step; alike: drawn as such a loader drew."""
    if alike is None:
        return corrupt(clean, spec, seed, "train", step.ids, step.epoch)
    place = repeated.places(len(step.index), step.number, alike.workers, alike.batch, clean.device)
    return repeated.corrupt(clean, spec, seed, "train", step.ids, step.epoch, place)
