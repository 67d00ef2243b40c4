"""A paper: the only thing that the rest of the package may ask about one. Imports no torch."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contrastive_inversion.base.errors import UserError, nearest
from contrastive_inversion.base.recipe import Recipe
from contrastive_inversion.base.settings import ALPHABET, is_name, shown
from contrastive_inversion.base.work import Work
from contrastive_inversion.ledger.estimates import Estimate

if TYPE_CHECKING:
    import pandas as pd

    from contrastive_inversion.ledger.quantities import Quantity
    from contrastive_inversion.ledger.study import Study, StudySettings


@dataclass(frozen=True)
class Family:
    """A family of encoders: the pattern of their names, and what makes one's recipe from the pattern's match.

    A group `seed` in the pattern says that a training may be repeated with other seeds, a group `distortion` what the
    encoder is trained under. retrained: whether a study trains it, so that its numbers move from training to training;
    classifies: whether it has a classifier of its own; starts_from: the one encoder that trainings of all seeds start
    from, where there is one.
    """

    pattern: re.Pattern[str]
    recipe: Callable[["Study[Any]", re.Match[str]], Recipe]
    retrained: bool = True
    classifies: bool = True
    starts_from: str | None = None


@dataclass(frozen=True)
class Metric:
    """What is measured: the label of its axis, and whether its name takes a value, as in `all@0.25`.

    share: whether it is a percentage of the images; point: what one point is in its unit; compares: whether it is of
    two encoders' outputs and not of a classifier.
    """

    label: str
    takes_value: bool = False
    share: bool = False
    point: float = 1.0
    compares: bool = False


@dataclass(frozen=True)
class Product:
    """A folder of a study's results: how its products are named, and what makes a product's recipe.

    form: such as `{encoder}/{data}`, with names in braces; build: from the study and those names; on_gpu: whether its
    jobs take a GPU where the study has one; made: what the job does, in a sentence; folder: where its products lie, if
    that is not what the paper calls them by.
    """

    form: str
    build: Callable[..., Recipe]
    made: str
    on_gpu: bool = False
    folder: str = ""

    @property
    def names(self) -> list[str]:
        """The names in the form's braces."""
        return re.findall(r"{(\w+)}", self.form)


@dataclass(frozen=True)
class JobKind:
    """A kind of job: the class of its recipes, its version, and the function that runs it, as `module:function`.

    version: raised by hand when the function changes what it computes; work: what a job takes, from its recipe and
    those of its inputs, by product; trains: whether it trains an encoder; sections: of a study's settings, that its
    `batch` may stand in; sparing: settings, as `section.key: value`, that lower what it takes of RAM and disk, and
    change no number.
    """

    recipe: type[Recipe]
    version: int
    run: str
    work: Callable[[Any, Mapping[str, Recipe]], Work] = lambda recipe, behind: Work()
    trains: bool = False
    sections: tuple[str, ...] = ()
    sparing: tuple[str, ...] = ()

    @property
    def computes(self) -> bool:
        """Whether its jobs need torch, or only copy printed numbers."""
        return not self.run.startswith("ledger.")

    @property
    def recomputing(self) -> list[str]:
        """Settings with which its networks hold less of a memory, a GPU's too, and no number changes."""
        return [f"{section}.recompute: true" for section in self.sections if self.trains]

    @property
    def exact(self) -> list[str]:
        """Settings that may lower what it takes and change no number."""
        return [*self.recomputing, *self.sparing]

    @property
    def batches(self) -> list[str]:
        """Settings of how many images it takes at a time."""
        return [f"{section}.batch" for section in self.sections]


@dataclass(frozen=True, eq=False)
class Paper:
    """A paper, as its folder below `papers/` describes it.

    authors, venue, url: as the page cites it; settings: the class of its studies' settings; products and jobs: by
    folder and by kind; check_level: raises UserError for a distortion or an attack that the study does not know;
    level_label: what people read for one; position: its place on an axis; spread: which of the study's
    `training_spread` a quantity has; redrawn: which more of them, for what is drawn anew besides encoder and head;
    images: how many test images are behind the print, by data set, where that is known; on_same_images: what a study
    compares in place of some quantities, so that all of a comparison are measured on the same images; measured_alone:
    whether the images of a quantity are so few, or take so long to make, that its level has a measurement file of its
    own; raw: the authors' raw results behind the print; tables: those that are no grid of quantities; sentences: of
    the page, formatted with the study's `settings`; remarks: further ones that the page works out of what was measured;
    sources: that data sets may name, for the notes of tables; any where none is said.
    """

    name: str
    title: str
    authors: str
    venue: str
    folder: Path
    settings: type["StudySettings"]
    encoders: Mapping[str, Family]
    examples: tuple[str, ...]
    metrics: Mapping[str, Metric]
    products: Mapping[str, Product]
    jobs: Mapping[str, JobKind]
    check_level: Callable[["Quantity", "Study[Any]"], None]
    spread: Callable[["Quantity"], str]
    level_label: Callable[[str, "Study[Any]"], str] = lambda name, study: name
    position: Callable[[str], float] = float
    # what to lay over a study's settings for a rehearsal: of the study, images, epochs and batch (None: its own)
    rehearsal: Callable[["Study[Any]", int, int, int | None], dict[str, Any]] | None = None
    redrawn: Callable[["Quantity"], tuple[str, ...]] = lambda quantity: ()
    images: Mapping[str, int] = field(default_factory=dict)
    on_same_images: Callable[[Iterable["Quantity"], "Study[Any]"], Mapping["Quantity", "Quantity"]] = (
        lambda compared, study: {}
    )
    measured_alone: Callable[["Quantity"], bool] = lambda quantity: False
    raw: Callable[[], Mapping["Quantity", Estimate]] = dict
    tables: Mapping[int, Callable[["Study[Any]"], "pd.DataFrame"]] = field(default_factory=dict)
    sentences: Mapping[str, str] = field(default_factory=dict)
    remarks: Callable[["Study[Any]", Callable[["Quantity"], Estimate | None]], list[str]] = lambda study, value: []
    sources: Collection[str] = ()
    url: str = ""

    @property
    def printed(self) -> Path:
        """The folder of what was printed."""
        return self.folder / "printed"

    def family(self, encoder: str) -> tuple[Family, re.Match[str]]:
        """The family of an encoder's name and the match of its pattern. Raises UserError for no such name."""
        if not is_name(encoder):
            raise UserError(f"{shown(encoder)} is no name of an encoder: {ALPHABET}")
        for family in self.encoders.values():
            if match := family.pattern.fullmatch(encoder):
                return family, match
        raise UserError(f"unknown encoder '{encoder}'{nearest(encoder, self.examples)}")

    def product(self, name: str) -> Product:
        """What a product is one of, by its folder and how many names follow. Raises UserError for no product."""
        folder, *names = name.split("/")
        for key, made in self.products.items():
            if (made.folder or key, len(made.names)) == (folder, len(names)):
                return made
        known = ", ".join(f"{made.folder or key}/{made.form}" for key, made in self.products.items())
        raise UserError(f"'{name}' is no product; known: {known}")

    def trained_under(self, encoder: str) -> str | None:
        """The distortion that an encoder is trained under; None where its name has none."""
        return self.family(encoder)[1].groupdict().get("distortion")

    def metric(self, name: str) -> Metric:
        """A metric by its name, `all@0.25` as `all`. Raises UserError for an unknown name or value."""
        key, at, value = name.partition("@")
        metric = self.metrics.get(key)
        if metric is None:
            raise UserError(f"unknown metric '{name}'{nearest(name, self.metrics)}")
        if at and not metric.takes_value:
            raise UserError(f"metric '{key}' takes no value: '{name}'")
        if metric.takes_value and not re.fullmatch(r"\d+(\.\d+)?", value):
            raise UserError(f"metric '{key}' takes a value, as in '{key}@0.5': '{name}'")
        return metric

    def kind_of(self, recipe: Recipe) -> str:
        """The name of the kind of job that a recipe is for."""
        return next(name for name, kind in self.jobs.items() if kind.recipe is type(recipe))
