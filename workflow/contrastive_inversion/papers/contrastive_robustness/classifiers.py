"""Classifiers that are trained end to end: the supervised baseline, and encoders that are trained on with a head."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from contrastive_inversion.base import files
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.base.job import Job
from contrastive_inversion.data import batches, store
from contrastive_inversion.learn import linear_heads, metrics, networks, outputs, penalties
from contrastive_inversion.learn.loop import Step, fit
from contrastive_inversion.learn.networks import Classifier
from contrastive_inversion.learn.pulse import Pulse
from contrastive_inversion.learn.settings import Network
from contrastive_inversion.learn.work import AT_ONCE
from contrastive_inversion.papers.contrastive_robustness.pretraining import directions
from contrastive_inversion.papers.contrastive_robustness.recipes import Classification, Finetuning

Made = tuple[dict[str, Tensor], dict[str, Any]]  # a job's tensors and facts


def two_layers(dim: int, classes: int) -> nn.Sequential:
    """The head of a fine-tuned encoder: (B, dim) -> (B, classes)."""
    return nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, classes))


def train(recipe: Classification, job: Job) -> Made:
    """Train the supervised baseline with the penalty of Eq. 2: its tensors, and the facts of its training."""
    data, settings = store.split(job.input(recipe.train), "train"), recipe.settings
    torch.manual_seed(recipe.seed)
    encoder = networks.build(recipe.network)
    model = Classifier(encoder, nn.Linear(encoder.dim, data.classes))

    remedy = "lower the rate"
    if settings.strength:
        remedy = (
            f"the penalty (`penalty: {settings.penalty}`) is too strong for it: {remedy}, or take another form of it"
        )
    pulse = Pulse(job.product, f"at `lr: {settings.lr:g}` {remedy}, in the study's `supervised`")

    def loss_of(images: Tensor, labels: Tensor) -> Tensor:
        images = images.requires_grad_(settings.strength > 0)
        of_images = F.cross_entropy(pulse.felt(model(images)), labels, reduction="none")
        return penalties.supervised(of_images, images, settings.strength, settings.penalty)

    return fitted(model, loss_of, data, recipe, job, pulse)


def finetune(recipe: Finetuning, job: Job) -> Made:
    """Train a contrastive encoder on with a two-layer head: the classifier's tensors, and the facts of its training.

    `encoder: detached` leaves the encoder's weights alone, as the report's code did; its batch normalisation goes on
    counting.
    """
    data = store.split(job.input(recipe.train), "train")
    encoder, _ = networks.load(job.input(recipe.initial))
    encoder.requires_grad_(recipe.settings.encoder != "detached")
    torch.manual_seed(recipe.seed)
    model = Classifier(encoder, two_layers(encoder.dim, data.classes), normalised=True)

    pulse = Pulse(job.product, f"lower the rate, `lr: {recipe.settings.lr:g}`, in the study's `finetuned`")

    def loss_of(images: Tensor, labels: Tensor) -> Tensor:
        logits = model(images)
        pulse.felt(directions(logits))
        return F.cross_entropy(logits, labels)

    return fitted(model, loss_of, data, recipe, job, pulse)


def fitted(
    model: Classifier,
    loss_of: Callable[[Tensor, Tensor], Tensor],
    data: store.Split,
    recipe: Classification | Finetuning,
    job: Job,
    pulse: Pulse,
) -> Made:
    """Fit what a model has to train, on the labelled part of the training images; loss_of takes images and labels."""
    settings = recipe.settings
    networks.prepare(model.encoder, settings, job)
    model.to(job.device).train()
    subset = linear_heads.labelled(data.labels, recipe.labels, recipe.seed, settings.subset)
    best = Best(model, recipe, job) if settings.selection == "best_test" else None
    labels = data.labels[subset].to(job.device)

    def batch_of(step: Step) -> Tensor:
        return batches.training_batch(data, subset[step.index], recipe.images, recipe.seed, step.epoch, job)

    def loss_of_step(images: Tensor, step: Step) -> Tensor:
        return loss_of(images, labels[step.ids])

    def after_epoch(epoch: int) -> None:
        pulse(epoch)
        if best:
            best(epoch)

    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    history = fit(model, trained, batch_of, loss_of_step, subset, recipe, job, after_epoch)
    return (best.tensors() if best else dict(model.state_dict())), {"losses": history, "labelled_images": len(subset)}


class Best:
    """`selection: best_test`, as the report chose its models: the weights of the epoch with the best test accuracy."""

    def __init__(self, model: Classifier, recipe: Classification | Finetuning, job: Job) -> None:
        self.model, self.recipe, self.job = model, recipe, job
        self.path = job.state / f"best-{job.recipe_hash[:12]}.safetensors"
        self.test = store.split(job.input(recipe.train), "test")
        self.check()

    def check(self) -> None:
        """Let a training begin anew whose kept weights are gone or damaged: what it would go on with is not enough."""
        checkpoint = self.job.state / "checkpoint.pt"
        try:
            if checkpoint.exists():
                self.kept()
        except UserError:
            checkpoint.unlink()
            print(f"Warning: {self.path}: lost or damaged; {self.job.product} begins anew", flush=True)

    def __call__(self, epoch: int) -> None:
        """Keep the model's weights if no earlier epoch was as good; a restart finds them again."""
        accuracy = self.accuracy()
        if epoch == 0 or accuracy > self.kept()[1]["accuracy"]:
            record = {"recipe_hash": self.job.recipe_hash, "accuracy": accuracy, "epoch": epoch}
            files.save(self.path, self.model.state_dict(), record)

    def accuracy(self) -> float:
        """Top-1 accuracy on the test images, in percent."""
        tested = batches.test_batches(self.test, self.recipe.images, AT_ONCE, self.job)
        self.model.eval()
        logits = outputs.over((images for _, images in tested), self.model, self.job.device).cpu()
        self.model.train()
        return metrics.top_k(logits, self.test.labels, 1)

    def tensors(self) -> dict[str, Tensor]:
        """The weights that were kept."""
        return self.kept()[0]

    def kept(self) -> Made:
        """The weights that were kept, and their record. Raises UserError where they are missing or damaged."""
        return files.load(self.path)


def load_model(tensors: dict[str, Tensor], network: Network) -> Classifier:
    """A supervised or fine-tuned Classifier in eval mode from its tensors."""
    encoder, linear = networks.build(network), "head.weight" in tensors
    classes = len(tensors["head.weight" if linear else "head.2.weight"])
    head = nn.Linear(encoder.dim, classes) if linear else two_layers(encoder.dim, classes)
    model = Classifier(encoder, head, normalised=not linear)
    model.load_state_dict(tensors)
    return model.eval().requires_grad_(False)
