"""Rebuilding everything that people read from measurement files alone: no torch, no data, no GPU."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from contrastive_inversion import papers
from contrastive_inversion.base import files
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.base.job import file_of, is_measurement
from contrastive_inversion.ledger import layouts, measured_spreads, plan
from contrastive_inversion.ledger.measurements import Measurements
from contrastive_inversion.ledger.study import Study
from contrastive_inversion.run import fresh, rendered
from contrastive_inversion.run.fresh import Results
from contrastive_inversion.run.rendered import Target


def problems(finished: Results) -> list[str]:
    """What is wrong with a study's measurement files, a line each: missing, altered, of another recipe, not numbers."""
    study, results = finished.study, finished.root.parent
    measured, lines = Measurements(study, results), []
    for quantity in plan.measured(study):
        try:
            measured.one(quantity)
        except UserError as error:
            lines.append(str(error))
    return list(dict.fromkeys(lines)) or [*broken_chain(finished), *other_spreads(study, results)]


def broken_chain(finished: Results) -> list[str]:
    """A line for each product that is damaged or was made from others than those that lie there.

    As far as their files are kept; the parts of a store too large for memory are checked as they are read.
    """
    lines = []
    for product in plan.with_inputs(plan.measurements(finished.study), finished.study):
        path = finished.root / file_of(product)
        try:
            if path.exists() and not is_measurement(product):
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
        finished = Results(other, root)
        if not all(map(finished.is_as_asked, plan.measurements(other))):
            return []
        measured = measured_spreads.text(other, root)
    except UserError as error:
        return [f"{path}: {error}"]
    return [] if path.read_text() == measured else [f"{path}: is not what the measurements beside it say"]


def lacks_images(number: int, finished: Results) -> bool:
    """Whether a figure shows images that are not there; they are no measurements and need not be kept."""
    gallery = layouts.figures(finished.study.paper)[number].gallery
    return bool(gallery) and not all(map(finished.is_there, plan.behind_figure(number, finished.study)))


def rebuild(finished: Results, folder: Path, compare: Path | None = None) -> list[int]:
    """Write a study's tables, figures, verdicts, claims and page. Returns the figures that lack their images.

    compare: another run's folder, for the page.
    """
    without = [number for number in finished.study.settings.figures if lacks_images(number, finished)]
    left_out = [f"figure_{number}" for number in without]
    for name in rendered.names(finished.study):
        if name not in left_out:
            Target(name, finished, folder, compare).write()
    return without


def verify(study: Study[Any], results: Path, folder: Path, partial: bool = False, compare: Path | None = None) -> None:
    """Check every measurement file of a study, then rebuild from them; a partial study from those that are there.

    Raises UserError where there is none, and naming each unsound file.
    """
    study = replace(study, partial=partial)
    finished = Results(study, results)
    if not any(map(finished.is_there, plan.measurements(study))):
        raise UserError(f"{finished.root}: there is no measurement of study {study.name}; is it another folder?")
    unsound = problems(finished)
    if unsound:
        raise UserError("\n       ".join([f"{len(unsound)} file(s) cannot be trusted:", *unsound]))
    without, absent = rebuild(finished, folder, compare), Measurements(study, results).absent
    count, name = len(plan.measurements(study)) - len(absent), study.name
    print(f"{count} measurement files are sound; tables, figures, verdicts, claims and page of '{name}' rebuilt.")
    if absent:
        print("\n".join([f"{len(absent)} are not there yet; their numbers are missing:", *absent]))
    for line in fresh.explained(finished.all_changes(), finished):
        print(f"Note: {line}.")
    for number in without:
        print(f"Figure {number} was left out: it shows images, and {results}/{name}/galleries has none.")
