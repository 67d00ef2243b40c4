"""cells.csv: every printed number beside ours, one row each. Imports no torch."""

from pathlib import Path
from typing import Any

import pandas as pd

from contrastive_inversion.base import files
from contrastive_inversion.ledger import measured_spreads, printed, verdicts
from contrastive_inversion.ledger.estimates import Estimate
from contrastive_inversion.ledger.measurements import Measurements
from contrastive_inversion.ledger.printed import Cell
from contrastive_inversion.ledger.study import Study
from contrastive_inversion.ledger.verdicts import Flip, Judgement


def of_study(study: Study[Any], results: Path) -> pd.DataFrame:
    """A DataFrame with one row per printed cell of the study's tables, its verdict among the columns."""
    study = measured_spreads.informed(study, results)
    measured, rows = Measurements(study, results), []
    for number in study.settings.tables:
        cells = printed.cells_of(number, study.paper)
        estimates = [measured.of(cell.quantity) for cell in cells]
        judged = verdicts.of_table(cells, estimates, study)
        flips = verdicts.flips(cells, estimates, study)
        rows += [row(*each) for each in zip(cells, estimates, judged, flips, strict=True)]
    return pd.DataFrame(rows)


def row(cell: Cell, ours: Estimate | None, judged: Judgement, flip: Flip | None = None) -> dict[str, Any]:
    """One printed cell, our Estimate of its quantity, the verdict and the spread at which it would flip.

    spread_is: assumed or measured; spread and flips_at: in the quantity's unit.
    """
    return {
        "table": cell.table, "row": cell.row, "column": cell.column, "quantity": str(cell.quantity),
        "published": cell.value, "published_se": cell.se or None,
        "reproduced": None if ours is None else round(ours.mean, 4),
        "reproduced_se": None if ours is None or ours.se is None else round(ours.se, 4),
        "n": None if ours is None else ours.n, "images": None if ours is None else ours.images,
        "delta": None if ours is None else round(ours.mean - float(cell.value), 4),
        "verdict": judged.verdict, "said": judged.words, "z": None if judged.z is None else round(judged.z, 2),
        "df": None if judged.df is None else round(judged.df, 1), "spread_is": judged.spread or None,
        "spread": flip and round(flip.spread, 4), "flips_at": flip and flip.at and round(flip.at, 4),
    }  # fmt: skip


def write(study: Study[Any], results: Path) -> None:
    """Write cells.csv of a study. Raises UserError if a measurement is missing or unsound."""
    table = of_study(study, results)
    files.write_text(results / study.name / "cells.csv", table.to_csv(index=False, lineterminator="\n"))
