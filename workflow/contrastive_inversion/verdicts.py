"""Verdicts on cells: is our number the published one, given what each of the two is uncertain about?

A cell is judged by z = delta / s, with s^2 the sum of

    the published standard error^2 and ours^2     the draw of the test images' distortions
    2 sigma_train^2                               a retrained model, ours and theirs (one training each)
    step^2 / 12                                   the rounding of the print to `step`

The evaluation's standard error alone would reject most faithful retrainings (at a training spread of 0.3 points,
84 % of them). sigma_train is a study's `training_spread`, declared by kind of metric; a quantity whose encoder is
not trained by the study has none. Within a table, Holm's method keeps the chance of any false alarm at 5 %.
Imports no torch.
"""

import math

from contrastive_inversion import quantities

FALSE_ALARM_RATE = 0.05
VERDICTS = ("within", "better", "worse", "not comparable", "missing")


def training_spread(quantity, study):
    """The declared spread over training seeds of a quantity, in its units: 0 where only a linear head is trained."""
    if quantity.encoder in ("teacher", "resnet"):
        return 0.0
    kind = "label_shift" if quantity.data == "label_shift" else quantity.metric
    return study["training_spread"][kind]


def uncertainty(cell, ours, study):
    """The standard error of our value minus the printed one."""
    published_se = float(cell.se) if cell.se else 0.0
    rounding = 10.0**-cell.decimals / math.sqrt(12)
    spread = training_spread(cell.quantity, study)
    return math.sqrt(published_se**2 + (ours.se or 0.0) ** 2 + 2 * spread**2 + rounding**2)


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


def comparable(cell, study):
    """Whether a printed number and the study's measure the same thing at the same size."""
    return study["comparable"] and not quantities.table_layouts()[cell.table].get("note")


def of_table(cells, estimates, study):
    """The verdict on each cell of one table, and its z: a list of (verdict, z or None) in the cells' order."""
    judged = [i for i, (c, e) in enumerate(zip(cells, estimates, strict=True)) if e and comparable(c, study)]
    z = {i: (estimates[i].mean - float(cells[i].value)) / uncertainty(cells[i], estimates[i], study) for i in judged}
    rejected = dict(zip(judged, holm([p_value(z[i]) for i in judged]), strict=True))
    return [verdict(estimates[i], z.get(i), rejected.get(i)) for i in range(len(cells))]


def verdict(estimate, z, rejected):
    if estimate is None:
        return "missing", None
    if z is None:
        return "not comparable", None
    if not rejected:
        return "within", z
    return ("better" if z > 0 else "worse"), z
