"""What a job remembers of what it has done, in one file that is replaced in one piece."""

import io
import json
import zipfile
from collections.abc import Mapping
from typing import Any

import torch

from contrastive_inversion.base import files
from contrastive_inversion.base.canonical import digest
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.base.job import Job
from contrastive_inversion.base.records import Losses, Said
from contrastive_inversion.base.settings import misfit


class Done(Said):
    """What a checkpoint says of its training."""

    epoch: int
    history: Losses
    optimizer: dict[str, Any] = {}


class Checkpoint:
    """The states of a training's model, optimiser and scaler, in its job's folder."""

    def __init__(self, parts: Mapping[str, Any], job: Job) -> None:
        self.parts, self.job, self.path = parts, job, job.state / "checkpoint.pt"

    def save(self, epochs: int, history: list[float]) -> None:
        """Write all states, how many epochs are done, and their losses. Raises UserError for a weight that is NaN."""
        content = {name: part.state_dict() for name, part in self.parts.items()}
        if unfit := not_finite(content["model"]):
            raise UserError(
                f"{self.job.product}: {unfit} is no finite number after epoch {epochs}; lower the learning rate in the "
                "study file"
            )
        content |= {"epoch": epochs, "history": history, "recipe_hash": self.job.recipe_hash}
        written = io.BytesIO()  # where the disk is full, torch's own writing of files raises what says nothing of it
        torch.save(content, written)
        with files.durable(self.path) as temporary:
            temporary.write_bytes(written.getbuffer())

    def resumed(self) -> tuple[int, list[float]]:
        """Take up the checkpoint of this very recipe, if there is one: the number of epochs done and their losses.

        A damaged one is set aside, with a warning, and the training begins anew. Raises UserError for one of another
        network.
        """
        content = self.content()
        if content.get("recipe_hash") != self.job.recipe_hash:
            return 0, []  # none, or the study has changed since: this training begins anew
        try:
            for name, part in self.parts.items():
                part.load_state_dict(content[name])
        except (RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(
                f"{self.path}: does not fit this network ({reason}); delete it to begin this training anew"
            ) from None
        print(f"{self.job.product}: going on after epoch {content['epoch']}", flush=True)
        return content["epoch"], content["history"]

    def content(self) -> dict[str, Any]:
        """What the file holds; nothing where there is none, or none that can be trusted."""
        if not self.path.exists():
            return {}
        try:
            with files.readable(self.path):
                written = self.path.read_bytes()
            return read(written)
        except (UserError, MemoryError):  # a disk or a machine that fails is no reason to begin anew
            raise
        except Exception as error:  # torch and zipfile raise many kinds for a damaged file
            aside = self.path.with_suffix(".damaged.pt")
            self.path.replace(aside)
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            print(f"Warning: {aside}: damaged checkpoint ({reason}); {self.job.product} begins anew", flush=True)
            return {}


def read(written: bytes) -> dict[str, Any]:
    """A checkpoint, on the CPU, every part checked against its CRC-32. Raises various errors for a damaged one."""
    with zipfile.ZipFile(io.BytesIO(written)) as archive:
        if broken := archive.testzip():
            raise ValueError(f"{broken} is not what was written")
    content: dict[str, Any] = torch.load(io.BytesIO(written), map_location="cpu", weights_only=True)
    if unfit := not_finite(content["model"]):
        raise ValueError(f"{unfit} is no finite number")
    if problem := misfit(Done, content):
        raise ValueError(problem)
    return content


def not_finite(tensors: Mapping[str, torch.Tensor]) -> str | None:
    """The name of a tensor that holds NaN or an infinity, if there is one."""
    floating = ((name, tensor) for name, tensor in tensors.items() if tensor.is_floating_point())
    return next((name for name, tensor in floating if not tensor.isfinite().all()), None)


class KeptRows:
    """The rows of a measurement's finished parts, which a restart need not measure again."""

    def __init__(self, job: Job) -> None:
        self.job, self.path = job, job.state / "rows"
        self.parts: list[list[dict[str, Any]]] = []
        content = self.content()
        if content.get("recipe_hash") == job.recipe_hash:
            self.parts = content["parts"]
            print(f"{job.product}: going on after {len(self.parts)} measured parts", flush=True)

    def add(self, rows: list[dict[str, Any]]) -> None:
        """Keep the rows of the next part."""
        self.parts.append(rows)
        text = json.dumps({"recipe_hash": self.job.recipe_hash, "parts": self.parts})
        files.write_text(self.path, f"{digest(text)}\n{text}")

    def content(self) -> dict[str, Any]:
        """What the file holds; nothing where there is none, or one that is not as it was written."""
        if not self.path.exists():
            return {}
        sha256, _, text = self.path.read_text(encoding="utf-8", errors="replace").partition("\n")
        if sha256 != digest(text):
            print(f"Warning: {self.path}: not what was written; {self.job.product} begins anew", flush=True)
            return {}
        content: dict[str, Any] = json.loads(text)
        return content

    @property
    def rows(self) -> list[dict[str, Any]]:
        """All rows so far."""
        return [row for part in self.parts for row in part]
