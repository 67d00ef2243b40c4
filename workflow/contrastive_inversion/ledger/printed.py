"""The published values: what was printed, and the authors' raw results behind it, by quantity."""

import csv
import functools

from contrastive_inversion.ledger import quantities
from contrastive_inversion.ledger.measurements import Estimate
from contrastive_inversion.ledger.quantities import PUBLISHED

INSTANTIATIONS = 10
DIAGONAL = 3072**0.5  # of [0, 1] at 32 px: what a median counts where most attacks failed


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


@functools.cache
def raw_distances():
    """The second report's stored attack distances, as summarised in distances.csv: quantity -> Estimate.

    `printed@x` counts positive distances alone, as its Figure 2 does; `all@x` all images, clean errors included;
    `median` is that of the images that were classified correctly.
    """
    found = {}
    for row in read_csv("robustness/distances.csv"):
        for metric, number in metrics_of(row):
            found[attacked(row, metric)] = Estimate(number, None, 1, origin="the authors' stored distances")
    return found


def metrics_of(row):
    """What a row of distances.csv says: pairs of a metric and its value."""
    counted = {"positive_only(Fig2)": "printed", "all_attacked_incl_clean_errors": "all"}.get(row["denominator"])
    if counted:
        shares = {key.removeprefix("mis@"): text for key, text in row.items() if key.startswith("mis@")}
        return [(f"{counted}@{float(distance):g}", percent(text)) for distance, text in shares.items()]
    if row["denominator"] == "clean_correct":
        return [("median", min(float(row["q50"]), DIAGONAL))]
    return []


def attacked(row, metric):
    """The quantity of an attack's metric on the model that a row of distances.csv is about."""
    encoder = row["model"] + ("" if row["lam"] == "0" else f"-lambda{row['lam']}")
    head = "own" if row["model"] == "supervised" else "probe 100% on clean"
    return quantities.Quantity(encoder, head, "cifar10", row["attack"], metric)


def percent(text):
    """A fraction of four decimals as a percentage, free of binary noise."""
    return round(100 * float(text), 2)


@functools.cache
def printed(ledger=PUBLISHED):
    """The printed values: quantity -> Estimate. A quantity printed twice has its first, most precise place."""
    found = {}
    for cell in sorted(quantities.cells(ledger), key=lambda cell: -cell.decimals):
        se = float(cell.se) if cell.se else None
        value = Estimate(
            float(cell.value), se, INSTANTIATIONS if cell.se else 1, origin=f"printed in Table {cell.table}"
        )
        found.setdefault(cell.quantity, value)
    return found


def value(quantity, study=None):
    """The published Estimate of a quantity: the authors' raw result, else the printed value, else None."""
    ledger = quantities.ledger_of(study or {})
    raw = raw_results() if ledger == PUBLISHED else raw_distances()
    return raw.get(quantity) or printed(ledger).get(quantity)


def rows(encoder, data, wanted, study):
    """Measurement rows of the `published` study: what was published of an encoder on a data set."""
    result = []
    for quantity in wanted:
        found = value(quantity, study)
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
