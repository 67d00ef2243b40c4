"""One spelling of a description, and its digest: equal descriptions are equal texts."""

import hashlib
import json
from typing import Any


def canonical(value: Any) -> str:
    """A value as JSON in one spelling: sorted keys, nothing that is None, 1.0 as 1. Raises ValueError on NaN."""
    return json.dumps(normalised(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def normalised(value: Any) -> Any:
    """The value with keys as text, without keys whose value is None, with whole floats as integers."""
    if isinstance(value, dict):
        return {str(key): normalised(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [normalised(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def digest(text: str) -> str:
    """The sha256 of a text, as 64 hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()
