"""The page settings.md: every setting of every paper's studies, from the typed models themselves.

`python docs/settings.py` writes it; a test says when the page is no longer what the models say.
"""

import types
import typing
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from contrastive_inversion import papers
from contrastive_inversion.base.machine import Config
from contrastive_inversion.base.settings import Unit

HEAD = "| key | type | unit | default | meaning |\n|---|---|---|---|---|\n"
NAMES = {int: "integer", float: "number", str: "text", bool: "true or false", type(None): "null"}
SIGNS = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}
INTRODUCTION = """# Every setting

Written by `python docs/settings.py` from the typed models; an unknown key, a wrong type or a value out of bounds
is refused with its file and key. A setting without a default (–) must be said by a study or its parents; one at its
default does not enter a recipe. `{` and `}` enclose a group of settings, explained further below."""


def page() -> str:
    """The page as Markdown: config.yaml, each paper's studies, then each group of settings once."""
    studies = {paper.name: paper for paper in map(papers.paper, papers.names())}
    users: dict[type[BaseModel], list[str]] = {}
    for name, paper in studies.items():
        for model in groups(paper.settings):
            users.setdefault(model, []).append(name)
    parts = [INTRODUCTION, section("config.yaml", Config)]
    parts += [section(f"config.yaml, {name}", model) for name, model in nested(Config)]
    parts += [section(f"A study of {name} (*{paper.title}*)", paper.settings) for name, paper in studies.items()]
    parts += [section(f"{{{model.__name__}}} of {' and '.join(names)}", model) for model, names in users.items()]
    return "\n\n".join(parts) + "\n"


def nested(model: type[BaseModel]) -> list[tuple[str, type[BaseModel]]]:
    """The groups of settings directly within a model, by their keys."""
    return [(key, each) for key, field in model.model_fields.items() for each in models_in(field.annotation)]


def groups(model: type[BaseModel]) -> list[type[BaseModel]]:
    """All groups of settings within a model, at every depth, each once."""
    inside = [each for _, inner in nested(model) for each in (inner, *groups(inner))]
    return list(dict.fromkeys(inside))


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """The models that a type is made of, each once; what differs for a part of the cases is no group of its own."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [] if annotation.__name__.endswith("Part") else [annotation]
    inside = [model for part in typing.get_args(annotation) for model in models_in(part)]
    return list(dict.fromkeys(inside))


def told(model: type[BaseModel]) -> str:
    """What a model's docstring says first."""
    return " ".join((model.__doc__ or "").split("\n\n")[0].split())


def section(title: str, model: type[BaseModel]) -> str:
    """A heading, what the model is, and a table of its fields."""
    lines = [line(field.alias or name, field) for name, field in model.model_fields.items()]
    return f"## {title}\n\n{told(model)}\n\n{HEAD}" + "\n".join(lines)


def line(key: str, field: FieldInfo) -> str:
    """A field as a row of a table."""
    meaning = field.description or " ".join(map(told, models_in(field.annotation))) or "tells this group from others"
    meaning = meaning.replace("<", "&lt;").replace("|", "\\|")
    return f"| `{key}` | {kind_of(field)} | {unit_of(field)} | {default_of(field)} | {meaning} |"


def kind_of(field: FieldInfo) -> str:
    """A field's type and bounds in words."""
    return " ".join([words(field.annotation), *bounds(field.metadata)])


def bounds(metadata: Iterable[Any]) -> list[str]:
    """The bounds among the constraints of a type."""
    parts = [part for each in metadata for part in getattr(each, "metadata", [each])]
    return [
        f"{sign} {getattr(p, name):g}"
        for p in parts
        for name, sign in SIGNS.items()
        if getattr(p, name, None) is not None
    ]


def unit_of(field: FieldInfo) -> str:
    """A field's unit, where its type tells one."""
    return next((str(unit.name) for unit in units(field.annotation, field.metadata)), "")


def units(annotation: Any, metadata: Iterable[Any] = ()) -> list[Unit]:
    """The units that a type tells, at any depth."""
    inside = [*typing.get_args(annotation), *metadata]
    return [u for part in inside for u in ([part] if isinstance(part, Unit) else units(part))]


def words(annotation: Any) -> str:
    """A type in words."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin is typing.Annotated:
        return " ".join([words(arguments[0]), *bounds(arguments[1:])])
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(words(each) for each in arguments if each is not type(None)))
    if origin is list:
        return f"list of {words(arguments[0])}"
    if origin is dict:
        return f"mapping of {words(arguments[0])} to {words(arguments[1])}"
    named = annotation.__name__ if isinstance(annotation, type) and issubclass(annotation, BaseModel) else "anything"
    return NAMES.get(annotation, f"{{{named}}}".replace("Part}", "}, in part"))


def default_of(field: FieldInfo) -> str:
    """A field's default; a dash where it must be said."""
    if field.is_required():
        return "–"
    return "" if field.default is None or isinstance(field.default, BaseModel) else f"`{field.default}`"


if __name__ == "__main__":
    Path(__file__).with_suffix(".md").write_text(page(), encoding="utf-8")
