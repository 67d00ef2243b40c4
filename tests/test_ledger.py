import csv
from collections import Counter
from pathlib import Path

import pytest

from contrastive_inversion.base import studies
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.ledger import claims, plan, printed, quantities
from contrastive_inversion.show import tables

TRANSCRIPTION = Path(__file__).parent / "data" / "transcription.txt"
SIZES = {1: 24, 2: 20, 4: 24, 5: 16, 6: 4, 7: 6, 8: 6, 9: 16, 10: 16, 11: 16, 12: 16, 13: 16, 14: 38}


def transcribed():
    """The hand-typed tables: {number: [[text, ...], ...]}."""
    found, rows = {}, None
    for line in TRANSCRIPTION.read_text(encoding="utf-8").splitlines():
        if line.startswith("Table"):
            rows = found.setdefault(int(line.split()[1]), [])
        elif line and not line.startswith("#"):
            rows.append(line.split())
    return found


def test_the_ledger_has_every_printed_number_once():
    assert Counter(cell.table for cell in quantities.cells()) == SIZES
    assert sum(SIZES.values()) == 218
    places = [(cell.table, cell.row, cell.column) for cell in quantities.cells()]
    assert len(set(places)) == len(places)


@pytest.mark.parametrize("number", SIZES)
def test_two_independent_transcriptions_agree(number):
    ledger = [
        [cell.value + (f"±{cell.se}" if cell.se else "") for cell in cells.values()]
        for cells in tables.rows_of(number, {}).values()
    ]
    assert ledger == transcribed()[number]


def test_decimals_are_those_of_the_print():
    for cell in quantities.cells():
        assert cell.decimals == len(cell.value.partition(".")[2])
        assert cell.se_decimals == len(cell.se.partition(".")[2])


def test_the_same_quantity_is_printed_with_the_same_value():
    seen = {}
    for cell in quantities.cells():
        assert seen.setdefault(cell.quantity, cell.value) == cell.value


def test_the_class_lists_are_complete_and_disjoint():
    lists = [(quantities.PUBLISHED / f"imagenet100{b}_wnids.txt").read_text().split() for b in ("", "b")]
    assert [len(set(wnids)) for wnids in lists] == [100, 100]
    assert not set(lists[0]) & set(lists[1])


def test_label_shift_indices_are_those_of_the_authors():
    rows = tables.label_shift(studies.load("paper"))
    assert rows["Index"].tolist() == [53, 8, 68, 40, 21]


@pytest.mark.parametrize("name", ["demo", "paper"])
def test_the_paper_needs_37_trainings(name):
    wanted = set()
    pending = plan.study_measurements(name)
    while pending:
        product = pending.pop()
        if product not in wanted:
            wanted.add(product)
            pending += plan.inputs(product, name)
    trained = {p for p in wanted if p.startswith("encoders/")} - {"encoders/teacher", "encoders/resnet"}
    assert len(trained) == 37
    assert sum("student" in p for p in trained) == 15


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "studnet-rm90 | own | imagenet100 | rm90 | top1",
            "unknown encoder 'studnet-rm90'; did you mean 'student-rm90'",
        ),
        ("student-rm90 | prob 10% | imagenet100 | rm90 | top1", "unknown head 'prob 10%'"),
        ("student-rm90 | probe 10% | imagenet10 | rm90 | top1", "unknown data set 'imagenet10'; did you mean"),
        ("student-rm90 | probe 10% | imagenet100 | rn90 | top1", "unknown distortion 'rn90'; did you mean 'rm90'"),
        ("student-rm90 | probe 10% | imagenet100 | rm90 | top2", "unknown metric 'top2'; did you mean"),
        ("student-mix | probe 100% | imagenet100c | fgo | top1", "unknown distortion 'fgo'; did you mean 'fog'"),
    ],
)
def test_a_bad_row_of_the_ledger_is_named_with_the_nearest_known_name(text, message):
    study = studies.load("demo")
    with pytest.raises(UserError, match="table 1") as error:
        quantities.check(quantities.parse(text), study, "tables.csv, table 1")
    assert message in str(error.value) and text in str(error.value)


OURS = [
    cell
    for cell in quantities.cells()
    if (cell.table in (1, 2, 4, 5, 6, 9, 14) and ("Ours" in cell.column or "Ours" in cell.row))
    or (cell.table, cell.column) in ((7, "Denoising"), (9, "Clean Linear Classifier"))
]


@pytest.mark.parametrize("cell", OURS, ids=lambda cell: f"{cell.table}, {cell.row}, {cell.column}")
def test_the_authors_raw_results_print_digit_for_digit_as_in_the_paper(cell):
    raw = printed.raw_results()[cell.quantity]
    if cell.se:
        assert tables.as_printed(raw, cell) == f"{cell.value}±{cell.se}"
    else:
        assert tables.rounded(raw.mean, cell.decimals) == cell.value


def test_every_source_of_the_raw_results_exists():
    with open(quantities.PUBLISHED / "authors_sources.csv", newline="") as file:
        sources = list(csv.DictReader(file))
    assert len(printed.raw_results()) == len(sources) + 8  # and Table 9's column from the notebook


def test_every_claim_is_about_quantities_that_the_paper_study_measures():
    known = set(plan.study_quantities("paper"))
    assert len(claims.load({})) >= 20
    for claim in claims.load({}):
        assert set(claims.quantities_of(claim)) <= known, claim["id"]
