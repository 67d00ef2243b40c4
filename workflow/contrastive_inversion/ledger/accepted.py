"""What a user has accepted: finished products that are kept although the code that made them has changed since.

It lies beside the products, in `accepted.json` of the study's results, and the report page shows it. Imports no torch.
"""

import datetime
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock
from pydantic import RootModel

from contrastive_inversion.base import files
from contrastive_inversion.base.settings import Settings, checked

NAME = "accepted.json"


class Accepted(Settings):
    """A change that some products were kept through.

    before, now: digests of the code that made them and of today's, or `cpu` and `cuda`; changes: what differs, in
    words; because: the user's reason; when: the date.
    """

    products: list[str]
    before: str
    now: str
    changes: list[str]
    because: str
    when: str

    def covers(self, product: str, before: str, now: str) -> bool:
        """Whether a product may be kept through a change."""
        return product in self.products and (self.before, self.now) == (before, now)


class AllAccepted(RootModel[list[Accepted]]):
    """The content of the file."""


def read(root: Path) -> list[Accepted]:
    """What was accepted in a study's folder of results, in order. Raises UserError for a file that says nonsense."""
    path = root / NAME
    return checked(AllAccepted, files.read_json(path), path).root if path.exists() else []


def add(root: Path, new: Sequence[Accepted]) -> None:
    """Write down more that was accepted."""
    with FileLock(root / f".{NAME}.lock"):  # what another one writes between reading and writing would be lost
        files.write_json(root / NAME, [each.model_dump() for each in [*read(root), *new]])


def today() -> str:
    """The date, in universal time."""
    return datetime.datetime.now(datetime.UTC).date().isoformat()
