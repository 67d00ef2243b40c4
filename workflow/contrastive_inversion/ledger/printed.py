"""What was printed: the numbers of a paper's tables, and the published values of quantities. Imports no torch."""

import contextlib
import csv
import functools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from contrastive_inversion.base.errors import UserError
from contrastive_inversion.base.job import Job
from contrastive_inversion.base.recipe import Recipe
from contrastive_inversion.base.settings import Settings, checked, one_line, refused, shown
from contrastive_inversion.ledger.estimates import Estimate
from contrastive_inversion.ledger.paper import JobKind, Paper
from contrastive_inversion.ledger.quantities import Quantity, parse
from contrastive_inversion.ledger.study import Study

LARGEST, MOST_DECIMALS = 1e9, 9  # together fewer digits than the 28 that Decimal computes with
INSTANTIATIONS = 10  # behind a printed standard error


def number(text: str) -> float:
    """A number from its text. Raises ValueError for what is none, infinite or far too large."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is not finite")
    if abs(value) > LARGEST:
        raise ValueError(f"{text} is beyond {LARGEST:g}")
    return value


def numeric(text: str) -> str:
    try:
        number(text)
    except ValueError:
        raise refused(f"{shown(text)} is no number up to {LARGEST:g}") from None
    return text


def error(text: str) -> str:
    return text and numeric(text)


def natural(text: str) -> str:
    if text and not (text.isascii() and text.isdigit() and len(text) < 4):
        raise refused(f"{shown(text)} is no whole number")
    return text


def decimals(text: str) -> str:
    if text and int(text) > MOST_DECIMALS:
        raise refused(f"{text} is above {MOST_DECIMALS}")
    return text


def measurable(text: str) -> str:
    try:
        parse(text)
    except UserError as error:
        raise refused(str(error)) from None
    return text


Natural = Annotated[str, Field(min_length=1), AfterValidator(natural)]
Decimals = Annotated[str, AfterValidator(natural), AfterValidator(decimals)]
QuantityText = Annotated[str, AfterValidator(measurable)]


class Row(Settings):
    """A row of tables.csv, as text."""

    table: Natural
    row: Annotated[str, Field(min_length=1)]
    column: Annotated[str, Field(min_length=1)]
    value: Annotated[str, AfterValidator(numeric)]
    se: Annotated[str, Field(pattern=r"^(\d+(\.\d+)?)?$"), AfterValidator(error)]
    decimals: Annotated[Decimals, Field(min_length=1)]
    se_decimals: Decimals
    bold: Literal["", "yes", "no"]
    quantity: QuantityText
    rounded_to: Decimals | None = None

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
            row |= {"mean": published.mean, "se": published.se, "n": published.n, "origin": published.origin}
            rows.append(row | ({"censored": True} if published.censored else {}))
    return Transcription.of(seed=study.settings.seed, encoder=encoder, data=data, rows=rows)


def transcribe(recipe: Transcription, job: Job) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The rows of a published study's measurement, and no facts."""
    return recipe.rows, {}


TRANSCRIBE = JobKind(Transcription, 1, "ledger.printed:transcribe")
