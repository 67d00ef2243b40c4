"""The report page: one self-contained HTML file with every verdict, claim, table and figure. Imports no torch."""

import base64
import functools
import hashlib
from collections import Counter
from pathlib import Path

import jinja2

from contrastive_inversion.base import files, studies
from contrastive_inversion.distort import names
from contrastive_inversion.ledger import claims, plan, printed, quantities, verdicts
from contrastive_inversion.ledger.measurements import Measurements
from contrastive_inversion.run import jobs
from contrastive_inversion.show import tables

TEMPLATE = Path(__file__).with_name("page.html.j2")
LOSS_OF_INTEREST = 2  # points: the page says how likely a loss of this size is found
LOCK = studies.WORKFLOW.parent / "requirements.lock"


def write(study_name, results="results", figures="figures", compare=None):
    """Write report.html of a study. Raises UserError if a measurement is missing or unsound.

    compare: the folder of another run, results/<its study>, whose numbers stand in every cell beside ours.
    """
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    page = template.render(context(study_name, Path(results), Path(figures), compare))
    files.write_text(Path(results) / study_name / "report.html", page)


def context(study_name, results, figures, compare):
    """Everything that the page shows."""
    study, measured = studies.load(study_name), Measurements(study_name, results)
    first_table = [cell for cell in quantities.cells(quantities.ledger_of(study)) if cell.table == 1]
    other = compare and Measurements(compare.name, compare.parent)
    shown = [table_of(number, study, measured, other) for number in study["tables"]]
    judged = [claim_of(*outcome, study) for outcome in claims.of_study(study_name, results)]
    cells = [cell for table in shown for row in table["rows"] for cell in row["cells"]]
    return {
        "study": study, "tables": shown, "claims": judged, "compare": compare and str(compare),
        "figures": list(drawn_figures(study, figures)),
        "claim_counts": Counter(claim["verdict"] for claim in judged),
        "cell_counts": Counter(cell["verdict"] for cell in cells),
        "also": [(text, tables.rounded(found.mean, 2)) for text, found in also_measured(study, measured) if found],
        "power": verdicts.power(LOSS_OF_INTEREST, first_table, study),
        "loss_of_interest": LOSS_OF_INTEREST, "alpha": verdicts.FALSE_ALARM_RATE, "z": claims.Z,
        "provenance": provenance(study, measured, results),
        "differences": studies.differences(study, studies.load(study["root"])),
    }  # fmt: skip


def also_measured(study, measured):
    """What a study measures beside its tables and figures: pairs of text and Estimate."""
    return [(text, measured.of(quantities.parse(text))) for text in study.get("also", [])]


def table_of(number, study, measured, other):
    """A table for the page: its columns, and per row the cells with their verdicts and provenance."""
    layout = quantities.table_layouts(quantities.ledger_of(study))[number]
    result = {
        "number": number,
        "title": layout["title"],
        "heading": layout["rows"],
        "note": tables.note_of(number, study),
    }
    if number == 3:
        frame = tables.label_shift(study)
        return result | {"columns": [], "rows": [], "plain": frame.to_html(index=False, border=0)}
    cells = [cell for cell in quantities.cells(quantities.ledger_of(study)) if cell.table == number]
    estimates = [measured.of(cell.quantity) for cell in cells]
    judged = dict(zip(cells, verdicts.of_table(cells, estimates, study), strict=True))
    rows = [
        {
            "title": tables.row_title(row, of_row, study),
            "cells": [cell_of(c, *judged[c], measured, other) for c in of_row.values()],
        }
        for row, of_row in tables.rows_of(number, study).items()
    ]
    return result | {"columns": list(dict.fromkeys(cell.column for cell in cells)), "rows": rows, "plain": None}


def cell_of(cell, verdict, z, measured, other):
    """One printed number beside ours, and where ours comes from."""
    ours = measured.of(cell.quantity)
    delta = None if ours is None else ours.mean - float(cell.value)
    return {
        "column": cell.column, "quantity": str(cell.quantity), "verdict": verdict, "z": z, "n": ours and ours.n,
        "published": cell.value + (f"±{cell.se}" if cell.se else ""), "ours": tables.as_printed(ours, cell),
        "delta": delta, "delta_text": "" if delta is None else f"{delta:+.{cell.decimals}f}".replace("-", "−"),
        "origin": origin(cell.quantity, ours, measured),
        "other": other and tables.as_printed(other.find(cell.quantity), cell),
    }  # fmt: skip


def origin(quantity, ours, measured):
    """A measurement's file, log, recipe, seed and duration; links are relative to the page."""
    if ours is None:
        return None
    product = plan.measurement_of(quantity)
    record = measured.record(quantity)
    return {
        "file": plan.file_of(product), "log": f"logs/{product}.log", "recipe": record["recipe_hash"][:12],
        "seed": record["seed"], "seconds": record["seconds"], "images": ours.images,
        "source": None if ours.images else ours.origin,
    }  # fmt: skip


def claim_of(claim, verdict, compared, margin, study):
    comparisons = [
        {
            "text": c.text, "truth": {True: "true", False: "false", None: "open"}[c.truth],
            "value": "no number" if c.value is None else f"{c.value:+.2f} ± {c.se:.2f}".replace("-", "−"),
        }
        for c in compared
    ]  # fmt: skip
    return claim | {
        "verdict": verdict, "comparisons": comparisons, "true": sum(c.truth is True for c in compared),
        "margin": "–" if margin is None else f"{margin:+.2f}".replace("-", "−"),
        "published_verdict": published_verdicts(study["published"])[claim["id"]],
    }  # fmt: skip


@functools.cache
def published_verdicts(study_name):
    """Whether each claim holds by the published numbers themselves."""
    study = studies.load(study_name)
    value = functools.partial(printed.value, study=study)
    return {claim["id"]: claims.judge(claim, value, study)[0] for claim in claims.load(study)}


def drawn_figures(study, figures):
    """The study's figures that have been drawn; `verify` leaves out galleries without their images."""
    for number in study["figures"]:
        if image_of(number, study["name"], figures).exists():
            yield figure_of(number, study, figures)


def image_of(number, study_name, figures):
    return figures / study_name / f"figure_{number}.png"


def figure_of(number, study, figures):
    """A figure as a data URI, so that the page needs no other file."""
    data = base64.b64encode(image_of(number, study["name"], figures).read_bytes()).decode()
    title = quantities.figure_layouts(quantities.ledger_of(study))[number]["title"]
    return {"number": number, "title": title, "data": f"data:image/png;base64,{data}"}


def provenance(study, measured, results):
    """What was run, on what, for how long, from which data and weights; read from the products' own records."""
    records = [record for record in map(record_or_none, products(study, measured.root)) if record]
    measured_records = [measured.file(p)[1] for p in plan.study_measurements(study["name"])]
    everything = records + measured_records
    return {
        "jobs": Counter(record["product"].split("/")[0] for record in everything),
        "seconds": sum(record["seconds"] for record in everything),
        "devices": sorted({record["device"] for record in everything}),
        "code": sorted({record["code"] for record in everything}),
        "torch": sorted({record["torch"] for record in everything if record["torch"]}),
        "lock": hashlib.sha256(LOCK.read_bytes()).hexdigest()[:16] if LOCK.exists() else "none",
        "data": [(r["product"], r["content_hash"][:16]) for r in records if r["product"].startswith("images/")],
        "encoders": [encoder_of(r) for r in records if r["product"].startswith("encoders/")],
    }


def products(study, root):
    """The files of finished images and encoders below a study's results."""
    return sorted([*root.glob("images/*.safetensors"), *root.glob("encoders/*.safetensors")])


def record_or_none(path):
    record = jobs.record_in(path)
    return record if record.get("product") else None


def encoder_of(record):
    """An encoder's training in one line: what it saw, its last loss, its weights' hash."""
    settings = record["recipe"]["settings"]
    name = record["product"].removeprefix("encoders/")
    match = quantities.ENCODER.fullmatch(name)
    return {
        "name": name, "under": names.label(match["distortion"]) if match else "clean images",
        "epochs": settings.get("epochs"), "loss": f"{record['losses'][-1]:.4f}" if record.get("losses") else "",
        "seconds": record["seconds"], "hash": record["content_hash"][:16],
    }  # fmt: skip
