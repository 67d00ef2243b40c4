"""Input-gradient (Tikhonov) penalties, of Campbell, Manta and Iannantuono (2020), Eqs. 2 and 3.

They are differentiable in the network's parameters (double backpropagation).
"""

from collections.abc import Sequence

import torch


def squared_gradients(loss: torch.Tensor, inputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """The squared norm of the loss's gradient in each input image: a list of (B,), one per tensor of inputs."""
    gradients = torch.autograd.grad(loss, inputs, create_graph=True)
    return [gradient.flatten(1).square().sum(dim=1) for gradient in gradients]


def contrastive(loss: torch.Tensor, first: torch.Tensor, second: torch.Tensor, strength: float) -> torch.Tensor:
    """Eq. 3: the loss plus lambda/2 times the sum over images of the mean squared gradient norm of both views.

    loss: scalar, the batch's mean loss; first, second: (N, C, H, W), its inputs, requiring gradients.
    """
    if strength == 0:
        return loss
    of_first, of_second = squared_gradients(loss, [first, second])
    return loss + strength / 2 * ((of_first + of_second) / 2).sum()


def supervised(
    losses_of_images: torch.Tensor, images: torch.Tensor, strength: float, scale: str = "per_image"
) -> torch.Tensor:
    """Eq. 2: the mean over images of l_i + lambda/2 * ||grad_i l_i||^2.

    losses_of_images: (N,), each depending on its own image alone but for batch normalisation's statistics; images:
    (N, C, H, W), requiring gradients. Other scales take the gradients of the mean loss instead: "summed" sums their
    squares as Eq. 3 does, which makes lambda mean the same for both kinds of model and is N times weaker; "mean_loss"
    averages them, as their code did, which is N^2 times weaker.
    """
    loss = losses_of_images.mean()
    if strength == 0:
        return loss
    differentiated = losses_of_images.sum() if scale == "per_image" else loss
    (squares,) = squared_gradients(differentiated, [images])
    return loss + strength / 2 * (squares.sum() if scale == "summed" else squares.mean())
