"""A shift of many cells at once: a test of the mean signed difference, which sees what no cell shows alone.

Over the judged cells i of a table, D = mean of (ours - published), in the table's unit; over all tables, the mean of
the cells' z, each quantity once. Its variance adds up what is drawn once for each cell, and takes the draws that cells
share (`ledger.spreads`: an encoder's training, a head) as the same in all of them:

    Var D = sum over shared sources of (sum of w_i s_i)^2 + sum of w_i^2 v_i

with weights w, spread parts s^2 and the other variances v. That is the most that cells of one encoder can have in
common, so the test keeps its level and may find less than it could. D has Student's t with the degrees of freedom of
Welch and Satterthwaite. Imports no torch.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from contrastive_inversion.ledger import spreads, verdicts
from contrastive_inversion.ledger.estimates import Estimate
from contrastive_inversion.ledger.printed import Cell
from contrastive_inversion.ledger.spreads import Part
from contrastive_inversion.ledger.study import Study
from contrastive_inversion.ledger.verdicts import Score


@dataclass(frozen=True)
class Shift:
    """The mean signed difference of some cells, its standard error, degrees of freedom, and what its spread rests on.

    In the unit of the cells' table; over several tables, in standard errors of a cell.
    """

    mean: float
    se: float
    df: float
    cells: int
    spread: str

    @property
    def p(self) -> float:
        """Two-sided p-value."""
        return verdicts.p_value(self.mean / self.se, self.df)

    @property
    def is_shifted(self) -> bool:
        """Whether there is a shift, at the level of the verdicts."""
        return self.p <= verdicts.FALSE_ALARM_RATE

    @property
    def words(self) -> str:
        """What was found, as people read it."""
        direction = ("above" if self.mean > 0 else "below") + " the print"
        said = f"shifted, {direction}" if self.is_shifted else "no shift found"
        return f"{said}, spread assumed" if self.spread == "assumed" else said


def of_table(cells: Sequence[Cell], estimates: Sequence[Estimate | None], study: Study[Any]) -> Shift | None:
    """The Shift of one table's judged cells; None where there are none."""
    known = once(cells, estimates, study)
    return shift([(each, 1 / len(known)) for each in known])


def of_all(cells: Sequence[Cell], estimates: Sequence[Estimate | None], study: Study[Any]) -> Shift | None:
    """The Shift of all tables' judged cells together, each cell's difference in its own standard errors."""
    known = once(cells, estimates, study)
    return shift([(each, 1 / each.se / len(known)) for each in known])


def once(cells: Sequence[Cell], estimates: Sequence[Estimate | None], study: Study[Any]) -> list[Score]:
    """The scores of the judged cells, each quantity where it stands first."""
    scored = verdicts.scores(cells, estimates, study)
    first: dict[Any, Score] = {}
    for i, each in scored.items():
        first.setdefault(cells[i].quantity, each)
    return list(first.values())


def shift(weighted: Sequence[tuple[Score, float]]) -> Shift | None:
    """The weighted sum of scores' differences."""
    if not weighted:
        return None
    parts = together(
        (replace(part, variance=part.variance * weight**2)) for score, weight in weighted for part in score.parts
    )
    variance = sum(part.variance for part in parts)
    return Shift(
        sum(weight * score.value for score, weight in weighted), math.sqrt(variance),
        spreads.degrees_of_freedom(parts), len(weighted), spreads.resting_on(parts),
    )  # fmt: skip


def together(parts: Iterable[Part]) -> list[Part]:
    """The parts of a sum: what comes of one source moves all terms alike, so its standard deviations add up.

    Their sum has the fewest degrees of freedom among them.
    """
    alone: list[Part] = []
    shared: dict[str, Part] = {}
    for part in parts:
        if part.drawn is None:
            alone.append(part)
        elif known := shared.get(part.drawn.source):
            variance = (math.sqrt(known.variance) + math.sqrt(part.variance)) ** 2
            shared[part.drawn.source] = replace(part, variance=variance, df=min(known.df, part.df))
        else:
            shared[part.drawn.source] = part
    return alone + list(shared.values())
