"""The report's stored attack distances, as summarised in distances.csv, by quantity. Imports no torch."""

import functools
import math
from pathlib import Path

from contrastive_inversion.ledger.estimates import Estimate
from contrastive_inversion.ledger.printed import number, read_csv, reading
from contrastive_inversion.ledger.quantities import Quantity

DISTANCES = Path(__file__).parent / "printed" / "distances.csv"
FARTHER = (1.44, 1.5, 1.76, 2, 3, 3.02)  # distances beyond the last at which the summary counts
EPSILON = 0.5  # of the report's PGD: what a median is at least where most attacks failed


@functools.cache
def results() -> dict[Quantity, Estimate]:
    """The stored distances.

    `printed@x` counts positive distances alone, as Figure 2 does; `all@x` all images, clean errors included; `median`
    is that of the images that were classified correctly. Standard errors are over the draw of the attacked images,
    10,000 of most models and another 1,000 of the regularised contrastive ones. Raises UserError for a value that is no
    number.
    """
    with reading(DISTANCES):
        return {
            attacked(row, metric): Estimate(
                value,
                se,
                int(row["n_denominator"]),
                origin="the authors' stored distances",
                censored=metric == "median" and math.isinf(float(row["q50"])),
            )  # fmt: skip
            for row in read_csv(DISTANCES)
            for metric, value, se in metrics_of(row)
        }


def metrics_of(row: dict[str, str]) -> list[tuple[str, float, float]]:
    """What a row of distances.csv says: metrics, their values and standard errors."""
    counted = {"positive_only(Fig2)": "printed", "all_attacked_incl_clean_errors": "all"}.get(row["denominator"])
    if counted:
        shares = {float(key.removeprefix("mis@")): number(row[key]) for key in row if key.startswith("mis@")}
        if counted == "printed":
            return shares_of("printed", shares | farther(row), int(row["n_denominator"])) + farther_of_all(row)
        return shares_of("all", shares, int(row["n_denominator"]))
    return [("median", *median(row))] if row["denominator"] == "clean_correct" else []


def shares_of(counted: str, shares: dict[float, float], images: int) -> list[tuple[str, float, float]]:
    """Shares of some images within distances, as metrics with their values and standard errors in percent."""
    return [(f"{counted}@{x:g}", round(100 * p, 2), 100 * error_of_share(p, images)) for x, p in shares.items()]


def farther_of_all(row: dict[str, str]) -> list[tuple[str, float, float]]:
    """`all@x` beyond the last distance that is counted, from that of the images with a positive distance.

    Those within it and the clean errors are all that is misclassified. Not of PGD, which goes no farther, and of whose
    positive distances some are of clean errors.
    """
    if row["attack"] != "plb":
        return []
    positive, wrong, attacked = (int(row[key]) for key in ("n_positive", "n_clean_wrong", "n_attacked"))
    return shares_of("all", {x: (positive * p + wrong) / attacked for x, p in farther(row).items()}, attacked)


def farther(row: dict[str, str]) -> dict[float, float]:
    """Shares of positive distances beyond the last that is counted: at quantiles, and all from the largest on."""
    quantiles = {round(number(row[key]), 2): share for key, share in (("q90", 0.9), ("q95", 0.95))}
    largest = number(row["max_positive"])
    return {x: 1.0 if x >= largest else quantiles[x] for x in FARTHER if x >= largest or x in quantiles}


def error_of_share(share: float, images: int) -> float:
    """The standard error of a share of some images; 0 and 1 are not taken as exact."""
    p = (1 + images * share) / (2 + images)
    return math.sqrt(p * (1 - p) / images)


def median(row: dict[str, str]) -> tuple[float, float]:
    """A median distance and its standard error: half over root n, divided by the density between the quartiles.

    Where the upper quartile is a failure the density is that below the median. A median that is itself one is PGD's
    radius, which it is at least, whatever images are drawn.
    """
    lower, middle, upper = (float(row[key]) for key in ("q25", "q50", "q75"))
    if row["attack"] == "pgd" and middle >= EPSILON:
        return EPSILON, 0.0
    width = upper - lower if math.isfinite(upper) else 2 * (middle - lower)
    return middle, width / math.sqrt(number(row["n_denominator"]))


def attacked(row: dict[str, str], metric: str) -> Quantity:
    """The quantity of an attack's metric on the model that a row of distances.csv is about."""
    encoder = row["model"] + ("" if row["lam"] == "0" else f"-lambda{row['lam']}")
    head = "own" if row["model"] == "supervised" else "probe 100% on clean"
    return Quantity(encoder, head, "cifar10", row["attack"], metric)
