"""Published weights: OpenAI's CLIP and torchvision's ResNet-101, from files whose checksums are known.

Nothing here unpickles foreign objects: archives are read as tensors (`weights_only`), TorchScript archives by
torch's own reader, and only their parameters are taken.
"""

import zipfile
from pathlib import Path
from typing import Any

import torch

from contrastive_inversion.base import machine
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.base.files import check_sum
from contrastive_inversion.base.job import Job
from contrastive_inversion.learn import networks
from contrastive_inversion.learn.settings import Weights


def is_torchscript(path: Path) -> bool:
    """Whether a file is a TorchScript archive: a zip that holds code."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any("/code/" in name for name in archive.namelist())


def tensors_of(path: Path) -> dict[str, torch.Tensor]:
    """The parameters and buffers in a file. Raises UserError for anything but tensors."""
    try:
        if is_torchscript(path):
            return dict(torch.jit.load(path, map_location="cpu").state_dict())
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a foreign file
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path}: no file of weights that is safe to read ({reason})") from None
    if not isinstance(content, dict) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise UserError(f"{path}: holds something else than named tensors")
    return content


def trunk_tensors(name: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The image tower of CLIP, or ResNet-101 without its classifier, with the names that our trunks use."""
    if name == "clip":
        return {key.removeprefix("visual."): t.float() for key, t in tensors.items() if key.startswith("visual.")}
    return {key: t for key, t in tensors.items() if not key.startswith("fc.")}


def read(recipe: Weights, job: Job) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """An encoder with published weights: its tensors, and no facts.

    Raises UserError for a file that is missing, wrong, truncated or unsafe, and for a tower whose activation is not
    the one that OpenAI trained with.
    """
    name, model = recipe.settings.weights, recipe.network.model
    path = machine.weights_file(name)
    check_sum(path, recipe.settings.sha256)
    encoder = networks.build(recipe.network)
    if name == "clip" and any(isinstance(module, torch.nn.GELU) for module in encoder.trunk.modules()):
        raise UserError(f"networks: model: {model}: OpenAI's weights need {model}-quickgelu")
    try:
        encoder.trunk.load_state_dict(trunk_tensors(name, tensors_of(path)))
    except RuntimeError as error:
        raise UserError(f"{path}: not the weights of {model}: {str(error).splitlines()[1].strip()}") from None
    return networks.state(encoder), {}
