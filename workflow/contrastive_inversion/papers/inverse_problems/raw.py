"""The authors' raw results behind the print, by quantity, in the units of the tables. Imports no torch."""

import functools
from pathlib import Path

from contrastive_inversion.ledger.estimates import Estimate
from contrastive_inversion.ledger.printed import INSTANTIATIONS, number, read_csv, reading
from contrastive_inversion.ledger.quantities import Quantity, parse

PRINTED = Path(__file__).parent / "printed"


@functools.cache
def results() -> dict[Quantity, Estimate]:
    """The authors' result files and, for Table 9, their notebook. Raises UserError for a value that is no number."""
    raw, sources, notebook = (PRINTED / f"authors_{name}.csv" for name in ("raw_results", "sources", "notebook"))
    values = {}
    with reading(raw):
        rows = {(r["root"], r["experiment"], r["file_or_level"]): r for r in read_csv(raw)}
        for source in read_csv(sources):
            quantity = parse(source["quantity"])
            place = (source["root"], source["experiment"], source["file_or_level"])
            values[quantity] = estimate(rows[place], quantity.metric, "/".join(place))
    with reading(notebook):
        for row in read_csv(notebook):
            values[parse(row["quantity"])] = Estimate(percent(row["value"]), None, 1, origin="authors' notebook")
    return values


def estimate(row: dict[str, str], metric: str, place: str) -> Estimate:
    """The Estimate of a metric in one row of the raw results."""
    column, scale = ("auroc", number) if metric == "auc" else (metric, percent)
    se = row[f"{column}_se"]
    # blur was run ten times with the same result: no standard error
    drawn = se not in ("", "0.0000")
    return Estimate(
        scale(row[f"{column}_mean"]), scale(se) if drawn else None, INSTANTIATIONS if drawn else 1,
        origin=f"authors' raw results: {place}",
    )  # fmt: skip


def percent(text: str) -> float:
    """A fraction of four decimals as a percentage, free of binary noise."""
    return round(100 * number(text), 2)
