"""The second report's classifiers that are trained end to end: the supervised baseline, and fine-tuned encoders."""

import torch
from torch import nn

from contrastive_inversion.base import files
from contrastive_inversion.data import store
from contrastive_inversion.learn import networks, penalties
from contrastive_inversion.learn.loop import fit
from contrastive_inversion.papers.inverse_problems.accuracy import top_k
from contrastive_inversion.papers.inverse_problems.probes import EMBEDDED_AT_ONCE, labelled


class Model(nn.Module):
    """An encoder and a head on its embeddings, normalised to unit length or raw: images (B, 3, S, S) -> logits."""

    def __init__(self, encoder, head, normalised):
        super().__init__()
        self.encoder, self.head, self.normalised = encoder, head, normalised

    def forward(self, batch):
        embedding = self.encoder(batch)
        return self.head(nn.functional.normalize(embedding, dim=1) if self.normalised else embedding)


def two_layers(dim, classes):
    """The head of a fine-tuned encoder: (B, dim) -> (B, classes)."""
    return nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, classes))


def train(recipe, job, load):
    """Train the supervised baseline with the penalty of Eq. 2. Returns its tensors and the facts of its training.

    load(product) gives the path and the recipe's hash of an input product.
    """
    settings, data = recipe["settings"], store.split(*load(recipe["train"]), "train")
    torch.manual_seed(recipe["seed"])
    encoder = networks.prepare(networks.build(recipe["network"]), settings, job)
    model = Model(encoder, nn.Linear(encoder.dim, data.classes), normalised=False).to(job.device).train()

    def loss_of(batch, labels):
        strength = settings.get("strength", 0)
        batch = batch.requires_grad_(strength > 0)
        values = nn.functional.cross_entropy(model(batch), labels, reduction="none")
        return penalties.supervised(values, batch, strength, settings.get("penalty", "per_image"))

    return fitted(model, model, loss_of, data, recipe, job, load)


def finetune(recipe, job, load):
    """Train a contrastive encoder on with a two-layer head. Returns its tensors and the facts of its training.

    `encoder: detached` leaves the encoder's weights alone, as the report's code did; its batch normalisation goes on
    counting.
    """
    settings, data = recipe["settings"], store.split(*load(recipe["train"]), "train")
    encoder, _, _ = networks.load(*load(recipe["initial"]))
    torch.manual_seed(recipe["seed"])
    head = two_layers(encoder.dim, data.classes)
    model = Model(networks.prepare(encoder, settings, job), head, normalised=True).to(job.device).train()
    detached = settings.get("encoder") == "detached"
    encoder.requires_grad_(not detached)

    def loss_of(batch, labels):
        return nn.functional.cross_entropy(model(batch), labels)

    return fitted(model, head if detached else model, loss_of, data, recipe, job, load)


def fitted(model, trained, loss_of, data, recipe, job, load):
    """Fit a model on the labelled part of the training images."""
    settings = recipe["settings"]
    subset = labelled(data.labels, recipe["labels"], recipe["seed"], settings.get("subset", "stratified"))
    best = Best(model, recipe, job, load) if settings.get("selection") == "best_test" else None

    def batch_of(step):
        index = subset[step.index]
        batch = store.training_batch(data, index, recipe["images"], recipe["seed"], step.epoch, job)
        return batch, data.labels[index].to(job.device)

    parameters = trained.parameters()
    history = fit(model, parameters, batch_of, lambda batch, step: loss_of(*batch), subset, recipe, job, best)
    facts = {"losses": history, "network": recipe["network"], "labelled_images": len(subset)}
    return (best.tensors() if best else dict(model.state_dict())), facts


class Best:
    """`selection: best_test`, as the report chose its models: the weights of the epoch with the best test accuracy."""

    def __init__(self, model, recipe, job, load):
        self.model, self.recipe, self.job = model, recipe, job
        self.path = job.state / "best.safetensors"
        self.test = store.split(*load(recipe["train"]), "test")

    def __call__(self, epoch):
        """Keep the model's weights if no earlier epoch was better; a restart finds them again."""
        accuracy = self.accuracy()
        if epoch == 0 or accuracy > files.load(self.path)[1]["accuracy"]:
            files.save(self.path, self.model.state_dict(), {"accuracy": accuracy, "epoch": epoch})

    @torch.no_grad()
    def accuracy(self):
        settings = self.recipe["images"] | {"crop": "random"}
        self.model.eval()
        batches = store.test_batches(self.test, settings, EMBEDDED_AT_ONCE, self.job)
        rows = [self.model(batch).cpu() for _, batch in batches]
        self.model.train()
        return top_k(torch.cat(rows), self.test.labels, 1)

    def tensors(self):
        return files.load(self.path)[0]


def load_model(tensors, network):
    """A supervised or fine-tuned Model in eval mode from its tensors."""
    encoder = networks.build(network)
    classes = tensors["head.weight" if "head.weight" in tensors else "head.2.weight"].shape[0]
    linear = "head.weight" in tensors
    head = nn.Linear(encoder.dim, classes) if linear else two_layers(encoder.dim, classes)
    model = Model(encoder, head, normalised=not linear)
    model.load_state_dict(tensors)
    return model.eval().requires_grad_(False)
