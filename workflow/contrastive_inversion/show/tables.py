"""Tables as people read them: the paper's rows, columns and decimals, as csv, Markdown and LaTeX. Imports no torch."""

from dataclasses import replace
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import pandas as pd

from contrastive_inversion.base import files, studies
from contrastive_inversion.distort import names
from contrastive_inversion.ledger import plan, printed, quantities
from contrastive_inversion.ledger.measurements import Measurements


def rounded(value, decimals):
    """A number as the paper prints it: half up, in decimal, so that 0.9175 becomes 0.918."""
    exact = Decimal(repr(round(value, 10)))
    return str(exact.quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP))


def as_printed(estimate, cell):
    """An Estimate with the decimals of a printed cell: `85.87±0.08`, without ± where it was measured once.

    With several training seeds, `85.87±0.21 [0.08]`: the standard error over trainings, then that of the evaluation.
    """
    if estimate is None:
        return "–"
    text = rounded(estimate.mean, cell.decimals)
    errors = [error for error in (estimate.training_se, estimate.se) if error is not None]
    error_texts = [rounded(error, cell.se_decimals or cell.decimals) for error in errors]
    if estimate.training_se is None:
        return "±".join([text, *error_texts])
    return f"{text}±{error_texts[0]}" + (f" [{error_texts[1]}]" if len(errors) == 2 else "")


def shown(estimate, cell, study):
    """What of an Estimate a table shows: published values without an error where the print has none."""
    return estimate if study["measured"] or cell.se or estimate is None else replace(estimate, se=None)


def rows_of(number, study):
    """A table's cells as printed, row by row: {row: {column: Cell}}."""
    rows = {}
    for cell in quantities.cells(quantities.ledger_of(study)):
        if cell.table == number:
            rows.setdefault(cell.row, {})[cell.column] = cell
    return rows


def row_title(row, cells, study):
    """A row's heading; Table 10's are this study's own levels, since the paper prints none."""
    if not row.startswith("row ") or not study["measured"]:
        return row
    name = next(iter(cells.values())).quantity.distortion
    return names.label(study["distortions"].get(name, name))


def best_cells(number, rows, estimates, study):
    """The quantities to print in bold: the best along a row or of a pair of rows, where the paper does so."""
    rule = quantities.table_layouts(quantities.ledger_of(study))[number].get("best")
    listed = list(rows.values())
    if rule == "row":
        groups = [list(cells.values()) for cells in listed]
    elif rule == "pair":
        groups = [
            [first[column], second[column]]
            for first, second in zip(listed[::2], listed[1::2], strict=True)
            for column in first
        ]
    else:
        groups = []
    best = set()
    for group in groups:
        values = {cell.quantity: rounded(estimates[cell.quantity].mean, cell.decimals) for cell in group}
        highest = [
            quantity for quantity, value in values.items() if Decimal(value) == max(map(Decimal, values.values()))
        ]
        best |= set(highest) if len(highest) == 1 else set()  # the paper leaves a tie unmarked
    return best


def frame(number, rows, study, text):
    """A DataFrame of strings, one per cell as `text(cell)` gives it, with the paper's headings."""
    heading = quantities.table_layouts(quantities.ledger_of(study))[number]["rows"]
    lines = [
        {heading: row_title(row, cells, study)} | {column: text(cell) for column, cell in cells.items()}
        for row, cells in rows.items()
    ]
    return pd.DataFrame(lines)


def write(number, study_name, results="results"):
    """Write table_<number>.{csv,md,tex} of a study. Raises UserError if a measurement is missing or unsound."""
    study = studies.load(study_name)
    title = quantities.table_layouts(quantities.ledger_of(study))[number]["title"]
    folder = Path(results) / study_name / "tables"
    if number == 3:
        plain = marked = latex = label_shift(study)
    else:
        rows, measured = rows_of(number, study), Measurements(study_name, results)
        listed = [cell for cells in rows.values() for cell in cells.values()]
        estimates = {cell.quantity: shown(measured.of(cell.quantity), cell, study) for cell in listed}
        best = best_cells(number, rows, estimates, study)

        def bold(before, after):
            def text(cell):
                content = as_printed(estimates[cell.quantity], cell)
                return f"{before}{content}{after}" if cell.quantity in best else content

            return text

        plain = frame(number, rows, study, bold("", ""))
        marked = frame(number, rows, study, bold("**", "**"))
        latex = frame(number, rows, study, bold(r"\textbf{", "}"))
    note = note_of(number, study)
    caption = f"Table {number}: {title}"
    files.write_text(folder / f"table_{number}.csv", plain.to_csv(index=False, lineterminator="\n"))
    files.write_text(folder / f"table_{number}.md", markdown(marked, caption, note))
    files.write_text(folder / f"table_{number}.tex", as_latex(latex, caption, number))


def note_of(number, study):
    """What a reader of a table must know beside its cells; None where there is nothing."""
    if number == 14 and study["data"]["imagenet100c"]["source"] == "generated-imagenet-c":
        return "The corruptions were generated by this study on its own images; the released ImageNet-C was not used."
    if number == 6 and study["data"]["covid"]["source"] == "coronahack":
        return "COVID X-ray is Kaggle's CoronaHack set, which is mostly pneumonia against normal."
    return quantities.table_layouts(quantities.ledger_of(study))[number].get("note")


def markdown(table, caption, note):
    aligned = ["left"] + ["right"] * (table.shape[1] - 1)
    text = f"**{caption}**\n\n{table.to_markdown(index=False, colalign=aligned, disable_numparse=True)}\n"
    return text + (f"\n{note}\n" if note else "")


def as_latex(table, caption, number):
    """A booktabs table."""
    escaped = table.rename(columns=tex).map(tex)
    return escaped.style.hide(axis="index").to_latex(
        hrules=True, caption=tex(caption), label=f"tab:{number}", position_float="centering",
        column_format="l" + "r" * (table.shape[1] - 1),
    )  # fmt: skip


TEX = {"%": r"\%", "±": r"$\pm$", "σ": r"$\sigma$", "–": "--", "−": "$-$", "_": r"\_", "&": r"\&", "#": r"\#"}


def tex(text):
    """Text with the characters that LaTeX takes for its own replaced."""
    return "".join(TEX.get(character, character) for character in str(text))


def label_shift(study):
    """Table 3: the classes outside of ImageNet-100, their new labels, and the labels' places in the class list."""
    data = study["data"]["label_shift"]
    if "pairs" in data:
        from contrastive_inversion.data import characters

        classes = characters.classes()
        lines = [(c, f"U+{ord(c):04X}", to, f"U+{ord(to):04X}", classes.index(to)) for c, to in data["pairs"].items()]
        heads = ["Character", "Code point", "New label", "Its code point", "Index"]
    else:
        order = sorted((quantities.PUBLISHED / "imagenet100_wnids.txt").read_text().split())
        shifts = printed.read_csv("label_shift.csv")
        lines = [(r["class"], r["wnid"], r["label"], r["label_wnid"], order.index(r["label_wnid"])) for r in shifts]
        heads = ["ImageNet class", "wnid", "New ImageNet-100 label", "Its wnid", "Index"]
    return pd.DataFrame(lines, columns=heads)


def needed(number, study_name):
    """The products that a table is made from."""
    study = studies.load(study_name)
    return plan.measurements_for(quantities.of_table(number, study), study) if number != 3 else []


def terminal(number, study_name, results="results"):
    """A table beside the published one, for the terminal: each cell as `ours (published)`."""
    study, measured = studies.load(study_name), Measurements(study_name, results)
    rows = rows_of(number, study)

    def text(cell):
        return f"{as_printed(measured.of(cell.quantity), cell)} ({cell.value}{'±' + cell.se if cell.se else ''})"

    table = frame(number, rows, study, text)
    return table.to_markdown(index=False, colalign=["left"] + ["right"] * (table.shape[1] - 1), disable_numparse=True)
