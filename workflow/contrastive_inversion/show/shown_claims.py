"""What the page shows of claims: the paper's words, their readings, where the weakest contrast lies. No torch."""

import functools
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from contrastive_inversion import papers
from contrastive_inversion.ledger import claims, printed
from contrastive_inversion.ledger.claims import Judged, JudgedClaim
from contrastive_inversion.ledger.study import Study
from contrastive_inversion.show import forest

Part = dict[str, Any]  # of what the template shows
HEADLINE = "The headline claims"


def of_study(study: Study[Any], results: Path) -> Part:
    """Every claim that the study can judge, the headline ones first, and those not tested; truisms are not counted."""
    judged = claims.of_study(study, results)
    groups = {HEADLINE: [each for each in judged if each.claim.headline]}
    for each in judged:
        if not each.claim.headline:
            groups.setdefault(part_of(each.claim.section), []).append(each)
    before = claims.said_before(judged)
    counted = Counter(each.verdict for each in judged if claims.counted(each, before) == claims.COUNTED)
    untested = [claim for claim in claims.of_paper(study.paper) if claim.untested]
    shown = {title: group_of(group, study) for title, group in groups.items() if group}
    return {"groups": shown, "claim_counts": counted, "untested": untested, "said_before": before}


def part_of(section: str) -> str:
    """The part of a paper that a place in it belongs to: `Section 5` of `5.2`."""
    part = section.partition(",")[0].partition(".")[0]
    return f"Section {part}" if len(part) < 3 else part


def group_of(group: Sequence[JudgedClaim], study: Study[Any]) -> Part:
    """Some claims with the weakest contrast of every reading on one axis, in points, where zero is the bound."""
    rows = [weakest_of(each, study) for each in group]
    common = forest.axis([row for of_claim in rows for row in of_claim if row])
    bars = [[forest.placed(row, common) if row else None for row in of_claim] for of_claim in rows]
    shown = [claim_of(each, study, of_claim) for each, of_claim in zip(group, bars, strict=True)]
    return {"claims": shown, "ticks": common.ticks}


def weakest_of(judged: JudgedClaim, study: Study[Any]) -> list[forest.Row | None]:
    """By reading, how far inside of its bound the weakest contrast lies; None where one has no number."""
    rows: list[forest.Row | None] = []
    for reading, theirs in readings_of(judged, study):
        place = reading.weakest
        pair = None if place is None else (reading.outcomes[place], theirs.outcomes[place])
        rows.append(pair and forest.margin(reading.verdict, *pair, study.paper))
    return rows


def readings_of(judged: JudgedClaim, study: Study[Any]) -> list[tuple[Judged, Judged]]:
    """The readings of a claim, each beside the one behind it judged by the published numbers.

    Where those are the study's own, they are not shown again.
    """
    published = published_verdict(judged.claim.id, study).readings
    pairs = [(each, published[judged.claim.readings.index(each.reading)]) for each in judged.readings]
    return pairs if study.settings.measured else [(each, without_numbers(theirs)) for each, theirs in pairs]


def without_numbers(judged: Judged) -> Judged:
    """A reading's verdict without what it rests on."""
    return replace(judged, outcomes=tuple(claims.Outcome(each.comparison) for each in judged.outcomes), weakest=None)


def claim_of(judged: JudgedClaim, study: Study[Any], bars: Sequence[Part | None]) -> Part:
    """A claim in its paper's words, and the verdict under each reading; bars: where its weakest contrast lies."""
    claim, published = judged.claim, published_verdict(judged.claim.id, study)
    readings = zip(readings_of(judged, study), bars, strict=True)
    return {
        "id": claim.id, "section": claim.section, "quote": claim.quote, "truism": claim.truism,
        "verdict": judged.verdict, "published_verdict": published.verdict,
        "readings": [reading_of(*pair, study) | {"bar": bar} for pair, bar in readings],
    }  # fmt: skip


def reading_of(judged: Judged, published: Judged, study: Study[Any]) -> Part:
    """A reading, forest plots of its contrasts, what they rest on, and the verdict of the published numbers on it."""
    outcomes = judged.outcomes
    return {
        "reading": judged.reading.reading, "verdict": judged.verdict, "needed": judged.reading.least,
        "forests": forest.of_reading(outcomes, published.outcomes, study.paper),
        "contrasts": [str(each.comparison) for each in outcomes],
        "true": sum(each.truth is True for each in outcomes),
        "assumed": judged.spread == "assumed", "flip": None if judged.flip is None else f"{judged.flip:.2g}",
        "reach": None if judged.reach is None else f"{judged.reach:.2g}",
        "images": sorted({count for each in outcomes for count in each.images}),
        "trainings": min((each.trainings for each in outcomes), default=1),
        "published_verdict": published.verdict,
    }  # fmt: skip


@functools.cache
def published_verdict(identity: str, study: Study[Any]) -> JudgedClaim:
    """Whether a claim holds by the published numbers themselves."""
    published = replace(papers.study(study.settings.published), paper=study.paper)
    claim = next(each for each in claims.of_paper(study.paper) if each.id == identity)
    return claims.judge_claim(claim, functools.partial(printed.value, paper=study.paper), published)
