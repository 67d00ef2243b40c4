"""Linear heads on frozen embeddings, and the labelled subsets that they are fitted on."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from contrastive_inversion.base import rng
from contrastive_inversion.base.job import Input, Job
from contrastive_inversion.data import store
from contrastive_inversion.learn.checkpoints import Checkpoint
from contrastive_inversion.learn.networks import Linear
from contrastive_inversion.learn.schedules import learning_rate
from contrastive_inversion.learn.settings import Schedule, share


def labelled(labels: torch.Tensor, fraction: float, seed: int, how: str | None = None) -> torch.Tensor:
    """Positions of a labelled subset, `fraction` in percent of labels (N,), drawn without replacement: int64, sorted.

    Drawn class by class (see `stratified`), or, where `how` is `uniform`, from all images alike.
    """
    if how != "uniform":
        return stratified(labels, fraction, seed)
    return rng.permutation(len(labels), seed, f"subset/{fraction:g}")[: share(fraction, len(labels))].sort().values


def stratified(labels: torch.Tensor, fraction: float, seed: int, share_of: str = "class") -> torch.Tensor:
    """Positions of a labelled subset: ceil(fraction % of each class), drawn without replacement: int64, sorted.

    `share_of: mean_class` takes the same number of every class, ceil(fraction % of the mean class), but for 100 %.
    """
    chosen, classes = [], labels.unique()
    equal = share_of == "mean_class" and fraction < 100
    for label in classes:
        members = torch.nonzero(labels == label)[:, 0]
        shuffled = members[rng.permutation(len(members), seed, f"subset/{fraction:g}/{label}")]
        size = len(labels) / len(classes) if equal else len(members)
        chosen.append(shuffled[: share(fraction, size)])
    return torch.cat(chosen).sort().values


@dataclass(frozen=True)
class Fit:
    """How a linear head is fitted; purpose: what the order of its examples is drawn for."""

    optimizer: Callable[..., torch.optim.Optimizer]
    schedule: Schedule
    epochs: int
    batch: int
    purpose: str


class LinearHead:
    """A linear layer and its fit by cross-entropy to embeddings that do not change with it."""

    def __init__(self, dim: int, classes: int, how: Fit, seed: int, device: str = "cpu") -> None:
        self.how, self.seed = how, seed
        torch.manual_seed(seed)
        self.linear = torch.nn.Linear(dim, classes).to(device)
        self.optimizer = how.optimizer(self.linear.parameters(), lr=how.schedule.lr, fused=device == "cuda")

    def fit_epoch(self, embeddings: torch.Tensor, labels: torch.Tensor, rows: torch.Tensor, epoch: int) -> None:
        """One pass, in an order of its own, over some rows, int64 (M,), of embeddings (N, dim) and labels (N,).

        Embeddings and labels lie on the head's device, rows on the CPU.
        """
        order = rng.permutation(len(rows), self.seed, self.how.purpose, epoch)
        shuffled = rows[order].to(embeddings.device)
        steps = math.ceil(len(rows) / self.how.batch)
        for number, index in enumerate(shuffled.split(self.how.batch)):
            rate = learning_rate(self.how.schedule, epoch * steps + number, steps, self.how.epochs)
            self.optimizer.param_groups[0]["lr"] = rate
            loss = F.cross_entropy(self.linear(embeddings[index]), labels[index])
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()

    def tensors(self, key: str) -> dict[str, torch.Tensor]:
        """`<key>.weight` (classes, dim) and `<key>.bias` (classes,), as files of heads have them."""
        return {f"{key}.{name}": tensor.detach() for name, tensor in self.linear.state_dict().items()}


def read(source: Input, key: str) -> Linear:
    """A head of a file of heads: weight (classes, dim) and bias (classes,). Raises UserError as `store.load` does."""
    tensors, _ = store.load(source)
    return tensors[f"{key}.weight"], tensors[f"{key}.bias"]


def checkpoint_of(heads: Sequence[LinearHead], job: Job) -> Checkpoint:
    """What a job remembers of the heads that it fits."""
    optimizers = {f"optimizer {number}": head.optimizer for number, head in enumerate(heads)}
    return Checkpoint({"model": torch.nn.ModuleList([head.linear for head in heads])} | optimizers, job)
