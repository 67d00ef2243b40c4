"""cells.csv: every printed number beside ours, one row each. Imports no torch."""

from pathlib import Path

import pandas as pd

from contrastive_inversion.base import files, studies
from contrastive_inversion.ledger import quantities, verdicts
from contrastive_inversion.ledger.measurements import Measurements


def of_study(study_name, results="results"):
    """A DataFrame with one row per printed cell of the study's tables, its verdict among the columns."""
    study, measured = studies.load(study_name), Measurements(study_name, results)
    rows = []
    for number in study["tables"]:
        cells = [cell for cell in quantities.cells(quantities.ledger_of(study)) if cell.table == number]
        estimates = [measured.of(cell.quantity) for cell in cells]
        judged = verdicts.of_table(cells, estimates, study)
        rows += [row(*judgement) for judgement in zip(cells, estimates, judged, strict=True)]
    return pd.DataFrame(rows)


def row(cell, ours, judged):
    """One printed cell, our Estimate of its quantity, and the verdict with its z."""
    verdict, z = judged
    return {
        "table": cell.table, "row": cell.row, "column": cell.column, "quantity": str(cell.quantity),
        "published": cell.value, "published_se": cell.se or None,
        "reproduced": None if ours is None else round(ours.mean, 4),
        "reproduced_se": None if ours is None or ours.se is None else round(ours.se, 4),
        "n": None if ours is None else ours.n,
        "delta": None if ours is None else round(ours.mean - float(cell.value), 4),
        "verdict": verdict, "z": None if z is None else round(z, 2),
    }  # fmt: skip


def write(study_name, results="results"):
    """Write cells.csv of a study. Raises UserError if a measurement is missing or unsound."""
    table = of_study(study_name, results)
    files.write_text(Path(results) / study_name / "cells.csv", table.to_csv(index=False, lineterminator="\n"))
