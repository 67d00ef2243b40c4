"""The one training loop: epochs in a counted order, a checkpoint after each, resumption that is exact to the bit."""

import functools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from contrastive_inversion.base import rng
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.base.job import Job, Progress
from contrastive_inversion.learn.checkpoints import Checkpoint
from contrastive_inversion.learn.schedules import learning_rate
from contrastive_inversion.learn.settings import Training

EXPLODED = 1000  # times its first value
SECONDS_BETWEEN_LOOKS = 2
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
    """One step of a training: the positions of its images, int64 (B,), the epoch and the step's number within it.

    index lies on the CPU, where pictures are read; ids are the same on the job's device.
    """

    index: torch.Tensor
    epoch: int
    number: int
    ids: torch.Tensor


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
    settings, watch = recipe.settings, Watch(job.product)
    descent = Descent(parameters, settings, job.device)
    checkpoint = Checkpoint({"model": model, "optimizer": descent.optimizer, "scaler": descent.scaler}, job)
    first_epoch, history = checkpoint.resumed()
    progress = Progress(job, settings.epochs, len(examples), first_epoch)
    for epoch in range(first_epoch, settings.epochs):
        steps = steps_of(len(examples), recipe, epoch, job.device)
        for step, batch in zip(steps, ahead(batch_of, steps, job.threads, job.device), strict=True):
            loss, position = loss_of(batch, step), epoch * len(steps) + step.number
            descent.take(loss, position, len(steps))
            progress.advance(epoch, len(step.index), watch.seen(loss, position, step.index))
        history.append(watch.mean())
        if after_epoch:
            after_epoch(epoch)
        checkpoint.save(epoch + 1, history)
    progress.close(history)
    return history


def make_optimizer(
    parameters: Iterable[nn.Parameter], settings: Training, device: str = "cpu"
) -> torch.optim.Optimizer:
    """The optimiser of a training's settings, its step one kernel on a GPU, which reads nothing back."""
    if settings.optimizer == "sgd":
        decay, fused = settings.weight_decay, device == "cuda"
        descent = torch.optim.SGD(parameters, settings.lr, settings.momentum, weight_decay=decay, fused=fused)
        for parameter in descent.param_groups[0]["params"]:
            # Left to its first step, fused SGD allocates these uninitialised; if fp16 overflows there, the garbage
            # stays.
            descent.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        return descent
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[settings.optimizer]
    return kind(parameters, settings.lr, weight_decay=settings.weight_decay, fused=True)


def steps_of(count: int, recipe: TrainingRecipe, epoch: int, device: str = "cpu") -> list[Step]:
    """The steps of an epoch: in shuffled order, or in a fixed one without the last, smaller batch."""
    size = recipe.settings.batch
    if recipe.settings.order == "shuffled":
        order = rng.permutation(count, recipe.seed, "order", epoch)
    else:
        order = torch.arange(count - count % size if count >= size else count)
    parts = zip(order.split(size), order.to(device).split(size), strict=True)  # one transfer for the whole epoch
    return [Step(index, epoch, number, ids) for number, (index, ids) in enumerate(parts)]


class Descent:
    """The steps of an optimiser down a training's losses; none makes the host wait for the device."""

    def __init__(self, parameters: Iterable[nn.Parameter], settings: Training, device: str) -> None:
        self.settings = settings
        self.optimizer = make_optimizer(parameters, settings, device)
        # without it gradients of fp16 would vanish
        self.scaler = torch.amp.GradScaler(device, enabled=device == "cuda" and settings.precision == "fp16")

    def take(self, loss: torch.Tensor, position: int, steps_per_epoch: int) -> None:
        """Go one step down a scalar loss; position: the step's number, counted over all epochs."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.settings, position, steps_per_epoch, self.settings.epochs)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()


class Watch:
    """Looks at a training's losses every other second and at the end of an epoch: reading one, the host waits."""

    def __init__(self, product: str) -> None:
        self.product = product
        self.unread: list[tuple[torch.Tensor, int, torch.Tensor]] = []
        self.first: float | None = None
        self.last: float | None = None
        self.sum, self.images, self.looked = 0.0, 0, time.monotonic()

    def seen(self, loss: torch.Tensor, position: int, index: torch.Tensor) -> float | None:
        """Note a step's scalar loss; returns the last loss that was read. Raises UserError as `check` does."""
        self.unread.append((loss.detach(), position, index))
        if time.monotonic() - self.looked > SECONDS_BETWEEN_LOOKS:
            self.look()
        return self.last

    def mean(self) -> float:
        """The mean over the images of the epoch that ends here. Raises UserError as `check` does."""
        self.look()
        mean, self.sum, self.images = self.sum / self.images, 0.0, 0
        return mean

    def look(self) -> None:
        """Read and check all losses that were not read yet."""
        unread, self.unread, self.looked = self.unread, [], time.monotonic()
        values = torch.stack([loss for loss, _, _ in unread]).tolist() if unread else []
        for value, (_, position, index) in zip(values, unread, strict=True):
            self.check(value, position, index)
            self.sum, self.images = self.sum + value * len(index), self.images + len(index)
            self.last = value

    def check(self, loss: float, position: int, index: torch.Tensor) -> None:
        """Raise UserError, naming step and images, for a loss that is no number or has exploded since the first one."""
        self.first = loss if self.first is None else self.first
        if not abs(loss) <= EXPLODED * max(abs(self.first), 1) or not math.isfinite(loss):
            raise UserError(
                f"{self.product}: the loss is {loss:g} at step {position} (images {index[:8].tolist()}, ...); "
                "lower the learning rate in the study file, or look at these images"
            )


def ahead(make: Callable[[Item], Made], items: Iterable[Item], threads: int, device: str = "cpu") -> Iterator[Made]:
    """make(item) for every item in turn; with threads to spare the next one is made while the caller works.

    On a GPU it is made on a stream of its own, so that its transfer does not queue behind the caller's work.
    """
    if threads == 1:
        yield from map(make, items)
        return
    lane = Lane(device)
    with ThreadPoolExecutor(1) as maker:
        coming = None
        for item in items:
            following = maker.submit(lane.make, make, item)
            if coming:
                yield lane.take(*coming.result())
            coming = following
        if coming:
            yield lane.take(*coming.result())


@functools.cache
def side_stream() -> torch.cuda.Stream:
    """The one stream beside the caller's: memory that a stream has freed serves that stream alone."""
    return torch.cuda.Stream()


class Lane:
    """A stream of a GPU beside the caller's; a CPU has none."""

    def __init__(self, device: str) -> None:
        self.stream = side_stream() if device == "cuda" else None

    def make(self, make: Callable[[Item], Made], item: Item) -> tuple[Made, torch.cuda.Event | None]:
        """make(item) in this lane, and the event after which it is there."""
        with torch.cuda.stream(self.stream):
            return make(item), self.stream.record_event() if self.stream else None

    def take(self, made: Made, there: torch.cuda.Event | None) -> Made:
        """What was made, for the caller's stream, which waits for it and keeps its memory from being used again."""
        if there:
            caller = torch.cuda.current_stream()
            caller.wait_event(there)
            for tensor in tree_leaves(made):
                if tensor is not None:  # a leaf like any other
                    tensor.record_stream(caller)
        return made
