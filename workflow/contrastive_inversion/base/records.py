"""What the record of a product says, as far as its readers rely on it: one that says otherwise is damaged."""

from typing import Annotated, Any

from pydantic import AllowInfNan, BaseModel, ConfigDict


class Said(BaseModel):
    """Some of what a record or a row says; what else stands there is nobody's to check."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)


Losses = list[Annotated[float, AllowInfNan()]]  # that of an epoch in float16 may overflow, and its weights not


class Settings(Said):
    """What a recorded recipe says of settings."""

    settings: dict[str, Any] | None = None


class Record(Said):
    """A record; older ones lack what has a default here."""

    recipe_hash: str
    recipe: Settings = Settings()
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
