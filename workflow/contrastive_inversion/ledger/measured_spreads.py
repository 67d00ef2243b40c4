"""spreads.csv: how far trainings of one study spread, by kind of quantity, for other studies to read.

A study with several training seeds writes it; a study that names that one in `spreads` takes its spreads in the place
of assumed ones, with their degrees of freedom: those of the run that lies beside its own, else of one that is kept in
git. Imports no torch.
"""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import scipy

from contrastive_inversion.base import files
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.base.records import Said
from contrastive_inversion.ledger import plan, spreads
from contrastive_inversion.ledger.estimates import Spread
from contrastive_inversion.ledger.measurements import Measurements
from contrastive_inversion.ledger.printed import number, read_csv, reading
from contrastive_inversion.ledger.study import Study, speaker

LEVEL = 0.95  # of the interval beside a spread
KEPT = Path(__file__).parents[3] / "results" / "reference"  # in a checkout
COLUMNS = ("kind", "spread", "df", "low", "high", "quantities")


class Written(Said):
    """What the note of a rendered file says (see `run.rendered`), as far as it is read here."""

    files: dict[str, str]


def path_of(name: str, results: Path) -> Path:
    """Where a study's spreads lie."""
    return results / name / "spreads.csv"


def informed(study: Study[Any], results: Path) -> Study[Any]:
    """The study with the spreads that the one it names has measured; the study itself where that has not run.

    Raises UserError for a file that holds no spreads, or is not as it was written.
    """
    if (path := read_by(study, results)) is None:
        return study
    check_unaltered(path)
    with reading(path):
        known = {row["kind"]: Spread(number(row["spread"]), number(row["df"]), assumed=False) for row in read_csv(path)}
        if any(each.value <= 0 or each.df < 1 for each in known.values()):
            raise ValueError("a spread is above 0 and has degrees of freedom")
    return replace(study, spreads={kind: each for kind, each in known.items() if not is_overruled(kind, study)})


def read_by(study: Study[Any], results: Path) -> Path | None:
    """The file of the spreads that a study reads; None where it reads none, or they were not measured."""
    name = study.settings.spreads
    paths = [path_of(name, folder) for folder in (results, KEPT)] if name else []
    return next(filter(Path.exists, paths), None)


def check_unaltered(path: Path) -> None:
    """Raise UserError for spreads that are not as they were written, where a note of that lies beside them.

    Those that are kept in git change with it.
    """
    note = path.parent / "rendered" / "spreads.json"
    if path.parents[1] == KEPT or not note.exists():
        return
    if files.sha256(path) != files.read_note(note, Written)["files"].get(path.name):
        remedy = f"contrastive-inversion spreads --study {path.parent.name} --results {path.parents[1]}"
        raise UserError(f"{path}: was altered since it was written; {remedy} writes it again from its measurements")


def is_overruled(kind: str, study: Study[Any]) -> bool:
    """Whether a study declares a spread more nearly than it says where measured ones are."""
    layers = list(study.files)
    if not layers or kind not in study.settings.training_spread:
        return False
    return layers.index(speaker(f"training_spread.{kind}", layers)) < layers.index(speaker("spreads", layers))


def of_study(study: Study[Any], results: Path) -> pd.DataFrame:
    """The spreads that a study's trainings show, pooled by kind, each with an interval of its own.

    The interval is that of a chi-squared with the degrees of freedom, which count encoders, not quantities.
    """
    measured = Measurements(study, results)
    known = [(quantity, measured.of(quantity)) for quantity in plan.asked(study)]
    kinds = Counter(spreads.behind(q, study)[0].kind for q, e in known if e and e.shown_sd is not None)
    rows = []
    for kind, spread in sorted(spreads.pooled(known, study).items()):
        # chi squared's quantiles, without scipy.stats, which takes a second to load
        far, near = 2 * scipy.special.gammaincinv(spread.df / 2, [(1 + LEVEL) / 2, (1 - LEVEL) / 2])
        low, high = (spread.value * (spread.df / bound) ** 0.5 for bound in (far, near))
        rows.append([kind, *(round(value, 6) for value in (spread.value, spread.df, low, high)), kinds[kind]])
    return pd.DataFrame(rows, columns=COLUMNS)


def write(study: Study[Any], results: Path) -> None:
    """Write spreads.csv of a study. Raises UserError if a measurement is missing or unsound."""
    files.write_text(path_of(study.name, results), text(study, results))


def text(study: Study[Any], results: Path) -> str:
    """What spreads.csv of a study says. Raises UserError if a measurement is missing or unsound."""
    return of_study(study, results).to_csv(index=False, lineterminator="\n")
