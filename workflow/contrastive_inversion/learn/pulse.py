"""Notices a network that has died: one that gives every image the same outputs, and from then on learns nothing."""

import torch

from contrastive_inversion.base.errors import UserError

STILL = 0.01  # deviation of an output over a batch; logits that tell classes apart deviate by 1 and more
PATIENCE = 3  # epochs: a network may lie still for a while at a high rate, and wake when that falls


class Pulse:
    """Feels the outputs of a training's last batch at the end of each epoch: reading them, the host waits."""

    def __init__(self, product: str, remedy: str) -> None:
        self.product, self.remedy, self.still = product, remedy, 0
        self.outputs = torch.empty(0)

    def felt(self, outputs: torch.Tensor) -> torch.Tensor:
        """The outputs (B, K) as they are; they are remembered."""
        self.outputs = outputs.detach()
        return outputs

    def __call__(self, epoch: int) -> None:
        """Raise UserError with the remedy where outputs were the same for all images at the end of three epochs."""
        deviation = self.outputs.std(dim=0).mean().item() if len(self.outputs) > 1 else STILL
        self.still = self.still + 1 if deviation < STILL else 0
        if self.still >= PATIENCE:
            raise UserError(
                f"{self.product}: the network has died: for {PATIENCE} epochs, up to epoch {epoch + 1}, its outputs "
                f"are the same for all images (they deviate by {deviation:.2g}); {self.remedy}"
            )
