"""Rebuilding everything that people read from measurement files alone: no torch, no data, no GPU."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from contrastive_inversion import papers
from contrastive_inversion.base import files
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.base.job import file_of
from contrastive_inversion.ledger import layouts, measured_spreads, plan
from contrastive_inversion.ledger.measurements import Measurements
from contrastive_inversion.ledger.study import Study
from contrastive_inversion.run import fresh
from contrastive_inversion.run.fresh import Results
from contrastive_inversion.run.rendered import Target


def problems(study: Study[Any], results: Path) -> list[str]:
    """What is wrong with a study's measurement files, a line each: missing, altered, of another recipe, not numbers."""
    measured, lines = Measurements(study, results), []
    for quantity in plan.measured(study):
        try:
            measured.one(quantity)
        except UserError as error:
            lines.append(str(error))
    return list(dict.fromkeys(lines)) or [*broken_chain(study, results), *other_spreads(study, results)]


def broken_chain(study: Study[Any], results: Path) -> list[str]:
    """A line for each product that is damaged or was made from others than those that lie there.

    As far as their files are kept; the parts of a store too large for memory are checked as they are read.
    """
    finished, lines = Results(study, results), []
    for product in plan.with_inputs(plan.measurements(study), study):
        path = finished.root / file_of(product)
        try:
            if path.exists() and path.suffix != ".json":
                files.load(path, framework="np")
            if other := finished.other_inputs(product):
                lines.append(f"{path}: {other}")
        except UserError as error:
            lines.append(str(error))
    return lines


def other_spreads(study: Study[Any], results: Path) -> list[str]:
    """A line where the spreads that a study reads are not those of the measurements that lie beside them.

    Nothing where these are not all there, or of other recipes: that is for the verification of their own study.
    """
    path = measured_spreads.read_by(study, results)
    if path is None:
        return []
    other, root = papers.study(path.parent.name), path.parents[1]
    try:
        if not all(Results(other, root).is_as_asked(product) for product in plan.measurements(other)):
            return []
        measured = measured_spreads.text(other, root)
    except UserError as error:
        return [f"{path}: {error}"]
    return [] if path.read_text() == measured else [f"{path}: is not what the measurements beside it say"]


def lacks_images(number: int, study: Study[Any], results: Path) -> bool:
    """Whether a figure shows images that are not there; they are no measurements and need not be kept."""
    if not layouts.figures(study.paper)[number].gallery:
        return False
    return not all((results / study.name / file_of(p)).exists() for p in plan.behind_figure(number, study))


def rebuild(study: Study[Any], results: Path, folder: Path) -> list[int]:
    """Write a study's tables, figures, verdicts, claims and page. Returns the figures that lack their images."""
    without = [number for number in study.settings.figures if lacks_images(number, study, results)]
    drawn = [f"figure_{number}" for number in study.settings.figures if number not in without]
    # a part of the spreads is nothing that other studies' verdicts may rest on
    several = ["spreads"] if len(study.settings.training_seeds) > 1 and not study.partial else []
    names = [*(f"table_{number}" for number in study.settings.tables), *drawn, "cells", "claims", *several, "report"]
    finished = Results(study, results)
    for name in names:
        Target(name, finished, folder).write()
    return without


def verify(study: Study[Any], results: Path, folder: Path, partial: bool = False) -> None:
    """Check every measurement file of a study, then rebuild from them; a partial study from those that are there.

    Raises UserError naming each unsound file.
    """
    study = replace(study, partial=partial)
    unsound = problems(study, results)
    if unsound:
        raise UserError("\n       ".join([f"{len(unsound)} file(s) cannot be trusted:", *unsound]))
    without, absent = rebuild(study, results, folder), Measurements(study, results).absent
    count, name = len(plan.measurements(study)) - len(absent), study.name
    print(f"{count} measurement files are sound; tables, figures, verdicts, claims and page of '{name}' rebuilt.")
    if absent:
        print("\n".join([f"{len(absent)} are not there yet; their numbers are missing:", *absent]))
    finished = Results(study, results)
    for line in fresh.explained(finished.all_changes(), finished):
        print(f"Note: {line}.")
    for number in without:
        print(f"Figure {number} was left out: it shows images, and {results}/{name}/galleries has none.")
