"""Forest plots: where a claim's contrasts are estimated, how surely, between which bounds. Imports no torch.

The page draws them; here positions are worked out, in percent of a plot's width.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.ticker import MaxNLocator

from contrastive_inversion.ledger.claims import Outcome
from contrastive_inversion.ledger.paper import Paper
from contrastive_inversion.ledger.quantities import Quantity
from contrastive_inversion.ledger.statements import Comparison

MIRRORED = {"": "", "≥": "≤", "≤": "≥", "≶": "≶"}
FIELDS = ("encoder", "head", "data", "distortion", "metric")


def signed(value: float, decimals: int) -> str:
    """A number with its sign, a true minus; zero is `+0.00`."""
    return f"{value:+z.{decimals}f}".replace("-", "−")


def ends(interval: tuple[float, float]) -> str:
    """An interval in figures, `[−2.18, 1.08]`, with two decimals; an open end is `∞`."""
    return "[{:z.2f}, {:z.2f}]".format(*interval).replace("-", "−").replace("inf", "∞")


@dataclass(frozen=True)
class Row:
    """A contrast to draw: its text, its word, estimate and interval, bounds, and the published estimate.

    mark: of an estimate that is only a bound, `≥`, `≤` or `≶`.
    """

    text: str
    word: str
    value: float | None
    interval: tuple[float, float] | None
    bounds: tuple[float, float]
    published: float | None
    mark: str = ""

    @property
    def numbers(self) -> list[float]:
        """Every finite number that a plot of the row must show."""
        known = [self.value, *(self.interval or ()), *self.bounds, self.published]
        return [number for number in known if number is not None and math.isfinite(number)]

    @property
    def said(self) -> str:
        """Estimate and interval in figures."""
        if self.value is None or self.interval is None:
            return "no number"
        return f"{self.mark} {signed(self.value, 2)} {ends(self.interval)}".strip()


@dataclass(frozen=True)
class Axis:
    """The common axis of some rows."""

    low: float
    high: float

    def at(self, value: float) -> float:
        """Where a value lies, in percent of the width; what is beyond the axis lies at its end."""
        return round(100 * min(max((value - self.low) / (self.high - self.low), 0), 1), 2)

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """A few round values, their places and their texts."""
        inside = [tick for tick in MaxNLocator(4).tick_values(self.low, self.high) if self.low <= tick <= self.high]
        return [(self.at(tick), f"{tick:g}".replace("-", "−")) for tick in inside]


def axis(rows: Sequence[Row]) -> Axis:
    """An axis on which every number of some rows lies, and zero."""
    numbers = [0.0, *(number for row in rows for number in row.numbers)]
    margin = 0.06 * (max(numbers) - min(numbers)) or 1.0
    return Axis(min(numbers) - margin, max(numbers) + margin)


def plot(rows: Sequence[Row]) -> dict[str, Any]:
    """What the page draws: the rows with their places on a common axis, and its ticks."""
    common = axis(rows)
    return {"ticks": common.ticks, "rows": [placed(row, common) for row in rows]}


def placed(row: Row, common: Axis) -> dict[str, Any]:
    """A row's places on an axis."""
    return {
        "text": row.text, "word": row.word, "said": row.said,
        "at": None if row.value is None else common.at(row.value),
        "interval": row.interval and tuple(map(common.at, row.interval)),
        "bounds": tuple(map(common.at, row.bounds)),
        "published": None if row.published is None else common.at(row.published),
    }  # fmt: skip


def of_reading(outcomes: Sequence[Outcome], published: Sequence[Outcome], paper: Paper) -> list[dict[str, Any]]:
    """Plots of a reading's contrasts, each in its own unit and one for every unit, beside those of the published ones.

    Those are left out where they are of another metric.
    """
    rows: dict[float, list[Row]] = {}
    for ours, theirs in zip(outcomes, published, strict=True):
        rows.setdefault(point(ours.comparison, paper), []).append(row_of(ours, theirs))
    return [plot(of_unit) for of_unit in rows.values()]


def row_of(outcome: Outcome, published: Outcome) -> Row:
    """A contrast in its own unit beside that of the published numbers."""
    comparison = outcome.comparison
    return Row(
        brief(comparison), outcome.word, outcome.value, outcome.interval, (comparison.low, comparison.high),
        published.value if alike(outcome, published) else None, outcome.bound,
    )  # fmt: skip


def alike(ours: Outcome, published: Outcome) -> bool:
    """Whether two contrasts are of the same metric, and so can lie on one axis."""
    metrics = [{quantity.metric for quantity in each.comparison.weights} for each in (ours, published)]
    return metrics[0] == metrics[1]


def margin(word: str, outcome: Outcome, published: Outcome, paper: Paper) -> Row:
    """How far inside of its nearer bound a contrast lies, in points, whatever its unit: zero is the bound."""
    comparison, value = outcome.comparison, outcome.value or 0.0
    sign, bound = comparison.nearer(value)
    unit = point(comparison, paper)

    def inside(number: float) -> float:
        return sign * (number - bound) / unit

    low, high = sorted(map(inside, outcome.interval)) if outcome.interval else (inside(value), inside(value))
    theirs = inside(published.value) if published.value is not None and alike(outcome, published) else None
    return Row(
        brief(comparison), word, inside(value), (low, high), (0.0, math.inf), theirs, mark_inside(outcome),
    )  # fmt: skip


def mark_inside(outcome: Outcome) -> str:
    """What how far a contrast lies inside of its nearer bound is, where its value is only a bound: `≥`, `≤` or `≶`."""
    sign, _ = outcome.comparison.nearer(outcome.value or 0.0)
    return outcome.bound if sign > 0 else MIRRORED[outcome.bound]


def point(comparison: Comparison, paper: Paper) -> float:
    """What one point is in the unit of a comparison's quantities."""
    return paper.metric(next(iter(comparison.weights)).metric).point


def brief(comparison: Comparison) -> str:
    """A comparison in short: what its quantities share stands once, behind it."""
    every = list(comparison.weights)
    shared = [name for name in FIELDS if len({getattr(quantity, name) for quantity in every}) == 1]
    if len(every) == 1:
        return f"{term(every[0], [], 1)} {comparison.bounds}"
    terms = " ".join(signed_term(quantity, shared, weight) for quantity, weight in comparison.weights.items())
    common = " ".join(getattr(every[0], name) for name in shared)
    return f"{terms.removeprefix('+ ')} {comparison.bounds} ({common})"


def signed_term(quantity: Quantity, shared: Sequence[str], weight: int) -> str:
    """A quantity in a contrast, with its sign."""
    return f"{'+' if weight > 0 else '−'} {term(quantity, shared, abs(weight))}"


def term(quantity: Quantity, shared: Sequence[str], weight: int) -> str:
    """A quantity without what it shares with the others, and how often it counts."""
    words = " ".join(getattr(quantity, name) for name in FIELDS if name not in shared)
    return f"{weight} × {words}" if weight > 1 else words
