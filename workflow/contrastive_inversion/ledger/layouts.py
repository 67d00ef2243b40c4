"""Layouts: how a paper lays its tables and figures out, and what a study puts into them. Imports no torch."""

import functools
from collections.abc import Iterable
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import Field, RootModel

from contrastive_inversion.base.errors import UserError, nearest
from contrastive_inversion.base.settings import Count, Settings, checked
from contrastive_inversion.base.yaml_files import read_yaml
from contrastive_inversion.ledger.paper import Paper
from contrastive_inversion.ledger.printed import Cell, QuantityText, cells_of
from contrastive_inversion.ledger.quantities import Quantity, parse
from contrastive_inversion.ledger.study import Study


class Note(Settings):
    """A note that a table carries where a data set comes from a certain source; always, where `where` is not said."""

    text: str
    where: dict[str, str] = {}


class TableLayout(Settings):
    """How a table is laid out.

    rows: the heading of its rows; best: where the best value is bold, along a row or of a pair of rows; comparable:
    whether its cells may be judged; levels: its rows are levels that the print does not name.
    """

    title: str
    rows: str
    best: Literal["row", "pair"] | None = None
    comparable: bool = True
    levels: bool = False
    notes: list[Note] = []


class Panel(Settings):
    """A panel of a figure. levels: the places on its axis, or `$name` for the study's setting of that name."""

    title: str
    levels: Annotated[str, Field(pattern=r"^\$")] | Annotated[list[str], Field(min_length=1)]
    curves: dict[str, QuantityText] = Field(description="by name: a quantity with {x} for the level and {metric}")
    x: str | None = None
    log: bool = False


class FigureLayout(Settings):
    """How a figure is laid out: panels of curves, or a gallery of images with what models take them for.

    metric: of all curves, or `$name` for the study's setting of that name; x: the axis of panels that name none;
    models: headings of a gallery's predictions.
    """

    title: str
    metric: str = ""
    x: str = ""
    columns: Count | None = None
    panels: list[Panel] = []
    gallery: Literal["predictions", "samples"] | None = None
    distortions: list[str] = []
    models: dict[str, str] = {}


class TableLayouts(RootModel[dict[Count, TableLayout]]):
    """A paper's tables by number."""


class FigureLayouts(RootModel[dict[Count, FigureLayout]]):
    """A paper's figures by number."""


@functools.cache
def tables(paper: Paper) -> dict[int, TableLayout]:
    """A paper's tables by number."""
    path = paper.printed / "tables.yaml"
    return checked(TableLayouts, read_yaml(path), path).root


@functools.cache
def figures(paper: Paper) -> dict[int, FigureLayout]:
    """A paper's figures by number; keys that begin with a dot hold what several share."""
    path = paper.printed / "figures.yaml"
    content = read_yaml(path)
    if isinstance(content, dict):
        content = {key: value for key, value in content.items() if not str(key).startswith(".")}
    return checked(FigureLayouts, content, path).root


def notes_of(table: int, study: Study[Any]) -> list[str]:
    """What a reader of a table must know beside its cells. Raises UserError for an unknown data set or source."""

    def applies(note: Note) -> bool:
        return all(comes_from(source, data, study) for data, source in note.where.items())

    missing = dict.fromkeys(cell.quantity.data for cell in cells_of(table, study.paper))
    missed = [f"Left out by this study: {data}." for data in missing if data in study.settings.left_out]
    try:
        return [note.text for note in tables(study.paper)[table].notes if applies(note)] + missed
    except UserError as error:
        raise UserError(f"{study.paper.printed / 'tables.yaml'}: {table}.notes: {error}") from None


def comes_from(source: str, data: str, study: Study[Any]) -> bool:
    """Whether a data set has a source. Raises UserError where either is unknown."""
    known = study.paper.sources
    if known and source not in known:
        raise UserError(f"'{source}' is no source of a data set{nearest(source, known)}")
    return bool(study.data_set(data).source == source)


def stand_in(listed: Iterable[Cell], study: Study[Any]) -> str:
    """What takes the place of the data set that some cells are about; empty where nothing does, or for several."""
    data = {cell.quantity.data for cell in listed}
    return study.settings.stand_ins.get(data.pop(), "") if len(data) == 1 else ""


def headings(table: int, study: Study[Any]) -> dict[str, str]:
    """A table's heads by their printed words, that of its rows first, each with what stands in for its data."""
    listed, rows = cells_of(table, study.paper), tables(study.paper)[table].rows
    whole = stand_in(listed, study)
    heads = {rows: f"{rows}, on {whole}" if whole else rows}
    for column in dict.fromkeys(cell.column for cell in listed):
        own = "" if whole else stand_in((cell for cell in listed if cell.column == column), study)
        heads[column] = f"{column}: {own}" if own else column
    return heads


def setting_of(study: Study[Any], text: Any) -> Any:
    """What a layout says, or the study's setting that it names with a `$`, a property of them included.

    Raises UserError for an unknown one.
    """
    if not (isinstance(text, str) and text.startswith("$")):
        return text
    model = type(study.settings)
    if text[1:] not in model.model_fields and not isinstance(getattr(model, text[1:], None), property):
        raise UserError(f"'{text}' is no setting of a study{nearest(text[1:], type(study.settings).model_fields)}")
    return getattr(study.settings, text[1:])


def metric_of(layout: FigureLayout, study: Study[Any]) -> str:
    """The metric of a figure's curves, or the one that the study has in its place."""
    metric = str(setting_of(study, layout.metric))
    return study.settings.instead.get(metric, metric)


def by_other_metric(quantity: Quantity, study: Study[Any]) -> Quantity:
    """The quantity by which claims go in a quantity's place: itself, but for its metric where the study says so."""
    return replace(quantity, metric=study.settings.instead.get(quantity.metric, quantity.metric))


def levels_of(panel: Panel, study: Study[Any]) -> list[str]:
    """The levels of a panel's curves: names of distortions, or numbers as text. Raises UserError for no list."""
    levels = setting_of(study, panel.levels)
    if not isinstance(levels, list):
        raise UserError(f"'{panel.levels}' is no list of levels")
    return [level if isinstance(level, str) else f"{level:g}" for level in levels]


def curve_point(template: str, level: str, metric: str) -> Quantity:
    """The quantity of one point of a curve."""
    return parse(template.replace("{x}", level).replace("{metric}", metric))
