"""What the page shows of tables: every printed number beside ours, its verdict and where ours comes from. No torch."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

from contrastive_inversion import papers
from contrastive_inversion.base.job import file_of
from contrastive_inversion.ledger import layouts, plan, printed, quantities, shift, verdicts
from contrastive_inversion.ledger.estimates import Estimate
from contrastive_inversion.ledger.measurements import Measurements
from contrastive_inversion.ledger.printed import Cell
from contrastive_inversion.ledger.quantities import Quantity
from contrastive_inversion.ledger.shift import Shift
from contrastive_inversion.ledger.study import Study
from contrastive_inversion.ledger.verdicts import Flip, Judgement
from contrastive_inversion.show import tables
from contrastive_inversion.show.forest import signed

Part = dict[str, Any]  # of what the template shows
LOSSES = (1, 2, 3)  # points: the page says how likely losses of these sizes are found in a cell of each table


def of_study(study: Study[Any], measured: Measurements, compare: Path | None) -> Part:
    """Every table, how many cells have which verdict, whether all are shifted, and what is measured besides.

    judged: how many cells are; copied: how many of these are the print itself.
    """
    other = Measurements(papers.study(compare.name), compare.parent) if compare else None
    shown = [table_of(number, study, measured, other) for number in study.settings.tables]
    cells = cells_in(shown)
    judged = [cell for cell in cells if cell["z"] is not None]
    return {
        "tables": shown, "cell_counts": Counter(cell["verdict"] for cell in cells), "judged": len(judged),
        "copied": sum(cell["copied"] for cell in judged), "assumed": any(cell["assumed"] for cell in cells),
        "equal": sum(cell["equal"] for cell in cells if cell["verdict"] == "within"),
        "overall": overall(study, measured), "family": family(sum(bool(table["shift"]) for table in shown)),
        "also": beside_tables(study, measured),
    }  # fmt: skip


def beside_tables(study: Study[Any], measured: Measurements) -> list[tuple[str, ...]]:
    """What is measured besides: of each quantity its fields and its value."""
    known = [(quantity, measured.of(quantity)) for quantity in map(quantities.parse, study.settings.also)]
    return [(*astuple(quantity), tables.shown_mean(estimate, 2)) for quantity, estimate in known if estimate]


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
    layout, notes = layouts.tables(study.paper)[number], layouts.notes_of(number, study)
    heading, *columns = layouts.headings(number, study).values()
    table: Part = {"number": number, "title": layout.title, "heading": heading, "notes": notes, "shift": None}
    if number in study.paper.tables:
        frame = study.paper.tables[number](study)
        return table | {"columns": [], "rows": [], "plain": frame.to_html(index=False, border=0, classes="left")}
    listed = printed.cells_of(number, study.paper)
    estimates = [measured.of(cell.quantity) for cell in listed]
    shown = shown_cells(listed, estimates, measured, other)
    rows = [
        {"title": tables.row_title(row, of_row, study), "cells": [shown[cell] for cell in of_row.values()]}
        for row, of_row in printed.rows_of(number, study.paper).items()
    ]
    return table | {"columns": columns, "rows": rows, "plain": None} | tested(listed, estimates, study)


def shown_cells(
    listed: Sequence[Cell], estimates: Sequence[Estimate | None], measured: Measurements, other: Measurements | None
) -> dict[Cell, Part]:
    """What the page shows of each cell of a table."""
    judged = verdicts.of_table(listed, estimates, measured.study)
    flips = verdicts.flips(listed, estimates, measured.study)
    fewer = tables.fewer(listed, estimates)
    return {
        cell: cell_of(cell, ours, each, flip, measured, other) | {"few": few}
        for cell, ours, each, flip, few in zip(listed, estimates, judged, flips, fewer, strict=True)
    }


def tested(listed: Sequence[Cell], estimates: Sequence[Estimate | None], study: Study[Any]) -> Part:
    """Whether a table as a whole is shifted, and the power to find losses in one of its cells."""
    whole = shift.of_table(listed, estimates, study)
    if whole is None:
        return {"shift": None}
    chances = [(loss, f"{100 * verdicts.power(loss, listed, study, estimates):.0f}") for loss in LOSSES]
    points = {study.paper.metric(cell.quantity.metric).point for cell in listed}
    unit = f" of {min(points):g}" if len(points) == 1 and points != {1} else ""
    return {"shift": shift_of(whole, max(cell.decimals for cell in listed)), "power": chances, "unit": unit}


def cell_of(
    cell: Cell, ours: Estimate | None, judged: Judgement, flip: Flip | None, measured: Measurements,
    other: Measurements | None,
) -> Part:  # fmt: skip
    """One printed number beside ours, and where ours comes from."""
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
    log = f"logs/{product}.log"  # of a kept run there is none
    return {
        "file": file_of(product), "log": log if (measured.root / log).exists() else None,
        "recipe": record["recipe_hash"][:12],
        "seed": record["seed"], "seconds": record["seconds"], "images": ours.images,
        "source": None if ours.images else ours.origin,
    }  # fmt: skip
