"""What was printed: a paper's tables, the layouts of its tables and figures, and the values behind them."""

import contextlib
import csv
import functools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, RootModel, model_validator

from contrastive_inversion.base.errors import UserError, nearest
from contrastive_inversion.base.job import Job
from contrastive_inversion.base.recipe import Recipe
from contrastive_inversion.base.settings import Count, Settings, checked, one_line, read_yaml, refused, shown
from contrastive_inversion.ledger.estimates import Estimate
from contrastive_inversion.ledger.paper import JobKind, Paper
from contrastive_inversion.ledger.quantities import Quantity, parse
from contrastive_inversion.ledger.study import Study

INSTANTIATIONS = 10  # behind a printed standard error


def number(text: str) -> float:
    """A number from its text. Raises ValueError for what is none, or infinite."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is not finite")
    return value


def numeric(text: str) -> str:
    try:
        number(text)
    except ValueError:
        raise refused(f"{shown(text)} is no number") from None
    return text


def natural(text: str) -> str:
    if text and not (text.isascii() and text.isdigit() and len(text) < 4):
        raise refused(f"{shown(text)} is no whole number")
    return text


def measurable(text: str) -> str:
    try:
        parse(text)
    except UserError as error:
        raise refused(str(error)) from None
    return text


Natural = Annotated[str, Field(min_length=1), AfterValidator(natural)]
QuantityText = Annotated[str, AfterValidator(measurable)]


class Row(Settings):
    """A row of tables.csv, as text."""

    table: Natural
    row: Annotated[str, Field(min_length=1)]
    column: Annotated[str, Field(min_length=1)]
    value: Annotated[str, AfterValidator(numeric)]
    se: Literal[""] | Annotated[str, Field(pattern=r"^\d+(\.\d+)?$")]
    decimals: Natural
    se_decimals: Annotated[str, AfterValidator(natural)]
    bold: Literal["", "yes", "no"]
    quantity: QuantityText
    rounded_to: Annotated[str, AfterValidator(natural)] | None = None

    @model_validator(mode="after")
    def fitting(self) -> Self:
        """Refuse a rounding to more decimals than are printed, or that would change the value."""
        value, to = Decimal(self.value), int(self.rounded_to or self.decimals)
        if self.rounded_to and (to > int(self.decimals) or value != round(value, to)):
            raise refused(f"{to} does not fit {self.value}", "rounded_to")
        return self


@dataclass(frozen=True)
class Cell:
    """One printed number: where it stands, what it says, what it claims to measure.

    rounded_to: the decimals that carry information, where they are fewer than those printed.
    """

    table: int
    row: str
    column: str
    value: str
    se: str
    decimals: int
    se_decimals: int
    bold: bool
    quantity: Quantity
    rounded_to: int | None = None

    @property
    def informative(self) -> int:
        """The decimals that carry information."""
        return self.decimals if self.rounded_to is None else self.rounded_to


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


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a csv file. Raises UserError where it cannot be read as one."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read: {one_line(str(error))}") from None


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Raise UserError, with the file, where a file of numbers lacks a column or a row or holds what is no number."""
    try:
        yield
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: {type(error).__name__}: {one_line(str(error))}") from None


@functools.cache
def cells(paper: Paper) -> tuple[Cell, ...]:
    """Every printed number of a paper's tables, in printed order. Raises UserError, with file and row, for none."""
    path, listed, places = paper.printed / "tables.csv", [], set()
    for count, content in enumerate(read_csv(path), start=1):
        row, place = checked(Row, content, f"{path}: row {count}"), f"{path}: row {count}"
        if (where := (row.table, row.row, row.column)) in places:
            raise UserError(f"{place}: column: a second number at '{one_line(row.row)}', '{one_line(row.column)}'")
        places.add(where)
        listed.append(cell_of(row))
    return tuple(listed)


def cell_of(row: Row) -> Cell:
    """A printed number from its row."""
    return Cell(
        int(row.table), row.row, row.column, row.value, row.se, int(row.decimals), int(row.se_decimals or 0),
        row.bold == "yes", parse(row.quantity), int(row.rounded_to) if row.rounded_to else None,
    )  # fmt: skip


def cells_of(table: int, paper: Paper) -> list[Cell]:
    """The cells of one table, in printed order."""
    return [cell for cell in cells(paper) if cell.table == table]


def rows_of(table: int, paper: Paper) -> dict[str, dict[str, Cell]]:
    """A table's cells as printed, row by row: {row: {column: Cell}}."""
    rows: dict[str, dict[str, Cell]] = {}
    for cell in cells_of(table, paper):
        rows.setdefault(cell.row, {})[cell.column] = cell
    return rows


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
    """What a reader of a table must know beside its cells. Raises UserError for an unknown data set."""

    def applies(note: Note) -> bool:
        return all(study.has_data(data).source == source for data, source in note.where.items())

    missing = dict.fromkeys(cell.quantity.data for cell in cells_of(table, study.paper))
    missed = [f"Left out by this study: {data}." for data in missing if data in study.settings.left_out]
    try:
        return [note.text for note in tables(study.paper)[table].notes if applies(note)] + missed
    except UserError as error:
        raise UserError(f"{study.paper.printed / 'tables.yaml'}: {table}.notes: {error}") from None


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


@functools.cache
def printed_values(paper: Paper) -> dict[Quantity, Estimate]:
    """The printed values. A quantity printed twice has its first, most precise place."""
    values: dict[Quantity, Estimate] = {}
    for cell in sorted(cells(paper), key=lambda cell: -cell.decimals):
        se, n = (float(cell.se), INSTANTIATIONS) if cell.se else (None, 1)
        values.setdefault(cell.quantity, Estimate(float(cell.value), se, n, origin=f"printed in Table {cell.table}"))
    return values


def value(quantity: Quantity, paper: Paper) -> Estimate | None:
    """The published Estimate of a quantity: the authors' raw result, else the printed value, else None."""
    return paper.raw().get(quantity) or printed_values(paper).get(quantity)


class Transcription(Recipe):
    """The recipe of a published study's measurement: what was published stands in it."""

    encoder: str
    data: str
    rows: list[dict[str, Any]]


def transcription(study: Study[Any], encoder: str, data: str, *, wanted: Iterable[Quantity]) -> Transcription:
    """What was published of an encoder on a data set, in place of a measurement."""
    rows = []
    for quantity in sorted(wanted, key=str):
        published = value(quantity, study.paper)
        if (quantity.encoder, quantity.data) == (encoder, data) and published:
            row: dict[str, Any] = {"head": quantity.head, "distortion": quantity.distortion, "metric": quantity.metric}
            rows.append(
                row | {"mean": published.mean, "se": published.se, "n": published.n, "origin": published.origin}
            )
    return Transcription.of(seed=study.settings.seed, encoder=encoder, data=data, rows=rows)


def transcribe(recipe: Transcription, job: Job) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The rows of a published study's measurement, and no facts."""
    return recipe.rows, {}


TRANSCRIBE = JobKind(Transcription, 1, "ledger.printed:transcribe")
