"""Claims: what a paper says in words (`ledger.statements`), decided with uncertainty.

All comparisons of a reading are decided together (`ledger.joint`), each way at 5 %:

    holds        enough of them are surely true
    fails        so many are surely false that not enough can be true
    open         neither
    no number    neither, and a quantity was not measured or published

What is uncertain of a contrast: `ledger.contrasts`. Imports no torch.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from contrastive_inversion.base import files
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.ledger import joint, measured_spreads, plan, quantities, spreads
from contrastive_inversion.ledger.contrasts import Value, contrast_of
from contrastive_inversion.ledger.estimates import Estimate
from contrastive_inversion.ledger.joint import LEVEL, Contrast, quantile
from contrastive_inversion.ledger.measurements import Measurements
from contrastive_inversion.ledger.paper import Paper
from contrastive_inversion.ledger.quantities import Quantity
from contrastive_inversion.ledger.statements import Claim, Comparison, Reading, naming, of_paper
from contrastive_inversion.ledger.study import Study

HOLDS, FAILS, OPEN, NO_NUMBER, DIFFER = "holds", "fails", "open", "no number", "readings differ"


@dataclass(frozen=True)
class Outcome:
    """One contrast of a reading: its value, None without a number, standard error, and whether it is true by itself.

    truth: None where that is open.

    df: degrees of freedom; spread: whether what it rests on was measured or assumed, empty where it has none;
    images: the numbers of test images behind its quantities; trainings: the fewest behind one; bound: see `Contrast`.
    """

    comparison: Comparison
    value: float | None = None
    se: float | None = None
    truth: bool | None = None
    df: float = math.inf
    spread: str = ""
    images: tuple[int, ...] = ()
    trainings: int = 1
    bound: str = ""

    @property
    def word(self) -> str:
        """What it is by itself: true, false, open or no number."""
        return NO_NUMBER if self.value is None else {True: "true", False: "false", None: OPEN}[self.truth]

    @property
    def interval(self) -> tuple[float, float] | None:
        """The values that no one-sided test at LEVEL would reject."""
        if self.value is None or self.se is None:
            return None
        half = quantile(self.df) * self.se
        low = -math.inf if self.bound in ("≤", "≶") else self.value - half
        return low, math.inf if self.bound in ("≥", "≶") else self.value + half

    @property
    def inside(self) -> float | None:
        """How far inside of its bounds it lies; negative where it is beyond."""
        return None if self.value is None else self.comparison.distance(self.value)

    @property
    def sureness(self) -> float:
        """That in halves of its interval: 1 and more where it is true by itself, -1 and less where it is false."""
        if self.bound and self.truth is None:
            return 0.0
        inside = self.inside or 0.0
        return inside / (quantile(self.df) * self.se) if self.se else math.copysign(math.inf, inside)


@dataclass(frozen=True)
class Judged:
    """A reading's verdict and what it rests on.

    weakest: the place of the comparison that decides, the least sure of those that must be true; margin: how far that
    lies inside of its bound; both None where the verdict is that there is no number. flip: by how much all spreads must
    be multiplied for the verdict to change; reach: the half width from which on it could hold, where its own is too
    small here.
    """

    reading: Reading
    verdict: str
    outcomes: tuple[Outcome, ...]
    weakest: int | None
    flip: float | None
    reach: float | None = None

    @property
    def margin(self) -> float | None:
        """How far the weakest comparison lies inside of its bound, in the unit of its quantities."""
        return None if self.weakest is None else self.outcomes[self.weakest].inside

    @property
    def spread(self) -> str:
        """What the spreads behind it rest on: `assumed` where any does, else `measured`; empty without any."""
        known = {outcome.spread for outcome in self.outcomes}
        return next((word for word in ("assumed", "measured") if word in known), "")


@dataclass(frozen=True)
class JudgedClaim:
    """A claim and the verdicts on those of its readings that a study measures."""

    claim: Claim
    readings: tuple[Judged, ...]

    @property
    def verdict(self) -> str:
        """The word that all readings with a number share; open where one is, unless one holds and another fails."""
        words = {each.verdict for each in self.readings}
        if words >= {HOLDS, FAILS}:
            return DIFFER
        return next((word for word in (OPEN, HOLDS, FAILS) if word in words), NO_NUMBER)


# --- what can be decided --------------------------------------------------------------------------------------------


def check(paper: Paper, study: Study[Any]) -> None:
    """Raise UserError for a reading about what a study does not measure, and for one that can never hold in it."""
    known = set(plan.asked(study))
    for claim in of_paper(paper):
        for reading in claim.readings:
            with naming(claim, paper):
                check_reading(reading, known, study)


def check_reading(reading: Reading, known: set[Quantity], study: Study[Any]) -> None:
    """The same of one reading; known: what the study measures."""
    for quantity in reading.quantities:
        if quantity not in known:
            raise UserError(f"study {study.name} does not measure '{quantity}'")
    if (needed := reach(reading, study)) is not None:
        raise UserError(
            f"'{reading.reading}' can never hold: its bounds are closer than trainings spread; {needed:.2g} to either "
            "side would do"
        )


def reach(reading: Reading, study: Study[Any]) -> float | None:
    """The half width from which on a reading could hold at the study's declared spreads; None where its own will do."""

    def exact(quantity: Quantity) -> Estimate:
        return Estimate(0.0, None, 1, trainings=len(quantities.trainings(quantity, study)))

    least = [(c, quantile() * contrast.se) for c in reading.comparisons if (contrast := contrast_of(c, exact, study))]
    needed = [width for comparison, width in least if width >= (comparison.high - comparison.low) / 2]
    return max(needed) if len(reading.comparisons) - len(needed) < reading.least else None


# --- verdicts -------------------------------------------------------------------------------------------------------


def contrasts_of(reading: Reading, value: Value, study: Study[Any]) -> list[Contrast | None]:
    """The contrasts of a reading's comparisons, spreads pooled over them."""
    measured = spreads.pooled({q: value(q) for q in reading.quantities}.items(), study)
    return [contrast_of(comparison, value, study, measured) for comparison in reading.comparisons]


def decide(
    reading: Reading, contrasts: Sequence[Contrast | None], factor: float = 1.0, repeats: int = joint.REPEATS
) -> str:
    """holds, fails, open or no number, from the contrasts of a reading, spreads being so many times as large.

    repeats: of the bootstrap, at most.
    """
    known = [(c, each.at(factor)) for c, each in zip(reading.comparisons, contrasts, strict=True) if each]
    missing = len(contrasts) - len(known)
    tested = [each for _, each in known]
    sides = [c.nearer(each.value)[0] for c, each in known]  # towards which each contrast is true
    true = [joint.inside(each, c.low, c.high) for c, each in known] + [1.0] * missing
    if joint.surely(true, reading.least, tested, sides, repeats):
        return HOLDS
    false = [joint.outside(each, c.low, c.high) for c, each in known] + [1.0] * missing
    if joint.surely(false, len(contrasts) - reading.least + 1, tested, [-side for side in sides], repeats):
        return FAILS
    return NO_NUMBER if missing else OPEN


def judge(reading: Reading, value: Value, study: Study[Any]) -> Judged:
    """A reading's verdict and what it rests on. value: a function from a Quantity to its Estimate or None."""
    contrasts = contrasts_of(reading, value, study)
    outcomes = tuple(outcome(c, each, value) for c, each in zip(reading.comparisons, contrasts, strict=True))
    verdict = decide(reading, contrasts)

    def at(factor: float) -> str:  # a flip is told to two digits, for which one bootstrap is enough
        return verdict if factor == 1 else decide(reading, contrasts, factor, repeats=1)

    flip = spreads.flip_factor(at)
    return Judged(reading, verdict, outcomes, weakest(outcomes, reading.least, verdict), flip, reach(reading, study))


def judge_claim(claim: Claim, value: Value, study: Study[Any], known: set[Quantity] | None = None) -> JudgedClaim:
    """A claim with the verdicts on its readings; known: those alone whose quantities are all among these."""
    readings = [each for each in claim.readings if known is None or set(each.quantities) <= known]
    return JudgedClaim(claim, tuple(judge(reading, value, study) for reading in readings))


def outcome(comparison: Comparison, contrast: Contrast | None, value: Value) -> Outcome:
    """A comparison's contrast, and whether it is beyond its bounds by itself."""
    if contrast is None:
        return Outcome(comparison)
    true, false = (test(contrast, comparison.low, comparison.high) for test in (joint.inside, joint.outside))
    truth = True if true <= LEVEL else False if false <= LEVEL else None
    behind = [estimate for quantity in comparison.weights if (estimate := value(quantity))]
    images = tuple(dict.fromkeys(each.images for each in behind if each.images))
    return Outcome(
        comparison, contrast.value, contrast.se, truth, contrast.df, spreads.resting_on(contrast.parts), images,
        min(each.trainings for each in behind), contrast.bound,
    )  # fmt: skip


def weakest(outcomes: Sequence[Outcome], least: int, verdict: str) -> int | None:
    """The place of the least sure outcome among the `least` surest; None where the verdict is that there is no number.

    What has no number does not help a reading to hold; where one fails, it would not have helped even if it were true.
    """
    if verdict == NO_NUMBER:
        return None
    known = [i for i, outcome in enumerate(outcomes) if outcome.value is not None]
    granted = len(outcomes) - len(known) if verdict == FAILS else 0
    return sorted(known, key=lambda i: -outcomes[i].sureness)[least - 1 - granted]


def relevant(study: Study[Any]) -> list[Claim]:
    """The claims of which a study measures all quantities of some reading."""
    known = set(plan.asked(study))
    claims = [claim.in_study(study) for claim in of_paper(study.paper)]
    return [c for c in claims if any(set(each.quantities) <= known for each in c.readings)]


def of_study(study: Study[Any], results: Path) -> list[JudgedClaim]:
    """The claims that a study can judge, with the verdicts on their readings."""
    study = measured_spreads.informed(study, results)
    value, known = Measurements(study, results).of, set(plan.asked(study))
    return [judge_claim(claim, value, study, known) for claim in relevant(study)]


# --- which claims count ---------------------------------------------------------------------------------------------

COUNTED = "yes"


def counted(judged: JudgedClaim, before: Mapping[str, str]) -> str:
    """Whether a claim counts in a tally, or why not; before: see `said_before`."""
    if judged.claim.truism:
        return "a truism"
    earlier = before.get(judged.claim.id)
    return f"said before by {earlier}" if earlier else COUNTED


def said_before(judged: Iterable[JudgedClaim]) -> dict[str, str]:
    """The claims of which an earlier one has every reading, by other words, and that one; headline claims are first."""
    known: dict[str, set[tuple[str, int]]] = {}
    before: dict[str, str] = {}
    for each in sorted(judged, key=lambda each: not each.claim.headline):
        own = {(" ".join(map(str, r.reading.comparisons)), r.reading.least) for r in each.readings}
        if earlier := next((name for name, readings in known.items() if own <= readings), None):
            before[each.claim.id] = earlier
        known[each.claim.id] = own
    return before


# --- claims.csv -----------------------------------------------------------------------------------------------------

COLUMNS = (
    "claim", "section", "quote", "claim_verdict", "counted", "reading", "verdict", "margin", "evidence", "spread",
    "flips_at", "images",
)  # fmt: skip


def evidence(outcome: Outcome) -> str:
    """A comparison's outcome in a few words."""
    if outcome.value is None:
        return f"{outcome.comparison}: no number"
    bound = f"{outcome.bound} " if outcome.bound else ""
    value = f"{outcome.value:.2f}".replace("-", "−")
    return f"{outcome.comparison}: {bound}{value} (standard error {outcome.se:.2f}), {outcome.word}"


def rows(judged: JudgedClaim, before: Mapping[str, str]) -> list[dict[str, Any]]:
    """The lines of claims.csv about one claim, one for each reading; before: see `said_before`."""
    claim = judged.claim
    return [
        {
            "claim": claim.id, "section": claim.section, "quote": claim.quote, "claim_verdict": judged.verdict,
            "counted": counted(judged, before), "reading": each.reading.reading, "verdict": each.verdict,
            "margin": None if each.margin is None else round(each.margin, 4),
            "evidence": "; ".join(evidence(outcome) for outcome in each.outcomes), "spread": each.spread,
            "flips_at": None if each.flip is None else round(each.flip, 2),
            "images": " ".join(map(str, dict.fromkeys(n for outcome in each.outcomes for n in outcome.images))),
        }
        for each in judged.readings
    ]  # fmt: skip


def write(study: Study[Any], results: Path) -> None:
    """Write claims.csv of a study. Raises UserError if a measurement is missing or unsound."""
    judged = of_study(study, results)
    before = said_before(judged)
    table = pd.DataFrame([row for each in judged for row in rows(each, before)], columns=COLUMNS)
    files.write_text(results / study.name / "claims.csv", table.to_csv(index=False, lineterminator="\n"))
