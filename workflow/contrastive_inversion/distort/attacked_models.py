"""What attacks ask of a model: whether it is wrong, its margin, its gradients; and what they refuse.

`Model` is any callable from images (B, C, H, W) in [0, 1] to logits (B, K); normalisation belongs inside of it.
"""

from collections.abc import Callable

import torch
from torch import Tensor

Model = Callable[[Tensor], Tensor]


@torch.no_grad()
def misclassified(model: Model, images: Tensor, labels: Tensor) -> Tensor:
    """Whether a model takes each image for another class than its label: bool (B,).

    Raises ValueError for logits that are not finite: the largest of them would be no class.
    """
    logits = model(images)
    if not logits.isfinite().all():
        count = int((~logits.isfinite().all(dim=1)).sum())
        raise ValueError(f"the model's logits are not finite in {count} of {len(images)} images")
    return logits.argmax(dim=1) != labels


def check(model: Model, images: Tensor, labels: Tensor) -> None:
    """Raise ValueError for a model in training mode, images outside of [0, 1], or labels that do not fit both."""
    modules = model.modules() if isinstance(model, torch.nn.Module) else []
    if any(module.training for module in modules):
        raise ValueError("the model is in training mode: its batch normalisation would mix images; call model.eval()")
    if images.ndim != 4 or not images.is_floating_point():
        raise ValueError(f"images must be float (N, C, H, W), not {images.dtype} {tuple(images.shape)}")
    if not images.numel():
        raise ValueError(f"there are no images to attack: their shape is {tuple(images.shape)}")
    if not (images.min() >= 0 and images.max() <= 1):
        raise ValueError(f"images must lie in [0, 1]; these go from {images.min():g} to {images.max():g}")
    if labels.shape != images.shape[:1] or labels.dtype != torch.int64:
        raise ValueError(f"labels must be int64 of shape ({len(images)},), not {labels.dtype} {tuple(labels.shape)}")
    check_logits(model, images[:1], labels)


@torch.no_grad()
def check_logits(model: Model, image: Tensor, labels: Tensor) -> None:
    """Raise ValueError for a model that gives an image (1, C, H, W) no logits (1, K), and for labels outside of K."""
    logits = model(image)
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != 1:
        given = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ValueError(f"the model must give logits (N, K); of one image it gives {given}")
    if labels.min() < 0 or labels.max() >= logits.shape[1]:
        raise ValueError(
            f"labels must lie in 0 to {logits.shape[1] - 1}, the model's classes; these go from {labels.min()} to "
            f"{labels.max()}"
        )


def gradient(loss_of: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """The gradient of a scalar loss in images (B, C, H, W).

    Raises ValueError where the loss does not depend on the images, or the gradient is not finite.
    """
    with torch.enable_grad():
        images = images.detach().requires_grad_()
        loss = loss_of(images)
        slope = torch.autograd.grad(loss, images, allow_unused=True)[0] if loss.requires_grad else None
    if slope is None:
        raise ValueError("the model has no gradient in its images: is there a no_grad, detach or rounding inside?")
    if not slope.isfinite().all():
        count = int((~slope.flatten(1).isfinite().all(dim=1)).sum())
        raise ValueError(f"the model's gradient is not finite in {count} of {len(images)} images")
    return slope


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """The largest wrong logit minus the right one, summed over the batch: above 0 where the model is wrong."""
    right = logits.gather(1, labels[:, None])[:, 0]
    others = logits.scatter(1, labels[:, None], float("-inf")).amax(dim=1)
    return (others - right).sum()
