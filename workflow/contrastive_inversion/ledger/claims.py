"""Claims: what a paper says in words, as predicates over measured quantities, decided with uncertainty.

A claim in a paper's `printed/claims.yaml` is a list of comparisons and how many of them must be true. A
comparison is a contrast of quantities, `plus` minus `minus`, that must lie above a bound (`above`), or between a
bound and its negative (`within`). It is true or false if the contrast is beyond its bounds by a one-sided t test at
LEVEL, and open otherwise; the claim then holds, fails or is undecided according to how many are surely or possibly
true.

The variance of a contrast is the sum, over its quantities, of

    standard error^2            the draw of the distortions, with n - 1 degrees of freedom
    spread^2 / n                what a repetition draws anew (`ledger.spreads`), n our trainings; measured spreads are
                                pooled over the claim's quantities of a kind
    p (1 - p) (1/m - 1/M)       the draw of the test images, where others in the contrast are measured on M > m of them

and its degrees of freedom are those of Welch and Satterthwaite. Imports no torch.
"""

import functools
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import pandas as pd
from pydantic import Field, RootModel, model_validator
from scipy import special

from contrastive_inversion.base import files
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.base.settings import NotNegative, Settings, checked, read_yaml, refused
from contrastive_inversion.ledger import plan, quantities, spreads
from contrastive_inversion.ledger.estimates import Estimate
from contrastive_inversion.ledger.measurements import Measurements
from contrastive_inversion.ledger.paper import Paper
from contrastive_inversion.ledger.quantities import Quantity
from contrastive_inversion.ledger.spreads import Difference, Part, Pooled
from contrastive_inversion.ledger.study import Study

LEVEL = 0.05  # one-sided, of each comparison
Value = Callable[[Quantity], Estimate | None]


class Comparison(Settings):
    """A contrast and its bound: one of `above` and `within`."""

    plus: Annotated[list[str], Field(min_length=1)]
    minus: list[str] = []
    above: float | None = None
    within: NotNegative | None = None

    @model_validator(mode="after")
    def bounded(self) -> Self:
        """Refuse a comparison without a bound or with two."""
        if (self.above is None) == (self.within is None):
            raise refused("say one of `above` and `within`")
        return self

    def filled(self, binding: dict[str, str]) -> "Comparison":
        """The comparison with the names of a claim's `for` put in."""

        def fill(texts: list[str]) -> list[str]:
            for name, replacement in binding.items():
                texts = [text.replace("{" + name + "}", replacement) for text in texts]
            return texts

        return self.model_copy(update={"plus": fill(self.plus), "minus": fill(self.minus)})

    def distance(self, contrast: float) -> float:
        """How far inside of its bound a contrast lies; negative where it is beyond."""
        return contrast - self.above if self.above is not None else (self.within or 0.0) - abs(contrast)

    def __str__(self) -> str:
        left, right = " + ".join(self.plus), " − ".join(["", *self.minus])
        return f"{left}{right} " + (f"> {self.above:g}" if self.above is not None else f"within ±{self.within:g}")


class Claim(Settings):
    """A sentence of a paper, and the comparisons that bear it out."""

    id: Annotated[str, Field(min_length=1)]
    section: str
    sentence: str
    names: dict[str, Annotated[list[str], Field(min_length=1)]] = Field({}, alias="for")
    compare: list[Comparison] = Field(min_length=1)
    at_least: Annotated[int, Field(ge=0)] | Literal["all", "most"] = "all"
    at_most: Annotated[int, Field(ge=0)] | None = None

    @property
    def comparisons(self) -> list[Comparison]:
        """The comparisons with the names of `for` put in, one for each combination."""
        bindings = (dict(zip(self.names, each, strict=True)) for each in itertools.product(*self.names.values()))
        return [comparison.filled(binding) for binding in bindings for comparison in self.compare]

    def least(self, count: int) -> int:
        """How many of so many comparisons must be true."""
        named = {"all": count, "most": count // 2 + 1}
        return named[self.at_least] if isinstance(self.at_least, str) else self.at_least


class Claims(RootModel[list[Claim]]):
    """The claims of a paper."""


@dataclass(frozen=True)
class Outcome:
    """One contrast of a claim: its value, standard error, and whether it is True, False or None for open.

    df: degrees of freedom; spread: whether what it rests on was measured or assumed, empty where it has none.
    """

    text: str
    value: float | None
    se: float | None
    truth: bool | None
    df: float | None = None
    spread: str = ""


@functools.cache
def of_paper(paper: Paper) -> list[Claim]:
    """All claims of a paper. Raises UserError for a file that is not as it should be."""
    path = paper.printed / "claims.yaml"
    claims = checked(Claims, read_yaml(path), path).root
    for position, claim in enumerate(claims):
        try:
            check(claim, [other.id for other in claims[:position]], paper)
        except UserError as error:
            raise UserError(f"{path}: {claim.id}: {error}") from None
    return claims


def check(claim: Claim, earlier: Sequence[str], paper: Paper) -> None:
    """Raise UserError for a claim that has an earlier one's id, can never hold, or is about what the paper lacks."""
    if claim.id in earlier:
        raise UserError("a second claim of this id")
    count, texts = len(claim.comparisons), [text for each in claim.compare for text in (*each.plus, *each.minus)]
    most = count if claim.at_most is None else claim.at_most
    if not claim.least(count) <= most <= count:
        raise UserError(f"at_least {claim.at_least}, at_most {most} of {count} comparisons can never hold")
    if idle := [name for name in claim.names if not any(f"{{{name}}}" in text for text in texts)]:
        raise UserError(f"for: no comparison has {{{idle[0]}}}")
    for quantity in quantities_of(claim):
        quantities.check_names(quantity, paper)


def quantities_of(claim: Claim) -> list[Quantity]:
    """Every quantity that a claim is about."""
    return [quantities.parse(text) for each in claim.comparisons for text in [*each.plus, *each.minus]]


def contrast(
    comparison: Comparison, value: Value, study: Study[Any], measured: Pooled | None = None
) -> Difference | None:
    """The contrast of a comparison, None where a value lacks; measured: the spreads by kind that trainings showed."""
    signs = [(1, text) for text in comparison.plus] + [(-1, text) for text in comparison.minus]
    known = [(sign, quantity, value(quantity)) for sign, quantity in ((s, quantities.parse(text)) for s, text in signs)]
    terms = [(sign, quantity, estimate) for sign, quantity, estimate in known if estimate is not None]
    if len(terms) < len(known):
        return None
    most = most_images([(quantity, estimate) for _, quantity, estimate in terms])
    parts = [
        part
        for _, quantity, estimate in terms
        for part in uncertain(quantity, estimate, most[quantity.data], study, measured or {})
    ]
    return Difference(sum(sign * estimate.mean for sign, _, estimate in terms), tuple(parts))


def most_images(terms: Sequence[tuple[Quantity, Estimate]]) -> Mapping[str, int]:
    """The most test images of each data set that a contrast's quantities are measured on; 0 where none says."""
    most: dict[str, int] = {}
    for quantity, estimate in terms:
        most[quantity.data] = max(most.get(quantity.data, 0), estimate.images or 0)
    return most


def uncertain(quantity: Quantity, estimate: Estimate, images: int, study: Study[Any], measured: Pooled) -> list[Part]:
    """The variances of one quantity in a contrast whose largest set of test images has so many."""
    known = spreads.parts(quantity, estimate, study, measured, others=0)
    known += spreads.sampling(quantity, (estimate.images, images), estimate.mean, study)
    return known if estimate.se is None else [spreads.evaluation(estimate), *known]


def truth(comparison: Comparison, value: float | None, se: float | None, df: float = math.inf) -> bool | None:
    """Whether a contrast is beyond its bound by a t test at LEVEL: True, False, or None where it is open."""
    if value is None or se is None:
        return None
    distance = comparison.distance(value)
    return None if abs(distance) <= quantile(df) * se else distance > 0


def quantile(df: float) -> float:
    """The one-sided quantile at LEVEL of Student's t; of a standard normal for infinitely many degrees of freedom."""
    return float(special.ndtri(1 - LEVEL) if math.isinf(df) else special.stdtrit(df, 1 - LEVEL))


def decide(claim: Claim, truths: Sequence[bool | None]) -> str:
    """holds, fails or undecided, from the truths of a claim's comparisons."""
    least, most = claim.least(len(truths)), len(truths) if claim.at_most is None else claim.at_most
    surely, possibly = sum(t is True for t in truths), sum(t is not False for t in truths)
    if surely >= least and possibly <= most:
        return "holds"
    if possibly < least or surely > most:
        return "fails"
    return "undecided"


def judge(claim: Claim, value: Value, study: Study[Any]) -> tuple[str, list[Outcome], float | None]:
    """A claim's verdict, the outcomes of its comparisons, and its margin.

    value: a function from a Quantity to its Estimate or None.
    """
    outcomes = outcomes_of(claim, contrasts(claim, value, study))
    return decide(claim, [outcome.truth for outcome in outcomes]), outcomes, margin(claim, outcomes)


def contrasts(claim: Claim, value: Value, study: Study[Any]) -> list[Difference | None]:
    """The contrasts of a claim's comparisons, spreads pooled over them."""
    measured = spreads.pooled({q: value(q) for q in quantities_of(claim)}.items(), study)
    return [contrast(comparison, value, study, measured) for comparison in claim.comparisons]


def outcomes_of(claim: Claim, found: Sequence[Difference | None], factor: float = 1.0) -> list[Outcome]:
    """The outcomes of a claim's comparisons, spreads being so many times as large."""
    return [outcome(comparison, c and c.at(factor)) for comparison, c in zip(claim.comparisons, found, strict=True)]


def outcome(comparison: Comparison, found: Difference | None) -> Outcome:
    """A comparison's contrast and whether it is beyond its bound."""
    if found is None:
        return Outcome(str(comparison), None, None, None)
    decided = truth(comparison, found.value, found.se, found.df)
    return Outcome(str(comparison), found.value, found.se, decided, found.df, spreads.resting_on(found.parts))


def flip(claim: Claim, value: Value, study: Study[Any]) -> float | None:
    """By how much all spreads must be multiplied for a claim's verdict to change; None where it stays."""
    found = contrasts(claim, value, study)
    return spreads.flip_factor(lambda f: decide(claim, [each.truth for each in outcomes_of(claim, found, f)]))


def margin(claim: Claim, outcomes: Sequence[Outcome]) -> float | None:
    """How far the weakest comparison that must be true lies inside of its bound, in points; None if one is missing."""
    values = [outcome.value for outcome in outcomes]
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return None
    distances = [comparison.distance(value) for comparison, value in zip(claim.comparisons, known, strict=True)]
    return sorted(distances, reverse=True)[max(claim.least(len(distances)), 1) - 1]


def relevant(study: Study[Any]) -> list[Claim]:
    """The claims whose quantities a study measures, all of them."""
    wanted = set(plan.asked(study))
    return [claim for claim in of_paper(study.paper) if set(quantities_of(claim)) <= wanted]


def of_study(study: Study[Any], results: Path) -> list[tuple[Claim, str, list[Outcome], float | None, float | None]]:
    """For each claim that the study can judge: the claim, its verdict, outcomes, margin and flip."""
    value = Measurements(study, results).of
    return [(claim, *judge(claim, value, study), flip(claim, value, study)) for claim in relevant(study)]


def resting_on(outcomes: Sequence[Outcome]) -> str:
    """What the spreads behind a claim rest on: `assumed` where any does, else `measured`; empty without any."""
    known = {outcome.spread for outcome in outcomes}
    return next((word for word in ("assumed", "measured") if word in known), "")


def evidence(outcome: Outcome) -> str:
    """A comparison's outcome in a few words."""
    if outcome.value is None:
        return f"{outcome.text}: no number"
    verdict = {True: "true", False: "false", None: "open"}[outcome.truth]
    return f"{outcome.text}: {outcome.value:.2f} ± {outcome.se:.2f}, {verdict}"


def write(study: Study[Any], results: Path) -> None:
    """Write claims.csv of a study. Raises UserError if a measurement is missing or unsound."""
    lines = [
        {
            "claim": claim.id, "section": claim.section, "sentence": claim.sentence, "verdict": verdict,
            "margin": None if margin is None else round(margin, 4),
            "evidence": "; ".join(evidence(outcome) for outcome in outcomes),
            "spread": resting_on(outcomes), "flips_at": None if flip is None else round(flip, 2),
        }
        for claim, verdict, outcomes, margin, flip in of_study(study, results)
    ]  # fmt: skip
    columns = ["claim", "section", "sentence", "verdict", "margin", "evidence", "spread", "flips_at"]
    table = pd.DataFrame(lines, columns=columns)
    files.write_text(results / study.name / "claims.csv", table.to_csv(index=False, lineterminator="\n"))
