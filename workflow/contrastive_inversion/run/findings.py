"""A line for each thing that was looked at on a machine, and whether it will do."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from contrastive_inversion.base.errors import UserError


@dataclass(frozen=True)
class Check:
    """One line: what was looked at, and whether it will do."""

    ok: bool
    text: str

    def __str__(self) -> str:
        return f"{'✓' if self.ok else '✗'} {self.text}"


def checked(text: str, function: Callable[..., str], *arguments: Any) -> Check:
    """A Check that holds unless the function raises UserError, whose message is then the text, or cannot read."""
    try:
        told = function(*arguments)
    except UserError as error:
        return Check(False, str(error))
    except OSError as error:
        return Check(False, f"{text}: {error.filename} cannot be read ({error.strerror}); ask its owner, or move it")
    return Check(True, f"{text}: {told}")
