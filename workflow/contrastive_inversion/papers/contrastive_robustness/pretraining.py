"""Stage 1 of the second report: an encoder learns without labels to map two views of an image close together.

SimCLR's NT-Xent on augmented views, with the Tikhonov penalty of Eq. 3 where the study gives it a weight. The
projection head is thrown away; the report's future work, losses and penalties layer by layer, is an option.
"""

import torch
from torch import nn

from contrastive_inversion.data import store
from contrastive_inversion.distort.operators import corrupt
from contrastive_inversion.learn import networks, penalties
from contrastive_inversion.learn.loop import fit

PROJECTED = 128


def view(data, step, recipe, number, job):
    """One of the two augmented views of a batch: float32 (B, 3, S, S)."""
    seed, draw = recipe["seed"], 2 * step.epoch + number
    crop = store.training_batch(data, step.index, recipe["images"], seed, draw, job)
    ids = step.index.to(job.device)
    return corrupt(crop, recipe["settings"]["augmentation"], seed, "view", ids, draw).clamp(0, 1)


def projection(dim):
    """The head that NT-Xent acts on: (B, dim) -> (B, 128)."""
    return nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, PROJECTED))


def train(recipe, job, load):
    """Train an encoder. Returns its tensors and the facts of its training.

    load(product) gives the path and the recipe's hash of an input product. Raises UserError on a loss that explodes.
    """
    settings = recipe["settings"]
    data = store.split(*load(recipe["train"]), "train")
    torch.manual_seed(recipe["seed"])
    encoder = networks.prepare(networks.build(recipe["network"]).train(), settings, job)
    both = nn.ModuleList([encoder, projection(encoder.dim)]).to(job.device)

    def batch_of(step):
        return [view(data, step, recipe, number, job) for number in (0, 1)]

    def loss_of(views, step):
        return regularised(both, views, settings)

    history = fit(both, both.parameters(), batch_of, loss_of, data, recipe, job)
    return networks.state(encoder), {"losses": history, "network": recipe["network"]}


def regularised(both, views, settings):
    """The loss of a batch with its penalty: Eqs. 1 and 3, or 4 and 5 where the study weighs layers."""
    encoder, head = both
    strength, tau = settings.get("strength", 0), settings["temperature"]
    weighed = settings.get("layers", {})
    views = [v.requires_grad_(strength > 0 or "penalties" in weighed) for v in views]
    if not weighed:
        loss = penalties.nt_xent(*(head(encoder(v)) for v in views), tau)
        return penalties.contrastive(loss, *views, strength)
    first, second = ([*features, head(features[-1])] for features in (layers(encoder, v) for v in views))
    loss = penalties.layer_wise(first, second, tau, weighed["losses"])
    if "penalties" in weighed:
        loss = loss + penalties.layer_wise_penalty(first, second, tau, views, weighed["penalties"])
    return loss


def layers(encoder, batch):
    """What each activation of a sequential trunk puts out, and its embedding last."""
    x, found = encoder.normalised(batch), []
    for layer in encoder.trunk:
        x = layer(x)
        if isinstance(layer, nn.ReLU):
            found.append(x)
    return [*found, x]
