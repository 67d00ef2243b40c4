"""Verdicts on cells: is our number the published one, given what each of the two is uncertain about?

A cell is judged by z = delta / s, with s^2 the sum of

    the published standard error^2 and ours^2     the draw of the test images' distortions, each with its n - 1 degrees
                                                  of freedom; the side without one is given the other's
    spread^2 (1 + 1/n)                            what a repetition draws anew (`ledger.spreads`): their one training
                                                  and the mean of our n; so for heads and for what else is drawn
    p (1 - p) |1/m - 1/M|                         the draw of the test images, where ours are not the print's
    step^2 / 12                                   the rounding of the print, to the decimals that carry information

The evaluation's standard error alone would reject most faithful retrainings (at a training spread of 0.3 points, 60 %
of Table 1's cells that have one). The draw of the test images is common to both sides, and cancels, only where the very
same images were used: that is taken to be so where their numbers agree or the print's is not known. What was measured
once on both sides is never taken as exact: it has a spread, or it is not judged.

z has Student's t with the degrees of freedom of Welch and Satterthwaite, so a spread measured on two or three
trainings counts for what it is worth. *Within* is not the same: it is *equal within 1 point* where two one-sided tests
at 5 % each say so of that cell by itself, and *not distinguishable* otherwise. Within a table, Holm's method (1979,
Scand. J. Statist. 6) keeps the chance of any false alarm at 5 % whatever the dependence between cells; over all tables
together it is not controlled. A verdict that rests on a declared spread says that it is assumed, and each tells the
spread at which it would flip, all spreads of its table being scaled together.

docs/statistics.md has the measured rates. Imports no torch.
"""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy

from contrastive_inversion.base.errors import UserError
from contrastive_inversion.ledger import layouts, printed, spreads
from contrastive_inversion.ledger.estimates import Estimate
from contrastive_inversion.ledger.printed import Cell
from contrastive_inversion.ledger.spreads import Difference, Part, Pooled
from contrastive_inversion.ledger.study import Study

FALSE_ALARM_RATE = 0.05
LARGE = 1e5  # degrees of freedom, above which Student's t is taken for a normal
QUANTILES = (np.arange(200) + 0.5) / 200  # over which the power's doubt about a standard error is averaged
EQUAL = 1.0  # points: two numbers closer than this are taken for the same


@dataclass(frozen=True)
class Judgement:
    """The verdict on a cell, its z and degrees of freedom, and whether the spread behind it was measured or assumed.

    z and df are None where the cell is not judged; spread is empty where it has none; equal: whether the two numbers
    are shown to be within EQUAL points of each other.
    """

    verdict: str
    z: float | None = None
    df: float | None = None
    spread: str = ""
    equal: bool = False

    @property
    def words(self) -> str:
        """The verdict as people read it; *within* with its strength."""
        strength = f"equal within {EQUAL:g} point" if self.equal else "not distinguishable"
        said = strength if self.verdict == "within" else self.verdict
        return f"{said}, spread assumed" if self.spread == "assumed" else said


@dataclass(frozen=True)
class Score(Difference):
    """How far our value lies from the printed one, in the quantity's units, and the variances of that difference."""

    @property
    def z(self) -> float:
        """The difference in standard errors."""
        return self.value / self.se

    @property
    def p(self) -> float:
        """Two-sided p-value of z by Student's t."""
        return p_value(self.z, self.df)

    @property
    def spread(self) -> str:
        """What the spread rests on: assumed where any part of it is, else measured; empty where there is none."""
        return spreads.resting_on(self.parts)


def score(cell: Cell, ours: Estimate, study: Study[Any], measured: Pooled | None = None) -> Score:
    """Our value minus the printed one with its variances; measured: the spreads by kind that trainings showed.

    Raises UserError for what was measured once on both sides and has no spread.
    """
    known = draws(cell, ours) + spreads.parts(cell.quantity, ours, study, measured or {}, others=1)
    images = (ours.images, study.paper.images.get(cell.quantity.data))
    known += spreads.sampling(cell.quantity, images, larger(images, ours.mean, float(cell.value)), study)
    if not any(part.variance for part in known):
        raise UserError(
            f"study {study.name}: '{cell.quantity}' has neither a standard error nor a spread: declare one in "
            "training_spread, no evaluation is exact"
        )
    rounding = Part(10.0 ** (-2 * cell.informative) / 12)
    return Score(ours.mean - float(cell.value), (*known, rounding))


def larger(images: tuple[int | None, int | None], ours: float, theirs: float) -> float:
    """The value that was measured on more images."""
    return ours if (images[0] or 0) > (images[1] or 0) else theirs


def draws(cell: Cell, ours: Estimate) -> list[Part]:
    """The variances of both sides' evaluations; none where nothing was drawn on either."""
    sides = []
    if cell.se:
        sides.append(Part(float(cell.se) ** 2, printed.INSTANTIATIONS - 1))
    if ours.se is not None:
        sides.append(spreads.evaluation(ours))
    return [Part(2 * side.variance, side.df) for side in sides] if len(sides) == 1 else sides


def p_value(z: float, df: float = math.inf) -> float:
    """Two-sided p-value of Student's t; of a standard normal for infinitely many degrees of freedom."""
    return float(2 * (scipy.special.ndtr(-abs(z)) if math.isinf(df) else scipy.special.stdtr(df, -abs(z))))


def holm(p_values: Sequence[float], alpha: float = FALSE_ALARM_RATE) -> list[bool]:
    """Holm's step-down method: for each p-value whether it is rejected, the family's error rate being alpha."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    rejected = [False] * len(p_values)
    for rank, i in enumerate(order):
        if p_values[i] > alpha / (len(p_values) - rank):
            break
        rejected[i] = True
    return rejected


def power(
    loss: float, cells: Sequence[Cell], study: Study[Any], estimates: Sequence[Estimate | None] | None = None
) -> float:
    """The chance that a true loss of `loss` points in one cell of a table is found: the median over its cells.

    Holm's first step tests the largest |z| against alpha over the number of cells; the other cells are faithful.
    estimates: ours, for their errors; without, those of a study that measures as the print did, once.
    """
    if estimates is None:
        estimates = [Estimate(float(c.value), float(c.se) if c.se else None, printed.INSTANTIATIONS) for c in cells]
    points = [loss * study.paper.metric(cell.quantity.metric).point for cell in cells]
    scored = scores(cells, estimates, study)
    alpha = FALSE_ALARM_RATE / max(len(scored), 1)
    chances = [chance_of_finding(points[i], each, alpha) for i, each in scored.items()]
    return float(np.median(chances)) if chances else math.nan


def chance_of_finding(loss: float, scored: Score, alpha: float) -> float:
    """The chance that a two-sided t test at alpha finds a loss, in the quantity's unit.

    P(|T| > t) of a noncentral t: a shifted normal against t s, the mean over the quantiles of s = sqrt(chi^2_df / df).
    """
    df, shift = scored.df, loss / scored.se
    if df > LARGE:
        threshold, doubt = scipy.special.ndtri(1 - alpha / 2), np.ones(1)
    else:
        threshold = scipy.special.stdtrit(df, 1 - alpha / 2)
        doubt = np.sqrt(2 / df * scipy.special.gammaincinv(df / 2, QUANTILES))
    above, below = scipy.special.ndtr([shift - threshold * doubt, -shift - threshold * doubt])
    return float(np.mean(above + below))


def comparable(cell: Cell, study: Study[Any]) -> bool:
    """Whether a printed number and the study's measure the same thing at the same size."""
    return study.settings.comparable and layouts.tables(study.paper)[cell.table].comparable


def scores(cells: Sequence[Cell], estimates: Sequence[Estimate | None], study: Study[Any]) -> dict[int, Score]:
    """The scores of those cells of a table that are judged, by their places; spreads are pooled over the table."""
    pairs = list(zip(cells, estimates, strict=True))
    measured = spreads.pooled([(cell.quantity, estimate) for cell, estimate in pairs], study)
    return {i: score(c, e, study, measured) for i, (c, e) in enumerate(pairs) if e is not None and comparable(c, study)}


def rejections(scored: dict[int, Score], factor: float = 1.0) -> dict[int, bool]:
    """Which scores of a table Holm's method rejects, the spreads being so many times as large."""
    return dict(zip(scored, holm([each.at(factor).p for each in scored.values()]), strict=True))


def of_table(cells: Sequence[Cell], estimates: Sequence[Estimate | None], study: Study[Any]) -> list[Judgement]:
    """The judgement of each cell of one table, in the cells' order."""
    scored = scores(cells, estimates, study)
    rejected = rejections(scored)
    equal = {i: is_equal(cells[i], each, study) for i, each in scored.items()}
    return [
        judgement(each, scored.get(i), rejected.get(i, False), equal.get(i, False)) for i, each in enumerate(estimates)
    ]


def judgement(estimate: Estimate | None, scored: Score | None, rejected: bool, equal: bool) -> Judgement:
    """Within, better, worse, not comparable or missing, and what that rests on."""
    if estimate is None:
        return Judgement("missing")
    if scored is None:
        return Judgement("not comparable")
    verdict = ("better" if scored.value > 0 else "worse") if rejected else "within"
    return Judgement(verdict, scored.z, scored.df, scored.spread, equal)


def is_equal(cell: Cell, scored: Score, study: Study[Any]) -> bool:
    """Whether two one-sided tests find the true numbers within EQUAL points (Schuirmann 1987, J. Pharmacokin. 15)."""
    room = EQUAL * study.paper.metric(cell.quantity.metric).point - abs(scored.value)
    return room > 0 and p_value(room / scored.se, scored.df) / 2 <= FALSE_ALARM_RATE


@dataclass(frozen=True)
class Flip:
    """The spread behind a verdict, in the quantity's units, and the one at which it would flip; None where at none."""

    spread: float
    at: float | None


def flips(cells: Sequence[Cell], estimates: Sequence[Estimate | None], study: Study[Any]) -> list[Flip | None]:
    """For each cell of a table the spread at which its verdict would flip; None where it is not judged or has none.

    All spreads of the table are scaled by one factor; a cell is told its own spread times that.
    """
    scored = scores(cells, estimates, study)
    at = functools.cache(functools.partial(rejections, scored))
    return [flip(i, each, at) if (each := scored.get(i)) and each.spread else None for i in range(len(cells))]


def flip(place: int, scored: Score, at: Callable[[float], dict[int, bool]]) -> Flip:
    """The Flip of one cell; at: Holm's rejections at a factor of all spreads."""
    own, factor = spreads.own_spread(scored.parts), spreads.flip_factor(lambda f: at(f)[place])
    return Flip(own, None if factor is None else own * factor)
