"""Tables as people read them: the paper's rows, columns and decimals, as csv, Markdown and LaTeX. Imports no torch."""

import functools
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import pandas as pd

from contrastive_inversion.base import files
from contrastive_inversion.ledger import layouts, printed
from contrastive_inversion.ledger.estimates import Estimate
from contrastive_inversion.ledger.measurements import Measurements, most_images
from contrastive_inversion.ledger.printed import Cell
from contrastive_inversion.ledger.quantities import Quantity
from contrastive_inversion.ledger.study import Study

Row = dict[str, Cell]
Marks = tuple[str, str]  # what stands before and after a best value
Estimates = dict[Quantity, Estimate | None]


def rounded(value: float, decimals: int) -> str:
    """A number as the paper prints it: half up, in decimal, so that 0.9175 becomes 0.918; zero has no sign."""
    exact = Decimal(repr(round(value, 10)))
    return f"{exact.quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP):zf}"


def shown_mean(estimate: Estimate, decimals: int) -> str:
    """An Estimate's mean; `≥ 0.50` where it is censored."""
    return ("≥ " if estimate.censored else "") + rounded(estimate.mean, decimals)


def as_printed(estimate: Estimate | None, cell: Cell) -> str:
    """An Estimate with the decimals of a printed cell: `85.87±0.08`, without ± where it was measured once.

    With several training seeds, `85.87±0.21 [0.08]`: the standard error over trainings, then that of the evaluation.
    """
    if estimate is None:
        return "–"
    text = shown_mean(estimate, cell.decimals)
    errors = [error for error in (estimate.training_se, estimate.se) if error is not None]
    error_texts = [rounded(error, cell.se_decimals or cell.decimals) for error in errors]
    if estimate.training_se is None:
        return "±".join([text, *error_texts])
    return f"{text}±{error_texts[0]}" + (f" [{error_texts[1]}]" if len(errors) == 2 else "")


def shown(estimate: Estimate | None, cell: Cell, study: Study[Any]) -> Estimate | None:
    """What of an Estimate a table shows: published values without an error where the print has none."""
    return estimate if study.settings.measured or cell.se or estimate is None else replace(estimate, se=None)


def row_title(row: str, cells: Row, study: Study[Any]) -> str:
    """A row's heading; where the print does not name its levels, the study's own."""
    cell = next(iter(cells.values()))
    if not (layouts.tables(study.paper)[cell.table].levels and study.settings.measured):
        return row
    return study.paper.level_label(cell.quantity.distortion, study)


def groups(rows: Sequence[Row], rule: str | None) -> list[list[Cell]]:
    """The cells among which one is best: of a row, or of a column in a pair of rows; none without a rule."""
    if rule == "row":
        return [list(row.values()) for row in rows]
    if rule == "pair":
        pairs = zip(rows[::2], rows[1::2], strict=True)
        return [[upper[column], lower[column]] for upper, lower in pairs for column in upper]
    return []


def best_of(group: Sequence[Cell], ours: Estimates) -> set[Quantity]:
    """The quantity whose value is highest as printed; none in a tie, which the paper leaves unmarked."""
    known = [(cell, estimate) for cell in group if (estimate := ours[cell.quantity])]
    values = {cell.quantity: Decimal(rounded(estimate.mean, cell.decimals)) for cell, estimate in known}
    highest = [quantity for quantity, value in values.items() if value == max(values.values())]
    return set(highest) if len(highest) == 1 else set()


def best_cells(number: int, ours: Estimates, study: Study[Any]) -> set[Quantity]:
    """The quantities to print in bold, where the paper does so."""
    rows = list(printed.rows_of(number, study.paper).values())
    bold = [best_of(group, ours) for group in groups(rows, layouts.tables(study.paper)[number].best)]
    return set().union(*bold)


def grid(number: int, study: Study[Any], text: Callable[[Cell], str]) -> pd.DataFrame:
    """A DataFrame of strings, one per cell as `text(cell)` gives it, with the paper's headings."""
    heads = layouts.headings(number, study)
    first = next(iter(heads.values()))
    lines = [
        {first: row_title(row, cells, study)} | {heads[column]: text(cell) for column, cell in cells.items()}
        for row, cells in printed.rows_of(number, study.paper).items()
    ]
    return pd.DataFrame(lines)


def frames(number: int, study: Study[Any], measured: Measurements, marks: Sequence[Marks]) -> list[pd.DataFrame]:
    """A table's strings, once with each of some marks around its best values; a table that is no grid has none."""
    if number in study.paper.tables:
        return [study.paper.tables[number](study)] * len(marks)
    listed = printed.cells_of(number, study.paper)
    ours = {cell.quantity: shown(measured.of(cell.quantity), cell, study) for cell in listed}
    best = best_cells(number, ours, study)

    def text(cell: Cell, before: str, after: str) -> str:
        content = as_printed(ours[cell.quantity], cell)
        return f"{before}{content}{after}" if cell.quantity in best else content

    return [grid(number, study, functools.partial(text, before=before, after=after)) for before, after in marks]


def fewer(listed: Sequence[Cell], estimates: Sequence[Estimate | None]) -> list[int | None]:
    """The test images of cells that have fewer than others of their table on the same data set; None for the others."""
    pairs = [(cell.quantity, each) for cell, each in zip(listed, estimates, strict=True)]
    most = most_images({quantity: each for quantity, each in pairs if each})
    return [each.images if each and each.images and each.images < most[q.data] else None for q, each in pairs]


def few_images(number: int, study: Study[Any], measured: Measurements) -> dict[str, str]:
    """How many test images numbers of a column are of, by column, where others of the table are of more."""
    listed, few = printed.cells_of(number, study.paper), dict[str, set[int]]()
    for cell, count in zip(listed, fewer(listed, [measured.of(cell.quantity) for cell in listed]), strict=True):
        if count:
            few.setdefault(cell.column, set()).add(count)
    return {column: ", ".join(map(str, sorted(counts))) for column, counts in few.items()}


def write(number: int, study: Study[Any], results: Path) -> None:
    """Write table_<number>.{csv,md,tex} of a study. Raises UserError if a measurement is missing or unsound."""
    measured, title = Measurements(study, results), layouts.tables(study.paper)[number].title
    plain, marked, latex = frames(number, study, measured, [("", ""), ("**", "**"), (r"\textbf{", "}")])
    few, heads = few_images(number, study, measured), layouts.headings(number, study)
    notes = [f"{column}: on {count} test images, fewer than the rest." for column, count in few.items()]
    notes = [*layouts.notes_of(number, study), *not_comparable(study), *notes]
    side = "left" if number in study.paper.tables else "right"  # words, or numbers
    path = results / study.name / "tables" / f"table_{number}"
    # a csv has no place for notes
    plain = plain.rename(columns={heads[column]: f"{heads[column]} ({count} images)" for column, count in few.items()})
    files.write_text(path.with_suffix(".csv"), plain.to_csv(index=False, lineterminator="\n"))
    files.write_text(path.with_suffix(".md"), as_markdown(marked, f"Table {number}: {title}", notes, side))
    files.write_text(path.with_suffix(".tex"), as_latex(latex, " ".join([f"{title}.", *notes]), number, side))


def not_comparable(study: Study[Any]) -> list[str]:
    """What a reader of a table's file is told where a caption names the paper's data and the numbers are of others."""
    said = f"Study {study.name}: other data stand in, not comparable with the print."
    return [] if study.settings.comparable else [said]


def as_text(table: pd.DataFrame, side: str = "right") -> str:
    """A table in aligned columns, which Markdown reads; side: towards which all but the first are aligned."""
    aligned = ["left"] + [side] * (table.shape[1] - 1)
    return str(table.to_markdown(index=False, colalign=aligned, disable_numparse=True))


def as_markdown(table: pd.DataFrame, caption: str, notes: Sequence[str], side: str) -> str:
    """A table below its caption, notes below that."""
    return f"**{caption}**\n\n{as_text(table, side)}\n" + "".join(f"\n{note}\n" for note in notes)


def as_latex(table: pd.DataFrame, caption: str, number: int, side: str) -> str:
    """A booktabs table; LaTeX itself writes its number before the caption."""
    escaped = table.rename(columns=tex).map(tex)
    return escaped.style.hide(axis="index").to_latex(
        hrules=True, caption=tex(caption), label=f"tab:{number}", position_float="centering",
        column_format="l" + side[0] * (table.shape[1] - 1),
    )  # fmt: skip


TEX = {
    "%": r"\%",
    "±": r"$\pm$",
    "≥": r"$\geq$",
    "∞": r"$\infty$",
    "λ": r"$\lambda$",
    "σ": r"$\sigma$",
    "–": "--",
    "−": "$-$",
    "_": r"\_",
    "&": r"\&",
    "#": r"\#",
    "$": r"\$",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
}
ACCENTS = {"\u0301": r"\'", "\u0303": r"\~", "\u0327": r"\c", "\u030c": r"\v"}  # acute, tilde, cedilla, caron
ACCENTED = re.compile(rf"(\w)([{''.join(ACCENTS)}])")


def tex(text: Any) -> str:
    """Text in ASCII, with the characters that LaTeX takes for its own replaced and accents as its commands."""
    escaped = "".join(TEX.get(character, character) for character in unicodedata.normalize("NFD", str(text)))
    return ACCENTED.sub(lambda found: f"{ACCENTS[found[2]]}{{{found[1]}}}", escaped)


def terminal(number: int, study: Study[Any], results: Path) -> str:
    """A table beside the published one, for the terminal: each cell as `ours (published)`."""
    measured = Measurements(study, results)

    def text(cell: Cell) -> str:
        return f"{as_printed(measured.of(cell.quantity), cell)} ({cell.value}{'±' + cell.se if cell.se else ''})"

    return as_text(grid(number, study, text))
