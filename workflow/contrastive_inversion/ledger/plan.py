"""The plan: what a study measures, the products that it needs for that, and each product's canonical recipe.

A product is named by where it lies below the study's results: `images/imagenet100`, `encoders/student-rm90`,
`heads/student-rm90/imagenet100`, `measurements/student-rm90/imagenet100`, ... Its recipe holds the settings that
matter and, for each input product, the digest of that one's recipe. Snakemake's rules take their inputs and their
only parameter from here, so a change of formatting, of key order or of an unrelated setting leaves it alone, and
a change of a value that matters reaches everything downstream.
"""

import functools
import json
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from contrastive_inversion.base.canonical import canonical, digest
from contrastive_inversion.base.errors import UserError, nearest
from contrastive_inversion.base.recipe import Recipe
from contrastive_inversion.base.settings import checked, explained, worst
from contrastive_inversion.ledger import layouts, printed, quantities, statements
from contrastive_inversion.ledger.paper import JobKind, Paper, Product
from contrastive_inversion.ledger.quantities import Probe, Quantity
from contrastive_inversion.ledger.study import Study


@functools.cache
def of_table(number: int, study: Study[Any]) -> list[Quantity]:
    """The quantities of a table's cells, and those by which claims go in their place."""
    printed_here = [cell.quantity for cell in printed.cells_of(number, study.paper)]
    standing_in = [layouts.by_other_metric(quantity, study) for quantity in printed_here]
    return with_data([*printed_here, *standing_in], study)


def with_data(wanted: Iterable[Quantity], study: Study[Any]) -> list[Quantity]:
    """Those of some quantities whose data the study does not leave out, each once."""
    return [quantity for quantity in dict.fromkeys(wanted) if quantity.data not in study.settings.left_out]


@functools.cache
def of_figure(number: int, study: Study[Any]) -> list[Quantity]:
    """The quantities of a figure's curves; a gallery has none."""
    return on_curves(number, None, study)


def on_curves(number: int, metric: str | None, study: Study[Any]) -> list[Quantity]:
    """The quantities of a figure's curves at a study's levels, by a metric (None: the study's own)."""
    layout = layouts.figures(study.paper)[number]
    try:
        metric = metric or layouts.metric_of(layout, study)
        points = [
            layouts.curve_point(template, level, metric)
            for panel in layout.panels
            for template in panel.curves.values()
            for level in layouts.levels_of(panel, study)
        ]
        return with_data(points, study)
    except UserError as error:
        raise UserError(f"{study.paper.printed / 'figures.yaml'}: {number}: {error}") from None


@functools.cache
def asked(study: Study[Any]) -> list[Quantity]:
    """Every quantity that a study's tables, figures and `also` ask for, each once. Raises UserError on a bad one."""
    folder = f"papers/{study.paper.name}/printed"
    check_numbers("tables", study.settings.tables, layouts.tables(study.paper), study)
    check_numbers("figures", study.settings.figures, layouts.figures(study.paper), study)
    origins: dict[Quantity, str] = {}
    for number in study.settings.tables:
        origins |= dict.fromkeys(of_table(number, study), f"{folder}/tables.csv, table {number}")
    for number in study.settings.figures:
        origins |= dict.fromkeys(of_figure(number, study), f"{folder}/figures.yaml, figure {number}")
    for text in study.settings.also:
        try:
            origins[quantities.parse(text)] = study.place("also")
        except UserError as error:
            raise UserError(f"{study.place('also')}: {error}") from None
    for quantity, origin in (origins | compared(origins, study)).items():
        quantities.check(quantity, study, origin)
        check_seed(quantity, study, origin)
        origins[quantity] = origin
    return list(origins)


def check_seed(quantity: Quantity, study: Study[Any], place: str) -> None:
    """Raise UserError, with the place that asks, for one training's seed where all are repeated with several."""
    named = study.paper.family(quantity.encoder)[1].groupdict().get("seed")
    if named and len(study.settings.training_seeds) > 1:
        raise UserError(f"{place}: '{quantity}': a seed, which `training_seeds` say already: leave out '-seed{named}'")


def compared(known: Iterable[Quantity], study: Study[Any]) -> dict[Quantity, str]:
    """What claims about some quantities compare in place of them in a study, so that all are of the same images."""
    known, place = set(known), f"papers/{study.paper.name}/printed/claims.yaml"
    origins: dict[Quantity, str] = {}
    for claim in statements.of_paper(study.paper):
        for before, after in zip(claim.readings, claim.in_study(study).readings, strict=True):
            if known.issuperset(before.measured_by(study.settings.instead).quantities):
                origins |= dict.fromkeys(after.quantities, f"{place}, {claim.id}")
    return {quantity: origin for quantity, origin in origins.items() if quantity not in known}


def check_numbers(kind: str, asked: Iterable[int], known: Iterable[int], study: Study[Any]) -> None:
    """Raise UserError for tables or figures that the study's paper does not have."""
    for number in asked:
        if number not in known:
            has = ", ".join(map(str, known))
            raise UserError(f"{study.place(kind)}: the paper has no {kind[:-1]} {number}; it has {has}")


@functools.cache
def measured(study: Study[Any]) -> list[Quantity]:
    """Every quantity that a study measures, those of its further training seeds among them."""
    return [each for quantity in asked(study) for each in quantities.trainings(quantity, study)]


def measured_of(encoder: str, data: str, study: Study[Any], *level: str) -> list[Quantity]:
    """What the measurement file of an encoder on a data set holds, or that of a level which is measured alone.

    Raises UserError where that is nothing.
    """
    product = "/".join(("measurements", encoder, data, *level))
    if product not in by_file(study):
        raise UserError(f"study {study.name}: nothing is measured of '{encoder}' on '{'/'.join((data, *level))}'")
    return by_file(study)[product]


@functools.cache
def by_file(study: Study[Any]) -> Mapping[str, list[Quantity]]:
    """Every quantity that a study measures, by the measurement file that holds it."""
    files: dict[str, list[Quantity]] = {}
    for quantity in measured(study):
        files.setdefault(measurement_of(quantity, study), []).append(quantity)
    return files


@functools.cache
def probes(study: Study[Any]) -> Mapping[str, list[tuple[Probe, Quantity]]]:
    """The probes that a study asks for, each with its quantity, by the encoder that they are fitted on."""
    by_encoder: dict[str, list[tuple[Probe, Quantity]]] = {}
    for quantity in measured(study):
        if probe := quantities.probe_of(quantity, study.paper):
            by_encoder.setdefault(probe.encoder, []).append((probe, quantity))
    return by_encoder


def measurement_of(quantity: Quantity, study: Study[Any]) -> str:
    """The measurement file that holds a quantity: the encoder's on the data set, or its level's own."""
    product = f"measurements/{quantity.encoder}/{quantity.data}"
    alone = study.settings.measured and study.paper.measured_alone(quantity)
    return f"{product}/{quantity.distortion}" if alone else product


def measurements(study: Study[Any]) -> list[str]:
    """Every measurement product of a study, each once, in order."""
    return list(dict.fromkeys(measurement_of(quantity, study) for quantity in measured(study)))


def behind(wanted: Iterable[Quantity], study: Study[Any]) -> list[str]:
    """The measurement products behind some quantities, with all training seeds, each once, in order."""
    products = [measurement_of(each, study) for quantity in wanted for each in quantities.trainings(quantity, study)]
    return list(dict.fromkeys(products))


def behind_table(number: int, study: Study[Any]) -> list[str]:
    """The products that a table is made from."""
    return behind(of_table(number, study), study)


def behind_figure(number: int, study: Study[Any]) -> list[str]:
    """The products that a figure is made from."""
    if layouts.figures(study.paper)[number].gallery:
        return [f"galleries/figure_{number}"]
    return behind(of_figure(number, study), study)


def behind_targets(targets: Iterable[str], study: Study[Any]) -> list[str]:
    """The products behind some targets (`table_1`, `figure_3`), of the whole study where none is named."""
    tables = {f"table_{n}": functools.partial(behind_table, n, study) for n in study.settings.tables}
    figures = {f"figure_{n}": functools.partial(behind_figure, n, study) for n in study.settings.figures}
    known = tables | figures
    targets = list(targets)
    for target in targets:
        if target not in known:
            raise UserError(f"study {study.name} has no target '{target}'{nearest(target, known)}")
    products = [product for target in targets or known for product in known[target]()]
    return list(dict.fromkeys(products if targets else [*products, *measurements(study)]))


def with_inputs(products: Iterable[str], study: Study[Any]) -> dict[str, Recipe]:
    """Some products and all that they are made from, with their recipes."""
    recipes: dict[str, Recipe] = {}

    def add(product: str) -> None:
        if product not in recipes:
            recipes[product] = recipe_of(product, study)
            for needed in recipes[product].waits_for:
                add(needed)

    for product in products:
        add(product)
    return recipes


@functools.cache
def everything(study: Study[Any]) -> Mapping[str, Recipe]:
    """All products of a study, with their recipes."""
    return with_inputs(behind_targets([], study), study)


@functools.cache
def recipe_of(product: str, study: Study[Any]) -> Recipe:
    """The recipe of a product in a study. Raises UserError if the study has no such product."""
    made = study.paper.product(product)
    if made is study.paper.products["measurements"] and not study.settings.measured:
        content: Recipe = printed.transcription(study, *product.split("/")[1:], wanted=measured(study))
    else:
        content = built(product, made, study)
    return content.model_copy(update={"inputs": {name: digest(recipe(name, study)) for name in content.inputs}})


def built(product: str, made: Product, study: Study[Any]) -> Recipe:
    """A product's recipe without its inputs' digests. Raises UserError where settings do not go together."""
    try:
        return made.build(study, *product.split("/")[1:])
    except ValidationError as error:
        problem = worst(error)
        raise UserError(": ".join([study.place(product), *map(str, problem["loc"]), explained(problem)])) from None


@functools.cache
def recipe(product: str, study: Study[Any]) -> str:
    """The canonical text of a product's recipe."""
    return written(recipe_of(product, study), study.paper)


def written(content: Recipe, paper: Paper) -> str:
    """A recipe's canonical text: its content, its kind of job and that one's version."""
    kind = paper.kind_of(content)
    return canonical({"kind": kind, "version": paper.jobs[kind].version} | content.said())


def read(text: str, paper: Paper) -> tuple[JobKind, Recipe]:
    """The kind of job and the typed recipe of a canonical text. Raises UserError for another paper's or a stale one."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"a recipe that is no JSON: {error}") from None
    if not isinstance(content, dict):
        raise UserError("a recipe that is no mapping")
    name = content.pop("kind", None)
    if not isinstance(name, str) or name not in paper.jobs:
        raise UserError(f"a recipe of kind '{name}', which {paper.name} does not have{nearest(name, paper.jobs)}")
    content.pop("version", None)
    return paper.jobs[name], checked(paper.jobs[name].recipe, content, f"recipe of kind '{name}'")


def encoder(study: Study[Any], name: str) -> Recipe:
    """The recipe of an encoder, as its family makes it from its name. Raises UserError for an unknown name."""
    family, match = study.paper.family(name)
    return family.recipe(study, match)


def seed_of(encoder: str, study: Study[Any]) -> int:
    """The seed of an encoder's training, with which its heads are fitted too: their labels and all their draws."""
    _, match = study.paper.family(encoder)
    return int(match.groupdict().get("seed") or study.settings.seed)


def inputs(product: str, study: Study[Any]) -> list[str]:
    """The products that a product is made from, and those that spare it work."""
    return recipe_of(product, study).waits_for
