"""The first paper's ledger: every printed number once, as the paper and its authors' files have it."""

import csv
from collections import Counter
from pathlib import Path

import pytest

from contrastive_inversion import papers
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.data import imagenet_classes
from contrastive_inversion.ledger import claims, layouts, plan, printed, quantities
from contrastive_inversion.ledger.estimates import Estimate
from contrastive_inversion.show import tables

PAPER = papers.paper("inverse_problems")
CELLS = printed.cells(PAPER)
TRANSCRIPTION = Path(__file__).parent / "data" / "transcription.txt"
SIZES = {1: 24, 2: 20, 4: 24, 5: 16, 6: 4, 7: 6, 8: 6, 9: 16, 10: 16, 11: 16, 12: 16, 13: 16, 14: 38}


def transcribed():
    """The hand-typed tables: {number: [[text, ...], ...]}."""
    typed, rows = {}, None
    for line in TRANSCRIPTION.read_text(encoding="utf-8").splitlines():
        if line.startswith("Table"):
            rows = typed.setdefault(int(line.split()[1]), [])
        elif line and not line.startswith("#"):
            rows.append(line.split())
    return typed


def test_the_ledger_has_every_printed_number_once():
    assert Counter(cell.table for cell in CELLS) == SIZES
    assert sum(SIZES.values()) == 218
    spots = [(cell.table, cell.row, cell.column) for cell in CELLS]
    assert len(set(spots)) == len(spots)


@pytest.mark.parametrize("number", SIZES)
def test_two_independent_transcriptions_agree(number):
    ledger = [
        [cell.value + (f"±{cell.se}" if cell.se else "") for cell in row.values()]
        for row in printed.rows_of(number, PAPER).values()
    ]
    assert ledger == transcribed()[number]
    assert printed.cells_of(number, PAPER) == [cell for cell in CELLS if cell.table == number]


def test_decimals_are_those_of_the_print():
    for cell in CELLS:
        assert cell.decimals == len(cell.value.partition(".")[2])
        assert cell.se_decimals == len(cell.se.partition(".")[2])


def test_the_same_quantity_is_printed_with_the_same_value():
    seen = {}
    for cell in CELLS:
        assert seen.setdefault(cell.quantity, cell.value) == cell.value


def test_the_rule_of_bold_cells_is_that_of_the_print():
    """Read off the page, cell by cell; across a pair of rows the print leaves some of the best unmarked."""
    for number, layout in layouts.tables(PAPER).items():
        bold = {cell.quantity for cell in printed.cells_of(number, PAPER) if cell.bold}
        ours = {cell.quantity: Estimate(float(cell.value), None, 1) for cell in printed.cells_of(number, PAPER)}
        marked = tables.best_cells(number, ours, papers.study("published"))
        assert bool(marked) == bool(bold) == bool(layout.best)
        assert marked >= bold and (layout.best == "pair" or marked == bold)


def test_the_class_lists_are_complete_and_disjoint():
    lists = [imagenet_classes.wnids(f"imagenet100{b}_wnids.txt") for b in ("", "b")]
    assert [len(set(wnids)) for wnids in lists] == [100, 100]
    assert not set(lists[0]) & set(lists[1])


def test_label_shift_indices_are_those_of_the_authors():
    rows = PAPER.tables[3](papers.study("paper"))
    assert rows["Index"].tolist() == [53, 8, 68, 40, 21]


@pytest.mark.parametrize("name", ["demo", "paper"])
def test_the_paper_needs_37_trainings(name):
    study = papers.study(name)
    recipes = plan.with_inputs(plan.measurements(study), study)
    trained = {product for product in recipes if product.startswith("encoders/")} - {
        "encoders/teacher",
        "encoders/resnet",
    }
    assert len(trained) == 37
    assert sum("student" in product for product in trained) == 15


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "studnet-rm90 | own | imagenet100 | rm90 | top1",
            "unknown encoder 'studnet-rm90'; did you mean 'student-rm90'",
        ),
        ("student-rm90 | prob 10% | imagenet100 | rm90 | top1", "unknown head 'prob 10%'"),
        (
            "student-rm90 | teachr probe 10% on rm90 | imagenet100 | rm90 | top1",
            "unknown encoder 'teachr'; did you mean",
        ),
        (
            "student-rm90 | probe 10% on rn90 | imagenet100 | rm90 | top1",
            "unknown distortion 'rn90'; did you mean 'rm90'",
        ),
        ("teacher | probe 10% | imagenet100 | rm90 | top1", "'teacher' has no distortion of its own: say 'probe F% on"),
        ("student-rm90 | probe 10% | imagenet10 | rm90 | top1", "unknown data set 'imagenet10'; did you mean"),
        ("student-rm90 | probe 10% | imagenet100 | rn90 | top1", "unknown distortion 'rn90'; did you mean 'rm90'"),
        ("student-rm90 | probe 10% | imagenet100 | rm90 | top2", "unknown metric 'top2'; did you mean"),
        ("student-rm90 | probe 10% | imagenet100 | rm90 | top1@5", "metric 'top1' takes no value: 'top1@5'"),
        ("student-mix | probe 100% | imagenet100c | fgo | top1", "unknown distortion 'fgo'; did you mean 'fog'"),
    ],
)
def test_a_bad_row_of_the_ledger_is_named_with_the_nearest_known_name(text, message):
    study = papers.study("demo")
    with pytest.raises(UserError, match="table 1") as error:
        quantities.check(quantities.parse(text), study, "tables.csv, table 1")
    assert message in str(error.value) and text in str(error.value)


OURS = [
    cell
    for cell in CELLS
    if (cell.table in (1, 2, 4, 5, 6, 9, 14) and ("Ours" in cell.column or "Ours" in cell.row))
    or (cell.table, cell.column) in ((7, "Denoising"), (9, "Clean Linear Classifier"))
]


@pytest.mark.parametrize("cell", OURS, ids=lambda cell: f"{cell.table}, {cell.row}, {cell.column}")
def test_the_authors_raw_results_print_digit_for_digit_as_in_the_paper(cell):
    raw = PAPER.raw()[cell.quantity]
    if cell.se:
        assert tables.as_printed(raw, cell) == f"{cell.value}±{cell.se}"
    else:
        assert tables.rounded(raw.mean, cell.decimals) == cell.value


def test_every_source_of_the_raw_results_exists():
    with open(PAPER.printed / "authors_sources.csv", newline="") as file:
        sources = list(csv.DictReader(file))
    assert len(PAPER.raw()) == len(sources) + 8  # and Table 9's column from the notebook


def test_every_claim_is_about_quantities_that_the_paper_study_measures():
    study = papers.study("paper")
    known = set(plan.measured(study))
    assert len(claims.of_paper(PAPER)) >= 20
    for claim in claims.of_paper(PAPER):
        assert {quantity for reading in claim.readings for quantity in reading.quantities} <= known, claim.id
    tested = [claim for claim in claims.of_paper(PAPER) if not claim.untested]
    assert [claim.id for claim in claims.relevant(study)] == [claim.id for claim in tested]
