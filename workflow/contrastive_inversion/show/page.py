"""The report page: one self-contained HTML file with every verdict, claim, table and figure. Imports no torch."""

import os
from collections import Counter
from pathlib import Path
from typing import Any

import jinja2

from contrastive_inversion import papers
from contrastive_inversion.base import files
from contrastive_inversion.ledger import claims, layouts, measured_spreads, verdicts
from contrastive_inversion.ledger.measurements import Measurements
from contrastive_inversion.ledger.study import Study, differences
from contrastive_inversion.show import curves, drawings, provenance, shown_claims, shown_tables

Part = dict[str, Any]  # of what the template shows
TEMPLATE = Path(__file__).with_name("page.html.j2")
SENTENCES = {  # where a paper has no word of its own
    "cells": "what was measured here", "also": "Also measured", "remarks": "Remarks", "how": "", "key": "",
    "figures": "",
}  # fmt: skip
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
    judged, shown = shown_claims.of_study(study, results), shown_tables.of_study(study, measured, compare)
    content = template.render(
        name=study.name, study=study.settings, paper=study.paper, compare=compare and str(compare),
        absent=measured.absent, figures=drawn_figures(study, results, figures), undrawn=undrawn(study, figures),
        spreads_said=spreads_said(study),
        provenance=provenance.shown(study, measured), sentences=sentences(study), expected=expected(study),
        differences=differences(study, papers.study(study.settings.root)), verdict=verdict(study, judged, shown),
        alpha=verdicts.FALSE_ALARM_RATE, level=claims.LEVEL, **judged, **shown,
        remarks=study.paper.remarks(study, measured.find),
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
    if headline := judged["groups"].get(shown_claims.HEADLINE, {}).get("claims"):
        here, theirs = (in_words(Counter(claim[key] for claim in headline)) for key in ("verdict", "published_verdict"))
        outcome = f"{here} here; by the authors' own published numbers {theirs}" if study.settings.measured else here
        said.append(f"Of the paper's {len(headline)} headline claims, {outcome}.")
    return [*said, of_print(study, shown)] if study.settings.comparable and shown["judged"] else said


def of_print(study: Study[Any], shown: Part) -> str:
    """How the printed numbers came out that can be judged, and how many cannot be."""
    counts, other = shown["cell_counts"], expected(study)
    said = [
        f"No difference was found in {counts['within']} of the {shown['judged']} printed numbers that can be judged"
    ]
    if study.settings.measured:
        equal = f"{shown['equal']} of them shown to be equal within {verdicts.EQUAL:g} point"
        said[0] += f" ({equal}{'; spread assumed' if shown['assumed'] else ''})"
    if other:
        said[0] += f", in a study that need not match them as `{other}` is expected to"
    if shown["copied"]:
        said.append(f"{shown['copied']} of them {be(shown['copied'])} the print itself")
    said += [f"{counts[word]} {be(counts[word])} {word}" for word in ("not comparable", "missing") if counts[word]]
    return "; ".join(said) + "."


def be(count: int) -> str:
    """The verb of one or of several."""
    return "is" if count == 1 else "are"


def expected(study: Study[Any]) -> str | None:
    """The study whose measurements are expected to match the print, where that is another one."""
    said = study.settings.expected
    return said if study.settings.measured and said != study.name else None


def in_words(counts: Counter[str]) -> str:
    """How many claims have which verdict: `4 hold, 1 fails, 1 is open`."""
    return ", ".join(f"{counts[word]} {said[counts[word] > 1]}" for word, said in WORDS.items() if counts[word])


def sentences(study: Study[Any]) -> dict[str, str]:
    """What the page says of how the study measures, in its paper's words."""
    said = {**SENTENCES, **study.paper.sentences}
    return {key: text.format(settings=study.settings) for key, text in said.items()}


def drawn_figures(study: Study[Any], results: Path, folder: Path) -> list[Part]:
    """The study's figures that have been drawn."""
    drawn = {number: file_of(number, study, folder) for number in study.settings.figures}
    here = results / study.name
    return [figure_of(number, study, path, here) for number, path in drawn.items() if path.exists()]


def undrawn(study: Study[Any], folder: Path) -> list[int]:
    """The galleries that have not been drawn, as of a kept run, which has no images."""
    layout = layouts.figures(study.paper)
    galleries = [number for number in study.settings.figures if layout[number].gallery]
    return [number for number in galleries if not file_of(number, study, folder).exists()]


def file_of(number: int, study: Study[Any], folder: Path) -> Path:
    """A figure's file; folder: of all studies' figures."""
    return folder / study.name / f"figure_{number}.png"


def figure_of(number: int, study: Study[Any], path: Path, here: Path) -> Part:
    """A figure within the page, so that this needs no other file, and links to its files from the page's folder."""
    layout = layouts.figures(study.paper)[number]
    beside = study.settings.measured and not layout.gallery
    unpublished, otherwise = ([], []) if layout.gallery else curves.unpublished(layout, study)
    link = os.path.relpath(path.with_suffix(""), here)
    return {
        "number": number, "title": layout.title, "dashed": beside, "link": link,
        "unpublished": unpublished, "otherwise": otherwise, "published": study.settings.published,
        "svg": None if layout.gallery else drawings.inline(path.with_suffix(".svg"), f"f{number}"),
        "png": drawings.embedded(path) if layout.gallery else None,
    }  # fmt: skip
