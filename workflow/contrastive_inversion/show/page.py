"""The report page: one self-contained HTML file with every verdict, claim, table and figure. Imports no torch."""

import functools
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jinja2

from contrastive_inversion import papers
from contrastive_inversion.base import files
from contrastive_inversion.base.job import file_of
from contrastive_inversion.ledger import accepted, claims, measured_spreads, plan, printed, quantities, shift, verdicts
from contrastive_inversion.ledger.claims import Judged, JudgedClaim
from contrastive_inversion.ledger.estimates import Estimate
from contrastive_inversion.ledger.measurements import Measurements, Record
from contrastive_inversion.ledger.printed import Cell
from contrastive_inversion.ledger.quantities import Quantity
from contrastive_inversion.ledger.shift import Shift
from contrastive_inversion.ledger.study import Study, differences
from contrastive_inversion.ledger.verdicts import Flip, Judgement
from contrastive_inversion.show import drawings, forest, tables
from contrastive_inversion.show import figures as curves

Part = dict[str, Any]  # of what the template shows
TEMPLATE = Path(__file__).with_name("page.html.j2")
LOCK = Path(__file__).parents[3] / "requirements.lock"
LOSSES = (1, 2, 3)  # points: the page says how likely losses of these sizes are found in a cell of each table
SENTENCES = {"cells": "ours", "also": "Also measured", "how": ""}  # where a paper has no word of its own
HEADLINE = "The headline claims"
WORDS = {  # of one claim, and of several
    claims.HOLDS: ("holds", "hold"), claims.FAILS: ("fails", "fail"), claims.OPEN: ("is open", "are open"),
    claims.DIFFER: ("depends on the reading", "depend on the reading"),
    claims.NO_NUMBER: ("has no number", "have no number"),
}  # fmt: skip


def write(study: Study[Any], results: Path, figures: Path, compare: Path | None = None) -> None:
    """Write report.html of a study. Raises UserError if a measurement is missing or unsound.

    compare: the folder of another run, results/<its study>, whose numbers stand in every cell beside ours.
    """
    study = measured_spreads.informed(study, results)
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    measured = Measurements(study, results)
    judged, shown = claims_part(study, results), tables_part(study, measured, compare)
    content = template.render(
        name=study.name, study=study.settings, paper=study.paper, compare=compare and str(compare),
        absent=measured.absent, figures=drawn_figures(study, results, figures), provenance=provenance(study, measured),
        spreads_said=spreads_said(study), differences=differences(study, papers.study(study.settings.root)),
        verdict=verdict(study, judged, shown), expected=expected(study),
        **sentences(study), **levels(), **judged, **shown,
    )  # fmt: skip
    files.write_text(results / study.name / "report.html", content)


def spreads_said(study: Study[Any]) -> str:
    """The spreads behind verdicts, those that another study measured before those that are assumed."""
    assumed = {kind: value for kind, value in study.settings.training_spread.items() if kind not in study.spreads}
    known = {f"measured by {study.settings.spreads}": {kind: each.value for kind, each in study.spreads.items()}}
    texts = [
        f"{origin}: " + ", ".join(f"{kind.replace('_', ' ')} {value:.2g}" for kind, value in values.items())
        for origin, values in (known | {"assumed": assumed}).items()
        if values
    ]
    return "; ".join(texts)


def verdict(study: Study[Any], judged: Part, shown: Part) -> list[str]:
    """What a reader is to know first: how the headline claims and the printed numbers came out."""
    said = []
    if headline := judged["groups"].get(HEADLINE, {}).get("claims"):
        here, theirs = (in_words(Counter(claim[key] for claim in headline)) for key in ("verdict", "published_verdict"))
        outcome = f"{here} here; by the authors' own published numbers {theirs}" if study.settings.measured else here
        said.append(f"Of the paper's {len(headline)} headline claims, {outcome}.")
    if study.settings.comparable and (counts := shown["cell_counts"]):
        copied = sum(cell["copied"] for cell in cells_in(shown["tables"]))
        inside = f"{counts['within']} of the {sum(counts.values())} printed numbers are within what chance explains"
        inside += (
            f", in a study that need not match them as `{other}` is expected to" if (other := expected(study)) else ""
        )
        said.append(f"{inside}; {copied} of them are the print itself." if copied else f"{inside}.")
    return said


def expected(study: Study[Any]) -> str | None:
    """The study whose measurements are expected to match the print, where that is another one."""
    said = study.settings.expected
    return said if study.settings.measured and said != study.name else None


def in_words(counts: Counter[str]) -> str:
    """How many claims have which verdict: `4 hold, 1 fails, 1 is open`."""
    return ", ".join(f"{counts[word]} {said[counts[word] > 1]}" for word, said in WORDS.items() if counts[word])


def sentences(study: Study[Any]) -> Part:
    """What the page says of how the study measures, in its paper's words."""
    said = {key: text.format(settings=study.settings) for key, text in {**SENTENCES, **study.paper.sentences}.items()}
    return {"sentences": said}


def levels() -> Part:
    """How sure verdicts and claims are."""
    return {"alpha": verdicts.FALSE_ALARM_RATE, "level": claims.LEVEL}


def claims_part(study: Study[Any], results: Path) -> Part:
    """Every claim that the study can judge, the headline ones first, and those not tested; truisms are not counted."""
    judged = claims.of_study(study, results)
    groups = {HEADLINE: [each for each in judged if each.claim.headline]}
    for each in judged:
        if not each.claim.headline:
            groups.setdefault(part_of(each.claim.section), []).append(each)
    before = said_before([each for group in groups.values() for each in group])
    counted = Counter(each.verdict for each in judged if not each.claim.truism and each.claim.id not in before)
    untested = [claim for claim in claims.of_paper(study.paper) if claim.untested]
    shown = {title: group_of(group, study) for title, group in groups.items() if group}
    return {"groups": shown, "claim_counts": counted, "untested": untested, "said_before": before}


def said_before(judged: Sequence[JudgedClaim]) -> dict[str, str]:
    """The claims of which an earlier one has every reading, by other words, and that one; so none counts twice."""
    known: dict[str, set[tuple[str, int]]] = {}
    before: dict[str, str] = {}
    for each in judged:
        own = {(" ".join(map(str, r.reading.comparisons)), r.reading.least) for r in each.readings}
        if earlier := next((name for name, readings in known.items() if own <= readings), None):
            before[each.claim.id] = earlier
        known[each.claim.id] = own
    return before


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
        "readings": [reading_of(*pair) | {"bar": bar} for pair, bar in readings],
    }  # fmt: skip


def reading_of(judged: Judged, published: Judged) -> Part:
    """A reading, a forest plot of its contrasts, what they rest on, and the verdict of the published numbers on it."""
    outcomes = judged.outcomes
    return {
        "reading": judged.reading.reading, "verdict": judged.verdict, "needed": judged.reading.least,
        "forest": forest.of_reading(outcomes, published.outcomes),
        "true": sum(each.truth is True for each in outcomes),
        "margin": "–" if judged.margin is None else signed(judged.margin, 2),
        "assumed": judged.spread == "assumed", "flip": None if judged.flip is None else f"{judged.flip:.2g}",
        "reach": None if judged.reach is None else f"{judged.reach:.2g}",
        "images": sorted({count for each in outcomes for count in each.images}),
        "trainings": min((each.trainings for each in outcomes), default=1),
        "published_verdict": published.verdict,
    }  # fmt: skip


def signed(value: float, decimals: int) -> str:
    """A number with its sign, a true minus."""
    return f"{value:+.{decimals}f}".replace("-", "−")


@functools.cache
def published_verdict(identity: str, study: Study[Any]) -> JudgedClaim:
    """Whether a claim holds by the published numbers themselves."""
    published = replace(papers.study(study.settings.published), paper=study.paper)
    claim = next(each for each in claims.of_paper(study.paper) if each.id == identity)
    return claims.judge_claim(claim, functools.partial(printed.value, paper=study.paper), published)


def tables_part(study: Study[Any], measured: Measurements, compare: Path | None) -> Part:
    """Every table, how many cells have which verdict, whether all are shifted, and what is measured besides."""
    other = Measurements(papers.study(compare.name), compare.parent) if compare else None
    shown = [table_of(number, study, measured, other) for number in study.settings.tables]
    return {
        "tables": shown, "cell_counts": Counter(cell["verdict"] for cell in cells_in(shown)),
        "assumed": any(cell["assumed"] for cell in cells_in(shown)),
        "equal": sum(cell["equal"] for cell in cells_in(shown) if cell["verdict"] == "within"),
        "overall": overall(study, measured), "family": family(sum(bool(table["shift"]) for table in shown)),
        "also": beside_tables(study, measured),
    }  # fmt: skip


def beside_tables(study: Study[Any], measured: Measurements) -> list[Part]:
    """What is measured besides, with a row for each model; models of which the same is known share a table."""
    models: dict[str, dict[str, str]] = {}
    for quantity in map(quantities.parse, study.settings.also):
        if estimate := measured.of(quantity):
            model = " | ".join((quantity.encoder, quantity.head, quantity.data))
            models.setdefault(model, {})[f"{quantity.distortion} | {quantity.metric}"] = tables.rounded(
                estimate.mean, 2
            )
    alike: dict[tuple[str, ...], dict[str, dict[str, str]]] = {}
    for model, values in models.items():
        alike.setdefault(tuple(values), {})[model] = values
    return [{"columns": each, "rows": rows, "count": len(each) * len(rows)} for each, rows in alike.items()]


def cells_in(shown: Sequence[Part]) -> list[Part]:
    """The cells of some tables."""
    return [cell for table in shown for row in table["rows"] for cell in row["cells"]]


def overall(study: Study[Any], measured: Measurements) -> Part | None:
    """The test of a shift over all tables' judged cells."""
    cells = [cell for number in study.settings.tables for cell in printed.cells_of(number, study.paper)]
    whole = shift.of_all(cells, [measured.of(cell.quantity) for cell in cells], study)
    return shift_of(whole, 2) if whole else None


def shift_of(whole: Shift, decimals: int) -> Part:
    """A mean signed difference in words."""
    return {
        "words": whole.words, "cells": whole.cells, "p": f"{whole.p:.2g}",
        "mean": signed(whole.mean, decimals), "se": f"{whole.se:.{decimals}f}",
    }  # fmt: skip


def family(count: int) -> str | None:
    """The chance, in percent, that a faithful page of so many independent tables shows a cell outside."""
    return f"{100 * (1 - (1 - verdicts.FALSE_ALARM_RATE) ** count):.0f}" if count else None


def table_of(number: int, study: Study[Any], measured: Measurements, other: Measurements | None) -> Part:
    """A table: its columns, and per row the cells with their verdicts and provenance."""
    layout, notes = printed.tables(study.paper)[number], printed.notes_of(number, study)
    heading, *columns = printed.headings(number, study).values()
    table: Part = {"number": number, "title": layout.title, "heading": heading, "notes": notes, "shift": None}
    if number in study.paper.tables:
        frame = study.paper.tables[number](study)
        return table | {"columns": [], "rows": [], "plain": frame.to_html(index=False, border=0)}
    listed = printed.cells_of(number, study.paper)
    shown = shown_cells(listed, study, measured, other)
    rows = [
        {"title": tables.row_title(row, of_row, study), "cells": [shown[cell] for cell in of_row.values()]}
        for row, of_row in printed.rows_of(number, study.paper).items()
    ]
    return table | {"columns": columns, "rows": rows, "plain": None} | tested(listed, study, measured)


def shown_cells(
    listed: Sequence[Cell], study: Study[Any], measured: Measurements, other: Measurements | None
) -> dict[Cell, Part]:
    """What the page shows of each cell of a table."""
    estimates = [measured.of(cell.quantity) for cell in listed]
    judged = zip(listed, verdicts.of_table(listed, estimates, study), strict=True)
    flips = verdicts.flips(listed, estimates, study)
    return {
        c: cell_of(c, each, flip, measured, other) | {"few": few}
        for (c, each), flip, few in zip(judged, flips, fewer(listed, estimates), strict=True)
    }


def fewer(listed: Sequence[Cell], estimates: Sequence[Estimate | None]) -> list[int | None]:
    """The test images of cells that have fewer than others of their table on the same data set; None for the others."""
    pairs = [(cell.quantity, each) for cell, each in zip(listed, estimates, strict=True)]
    most = claims.most_images({quantity: each for quantity, each in pairs if each})
    return [each.images if each and each.images and each.images < most[q.data] else None for q, each in pairs]


def tested(listed: Sequence[Cell], study: Study[Any], measured: Measurements) -> Part:
    """Whether a table as a whole is shifted, and the power to find losses in one of its cells."""
    estimates = [measured.of(cell.quantity) for cell in listed]
    whole = shift.of_table(listed, estimates, study)
    if whole is None:
        return {"shift": None}
    chances = [(loss, f"{100 * verdicts.power(loss, listed, study, estimates):.0f}") for loss in LOSSES]
    points = {study.paper.metric(cell.quantity.metric).point for cell in listed}
    unit = f" of {min(points):g}" if len(points) == 1 and points != {1} else ""
    return {"shift": shift_of(whole, max(cell.decimals for cell in listed)), "power": chances, "unit": unit}


def cell_of(
    cell: Cell, judged: Judgement, flip: Flip | None, measured: Measurements, other: Measurements | None
) -> Part:
    """One printed number beside ours, and where ours comes from."""
    ours = measured.of(cell.quantity)
    return {
        "quantity": str(cell.quantity), "verdict": judged.verdict, "words": judged.words, "equal": judged.equal,
        "z": judged.z,
        "df": judged.df, "assumed": judged.spread == "assumed", "flip": flip and flip_of(flip, judged),
        "n": ours and ours.n, "copied": bool(ours and ours.origin.startswith("printed in")),
        "published": cell.value + (f"±{cell.se}" if cell.se else ""), "ours": tables.as_printed(ours, cell),
        "delta": "" if ours is None else delta(ours, cell),
        "origin": ours and origin(cell.quantity, ours, measured),
        "other": other and tables.as_printed(other.find(cell.quantity), cell),
    }  # fmt: skip


def delta(ours: Estimate, cell: Cell) -> str:
    """Our number as the cell shows it minus the published one."""
    return signed(float(tables.rounded(ours.mean, cell.decimals)) - float(cell.value), cell.decimals)


def flip_of(flip: Flip, judged: Judgement) -> str:
    """The spread behind a verdict and the one at which it would flip."""
    at = "at none" if flip.at is None else f"at {flip.at:.2g}"
    return f"{flip.spread:.2g}, {judged.spread}; the verdict flips {at}"


def origin(quantity: Quantity, ours: Estimate, measured: Measurements) -> Part:
    """A measurement's file, log, recipe, seed and duration; links are relative to the page."""
    product, record = plan.measurement_of(quantity, measured.study), measured.record(quantity)
    return {
        "file": file_of(product), "log": f"logs/{product}.log", "recipe": record["recipe_hash"][:12],
        "seed": record["seed"], "seconds": record["seconds"], "images": ours.images,
        "source": None if ours.images else ours.origin,
    }  # fmt: skip


def drawn_figures(study: Study[Any], results: Path, folder: Path) -> list[Part]:
    """The study's figures that have been drawn; `verify` leaves out galleries without their images."""
    drawn = {number: folder / study.name / f"figure_{number}.png" for number in study.settings.figures}
    here = results / study.name
    return [figure_of(number, study, path, here) for number, path in drawn.items() if path.exists()]


def figure_of(number: int, study: Study[Any], path: Path, here: Path) -> Part:
    """A figure within the page, so that this needs no other file, and links to its files from the page's folder."""
    layout = printed.figures(study.paper)[number]
    beside = study.settings.measured and not layout.gallery
    link = os.path.relpath(path.with_suffix(""), here)
    return {
        "number": number, "title": layout.title, "dashed": beside, "link": link,
        "unpublished": [] if layout.gallery else curves.unpublished(layout, study),
        "svg": None if layout.gallery else drawings.inline(path.with_suffix(".svg"), f"f{number}"),
        "png": drawings.embedded(path) if layout.gallery else None,
    }  # fmt: skip


def provenance(study: Study[Any], measured: Measurements) -> Part:
    """What was run, on what, for how long, from which data and weights; read from the products' own records."""
    encoders, data = (records_of(folder, study, measured.root) for folder in ("encoders", "images"))
    said = study.said["data"]
    there = [product for product in plan.measurements(study) if product not in measured.absent]
    records = [*encoders, *data, *(measured.content(product)[1] for product in there)]
    return {
        "jobs": Counter(record["product"].split("/")[0] for record in records),
        "seconds": sum(record["seconds"] for record in records),
        "dates": sorted({record["started"][:10] for record in records if record.get("started")}),
        "devices": sorted({record["device"] for record in records}),
        "code": sorted({record["code"] for record in records}),
        "torch": sorted({record["torch"] for record in records if record["torch"]}),
        "lock": lock_hash()[:16],
        "data": [(r["product"], said[r["product"].split("/")[1]], r["content_hash"][:16]) for r in data],
        "encoders": [encoder_of(record, study) for record in encoders],
        "accepted": accepted.read(measured.root),
        "unknown": sum("made_by" not in record for record in records),
    }


def lock_hash() -> str:
    """The sha256 of the lock file of the versions that everything is installed from; `none` without one."""
    return files.sha256(LOCK) if LOCK.exists() else "none"


def records_of(folder: str, study: Study[Any], root: Path) -> list[Record]:
    """The records of the products in a folder of a study's results that are there, by name."""
    wanted = plan.with_inputs(plan.behind_targets([], study), study)
    paths = sorted(root / file_of(product) for product in wanted if product.startswith(f"{folder}/"))
    return [files.record_in(path) for path in paths if path.exists()]


def encoder_of(record: Record, study: Study[Any]) -> Part:
    """An encoder's training in one line: what it saw, its last loss, its weights' hash."""
    name = record["product"].removeprefix("encoders/")
    distortion = study.paper.trained_under(name)
    return {
        "name": name, "under": study.paper.level_label(distortion, study) if distortion else "clean images",
        "epochs": record["recipe"].get("settings", {}).get("epochs"),
        "loss": f"{record['losses'][-1]:.4f}" if record.get("losses") else "",
        "seconds": record["seconds"], "hash": record["content_hash"][:16],
    }  # fmt: skip
