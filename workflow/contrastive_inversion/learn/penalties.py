"""NT-Xent on two views, and input-gradient (Tikhonov) penalties: Eqs. 1-5 of the second report.

All penalties are differentiable in the network's parameters (double backpropagation).
"""

import torch

from contrastive_inversion.learn import losses


def nt_xent(first, second, tau):
    """Eq. 1 with the anchor left out of its own denominator, as SimCLR defines it: a scalar.

    first, second: (N, D), embeddings of two views of the same images, normalised here.
    """
    return losses.ntxent(first, second, tau)


def squared_gradients(loss, inputs):
    """The squared norm of the loss's gradient in each input image: a list of (B,), one per tensor of inputs."""
    gradients = torch.autograd.grad(loss, inputs, create_graph=True)
    return [gradient.flatten(1).square().sum(dim=1) for gradient in gradients]


def check_strength(strength):
    if not strength >= 0:
        raise ValueError(f"lambda {strength:g} is negative: a penalty would reward large gradients")


def contrastive(loss, first, second, strength):
    """Eq. 3: the loss plus lambda/2 times the sum over images of the mean squared gradient norm of both views.

    loss: scalar, the batch's mean loss; first, second: (N, C, H, W), its inputs, requiring gradients.
    """
    check_strength(strength)
    if strength == 0:
        return loss
    of_first, of_second = squared_gradients(loss, [first, second])
    return loss + strength / 2 * ((of_first + of_second) / 2).sum()


def supervised(losses_of_images, images, strength, scale="per_image"):
    """Eq. 2: the mean over images of l_i + lambda/2 * ||grad_i l_i||^2.

    losses_of_images: (N,), each depending on its own image alone but for batch normalisation's statistics; images:
    (N, C, H, W), requiring gradients. Other scales take the gradients of the mean loss instead: "summed" sums their
    squares as Eq. 3 does, which makes lambda mean the same for both kinds of model and is N times weaker; "mean_loss"
    averages them, as the report's code did, which is N^2 times weaker.
    """
    check_strength(strength)
    loss = losses_of_images.mean()
    if strength == 0:
        return loss
    differentiated = losses_of_images.sum() if scale == "per_image" else loss
    (squares,) = squared_gradients(differentiated, [images])
    return loss + strength / 2 * (squares.sum() if scale == "summed" else squares.mean())


def layer_wise(first, second, tau, weights):
    """Eq. 4: the weighted sum of NT-Xent over layers, spatial positions averaged first.

    first, second: lists of (N, C_k, H_k, W_k) or (N, D), a layer's features of both views; weights: one per layer.
    """
    terms = [w * nt_xent(pooled(a), pooled(b), tau) for a, b, w in zip(first, second, weights, strict=True)]
    return torch.stack(terms).sum()


def layer_wise_penalty(first, second, tau, views, weights):
    """Eq. 5's second term: the weighted sum over layers of R_k, the penalty of Eq. 3 without its lambda/2."""
    total = torch.zeros((), device=views[0].device)
    for a, b, weight in zip(first, second, weights, strict=True):
        of_first, of_second = squared_gradients(nt_xent(pooled(a), pooled(b), tau), list(views))
        total = total + weight * ((of_first + of_second) / 2).sum()
    return total


def pooled(features):
    """A layer's features as one vector per image: (N, C, H, W) -> (N, C)."""
    return features.mean(dim=(2, 3)) if features.ndim == 4 else features
