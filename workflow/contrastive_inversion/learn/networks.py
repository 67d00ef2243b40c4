"""Encoders: networks from images in [0, 1] to raw embeddings, built from a study's `networks` settings."""

import contextlib

import torch
from torch import nn

from contrastive_inversion.base import files
from contrastive_inversion.base.errors import UserError, nearest
from contrastive_inversion.ledger.plan import setting


class Encoder(nn.Module):
    """Normalises images and embeds them: float32 (B, 3, H, W) in [0, 1] -> float32 (B, dim), raw, not normalised."""

    def __init__(self, trunk, dim, mean, std):
        super().__init__()
        self.trunk = trunk
        self.dim = dim
        self.autocast = None  # a 16-bit type that the trunk may compute in; all around it is float32
        self.layout = torch.channels_last
        scale = 1 / torch.tensor(std).view(1, 3, 1, 1)
        self.register_buffer("scale", scale, persistent=False)
        self.register_buffer("shift", -torch.tensor(mean).view(1, 3, 1, 1) * scale, persistent=False)

    def normalised(self, images):
        """(images - mean) / std in one pass, in the trunk's memory layout."""
        return torch.addcmul(self.shift, images, self.scale).contiguous(memory_format=self.layout)

    def forward(self, images):
        with torch.autocast(images.device.type, self.autocast, enabled=self.autocast is not None):
            return self.trunk(self.normalised(images)).float()


def prepare(encoder, settings, job):
    """An encoder on the job's device, with its training's numerics: precision, memory layout, compilation.

    A CPU always computes in float32: 16 bits are for GPUs.
    """
    precision = setting(settings, "precision")
    if job.device == "cuda" and precision != "fp32":
        encoder.autocast = {"bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    if not setting(settings, "channels_last"):
        encoder.layout = torch.contiguous_format
    encoder.to(job.device, memory_format=encoder.layout)
    if setting(settings, "compile"):
        encoder.trunk.compile()
    return encoder


def renormalised(encoder, constants):
    """The same encoder with other means and standard deviations of its input."""
    return Encoder(encoder.trunk, encoder.dim, constants["mean"], constants["std"]).to(encoder.scale.device)


def sharded(network, batch, shards):
    """A network's outputs for a batch in equal parts, as on so many GPUs: float32 (B, ...).

    Batch normalisation sees one part at a time; its running statistics are those of the first part.
    """
    first, *others = batch.chunk(shards)
    outputs = [network(first)]
    with frozen_statistics(network):
        outputs += [network(part) for part in others]
    return torch.cat(outputs) if others else outputs[0]


@contextlib.contextmanager
def frozen_statistics(network):
    """Batch normalisation that leaves its running statistics alone."""
    layers = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [layer.momentum for layer in layers]
    try:
        for layer in layers:
            layer.momentum = 0.0
        yield
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum


class Classifier(nn.Module):
    """An encoder with a linear head trained along with it: images (B, 3, H, W) -> logits (B, classes)."""

    def __init__(self, encoder, classes):
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(encoder.dim, classes)

    def forward(self, images):
        return self.head(self.encoder(images))


def block(inputs, outputs, kernel, stride, padding):
    return [nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]


def convnet(model):
    """The embedded study's network: `embedding-128/48` takes 48 px and ends in 128 dimensions, `flattened/48` in 1,024.

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


def open_clip_tower(model):
    """The image tower of an open_clip model, as open_clip configures it."""
    import open_clip

    tower = open_clip.create_model(model).visual
    return tower, tower.output_dim


def torchvision_trunk(model):
    """A torchvision network without its classification layer."""
    import torchvision

    trunk = torchvision.models.get_model(model, weights=None)
    dim = trunk.fc.in_features
    trunk.fc = nn.Identity()
    return trunk, dim


def simclr_resnet(model):
    """The second report's network, for 32 px: `3-4-6-3/64` has those blocks in its stages and 64 channels first.

    A 3x3 stem, stages of 1, 2, 4 and 8 times the channels, each later one begun by a 1x1 convolution and a 2x2 mean;
    bottlenecks narrow to a quarter; convolutions are followed by batch normalisation without a slope and a bias.
    """
    blocks, width = model.split("/")
    channels, layers = int(width), [unit(3, int(width), 3), nn.ReLU()]  # (B, 3, 32, 32) -> (B, 64, 32, 32)
    for stage, count in enumerate(map(int, blocks.split("-"))):
        if stage:
            layers += [unit(channels, 2 * channels, 1), nn.ReLU(), nn.AvgPool2d(2)]
            channels *= 2
        layers += [Bottleneck(channels) for _ in range(count)]
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]  # (B, 512, 4, 4) -> (B, 512)
    return nn.Sequential(*layers), channels


class Bias(nn.Module):
    """A learned shift of each channel."""

    def __init__(self, channels, bound):
        super().__init__()
        self.bias = nn.Parameter(torch.empty(channels).uniform_(-bound, bound))

    def forward(self, x):
        return x + self.bias.view(1, -1, 1, 1)


def unit(inputs, outputs, kernel):
    """Convolution, batch normalisation without parameters, bias; all drawn from U(+-1 / sqrt(fan in))."""
    bound = (inputs * kernel * kernel) ** -0.5
    convolution = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
    nn.init.uniform_(convolution.weight, -bound, bound)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs, affine=False), Bias(outputs, bound))


class Bottleneck(nn.Module):
    """c -> c/4 -> c/4 -> c with an identity skip, ReLU after the addition."""

    def __init__(self, channels):
        super().__init__()
        inner = channels // 4
        self.layers = nn.Sequential(
            unit(channels, inner, 1), nn.ReLU(), unit(inner, inner, 3), nn.ReLU(), unit(inner, channels, 1)
        )

    def forward(self, x):
        return torch.relu(x + self.layers(x))


ARCHITECTURES = {
    "convnet": convnet,
    "simclr_resnet": simclr_resnet,
    "open_clip": open_clip_tower,
    "torchvision": torchvision_trunk,
}


def build(network):
    """A freshly initialised Encoder from `networks` settings: architecture, model, mean and std.

    Raises UserError for an unknown architecture. Seed torch's generator first: initial weights come from it.
    """
    name = network["architecture"]
    if name not in ARCHITECTURES:
        raise UserError(f"networks: unknown architecture '{name}'{nearest(name, ARCHITECTURES)}")
    trunk, dim = ARCHITECTURES[name](network["model"])
    return Encoder(trunk, dim, network["mean"], network["std"]).to(memory_format=torch.channels_last)


def load(path, recipe_hash):
    """A trained encoder in eval mode, its own classifier's (weight, bias) or None, and its record."""
    tensors, record = files.load(path, recipe_hash)
    encoder = build(record["recipe"]["network"])
    encoder.load_state_dict({k.removeprefix("encoder."): v for k, v in tensors.items() if k.startswith("encoder.")})
    head = (tensors["head.weight"], tensors["head.bias"]) if "head.weight" in tensors else None
    return encoder.eval().requires_grad_(False), head, record


def state(model):
    """The tensors that are saved of an Encoder or a Classifier."""
    prefix = "" if isinstance(model, Classifier) else "encoder."
    return {f"{prefix}{name}": tensor for name, tensor in model.state_dict().items()}
