"""What a network puts out for many images: the one loop over batches without gradients."""

from collections.abc import Iterable

import torch
from torch import nn


@torch.no_grad()
def over(batches: Iterable[torch.Tensor], network: nn.Module, device: str) -> torch.Tensor:
    """The outputs of a network for batches (B, 3, S, S), in their order: float32 (N, ...), on the device.

    The network lies on the device, the batches anywhere; its mode is left as it is.
    """
    return torch.cat([network(batch.to(device)) for batch in batches])
