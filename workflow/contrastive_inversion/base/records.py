"""What the record of a product says, as far as its readers rely on it: one that says otherwise is damaged."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AllowInfNan, BaseModel, ConfigDict

from contrastive_inversion.base.canonical import canonical, digest

READ = ("classes", "labels", "predictions")  # what a record says that others are made from, beside the content


class Said(BaseModel):
    """Some of what a record or a row says; what else stands there is nobody's to check."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)


Losses = list[Annotated[float, AllowInfNan()]]  # that of an epoch in float16 may overflow, and its weights not


class RecordedRecipe(Said):
    """What a record says of its recipe."""

    settings: dict[str, Any] | None = None


class Record(Said):
    """A record; older ones lack what has a default here."""

    recipe_hash: str
    recipe: RecordedRecipe = RecordedRecipe()
    content_hash: str | None = None
    device: str = ""
    inputs: dict[str, str | None] = {}
    made_by: dict[str, str] = {}


class Origin(Record):
    """A record that tells where a product comes from, as every job's does."""

    product: str
    content_hash: str
    seed: int
    device: str
    seconds: float
    code: str
    torch: str | None
    started: str = ""
    losses: Losses = []


def identity(record: Mapping[str, Any]) -> str | None:
    """What others are made from of a product: its content hash, with what they read in its record, if there is any."""
    said = {key: record[key] for key in READ if key in record}
    content: str | None = record.get("content_hash")
    return digest(canonical([content, said])) if content and said else content


def identities(record: Mapping[str, Any]) -> set[str | None]:
    """What users of a product may have noted of it: its identity or, older ones, the bare content hash."""
    return {identity(record), record.get("content_hash")}
