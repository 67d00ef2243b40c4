"""Encoders: networks from images in [0, 1] to raw embeddings, built from a study's `networks` settings."""

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from contrastive_inversion.base import files
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.base.job import Input, Job
from contrastive_inversion.learn.architectures import TRUNKS
from contrastive_inversion.learn.settings import Network, Training

Linear = tuple[torch.Tensor, torch.Tensor]  # weight (classes, dim) and bias (classes,)


class Encoder(nn.Module):
    """Normalises images and embeds them: float32 (B, 3, H, W) in [0, 1] -> float32 (B, dim), raw, not normalised."""

    scale: torch.Tensor
    shift: torch.Tensor

    def __init__(self, trunk: nn.Module, dim: int, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.input = "fp32"  # or fp16, to which the trunk's input is rounded
        self.trunk = trunk
        self.dim = dim
        self.rounding: Callable[[], AbstractContextManager] = contextlib.nullcontext  # of the trunk alone
        scale = 1 / torch.tensor(std).view(1, 3, 1, 1)
        self.register_buffer("scale", scale, persistent=False)
        self.register_buffer("shift", -torch.tensor(mean).view(1, 3, 1, 1) * scale, persistent=False)

    def normalised(self, images: torch.Tensor) -> torch.Tensor:
        """(images - mean) / std in one pass, channels last as the trunk's weights are."""
        normal = torch.addcmul(self.shift, images, self.scale).contiguous(memory_format=torch.channels_last)
        return normal.half().float() if self.input == "fp16" else normal

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        with self.rounding():
            return self.trunk(self.normalised(images)).float()


def prepare(encoder: Encoder, settings: Training, job: Job) -> Encoder:
    """An encoder on the job's device, with its training's precision, compilation and thrift."""
    if settings.recompute:
        recompute(encoder.trunk)
    if settings.compile:
        encoder.trunk.compile(dynamic=False)  # sizes that are left open would compute an epoch's full batches anew
    return placed(encoder, settings.precision, job)


def placed(encoder: Encoder, precision: str, job: Job) -> Encoder:
    """An encoder on the job's device. A CPU computes in float32 whatever the precision, which is for GPUs."""
    if job.device == "cuda":
        encoder.rounding = ROUNDINGS[precision]
    return encoder.to(job.device)


def recompute(trunk: nn.Module) -> None:
    """Let a residual network keep its blocks' inputs alone, and compute the rest of a block anew in the backward pass.

    The gradients are the same to the bit, and batch normalisation's running statistics move once. Raises UserError for
    a network without residual blocks.
    """
    blocks = [module for module in trunk.modules() if type(module).__name__ in ("BasicBlock", "Bottleneck")]
    if not blocks:
        raise UserError("recompute: the network has no residual blocks")
    for block in blocks:
        block.forward = checkpointed(block.forward, block)
    if hasattr(trunk, "stem"):  # CLIP's first convolutions, whose outputs are as large as all blocks' inputs
        trunk.stem = checkpointed(trunk.stem, trunk)  # type: ignore[arg-type, assignment]


def checkpointed(forward: Callable[..., torch.Tensor], module: nn.Module) -> Callable[..., torch.Tensor]:
    """A module's forward pass that keeps its input alone."""

    def contexts() -> tuple[AbstractContextManager, AbstractContextManager]:
        return contextlib.nullcontext(), frozen_statistics(module)

    return functools.partial(checkpoint, forward, use_reentrant=False, context_fn=contexts, preserve_rng_state=False)


@contextlib.contextmanager
def frozen_statistics(network: nn.Module) -> Iterator[None]:
    """Batch normalisation as in training that leaves its running statistics alone."""
    layers = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    kept = [(layer.momentum, layer.num_batches_tracked) for layer in layers]
    for layer in layers:
        layer.momentum, layer.num_batches_tracked = 0.0, None
    try:
        yield
    finally:  # the backward pass stops a forward one as soon as it has what it needs
        for layer, (momentum, count) in zip(layers, kept, strict=True):
            layer.momentum, layer.num_batches_tracked = momentum, count


@contextlib.contextmanager
def tensor_floats() -> Iterator[None]:
    """Products of matrices and convolutions with inputs rounded to TF32's 10 bits, sums in float32."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False


ROUNDINGS: dict[str, Callable[[], AbstractContextManager]] = {
    "fp32": contextlib.nullcontext,
    "tf32": tensor_floats,
    "bf16": functools.partial(torch.autocast, "cuda", torch.bfloat16),
    "fp16": functools.partial(torch.autocast, "cuda", torch.float16),
}


def renormalised(encoder: Encoder, mean: Sequence[float], std: Sequence[float]) -> Encoder:
    """The same encoder with other means and standard deviations of its input's three channels."""
    other = Encoder(encoder.trunk, encoder.dim, mean, std).to(encoder.scale.device)
    other.input, other.rounding = encoder.input, encoder.rounding
    return other


def sharded(network: nn.Module, batch: torch.Tensor, shards: int) -> torch.Tensor:
    """A network's outputs for a batch in equal parts, as on so many GPUs: float32 (B, ...).

    Batch normalisation sees one part at a time; its running statistics are those of the first part.
    """
    first, *others = batch.chunk(shards)
    outputs = [network(first)]
    with frozen_statistics(network):
        outputs += [network(part) for part in others]
    return torch.cat(outputs) if others else outputs[0]


class Classifier(nn.Module):
    """An encoder and a head on its embeddings, raw or normalised to unit length: images (B, 3, H, W) -> logits."""

    def __init__(self, encoder: Encoder, head: nn.Module, normalised: bool = False) -> None:
        super().__init__()
        self.encoder, self.head, self.normalised = encoder, head, normalised

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        embeddings = self.encoder(images)  # (B, dim)
        logits: torch.Tensor = self.head(F.normalize(embeddings, dim=1) if self.normalised else embeddings)
        return logits


def build(network: Network) -> Encoder:
    """A freshly initialised Encoder. Seed torch's generator first: initial weights come from it."""
    trunk, dim = TRUNKS[network.architecture](network.model)
    encoder = Encoder(trunk, dim, network.mean, network.std)
    encoder.input = network.input
    return encoder.to(memory_format=torch.channels_last)


def load(source: Input) -> tuple[Encoder, Linear | None]:
    """A trained encoder in eval mode, and its own classifier where it has one."""
    tensors, record = files.load(source.path, source.recipe_hash)
    encoder = build(Network.model_validate(record["recipe"]["network"]))
    encoder.load_state_dict({k.removeprefix("encoder."): v for k, v in tensors.items() if k.startswith("encoder.")})
    head = (tensors["head.weight"], tensors["head.bias"]) if "head.weight" in tensors else None
    return encoder.eval().requires_grad_(False), head


def state(model: Encoder | Classifier) -> dict[str, torch.Tensor]:
    """The tensors that are saved of an Encoder or a Classifier."""
    prefix = "" if isinstance(model, Classifier) else "encoder."
    return {f"{prefix}{name}": tensor for name, tensor in model.state_dict().items()}
