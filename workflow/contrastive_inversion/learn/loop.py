"""The one training loop: epochs in a counted order, a checkpoint after each, resumption that is exact to the bit."""

import math
from collections.abc import Callable, Iterable, Iterator, Sized
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from torch import nn

from contrastive_inversion.base import rng
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.base.job import Job, Progress
from contrastive_inversion.learn.checkpoints import Checkpoint
from contrastive_inversion.learn.schedules import learning_rate
from contrastive_inversion.learn.settings import Training

EXPLODED = 1000  # times its first value
Item = TypeVar("Item")
Made = TypeVar("Made")


class TrainingRecipe(Protocol):
    """What the loop reads of a recipe."""

    @property
    def seed(self) -> int: ...

    @property
    def settings(self) -> Training: ...


@dataclass(frozen=True)
class Step:
    """One step of a training: the positions of its images, int64 (B,), the epoch and the step's number within it."""

    index: torch.Tensor
    epoch: int
    number: int


def fit(
    model: nn.Module, parameters: Iterable[nn.Parameter], batch_of: Callable[[Step], Made],
    loss_of: Callable[[Made, Step], torch.Tensor], examples: Sized, recipe: TrainingRecipe, job: Job,
    after_epoch: Callable[[int], object] | None = None,
) -> list[float]:  # fmt: skip
    """Train `model` in place and return the loss of each epoch.

    batch_of(step) gives the images of a Step on the job's device, loss_of(batch, step) their scalar loss; examples:
    what the positions of a Step count. After each epoch the state is saved; a restart goes on from there with
    bit-identical results, since every draw is counted (see `rng`). after_epoch(epoch) is called before that, for what
    must be looked at in between. Raises UserError on a loss that is not finite or has exploded, naming step and
    images, and on a damaged checkpoint.
    """
    settings, descent = recipe.settings, Descent(parameters, recipe.settings, job)
    checkpoint = Checkpoint({"model": model, "optimizer": descent.optimizer, "scaler": descent.scaler}, job)
    first_epoch, history = checkpoint.resumed()
    progress = Progress(job, settings.epochs, len(examples), first_epoch)
    for epoch in range(first_epoch, settings.epochs):
        total, steps = 0.0, steps_of(len(examples), recipe, epoch)
        for step, batch in zip(steps, ahead(batch_of, steps, job.threads), strict=True):
            loss = descent.take(loss_of(batch, step), step, len(steps))
            total += loss * len(step.index)
            progress.advance(epoch, len(step.index), loss)
        history.append(total / len(examples))
        if after_epoch:
            after_epoch(epoch)
        checkpoint.save(epoch + 1, history)
    progress.close(history)
    return history


def make_optimizer(parameters: Iterable[nn.Parameter], settings: Training) -> torch.optim.Optimizer:
    """The optimiser of a training's settings."""
    if settings.optimizer == "sgd":
        return torch.optim.SGD(parameters, settings.lr, settings.momentum, weight_decay=settings.weight_decay)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[settings.optimizer]
    return kind(parameters, settings.lr, weight_decay=settings.weight_decay, fused=True)


def steps_of(count: int, recipe: TrainingRecipe, epoch: int) -> list[Step]:
    """The steps of an epoch: in shuffled order, or in a fixed one without the last, smaller batch."""
    size = recipe.settings.batch
    if recipe.settings.order == "shuffled":
        order = rng.permutation(count, recipe.seed, "order", epoch)
    else:
        order = torch.arange(count - count % size if count >= size else count)
    return [Step(index, epoch, number) for number, index in enumerate(order.split(size))]


class Descent:
    """The steps of an optimiser down a training's losses, each of which is looked at first."""

    def __init__(self, parameters: Iterable[nn.Parameter], settings: Training, job: Job) -> None:
        self.settings, self.job = settings, job
        self.optimizer = make_optimizer(parameters, settings)
        # without it gradients of fp16 would vanish
        self.scaler = torch.amp.GradScaler(job.device, enabled=job.device == "cuda" and settings.precision == "fp16")
        self.first_loss: float | None = None

    def take(self, loss: torch.Tensor, step: Step, steps_per_epoch: int) -> float:
        """Go one step down a scalar loss, and return its value. Raises UserError as `check` does."""
        value, position = loss.item(), step.epoch * steps_per_epoch + step.number
        self.check(value, position, step.index)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.settings, position, steps_per_epoch, self.settings.epochs)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return value

    def check(self, loss: float, position: int, index: torch.Tensor) -> None:
        """Raise UserError, naming step and images, for a loss that is no number or has exploded since the first one."""
        self.first_loss = loss if self.first_loss is None else self.first_loss
        if not abs(loss) <= EXPLODED * max(abs(self.first_loss), 1) or not math.isfinite(loss):
            raise UserError(
                f"{self.job.product}: the loss is {loss:g} at step {position} (images {index[:8].tolist()}, ...); "
                "lower the learning rate in the study file, or look at these images"
            )


def ahead(make: Callable[[Item], Made], items: Iterable[Item], threads: int) -> Iterator[Made]:
    """make(item) for every item in turn; with threads to spare the next one is made while the caller works."""
    if threads == 1:
        yield from map(make, items)
        return
    with ThreadPoolExecutor(1) as maker:
        coming = None
        for item in items:
            following = maker.submit(make, item)
            if coming:
                yield coming.result()
            coming = following
        if coming:
            yield coming.result()
