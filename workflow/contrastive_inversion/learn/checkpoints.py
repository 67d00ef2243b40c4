"""What a training remembers from epoch to epoch, in one file that is replaced in one piece."""

from collections.abc import Mapping
from typing import Any

import torch

from contrastive_inversion.base import files
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.base.job import Job


class Checkpoint:
    """The states of a training's model, optimiser and scaler, in its job's folder."""

    def __init__(self, parts: Mapping[str, Any], job: Job) -> None:
        self.parts, self.job, self.path = parts, job, job.state / "checkpoint.pt"

    def save(self, epochs: int, history: list[float]) -> None:
        """Write all states, how many epochs are done, and their losses."""
        content = {name: part.state_dict() for name, part in self.parts.items()}
        content |= {"epoch": epochs, "history": history, "recipe_hash": self.job.recipe_hash}
        with files.atomic(self.path) as temporary:
            torch.save(content, temporary)

    def resumed(self) -> tuple[int, list[float]]:
        """Take up the checkpoint of this very recipe, if there is one: the number of epochs done and their losses.

        Raises UserError for a damaged file.
        """
        if not self.path.exists():
            return 0, []
        try:
            content = torch.load(self.path, map_location=self.job.device, weights_only=True)
            if content["recipe_hash"] != self.job.recipe_hash:
                return 0, []  # the study has changed since: this training begins anew
            for name, part in self.parts.items():
                part.load_state_dict(content[name])
        except Exception as error:  # torch raises many kinds for a damaged file
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UserError(
                f"{self.path}: damaged checkpoint ({reason}); delete it to begin this training anew"
            ) from None
        print(f"{self.job.product}: going on after epoch {content['epoch']}", flush=True)
        return content["epoch"], content["history"]
