"""Verdicts on cells: is our number the published one, given what each of the two is uncertain about?

A cell is judged by z = delta / s, with s^2 the sum of

    the published standard error^2 and ours^2     the draw of the test images' distortions
    sigma_train^2 (1 + 1/n)                       a retrained model: their one training and the mean of our n
    step^2 / 12                                   the rounding of the print to `step`

The evaluation's standard error alone would reject most faithful retrainings (at a training spread of 0.3 points,
84 % of them). sigma_train is measured where the study has several training seeds, pooled over a table's cells;
otherwise it is the study's declared `training_spread` of the kind of quantity. A quantity whose encoder is not trained
by the study has none. Within a table, Holm's method keeps the chance of any false alarm at 5 %.
Imports no torch.
"""

import math
import statistics
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

from contrastive_inversion.base.errors import UserError, nearest
from contrastive_inversion.ledger import printed
from contrastive_inversion.ledger.estimates import Estimate
from contrastive_inversion.ledger.printed import Cell
from contrastive_inversion.ledger.quantities import Quantity
from contrastive_inversion.ledger.study import Study

FALSE_ALARM_RATE = 0.05
VERDICTS = ("within", "better", "worse", "not comparable", "missing")
Judgement = tuple[str, float | None]  # the verdict and its z


def training_spread(quantity: Quantity, study: Study[Any]) -> float:
    """The declared spread over training seeds of a quantity, in its units: 0 where only a linear head is trained.

    Raises UserError where the study declares none for this kind of quantity.
    """
    if not study.paper.family(quantity.encoder)[0].retrained:
        return 0.0
    kind, declared = study.paper.spread(quantity), study.settings.training_spread
    if kind not in declared:
        raise UserError(
            f"study {study.name}: training_spread.{kind}: missing, '{quantity}' needs it{nearest(kind, declared)}"
        )
    return declared[kind]


def pooled_spread(estimates: Sequence[Estimate | None]) -> float | None:
    """The spread over training seeds that a table's cells show together; None where there was one training."""
    variances = [e.training_sd**2 for e in estimates if e is not None and e.training_sd is not None]
    return math.sqrt(sum(variances) / len(variances)) if variances else None


def uncertainty(cell: Cell, ours: Estimate, study: Study[Any], measured_spread: float | None = None) -> float:
    """The standard error of our value minus the printed one."""
    published_se = float(cell.se) if cell.se else 0.0
    rounding = 10.0**-cell.decimals / math.sqrt(12)
    spread = training_spread(cell.quantity, study)
    if spread and measured_spread is not None:
        spread = measured_spread
    retraining = spread**2 * (1 + 1 / ours.trainings)
    return math.sqrt(published_se**2 + (ours.se or 0.0) ** 2 + retraining + rounding**2)


def p_value(z: float) -> float:
    """Two-sided p-value of a standard normal."""
    return math.erfc(abs(z) / math.sqrt(2))


def holm(p_values: Sequence[float], alpha: float = FALSE_ALARM_RATE) -> list[bool]:
    """Holm's step-down method: for each p-value whether it is rejected, the family's error rate being alpha."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    rejected = [False] * len(p_values)
    for rank, i in enumerate(order):
        if p_values[i] > alpha / (len(p_values) - rank):
            break
        rejected[i] = True
    return rejected


def power(loss: float, cells: Sequence[Cell], study: Study[Any]) -> float:
    """The chance that a true loss of `loss` points in one cell of a table is found: the median over its cells.

    Holm's first step tests the largest |z| against alpha over the number of cells; the other cells are faithful.
    """
    normal = NormalDist()
    threshold = normal.inv_cdf(1 - FALSE_ALARM_RATE / (2 * len(cells)))
    faithful = [Estimate(float(cell.value), float(cell.se) if cell.se else None, 1) for cell in cells]
    shifts = [loss / uncertainty(cell, ours, study) for cell, ours in zip(cells, faithful, strict=True)]
    return statistics.median(normal.cdf(shift - threshold) + normal.cdf(-shift - threshold) for shift in shifts)


def comparable(cell: Cell, study: Study[Any]) -> bool:
    """Whether a printed number and the study's measure the same thing at the same size."""
    return study.settings.comparable and printed.tables(study.paper)[cell.table].comparable


def of_table(cells: Sequence[Cell], estimates: Sequence[Estimate | None], study: Study[Any]) -> list[Judgement]:
    """The verdict on each cell of one table, and its z (None where it is not judged), in the cells' order."""
    pairs = list(zip(cells, estimates, strict=True))
    spread = pooled_spread(estimates)
    z = {i: z_score(c, e, study, spread) for i, (c, e) in enumerate(pairs) if e is not None and comparable(c, study)}
    rejected = dict(zip(z, holm([p_value(score) for score in z.values()]), strict=True))
    return [verdict(estimates[i], z.get(i), rejected.get(i, False)) for i in range(len(cells))]


def z_score(cell: Cell, ours: Estimate, study: Study[Any], spread: float | None) -> float:
    """Our value minus the printed one, in standard errors."""
    return (ours.mean - float(cell.value)) / uncertainty(cell, ours, study, spread)


def verdict(estimate: Estimate | None, z: float | None, rejected: bool) -> Judgement:
    """One of VERDICTS, and the z that it rests on."""
    if estimate is None:
        return "missing", None
    if z is None:
        return "not comparable", None
    if not rejected:
        return "within", z
    return ("better" if z > 0 else "worse"), z
