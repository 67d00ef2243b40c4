"""What is checked of a study before its first job, beyond its typed settings: what its parts say of one another."""

import functools
from collections.abc import Callable, Iterable
from itertools import chain
from pathlib import Path
from typing import Any

from contrastive_inversion import papers
from contrastive_inversion.base.errors import UserError, nearest, refusals
from contrastive_inversion.base.recipe import Recipe
from contrastive_inversion.data.settings import Characters, training_size
from contrastive_inversion.learn.settings import Training, share
from contrastive_inversion.ledger import claims, layouts, plan, printed, spreads
from contrastive_inversion.ledger.layouts import FigureLayout
from contrastive_inversion.ledger.study import Study, available, study_file


@functools.cache
@refusals()
def study(name: str) -> Study[Any]:
    """A study by its name, checked."""
    named = papers.study(name)
    check(named)
    return named


def check(study: Study[Any]) -> None:
    """Read all that a study's run will read. Raises UserError, in one line with file and key, for what is amiss."""
    for key in ("root", "published", "spreads", "expected"):
        if (name := getattr(study.settings, key)) is not None:
            check_sibling(name, study, study.place(key))
    check_measured(study)
    claims.check(study.paper, papers.study(study.settings.root))
    check_exceptions(study)
    check_tables(study)
    check_spreads(study)
    for number in study.settings.tables:
        layouts.notes_of(number, study)
    for number in study.settings.figures:
        check_levels(number, layouts.figures(study.paper)[number], study)
    study.paper.raw()
    for product, recipe in plan.everything(study).items():
        check_pictures(product, recipe, study)


def check_sibling(name: str, study: Study[Any], place: str) -> None:
    """Raise UserError, with the place that names it, for a study that is not there or about another paper."""
    study_file(name, papers.folders(), place)
    if name != study.name and papers.study(name).paper.name != study.paper.name:
        raise UserError(f"{place}: study '{name}' is about another paper")


def check_compared(folder: Path, study: Study[Any], place: str) -> None:
    """Raise UserError, with the place that names it, for a folder that is of no study's run, or about another paper."""
    if not (folder / "measurements").is_dir():
        raise UserError(f"{place}: {folder} holds no measurements; name the folder of a run: results/published")
    check_sibling(folder.name, study, place)


def check_measured(study: Study[Any]) -> None:
    """Raise UserError for spreads that are to be measured by a study of a single training, or by the study itself."""
    name = study.settings.spreads
    if name and (name == study.name or len(papers.study(name).settings.training_seeds) == 1):
        which = "the study itself" if name == study.name else f"study '{name}' with a single training seed"
        raise UserError(f"{study.place('spreads')}: a study of several trainings measures them, not {which}")


def check_exceptions(study: Study[Any]) -> None:
    """Raise UserError for metrics and data sets that are excepted by names that nothing has."""
    known: dict[str, tuple[Iterable[str], Callable[[str], object]]] = {
        "left_out": (study.settings.left_out, study.data_set),
        "instead": (chain(*study.settings.instead.items()), study.paper.metric),
    }
    for key, (names, check_name) in known.items():
        try:
            for name in names:
                check_name(name)
        except UserError as error:
            raise UserError(f"{study.place(key)}: {error}") from None


def check_tables(study: Study[Any]) -> None:
    """Raise UserError for printed numbers of a table without a layout."""
    for cell in printed.cells(study.paper):
        if cell.table not in layouts.tables(study.paper):
            path = study.paper.printed / "tables.csv"
            raise UserError(f"{path}: table: tables.yaml has no table {cell.table}, of '{cell.quantity}'")


@functools.cache
def kinds_of(study: Study[Any]) -> set[str]:
    """The kinds of spread behind what a study measures."""
    return {drawn.kind for quantity in plan.asked(study) for drawn in spreads.behind(quantity, study)}


def check_spreads(study: Study[Any]) -> None:
    """Raise UserError for a training spread that is missing, or of no kind that any study of the paper has."""
    kinds = {*study.paper.metrics, *kinds_of(study)}
    if unknown := study.settings.training_spread.keys() - kinds:
        own = papers.paper(study.paper.name).folder / "studies"
        kinds |= {kind for name in available([own]) for kind in kinds_of(papers.study(name))}
    for kind in sorted(unknown):
        if kind not in kinds:
            raise UserError(f"{study.place('training_spread')}: unknown kind '{kind}'{nearest(kind, kinds)}")
    for quantity in plan.asked(study):
        for drawn in spreads.behind(quantity, study):
            spreads.declared(drawn.kind, quantity, study)


def check_levels(number: int, layout: FigureLayout, study: Study[Any]) -> None:
    """Raise UserError for a figure that shows nothing, and for levels of curves that have no place on an axis."""
    path = study.paper.printed / "figures.yaml"
    curves = layout.panels and all(panel.curves for panel in layout.panels)
    if bool(curves) == bool(layout.gallery) or bool(layout.distortions) != bool(layout.gallery):
        raise UserError(f"{path}: {number}: either `panels` with `curves`, or a `gallery` with its `distortions`")
    for level in (level for panel in layout.panels for level in layouts.levels_of(panel, study)):
        try:
            study.paper.position(level)
        except ValueError:
            raise UserError(f"{path}: {number}: level '{level}' has no place on an axis") from None


def check_pictures(product: str, recipe: Recipe, study: Study[Any]) -> None:
    """Raise UserError for data without the split that is read, or a last step of one image, which has no variance."""
    for split in ("train", "test"):
        data = str(getattr(recipe, split, "")).removeprefix("images/")
        settings = study.settings.data.get(data)
        if isinstance(settings, Characters) and not getattr(settings, getattr(recipe, "split", split)):
            raise UserError(f"{study.place(f'data.{data}')}: {split}: missing, {product} needs it")
    training, count = getattr(recipe, "settings", None), seen(recipe, study)
    if isinstance(training, Training) and training.order == "shuffled" and count and count % training.batch == 1:
        raise UserError(
            f"{study.place(product)}: batch: {training.batch} leaves one of {count} images to the last step, too few "
            "for batch normalisation"
        )


def seen(recipe: Recipe, study: Study[Any]) -> int | None:
    """How many images a training sees in an epoch; None where only files can tell."""
    data = study.settings.data.get(str(getattr(recipe, "train", "")).removeprefix("images/"))
    size = training_size(data) if data else None
    if size is None:
        return None
    labels, (count, classes) = getattr(recipe, "labels", 100), size
    if labels == 100 or getattr(getattr(recipe, "settings", None), "subset", None) == "uniform":
        return share(labels, count)
    return classes * share(labels, count // classes)
