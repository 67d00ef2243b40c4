"""cells.csv: every printed number beside ours, one row each. Imports no torch."""

from pathlib import Path

import pandas as pd

from contrastive_inversion import artifacts, quantities, studies
from contrastive_inversion.measurements import Measurements


def of_study(study_name, results="results"):
    """A DataFrame with one row per printed cell of the study's tables."""
    study, measured = studies.load(study_name), Measurements(study_name, results)
    wanted = [cell for cell in quantities.cells() if cell.table in study["tables"]]
    return pd.DataFrame([row(cell, measured.of(cell.quantity)) for cell in wanted])


def row(cell, ours):
    """One printed cell and our Estimate of its quantity."""
    theirs = float(cell.value)
    return {
        "table": cell.table, "row": cell.row, "column": cell.column, "quantity": str(cell.quantity),
        "published": cell.value, "published_se": cell.se or None,
        "reproduced": None if ours is None else round(ours.mean, 4),
        "reproduced_se": None if ours is None or ours.se is None else round(ours.se, 4),
        "n": None if ours is None else ours.n,
        "delta": None if ours is None else round(ours.mean - theirs, 4),
    }  # fmt: skip


def write(study_name, results="results"):
    """Write cells.csv of a study. Raises UserError if a measurement is missing or unsound."""
    table = of_study(study_name, results)
    artifacts.write_text(Path(results) / study_name / "cells.csv", table.to_csv(index=False, lineterminator="\n"))
