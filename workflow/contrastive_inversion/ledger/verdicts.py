"""Verdicts on cells: is our number the published one, given what each of the two is uncertain about?

A cell is judged by z = delta / s, with s^2 the sum of

    the published standard error^2 and ours^2     the draw of the test images' distortions
    sigma_train^2 (1 + 1/n)                       a retrained model: their one training and the mean of our n
    step^2 / 12                                   the rounding of the print to `step`

The evaluation's standard error alone would reject most faithful retrainings (at a training spread of 0.3 points,
84 % of them). sigma_train is measured where the study has several training seeds, pooled over a table's cells;
otherwise it is the study's declared `training_spread` of the kind of metric. A quantity whose encoder is not trained
by the study has none. Within a table, Holm's method keeps the chance of any false alarm at 5 %.
Imports no torch.
"""

import math
import statistics
from statistics import NormalDist

from contrastive_inversion.ledger import quantities
from contrastive_inversion.ledger.measurements import Estimate

FALSE_ALARM_RATE = 0.05
VERDICTS = ("within", "better", "worse", "not comparable", "missing")


def training_spread(quantity, study):
    """The declared spread over training seeds of a quantity, in its units: 0 where only a linear head is trained."""
    if quantity.encoder in ("teacher", "resnet"):
        return 0.0
    kind = "label_shift" if quantity.data == "label_shift" else quantity.metric.partition("@")[0]
    return study["training_spread"][kind]


def pooled_spread(estimates):
    """The spread over training seeds that a table's cells show together; None where there was one training."""
    variances = [e.training_sd**2 for e in estimates if e is not None and e.training_sd is not None]
    return math.sqrt(sum(variances) / len(variances)) if variances else None


def uncertainty(cell, ours, study, measured_spread=None):
    """The standard error of our value minus the printed one."""
    published_se = float(cell.se) if cell.se else 0.0
    rounding = 10.0**-cell.decimals / math.sqrt(12)
    spread = training_spread(cell.quantity, study)
    if spread and measured_spread is not None:
        spread = measured_spread
    retraining = spread**2 * (1 + 1 / ours.trainings)
    return math.sqrt(published_se**2 + (ours.se or 0.0) ** 2 + retraining + rounding**2)


def p_value(z):
    """Two-sided p-value of a standard normal."""
    return math.erfc(abs(z) / math.sqrt(2))


def holm(p_values, alpha=FALSE_ALARM_RATE):
    """Holm's step-down method: for each p-value whether it is rejected, the family's error rate being alpha."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    rejected = [False] * len(p_values)
    for rank, i in enumerate(order):
        if p_values[i] > alpha / (len(p_values) - rank):
            break
        rejected[i] = True
    return rejected


def power(loss, cells, study):
    """The chance that a true loss of `loss` points in one cell of a table is found: the median over its cells.

    Holm's first step tests the largest |z| against alpha over the number of cells; the other cells are faithful.
    """
    normal = NormalDist()
    threshold = normal.inv_cdf(1 - FALSE_ALARM_RATE / (2 * len(cells)))
    faithful = [Estimate(float(cell.value), float(cell.se) if cell.se else None, 1) for cell in cells]
    shifts = [loss / uncertainty(cell, ours, study) for cell, ours in zip(cells, faithful, strict=True)]
    return statistics.median(normal.cdf(shift - threshold) + normal.cdf(-shift - threshold) for shift in shifts)


def comparable(cell, study):
    """Whether a printed number and the study's measure the same thing at the same size."""
    return study["comparable"] and not quantities.table_layouts(quantities.ledger_of(study))[cell.table].get("note")


def of_table(cells, estimates, study):
    """The verdict on each cell of one table, and its z: a list of (verdict, z or None) in the cells' order."""
    judged = [i for i, (c, e) in enumerate(zip(cells, estimates, strict=True)) if e and comparable(c, study)]
    spread = pooled_spread(estimates)
    z = {i: z_score(cells[i], estimates[i], study, spread) for i in judged}
    rejected = dict(zip(judged, holm([p_value(z[i]) for i in judged]), strict=True))
    return [verdict(estimates[i], z.get(i), rejected.get(i)) for i in range(len(cells))]


def z_score(cell, ours, study, spread):
    """Our value minus the printed one, in standard errors."""
    return (ours.mean - float(cell.value)) / uncertainty(cell, ours, study, spread)


def verdict(estimate, z, rejected):
    if estimate is None:
        return "missing", None
    if z is None:
        return "not comparable", None
    if not rejected:
        return "within", z
    return ("better" if z > 0 else "worse"), z
