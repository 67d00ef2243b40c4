"""The published values: what was printed, and the authors' raw results behind it, by quantity."""

import csv
import functools

from contrastive_inversion import quantities
from contrastive_inversion.measurements import Estimate
from contrastive_inversion.quantities import PUBLISHED

INSTANTIATIONS = 10


def read_csv(name):
    with open(PUBLISHED / name, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@functools.cache
def raw_results():
    """The authors' raw results: quantity -> Estimate, in the units of the tables."""
    rows = {(r["root"], r["experiment"], r["file_or_level"]): r for r in read_csv("authors_raw_results.csv")}
    found = {}
    for source in read_csv("authors_sources.csv"):
        quantity = quantities.parse(source["quantity"])
        place = (source["root"], source["experiment"], source["file_or_level"])
        found[quantity] = raw_estimate(rows[place], quantity.metric, "/".join(place))
    for row in read_csv("authors_notebook.csv"):
        value = percent(row["value"])
        found[quantities.parse(row["quantity"])] = Estimate(value, None, 1, origin="authors' notebook")
    return found


def raw_estimate(row, metric, place):
    column, scale = ("auroc", float) if metric == "auc" else (metric, percent)
    se = row[f"{column}_se"]
    # blur was run ten times with the same result: no standard error
    drawn = se not in ("", "0.0000")
    return Estimate(
        scale(row[f"{column}_mean"]), scale(se) if drawn else None, INSTANTIATIONS if drawn else 1,
        origin=f"authors' raw results: {place}",
    )  # fmt: skip


def percent(text):
    """A fraction of four decimals as a percentage, free of binary noise."""
    return round(100 * float(text), 2)


@functools.cache
def printed():
    """The printed values: quantity -> Estimate. A quantity printed twice has its first, most precise place."""
    found = {}
    for cell in sorted(quantities.cells(), key=lambda cell: -cell.decimals):
        se = float(cell.se) if cell.se else None
        value = Estimate(
            float(cell.value), se, INSTANTIATIONS if cell.se else 1, origin=f"printed in Table {cell.table}"
        )
        found.setdefault(cell.quantity, value)
    return found


def value(quantity):
    """The published Estimate of a quantity: the authors' raw result, else the printed value, else None."""
    return raw_results().get(quantity) or printed().get(quantity)


def rows(encoder, data, wanted):
    """Measurement rows of the `published` study: what was published of an encoder on a data set."""
    result = []
    for quantity in wanted:
        found = value(quantity)
        if (quantity.encoder, quantity.data) == (encoder, data) and found:
            result.append(
                {
                    "head": quantity.head,
                    "distortion": quantity.distortion,
                    "metric": quantity.metric,
                    "mean": found.mean,
                    "se": found.se,
                    "n": found.n,
                    "origin": found.origin,
                }  # fmt: skip
            )
    return result
