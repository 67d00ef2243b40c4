"""What was measured: estimates of quantities from a study's measurement files, each checked before it is used."""

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from contrastive_inversion.base import files, studies
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.ledger import plan, quantities


@dataclass(frozen=True)
class Estimate:
    """A measured quantity: mean and its standard error over n instantiations, and where it comes from.

    Percent for top1 and top5, a fraction for auc. se is None where the quantity was measured once. With several
    training seeds, mean and se are those of the mean over trainings, training_sd the standard deviation (ddof 1)
    of the trainings' means.
    """

    mean: float
    se: float | None
    n: int
    images: int | None = None
    origin: str = ""
    trainings: int = 1
    training_sd: float | None = None

    @property
    def training_se(self):
        """Standard error of the mean over trainings; None where there was one."""
        return None if self.training_sd is None else self.training_sd / math.sqrt(self.trainings)


def standard_error(values):
    """Sample standard deviation (ddof 1) over sqrt(n); None for one value."""
    return float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else None


def estimate(row, path):
    """The Estimate of one row of a measurement file. Raises UserError on a value that is not a finite number."""
    values = row.get("values", [row.get("mean")])
    if not values or not all(isinstance(v, int | float) and math.isfinite(v) for v in values):
        raise UserError(
            f"{path}: {row.get('head')} on {row.get('distortion')}: not a finite number; delete it and run again"
        )
    if "mean" in row:
        return Estimate(row["mean"], row.get("se"), row.get("n", 1), origin=row["origin"])
    over_severities = row["over"] == "severities"
    se = None if over_severities else row.get("se", standard_error(values))
    return Estimate(float(np.mean(values)), se, len(values), row["images"], str(path))


def over_trainings(estimates):
    """One Estimate of several trainings of the same quantity."""
    if len(estimates) == 1:
        return estimates[0]
    means, errors = [e.mean for e in estimates], [e.se for e in estimates]
    se = None if None in errors else float(np.linalg.norm(errors)) / len(errors)
    return replace(
        estimates[0], mean=float(np.mean(means)), se=se, trainings=len(means), training_sd=float(np.std(means, ddof=1))
    )


class Measurements:
    """The measurement files of a study, read as they are asked for."""

    def __init__(self, study_name, results="results"):
        self.study, self.root = study_name, Path(results) / study_name
        self.files = {}

    def file(self, product):
        """A measurement file's rows by (head, distortion, metric), and its record.

        Raises UserError for a file that is missing, damaged, altered, or made by another recipe.
        """
        if product not in self.files:
            path = self.root / plan.file_of(product)
            content = files.read_json(path)
            check(content, path, plan.digest(plan.recipe(product, self.study)))
            rows = {(r["head"], r["distortion"], r["metric"]): r for r in content["rows"]}
            self.files[product] = rows, content["record"]
        return self.files[product]

    def of(self, quantity):
        """The Estimate of a quantity over the study's trainings; None where a study of published values has none."""
        found = [self.one(each) for each in quantities.trainings(quantity, studies.load(self.study))]
        return None if None in found else over_trainings(found)

    def one(self, quantity):
        """The Estimate of a quantity from one training."""
        product = plan.measurement_of(quantity)
        rows, _ = self.file(product)
        key = (quantity.head, quantity.distortion, quantity.metric)
        path = self.root / plan.file_of(product)
        if key not in rows and not studies.load(self.study)["measured"]:
            return None
        if key not in rows:
            raise UserError(f"{path}: holds no '{quantity}'; delete it and run again")
        return estimate(rows[key], path)

    def find(self, quantity):
        """The Estimate of a quantity; None where the study does not measure it."""
        return self.of(quantity) if quantity in plan.study_quantities(self.study) else None

    def record(self, quantity):
        """The record of the file that holds a quantity."""
        return self.file(plan.measurement_of(quantity))[1]


def content_hash(rows, record):
    """The hash that a measurement file carries: over all that it says, but the hash itself."""
    said = {key: value for key, value in record.items() if key != "content_hash"}
    return plan.digest(plan.canonical({"rows": rows, "record": said}))


def check(content, path, recipe_hash):
    """Raise UserError if a measurement file is not what its study's recipe made, untouched since."""
    if not isinstance(content, dict) or not {"rows", "record"} <= content.keys():
        raise UserError(f"{path}: not a measurement file; delete it and run again")
    files.check_recipe(path, content["record"], recipe_hash)
    try:
        found = content_hash(content["rows"], content["record"])
    except ValueError:
        raise UserError(f"{path}: holds a value that is not a finite number; delete it and run again") from None
    if content["record"].get("content_hash") != found:
        raise UserError(
            f"{path}: altered since it was measured (its content hash does not match); delete it and run snakemake"
        )
