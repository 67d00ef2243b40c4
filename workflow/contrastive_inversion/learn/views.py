"""What a training sees of a batch of clean images."""

from typing import Protocol

import torch

from contrastive_inversion.distort.names import Specification
from contrastive_inversion.distort.operators import corrupt
from contrastive_inversion.learn.loop import Step


class Repeated(Protocol):
    """A data loader whose workers drew alike: how many there were, and the images of one worker's batch."""

    @property
    def workers(self) -> int: ...

    @property
    def batch(self) -> int: ...


def distorted_for_training(
    clean: torch.Tensor, spec: Specification, seed: int, step: Step, repeated: Repeated | None = None
) -> torch.Tensor:
    """A batch, float32 (B, 3, S, S), under the distortions of its step, some of them repeated where a loader did so."""
    drawn_by = repeated_draws(step, repeated, clean.device) if repeated else None
    return corrupt(clean, spec, seed, "train", step.ids, step.epoch, drawn_by)


def repeated_draws(step: Step, loader: Repeated, device: torch.device) -> tuple[torch.Tensor, int]:
    """The ids, int64 (B,), and the epoch that masks and levels hang on in place of the images' own (docs/PROTOCOL.md).

    Each of a loader's workers drew the same numbers for its k-th batch, in every epoch.
    """
    place = torch.arange(len(step.index), device=device) % loader.batch
    return place + loader.batch * (step.number // loader.workers), 0
