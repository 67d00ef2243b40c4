"""The report's stored attack distances, as summarised in distances.csv, by quantity. Imports no torch."""

import functools
from pathlib import Path

from contrastive_inversion.ledger.estimates import Estimate
from contrastive_inversion.ledger.printed import number, read_csv, reading
from contrastive_inversion.ledger.quantities import Quantity

DISTANCES = Path(__file__).parent / "printed" / "distances.csv"
EPSILON = 0.5  # of the report's PGD: what a median is at least where most attacks failed


@functools.cache
def results() -> dict[Quantity, Estimate]:
    """The stored distances.

    `printed@x` counts positive distances alone, as Figure 2 does; `all@x` all images, clean errors included; `median`
    is that of the images that were classified correctly. Raises UserError for a value that is no number.
    """
    with reading(DISTANCES):
        return {
            attacked(row, metric): Estimate(value, None, 1, origin="the authors' stored distances")
            for row in read_csv(DISTANCES)
            for metric, value in metrics_of(row)
        }


def metrics_of(row: dict[str, str]) -> list[tuple[str, float]]:
    """What a row of distances.csv says: pairs of a metric and its value."""
    counted = {"positive_only(Fig2)": "printed", "all_attacked_incl_clean_errors": "all"}.get(row["denominator"])
    if counted:
        shares = {key.removeprefix("mis@"): text for key, text in row.items() if key.startswith("mis@")}
        return [(f"{counted}@{float(distance):g}", round(100 * number(text), 2)) for distance, text in shares.items()]
    if row["denominator"] == "clean_correct":
        return [("median", min(float(row["q50"]), EPSILON) if row["attack"] == "pgd" else float(row["q50"]))]
    return []


def attacked(row: dict[str, str], metric: str) -> Quantity:
    """The quantity of an attack's metric on the model that a row of distances.csv is about."""
    encoder = row["model"] + ("" if row["lam"] == "0" else f"-lambda{row['lam']}")
    head = "own" if row["model"] == "supervised" else "probe 100% on clean"
    return Quantity(encoder, head, "cifar10", row["attack"], metric)
