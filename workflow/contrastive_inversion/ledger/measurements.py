"""What was measured: estimates of quantities from a study's measurement files, each checked before it is used."""

import functools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Discriminator, Field, Tag

from contrastive_inversion.base import files
from contrastive_inversion.base.canonical import canonical, digest
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.base.job import file_of
from contrastive_inversion.base.records import Origin, Said
from contrastive_inversion.base.settings import misfit
from contrastive_inversion.ledger import plan, quantities
from contrastive_inversion.ledger.estimates import Estimate, over_trainings, standard_error
from contrastive_inversion.ledger.quantities import Quantity
from contrastive_inversion.ledger.study import Study

Row = dict[str, Any]
Record = dict[str, Any]
Value = Annotated[float, Field(ge=-1e9, le=1e9)]  # percent, a fraction or a distance
Error = Annotated[float, Field(ge=0, le=1e9)]


class Named(Said):
    """What every row says."""

    head: str
    distortion: str
    metric: str
    censored: bool = False


class Drawn(Named):
    """A row of values that were measured."""

    values: list[Value | None] = Field(min_length=1)  # None among raw values that no number is read from
    over: str
    images: int
    se: Error | None = None


class Printed(Named):
    """A row of a value that was published."""

    mean: Value
    origin: str
    se: Error | None = None
    n: int = 1


def kind_of(row: Any) -> str:
    return "printed" if isinstance(row, dict) and "mean" in row else "drawn"


AnyRow = Annotated[Annotated[Drawn, Tag("drawn")] | Annotated[Printed, Tag("printed")], Discriminator(kind_of)]


class MeasurementFile(Said):
    """A measurement file."""

    record: Origin
    rows: list[AnyRow]


def estimate(row: Row, path: Path) -> Estimate:
    """The Estimate of one row of a measurement file. Raises UserError on a value that is not a finite number."""
    values = row.get("values", [row.get("mean")])
    if not values or not all(isinstance(v, int | float) and math.isfinite(v) for v in values):
        raise UserError(
            f"{path}: {row.get('head')} on {row.get('distortion')}: not a finite number; delete it and run again"
        )
    censored = row.get("censored", False)
    if "mean" in row:
        return Estimate(row["mean"], row.get("se"), row.get("n", 1), origin=row["origin"], censored=censored)
    se = None if row["over"] == "severities" else row.get("se", standard_error(values))
    drawn = row["images"] if "se" in row else len(values)  # an error that the row tells is over its images
    return Estimate(float(np.mean(values)), se, drawn, row["images"], str(path), censored=censored)


class Measurements:
    """The measurement files of a study, read as they are asked for.

    results: the folder of all studies' results.
    """

    def __init__(self, study: Study[Any], results: Path) -> None:
        self.study, self.root = study, results / study.name
        self.contents: dict[str, tuple[dict[tuple[str, str, str], Row], Record]] = {}

    @functools.cached_property
    def absent(self) -> list[str]:
        """The study's measurements that are not there, in order."""
        return [product for product in plan.measurements(self.study) if not (self.root / file_of(product)).exists()]

    def content(self, product: str) -> tuple[dict[tuple[str, str, str], Row], Record]:
        """A measurement file's rows by (head, distortion, metric), and its record.

        Raises UserError for a file that is missing, damaged, altered, or made by another recipe.
        """
        if product not in self.contents:
            path = self.root / file_of(product)
            content = read(path, digest(plan.recipe(product, self.study)))
            rows = {(r["head"], r["distortion"], r["metric"]): r for r in content["rows"]}
            self.contents[product] = rows, content["record"]
        return self.contents[product]

    def of(self, quantity: Quantity) -> Estimate | None:
        """The Estimate of a quantity over the study's trainings.

        None where a study of published values has none, or on data that the study leaves out.
        """
        if quantity.data in self.study.settings.left_out:
            return None
        estimates = [self.one(each) for each in quantities.trainings(quantity, self.study)]
        known = [estimate for estimate in estimates if estimate is not None]
        return over_trainings(known) if len(known) == len(estimates) else None

    def one(self, quantity: Quantity) -> Estimate | None:
        """The Estimate of a quantity from one training; None where a partial study has not measured it yet."""
        product = plan.measurement_of(quantity, self.study)
        if self.study.partial and product in self.absent:
            return None
        rows, _ = self.content(product)
        key = (quantity.head, quantity.distortion, quantity.metric)
        path = self.root / file_of(product)
        if key not in rows and not self.study.settings.measured:
            return None
        if key not in rows:
            raise UserError(f"{path}: holds no '{quantity}'; delete it and run again")
        return estimate(rows[key], path)

    def find(self, quantity: Quantity) -> Estimate | None:
        """The Estimate of a quantity; None where the study does not measure it."""
        return self.of(quantity) if quantity in plan.measured(self.study) else None

    def record(self, quantity: Quantity) -> Record:
        """The record of the file that holds a quantity."""
        return self.content(plan.measurement_of(quantity, self.study))[1]


def content_hash(rows: list[Row], record: Record) -> str:
    """The hash that a measurement file carries: over all that it says, but the hash itself."""
    said = {key: value for key, value in record.items() if key != "content_hash"}
    return digest(canonical({"rows": rows, "record": said}))


def read(path: Path, recipe_hash: str | None = None) -> Any:
    """A measurement file's content. Raises UserError if it is missing, or not what its recipe (None: any) made."""
    content = files.read_json(path)
    check(content, path, recipe_hash)
    return content


def check(content: Any, path: Path, recipe_hash: str | None = None) -> None:
    """Raise UserError if a measurement file is not what its study's recipe (None: any) made, untouched since."""
    if problem := misfit(MeasurementFile, content):
        raise UserError(f"{path}: not a measurement file ({problem}); delete it and run again")
    files.check_recipe(path, content["record"], recipe_hash)
    try:
        actual = content_hash(content["rows"], content["record"])
    except ValueError:
        raise UserError(f"{path}: holds a value that is not a finite number; delete it and run again") from None
    if content["record"].get("content_hash") != actual:
        raise UserError(
            f"{path}: altered since it was measured (its content hash does not match); delete it and run snakemake"
        )


def most_images(known: Mapping[Quantity, Estimate]) -> Mapping[str, int]:
    """The most test images of each data set that some quantities are measured on; 0 where none says."""
    most: dict[str, int] = {}
    for quantity, estimate in known.items():
        most[quantity.data] = max(most.get(quantity.data, 0), estimate.images or 0)
    return most
