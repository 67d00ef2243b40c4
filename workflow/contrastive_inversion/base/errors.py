"""The one exception that a user's mistake raises: its message is all that the user sees."""

import difflib


class UserError(Exception):
    """Something that the user can mend. The message names the file, the key and the remedy."""


def nearest(name, known):
    """', did you mean ...?' for a misspelt name, or the known names where nothing is close."""
    known = sorted({str(k) for k in known})
    close = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
    if close:
        return f"; did you mean '{close[0]}'?"
    return f"; known: {', '.join(known)}" if known else ""
