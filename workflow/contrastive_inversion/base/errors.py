"""The one exception that a user's mistake raises: its message is all that the user sees."""

import contextlib
import difflib
from collections.abc import Iterable, Iterator


class UserError(Exception):
    """Something that the user can mend. The message names the file, the key and the remedy."""


@contextlib.contextmanager
def refusals(place: str = "") -> Iterator[None]:
    """Raise UserError, with the place and the file, for what the system refuses: no permission, too long a name, ...

    An error of a library's own, which calls itself one of the system, is no user's mistake.
    """
    try:
        yield
    except OSError as error:
        if error.strerror is None:
            raise
        words = [place, error.filename and str(error.filename), error.strerror]
        raise UserError(": ".join(filter(None, words))) from None


def nearest(name: object, known: Iterable[object]) -> str:
    """', did you mean ...?' for a misspelt name, or the known names where nothing is close."""
    words = sorted({str(word) for word in known})
    close = difflib.get_close_matches(str(name), words, n=1, cutoff=0.5)
    if close:
        return f"; did you mean '{close[0]}'?"
    return f"; known: {', '.join(words)}" if words else ""
