"""Statements: what a paper says in its own words, and its readings as comparisons of measured quantities.

A claim in a paper's `printed/claims.yaml` has the paper's words, `quote`, and one or more `readings`: what they are
taken to mean, or in `untested` why there is none. A reading is a list of comparisons and how many of them must be true.
A comparison is a contrast of quantities, `plus` minus `minus`, that must lie `above` a bound, `below` one, or `within`
a bound of zero; of `error`, it is one of the quantities' standard errors. Imports no torch.
"""

import contextlib
import functools
import itertools
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, RootModel, model_validator

from contrastive_inversion.base.errors import UserError
from contrastive_inversion.base.settings import Positive, Settings, checked, refused
from contrastive_inversion.base.yaml_files import read_yaml
from contrastive_inversion.ledger import quantities
from contrastive_inversion.ledger.paper import Paper
from contrastive_inversion.ledger.quantities import Quantity
from contrastive_inversion.ledger.study import Study

Words = Annotated[str, Field(min_length=1)]


class Comparison(Settings):
    """A contrast and its bounds: `above`, `below` or both, or `within`."""

    plus: Annotated[list[str], Field(min_length=1)]
    minus: list[str] = []
    of: Literal["mean", "error"] = "mean"
    above: float | None = None
    below: float | None = None
    within: Positive | None = None

    @model_validator(mode="after")
    def bounded(self) -> Self:
        """Refuse a comparison without a bound, with two of a kind, or that no number can meet."""
        one_sided = self.above is not None or self.below is not None
        if one_sided == (self.within is not None):
            raise refused("say `above`, `below` or both, or `within`")
        if self.low >= self.high:
            raise refused(f"nothing is above {self.low:g} and below {self.high:g}")
        if self.of == "error" and (self.minus or len(self.plus) > 1):
            raise refused("a comparison of an error is about one quantity")
        return self

    @property
    def low(self) -> float:
        """The bound that the contrast must be above."""
        return -self.within if self.within is not None else -math.inf if self.above is None else self.above

    @property
    def high(self) -> float:
        """The bound that the contrast must be below."""
        return self.within if self.within is not None else math.inf if self.below is None else self.below

    @property
    def weights(self) -> dict[Quantity, int]:
        """The weight of each quantity in the contrast."""
        weights: Counter[Quantity] = Counter()
        for sign, texts in ((1, self.plus), (-1, self.minus)):
            for text in texts:
                weights[quantities.parse(text)] += sign
        return {quantity: weight for quantity, weight in weights.items() if weight}

    def filled(self, binding: dict[str, str]) -> "Comparison":
        """The comparison with the names of a reading's `for` put in."""

        def fill(texts: list[str]) -> list[str]:
            for name, replacement in binding.items():
                texts = [text.replace("{" + name + "}", replacement) for text in texts]
            return texts

        return self.model_copy(update={"plus": fill(self.plus), "minus": fill(self.minus)})

    def on_same_images(self, study: Study[Any]) -> "Comparison":
        """The comparison of what the study measures on the same images."""
        instead = study.paper.on_same_images(self.weights, study)
        if not instead:
            return self
        plus, minus = (
            [str(instead.get(each, each)) for each in map(quantities.parse, side)] for side in (self.plus, self.minus)
        )
        return self.model_copy(update={"plus": plus, "minus": minus})

    def nearer(self, contrast: float) -> tuple[int, float]:
        """The bound that a contrast is nearer to, with the sign of the side that is true."""
        return (1, self.low) if contrast - self.low <= self.high - contrast else (-1, self.high)

    def distance(self, contrast: float) -> float:
        """How far inside of its bounds a contrast lies; negative where it is beyond."""
        return min(contrast - self.low, self.high - contrast)

    def __str__(self) -> str:
        left, right = " + ".join(self.plus), " − ".join(["", *self.minus])
        return ("standard error of " if self.of == "error" else "") + f"{left}{right} {self.bounds}"

    @property
    def bounds(self) -> str:
        """The bounds in words."""
        if self.within is not None:
            return f"within ±{self.within:g}"
        if self.above is not None and self.below is not None:
            return f"between {self.above:g} and {self.below:g}"
        return f"> {self.low:g}" if self.above is not None else f"< {self.high:g}"


class Reading(Settings):
    """What a claim's words are taken to mean: comparisons, and how many of them must be true."""

    reading: Words
    names: dict[str, Annotated[list[str], Field(min_length=1)]] = Field({}, alias="for")
    compare: list[Comparison] = Field(min_length=1)
    at_least: Annotated[int, Field(ge=1)] | Literal["all", "most"] = "all"

    @model_validator(mode="after")
    def paired(self) -> Self:
        """Refuse a replacement that has more or fewer parts than the names that it stands for."""
        for name, replacements in self.names.items():
            for text in replacements:
                if text.count("/") != name.count("/"):
                    raise refused(f"'{text}' does not fit '{name}'", "for")
        return self

    def measured_by(self, instead: Mapping[str, str]) -> "Reading":
        """The reading by other metrics in place of some; itself, where it is about none of them."""
        replaced = sorted({quantity.metric for quantity in self.quantities} & instead.keys())
        if not replaced:
            return self
        said = self.model_dump(by_alias=True, exclude_unset=True)
        for comparison in said["compare"]:
            for side in {"plus", "minus"} & comparison.keys():
                comparison[side] = [with_metric(text, instead) for text in comparison[side]]
        swaps = ", ".join(f"{instead[metric]} in place of {metric}" for metric in replaced)
        return Reading.model_validate(said | {"reading": f"{self.reading}; here by {swaps}"})

    def on_same_images(self, study: Study[Any]) -> "Reading":
        """The reading with what a study measures on the same images; itself, where those of its comparisons are."""
        moved = [each.on_same_images(study) for each in self.comparisons]
        if moved == self.comparisons:
            return self
        said = f"{self.reading}; here on the same images"
        return Reading.model_validate({"reading": said, "compare": moved, "at_least": self.at_least})

    @functools.cached_property
    def comparisons(self) -> list[Comparison]:
        """The comparisons with the names of `for` put in, one for each combination."""
        bindings = (binding(self.names, each) for each in itertools.product(*self.names.values()))
        return [comparison.filled(each) for each in bindings for comparison in self.compare]

    @property
    def quantities(self) -> list[Quantity]:
        """Every quantity that the reading is about, each once."""
        texts = [text for each in self.comparisons for text in [*each.plus, *each.minus]]
        return [quantities.parse(text) for text in dict.fromkeys(texts)]

    @property
    def least(self) -> int:
        """How many of the comparisons must be true."""
        count = len(self.comparisons)
        named = {"all": count, "most": count // 2 + 1}
        return named[self.at_least] if isinstance(self.at_least, str) else self.at_least


def with_metric(text: str, instead: Mapping[str, str]) -> str:
    """A quantity's text with another metric in place of its own."""
    fields, _, metric = text.rpartition("|")
    return f"{fields}| {instead.get(metric.strip(), metric.strip())}"


def binding(names: Iterable[str], replacements: Iterable[str]) -> dict[str, str]:
    """Single names with what is put in for each; `o/d` with `a/b` is two of them."""
    pairs = zip(names, replacements, strict=True)
    return dict(pair for key, text in pairs for pair in zip(key.split("/"), text.split("/"), strict=True))


class Claim(Settings):
    """What a paper says, in its own words, with readings of them or why there is none.

    headline: whether it stands for the paper's main result; truism: whether nobody would doubt it.
    """

    id: Words
    section: Words
    quote: Words
    headline: bool = False
    truism: bool = False
    untested: Words | None = None
    readings: list[Reading] = []

    @model_validator(mode="after")
    def readable(self) -> Self:
        """Refuse a claim that has no reading and does not say why, and one that has both."""
        if bool(self.readings) == bool(self.untested):
            raise refused("say `readings`, or in `untested` why there is none")
        return self

    def in_study(self, study: Study[Any]) -> "Claim":
        """The claim as a study that measures judges it: by the metrics that it takes instead, on the same images."""
        if not study.settings.measured:
            return self
        readings = [each.measured_by(study.settings.instead).on_same_images(study) for each in self.readings]
        return self.model_copy(update={"readings": readings})


class Claims(RootModel[list[Claim]]):
    """The claims of a paper."""


@functools.cache
def of_paper(paper: Paper) -> list[Claim]:
    """All claims of a paper. Raises UserError for a file that is not as it should be."""
    path = paper.printed / "claims.yaml"
    claims = checked(Claims, read_yaml(path), path).root
    for position, claim in enumerate(claims):
        with naming(claim, paper):
            if claim.id in [other.id for other in claims[:position]]:
                raise UserError("a second claim of this id")
            for reading in claim.readings:
                check(reading, paper)
    return claims


@contextlib.contextmanager
def naming(claim: Claim, paper: Paper) -> Iterator[None]:
    """Raise UserErrors with the file and the claim that they are about."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{paper.printed / 'claims.yaml'}: {claim.id}: {error}") from None


def check(reading: Reading, paper: Paper) -> None:
    """Raise UserError for a reading that can never hold, or is about what the paper lacks."""
    count, texts = len(reading.comparisons), [text for each in reading.compare for text in (*each.plus, *each.minus)]
    if reading.least > count:
        raise UserError(f"at_least {reading.at_least} of {count} comparisons can never hold")
    names = [name for key in reading.names for name in key.split("/")]
    if idle := [name for name in names if not any(f"{{{name}}}" in text for text in texts)]:
        raise UserError(f"for: no comparison has {{{idle[0]}}}")
    for quantity in reading.quantities:
        quantities.check_names(quantity, paper)
