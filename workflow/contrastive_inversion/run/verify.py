"""Rebuilding everything that people read from measurement files alone: no torch, no data, no GPU."""

from pathlib import Path

from contrastive_inversion.base import studies
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.ledger import cells, claims, plan, quantities
from contrastive_inversion.ledger.measurements import Measurements
from contrastive_inversion.show import figures, page, tables


def problems(study_name, results):
    """What is wrong with a study's measurement files, a line each: missing, altered, of another recipe, not numbers."""
    measured = Measurements(study_name, results)
    found = []
    for quantity in plan.study_quantities(study_name):
        try:
            measured.one(quantity)
        except UserError as error:
            found.append(str(error))
    return list(dict.fromkeys(found))


def gallery_missing(number, study_name, results):
    """Whether a figure shows images that are not there; they are no measurements and need not be kept."""
    ledger = quantities.ledger_of(studies.load(study_name))
    if "gallery" not in quantities.figure_layouts(ledger)[number]:
        return False
    return not (Path(results) / study_name / plan.file_of(f"galleries/figure_{number}")).exists()


def rebuild(study_name, results, folder):
    """Write a study's tables, figures, verdicts, claims and page. Returns the figures that lack their images."""
    study = studies.load(study_name)
    for number in study["tables"]:
        tables.write(number, study_name, results)
    without = [number for number in study["figures"] if gallery_missing(number, study_name, results)]
    for number in study["figures"]:
        if number not in without:
            figures.write(number, study_name, results, folder)
    cells.write(study_name, results)
    claims.write(study_name, results)
    page.write(study_name, results, folder)
    return without


def verify(study_name, results="results", folder="figures"):
    """Check every measurement file of a study, then rebuild from them. Raises UserError naming each unsound file."""
    found = problems(study_name, results)
    if found:
        raise UserError("\n       ".join([f"{len(found)} measurement file(s) cannot be trusted:", *found]))
    without = rebuild(study_name, results, folder)
    count = len(plan.study_measurements(study_name))
    print(f"{count} measurement files are sound; tables, figures, verdicts, claims and page of '{study_name}' rebuilt.")
    for number in without:
        print(f"Figure {number} was left out: it shows images, and results/{study_name}/galleries has none.")
