"""Typed settings: YAML files into pydantic models, and every mistake in them as one line with file and key."""

import contextlib
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Generic, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, create_model, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from contrastive_inversion.base.errors import UserError, nearest

Model = TypeVar("Model", bound=BaseModel)


class Settings(BaseModel):
    """Settings that refuse unknown keys, wrong types, NaN and later changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def known_keys(cls, content: Any) -> Any:
        """Refuse an unknown key with the nearest known one, which pydantic itself does not tell."""
        known = [field.alias or name for name, field in cls.model_fields.items()]
        unknown = [key for key in content if key not in known] if isinstance(content, dict) else []
        if unknown:
            text = f"unknown key '{unknown[0]}'{nearest(unknown[0], known)}"
            raise PydanticCustomError("unknown_key", "{text}", {"text": text})
        return content

    def said(self) -> dict[str, Any]:
        """The settings as plain values, those at their defaults left out at every depth."""
        return self.model_dump(exclude_defaults=True)

    def but(self, **changes: Any) -> Self:
        """The same settings with some values replaced, checked anew."""
        return type(self).model_validate(self.said() | changes)


class Part(Generic[Model]):
    """`Part[Model]`: some of a model's settings, each checked as the model does, to be laid over the whole of them."""

    def __class_getitem__(cls, model: type[BaseModel]) -> type[Settings]:
        fields: dict[str, Any] = {
            name: (Annotated[field.annotation, field.description, *field.metadata] | None, None)
            for name, field in model.model_fields.items()
        }
        return create_model(f"{model.__name__}Part", __base__=Changes, **fields)

    if TYPE_CHECKING:

        def over(self, settings: Model) -> Model: ...


class Changes(Settings):
    """Settings that were said, to be laid over others."""

    def over(self, settings: Settings) -> Any:
        """The settings with these laid over them."""
        return settings.but(**self.model_dump(exclude_unset=True))


def refused(text: str, key: str = "") -> PydanticCustomError:
    """What a validator raises for a wrong value; key: the dotted key, where a validator of the whole finds it."""
    return PydanticCustomError("refused", "{text}", {"text": text, "key": key})


@contextlib.contextmanager
def laid_over(key: str) -> Iterator[None]:
    """Raise what a model refuses within a validator as that one's error: the dotted key, and what is wrong there."""
    try:
        yield
    except ValidationError as error:
        problem = worst(error)
        inner = problem.get("ctx", {}).get("key") or ".".join(map(str, problem["loc"]))
        raise refused(explained(problem), f"{key}.{inner}" if inner else key) from None


def ascending(bounds: list[float]) -> list[float]:
    if bounds[0] > bounds[1]:
        raise refused(f"{bounds} is no range: its lower bound comes first")
    return bounds


def unique(items: list[Any]) -> list[Any]:
    twice = [item for position, item in enumerate(items) if item in items[:position]]
    if twice:
        raise refused(f"{twice[0]!r} stands there twice")
    return items


def is_name(text: str) -> bool:
    """Whether a study, an encoder or a data set may be called so: they become names of files and words of commands."""
    return bool(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", text))


ALPHABET = "a name is up to 100 letters a-z, digits, '_', '-' and '.', and begins with a letter or a digit"


def named(text: str) -> str:
    if not is_name(text):
        raise refused(f"{shown(text)}: {ALPHABET}")
    return text


@dataclass(frozen=True)
class Unit:
    """The unit of a setting, for its reader."""

    name: str


# Upper bounds are far above what any study needs and far below what overflows, fills a disk or runs for a lifetime.
Item = TypeVar("Item")
Unique = Annotated[list[Item], AfterValidator(unique)]
Name = Annotated[str, AfterValidator(named)]
Positive = Annotated[float, Field(gt=0, le=1e6)]
NotNegative = Annotated[float, Field(ge=0, le=1e6)]
Rate = Annotated[float, Field(gt=0, le=1000)]  # a linear head on unit features learns at 20
Share = Annotated[float, Field(ge=0, le=1), Unit("of 1")]
Percent = Annotated[float, Field(gt=0, le=100), Unit("%")]
Count = Annotated[int, Field(ge=1, le=10**9)]
Samples = Annotated[int, Field(ge=2, le=10**6)]
Steps = Annotated[int, Field(ge=1, le=10**6)]
Draws = Annotated[int, Field(ge=1, le=1000)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]  # numpy takes no larger one
Epochs = Annotated[int, Field(ge=1, le=100_000), Unit("epochs")]
Length = Annotated[int, Field(ge=1, le=100), Unit("px")]
Pixels = Annotated[int, Field(ge=8, le=4096), Unit("px")]
Range = Annotated[list[NotNegative], Field(min_length=2, max_length=2), AfterValidator(ascending)]
Shares = Annotated[list[Share], Field(min_length=2, max_length=2), AfterValidator(ascending)]


def checked(model: type[Model], content: Any, place: str | Path) -> Model:
    """A model's instance of some content. Raises UserError with the place, the key and what is allowed there."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{place}: {in_words(error, content)}") from None


def misfit(model: type[BaseModel], content: Any) -> str | None:
    """What of some content does not fit a model, with its key; None where all of it fits."""
    try:
        model.model_validate(content)
    except ValidationError as error:
        return in_words(error, content)
    return None


def in_words(error: ValidationError, content: Any) -> str:
    """The key of what is wrong in some content, and what is allowed there."""
    problem = worst(error)
    return f"{one_line(key_of(problem, content))}: {explained(problem)}"


def worst(error: ValidationError) -> ErrorDetails:
    """The problem to tell: the innermost one, since each member of a union reports its own; text is the last."""
    return max(error.errors(), key=lambda problem: (len(problem["loc"]), problem["type"] != "string_type"))


def key_of(problem: ErrorDetails, content: Any) -> str:
    """Where a problem is, as dotted keys; pydantic's names for the members of a union are left out."""
    if key := problem.get("ctx", {}).get("key"):
        return str(key)
    keys = []
    for part in problem["loc"]:
        inside = part in content if isinstance(content, dict) else isinstance(content, list) and isinstance(part, int)
        if inside or (problem["type"] == "missing" and part == problem["loc"][-1]):
            keys.append(str(part))
            content = content[part] if inside else None
    return ".".join(keys) or "top level"


def one_line(text: str) -> str:
    return textwrap.shorten(text, 300, placeholder=" …")


def shown(value: object) -> str:
    """A wrong value as it is shown: the beginning of a long one."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"


BOUNDS = {  # what a value is that breaks one, and where pydantic says the bound
    "greater_than": ("not above", "gt"), "greater_than_equal": ("below", "ge"),
    "less_than": ("not below", "lt"), "less_than_equal": ("above", "le"),
}  # fmt: skip


def explained(problem: ErrorDetails) -> str:
    """One sentence on a violation: what is there, what is allowed."""
    kind, given, limits = problem["type"], shown(problem["input"]), problem.get("ctx", {})
    if kind in BOUNDS:
        words, limit = BOUNDS[kind]
        return f"{given} is {words} {limits[limit]:g}"
    if kind == "literal_error":
        return f"{given} is not one of {limits['expected'].replace(' or ', ', ').replace(chr(39), '')}"
    if kind == "union_tag_invalid":
        return f"{shown(limits['tag'])} is not one of {limits['expected_tags'].replace(chr(39), '')}"
    if kind.endswith("_type"):
        return f"{given} is not of type {TYPES.get(kind.removesuffix('_type'), kind.removesuffix('_type'))}"
    return "missing" if kind == "missing" else one_line(problem["msg"])


TYPES = {
    "int": "integer", "float": "number", "bool": "boolean",
    "dict": "mapping", "model": "mapping", "model_attributes": "mapping",
}  # fmt: skip
