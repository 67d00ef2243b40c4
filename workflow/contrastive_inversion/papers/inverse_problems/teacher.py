"""The embedded study's teacher: a small CLIP trained from scratch on images and captions of a broad pool.

Its text tower is a bag of words. Only the image tower is kept: it takes the place of OpenAI's CLIP.
"""

import torch
import torch.nn.functional as F
from torch import nn

from contrastive_inversion.data import store
from contrastive_inversion.learn import networks
from contrastive_inversion.learn.loop import fit


class BagOfWords(nn.Module):
    """Captions as the mean of their words' embeddings: a list of captions -> (len(captions), dim)."""

    def __init__(self, captions, dim):
        super().__init__()
        vocabulary = sorted({word for caption in captions for word in caption.split()})
        number = {word: i for i, word in enumerate(vocabulary)}
        self.bags = [torch.tensor([number[word] for word in caption.split()]) for caption in captions]
        self.embedding = nn.EmbeddingBag(len(vocabulary), dim, mode="mean")

    def forward(self, numbers):
        bags = [self.bags[i] for i in numbers.tolist()]
        offsets = torch.tensor([0] + [len(bag) for bag in bags[:-1]]).cumsum(0)
        device = self.embedding.weight.device
        return self.embedding(torch.cat(bags).to(device), offsets.to(device))


def clip_loss(embeddings, captions, which, tau):
    """Symmetric image-caption cross-entropy over the batch's distinct captions.

    embeddings: (B, D); captions: (U, D), each caption once; which: int64 (B,), the caption of each image.
    """
    logits = F.normalize(embeddings, dim=1) @ F.normalize(captions, dim=1).T / tau  # (B, U)
    images_of = F.one_hot(which, logits.shape[1]).float().T  # (U, B)
    share = images_of / images_of.sum(dim=1, keepdim=True)
    return 0.5 * (F.cross_entropy(logits, which) + F.cross_entropy(logits.T, share))


def train(recipe, job, load):
    """Train the image tower with captions. Returns its tensors and the facts of its training."""
    settings, seed = recipe["settings"], recipe["seed"]
    path, recipe_hash = load(recipe["train"])
    data = store.split(path, recipe_hash, "train")
    captions = store.load(path, recipe_hash)[1]["classes"]
    torch.manual_seed(seed)
    encoder = networks.build(recipe["network"]).train()
    both = nn.ModuleList([encoder, BagOfWords(captions, encoder.dim)]).to(job.device)

    def batch_of(step):
        return store.training_batch(data, step.index, recipe["images"], seed, step.epoch, job)

    def loss_of(batch, step):
        present, which = data.labels[step.index].unique(return_inverse=True)
        return clip_loss(both[0](batch), both[1](present), which.to(job.device), settings["temperature"])

    history = fit(both, both.parameters(), batch_of, loss_of, data, recipe, job)
    return networks.state(encoder), {"losses": history, "network": recipe["network"]}
