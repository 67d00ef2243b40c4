"""What logits are worth. Each raises UserError for some that are no finite numbers: they would choose a class too."""

import torch

from contrastive_inversion.base.errors import UserError


def check(logits: torch.Tensor) -> None:
    """Raise UserError unless all logits are finite numbers."""
    if not logits.isfinite().all():
        raise UserError("a network's output is no finite number: look at its training, and at what distorts its input")


def top_k(logits: torch.Tensor, labels: torch.Tensor, k: int) -> float:
    """Percentage of images whose label is among the k largest logits. logits: (N, C); labels: int64 (N,)."""
    check(logits)
    k = min(k, logits.shape[1])
    return 100 * (logits.topk(k, dim=1).indices == labels[:, None]).any(dim=1).double().mean().item()


def reciprocal_rank(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """Mean of 1 / rank of the label among the logits, in percent; ties count against it. logits: (N, C)."""
    check(logits)
    own = logits.gather(1, labels[:, None])  # (N, 1)
    return 100 * (1 / (logits >= own).sum(dim=1).double()).mean().item()


def auc(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """Area under the ROC curve of class 0's probability, in [0, 1]. logits: (N, C); labels: int64 (N,)."""
    from sklearn.metrics import roc_auc_score

    check(logits)
    return float(roc_auc_score(labels == 0, logits.softmax(dim=1)[:, 0]))
