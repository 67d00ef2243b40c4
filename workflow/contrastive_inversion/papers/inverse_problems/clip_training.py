"""The embedded study's teacher: a small CLIP trained from scratch on images and captions of a broad pool.

Its text tower is a bag of words. Only the image tower is kept: it takes the place of OpenAI's CLIP.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from contrastive_inversion.base.job import Job
from contrastive_inversion.data import store
from contrastive_inversion.data.batches import training_batch
from contrastive_inversion.learn import networks
from contrastive_inversion.learn.loop import Step, fit
from contrastive_inversion.learn.losses import similarities
from contrastive_inversion.papers.inverse_problems.recipes import ClipTraining


class BagOfWords(nn.Module):
    """Captions as the mean of their words' embeddings: their numbers, int64 (U,) -> float32 (U, dim)."""

    def __init__(self, captions: Sequence[str], dim: int) -> None:
        super().__init__()
        vocabulary = sorted({word for caption in captions for word in caption.split()})
        number = {word: i for i, word in enumerate(vocabulary)}
        self.bags = [torch.tensor([number[word] for word in caption.split()]) for caption in captions]
        self.embedding = nn.EmbeddingBag(len(vocabulary), dim, mode="mean")

    def forward(self, numbers: torch.Tensor) -> torch.Tensor:
        bags = [self.bags[i] for i in numbers.tolist()]
        offsets = torch.tensor([0] + [len(bag) for bag in bags[:-1]]).cumsum(0)
        device = self.embedding.weight.device
        return self.embedding(torch.cat(bags).to(device), offsets.to(device))


def clip_loss(embeddings: torch.Tensor, captions: torch.Tensor, which: torch.Tensor, tau: float) -> torch.Tensor:
    """Symmetric image-caption cross-entropy over the batch's distinct captions.

    embeddings: (B, D); captions: (U, D), each caption once; which: int64 (B,), the caption of each image.
    """
    logits = similarities(embeddings, captions, tau)  # (B, U)
    images_of = F.one_hot(which, logits.shape[1]).float().T  # (U, B)
    share = images_of / images_of.sum(dim=1, keepdim=True)
    return 0.5 * (F.cross_entropy(logits, which) + F.cross_entropy(logits.T, share))


def train(recipe: ClipTraining, job: Job) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Train the image tower with captions. Returns its tensors, and the loss of each epoch as a fact."""
    source = job.input(recipe.train)
    data, captions = store.split(source, "train"), store.load(source)[1]["classes"]
    torch.manual_seed(recipe.seed)
    encoder = networks.build(recipe.network).train()
    towers = nn.ModuleList([encoder, BagOfWords(captions, encoder.dim)]).to(job.device)

    def batch_of(step: Step) -> torch.Tensor:
        return training_batch(data, step.index, recipe.images, recipe.seed, step.epoch, job)

    def loss_of(batch: torch.Tensor, step: Step) -> torch.Tensor:
        present, which = data.labels[step.index].unique(return_inverse=True)
        return clip_loss(towers[0](batch), towers[1](present), which.to(job.device), recipe.settings.temperature)

    history = fit(towers, towers.parameters(), batch_of, loss_of, data, recipe, job)
    return networks.state(encoder), {"losses": history}
