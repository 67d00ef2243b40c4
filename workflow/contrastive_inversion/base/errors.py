"""The one exception that a user's mistake raises: its message is all that the user sees."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Something that the user can mend. The message names the file, the key and the remedy."""


def nearest(name: object, known: Iterable[object]) -> str:
    """', did you mean ...?' for a misspelt name, or the known names where nothing is close."""
    words = sorted({str(word) for word in known})
    close = difflib.get_close_matches(str(name), words, n=1, cutoff=0.5)
    if close:
        return f"; did you mean '{close[0]}'?"
    return f"; known: {', '.join(words)}" if words else ""
