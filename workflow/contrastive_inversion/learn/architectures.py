"""Trunks of encoders, freshly initialised from torch's global generator: from normalised images to embeddings."""

from collections.abc import Callable

import torch
from torch import nn

Trunk = tuple[nn.Module, int]  # float32 (B, 3, H, W) -> (B, dim), and dim


def block(inputs: int, outputs: int, kernel: int, stride: int, padding: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]


def convnet(model: str) -> Trunk:
    """A small convolutional network: `embedding-128/48` takes 48 px and gives 128 dimensions, `flattened/48` 1,024.

    The first convolution's stride brings images of 32 or 48 px to 16 x 16.
    """
    kind, _, size = model.partition("/")
    stride = int(size) // 16
    layers = block(3, 16, 2 * stride, stride, stride // 2 + stride % 2)  # (B, 3, size, size) -> (B, 16, 16, 16)
    layers += block(16, 32, 3, 2, 1) + block(32, 32, 3, 1, 1)  # -> (B, 32, 8, 8)
    layers += block(32, 64, 3, 2, 1) + block(64, 64, 3, 1, 1)  # -> (B, 64, 4, 4)
    layers.append(nn.Flatten())  # -> (B, 1024)
    if kind == "embedding-128":
        return nn.Sequential(*layers, nn.Linear(1024, 128)), 128
    return nn.Sequential(*layers), 1024


def open_clip_tower(model: str) -> Trunk:
    """The image tower of an open_clip model, as open_clip configures it."""
    import open_clip

    tower = open_clip.create_model(model).visual
    return tower, tower.output_dim


def torchvision_trunk(model: str) -> Trunk:
    """A torchvision network without its classification layer."""
    import torchvision

    trunk = torchvision.models.get_model(model, weights=None)
    dim = trunk.fc.in_features
    trunk.fc = nn.Identity()
    return trunk, dim


def simclr_resnet(model: str) -> Trunk:
    """A residual network for 32 px: `3-4-6-3/64` has those blocks in its stages and 64 channels first.

    A 3x3 stem, stages of 1, 2, 4 and 8 times the channels, each later one begun by a 1x1 convolution and a 2x2 mean;
    bottlenecks narrow to a quarter; convolutions are followed by batch normalisation without a slope and a bias.
    """
    blocks, width = model.split("/")
    channels = int(width)
    layers: list[nn.Module] = [unit(3, channels, 3), nn.ReLU()]  # (B, 3, 32, 32) -> (B, 64, 32, 32)
    for stage, count in enumerate(map(int, blocks.split("-"))):
        if stage:
            layers += [unit(channels, 2 * channels, 1), nn.ReLU(), nn.AvgPool2d(2)]
            channels *= 2
        layers += [Bottleneck(channels) for _ in range(count)]
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]  # (B, 512, 4, 4) -> (B, 512)
    return nn.Sequential(*layers), channels


class Bias(nn.Module):
    """A learned shift of each channel."""

    def __init__(self, channels: int, bound: float) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.empty(channels).uniform_(-bound, bound))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.bias.view(1, -1, 1, 1)


def unit(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    """Convolution, batch normalisation without parameters, bias; all drawn from U(+-1 / sqrt(fan in))."""
    bound = (inputs * kernel * kernel) ** -0.5
    convolution = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
    nn.init.uniform_(convolution.weight, -bound, bound)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs, affine=False), Bias(outputs, bound))


class Bottleneck(nn.Module):
    """c -> c/4 -> c/4 -> c with an identity skip, ReLU after the addition."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = channels // 4
        self.layers = nn.Sequential(
            unit(channels, inner, 1), nn.ReLU(), unit(inner, inner, 3), nn.ReLU(), unit(inner, channels, 1)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x + self.layers(x))


TRUNKS: dict[str, Callable[[str], Trunk]] = {
    "convnet": convnet, "simclr_resnet": simclr_resnet, "open_clip": open_clip_tower, "torchvision": torchvision_trunk,
}  # fmt: skip
