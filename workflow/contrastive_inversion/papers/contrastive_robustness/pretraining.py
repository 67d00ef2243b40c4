"""Stage 1: an encoder learns without labels to map two views of an image close together.

SimCLR's NT-Xent on augmented views, with the Tikhonov penalty of Eq. 3 where the study gives it a weight. The
projection head is thrown away.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from contrastive_inversion.base.job import Job
from contrastive_inversion.data import batches, store
from contrastive_inversion.distort.operators import corrupt
from contrastive_inversion.learn import losses, networks, penalties
from contrastive_inversion.learn.loop import Step, fit
from contrastive_inversion.learn.pulse import Pulse
from contrastive_inversion.papers.contrastive_robustness.recipes import Pretraining

PROJECTED = 128


def view(data: store.Split, step: Step, number: int, recipe: Pretraining, job: Job) -> Tensor:
    """One of the two augmented views of a batch, number 0 or 1: float32 (B, 3, S, S) in [0, 1]."""
    draw = 2 * step.epoch + number
    crop = batches.training_batch(data, step.index, recipe.images, recipe.seed, draw, job)
    return corrupt(crop, recipe.settings.augmentation, recipe.seed, "view", step.ids, draw).clamp(0, 1)


def projection(dim: int) -> nn.Sequential:
    """The head that NT-Xent acts on: (B, dim) -> (B, 128)."""
    return nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, PROJECTED))


def directions(outputs: Tensor) -> Tensor:
    """Outputs (B, K) without their lengths, entries of 1 in the root of the mean square: (B, K).

    A pulse is felt by them where lengths say nothing: NT-Xent leaves them free, and the head of a fine-tuned encoder
    begins with logits that deviate by a few thousandths.
    """
    return F.normalize(outputs.detach(), dim=1) * outputs.shape[1] ** 0.5


def train(recipe: Pretraining, job: Job) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Train an encoder with the loss of Eq. 1 and the penalty of Eq. 3: its tensors, and each epoch's loss.

    Raises UserError on a loss that explodes, and for a network that has died.
    """
    data, settings = store.split(job.input(recipe.train), "train"), recipe.settings
    torch.manual_seed(recipe.seed)
    encoder = networks.prepare(networks.build(recipe.network).train(), settings, job)
    projected = nn.Sequential(encoder, projection(encoder.dim)).to(job.device)

    pulse = Pulse(job.product, f"lower the rate, `lr: {settings.lr:g}`, or the penalty's, in the study's `contrastive`")

    def batch_of(step: Step) -> list[Tensor]:
        return [view(data, step, number, recipe, job) for number in (0, 1)]

    def loss_of(views: list[Tensor], step: Step) -> Tensor:
        first, second = (each.requires_grad_(settings.strength > 0) for each in views)
        outputs = projected(first)
        pulse.felt(directions(outputs))
        loss = losses.ntxent(outputs, projected(second), settings.temperature)
        return penalties.contrastive(loss, first, second, settings.strength)

    history = fit(projected, projected.parameters(), batch_of, loss_of, data, recipe, job, pulse)
    return networks.state(encoder), {"losses": history}
