"""What was printed: layouts and their mistakes, notes, levels, and the published value of a quantity."""

import json
import re

import pytest

from contrastive_inversion import papers
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.ledger import layouts, plan, printed, quantities
from contrastive_inversion.ledger.estimates import Estimate
from contrastive_inversion.ledger.layouts import FigureLayout, Panel, TableLayout
from ledgers import study_but

PAPER = papers.paper("inverse_problems")
CELLS = """table,row,column,value,se,decimals,se_decimals,bold,quantity
2,Ours,A,81.5,,1,,,student-rm90 | probe 100% | covid | rm90 | top1
1,Ours,A,81.50,0.25,2,2,yes,student-rm90 | probe 100% | covid | rm90 | top1
1,Ours,B,70.1,0.3,1,1,,student-rm90 | probe 100% | covid | rm90 | auc
1,Theirs,A,3,,0,,no,baseline-rm90 | own | covid | rm90 | top1
"""


@pytest.fixture
def small(tmp_path):
    return study_but("published", tmp_path, files={"tables.csv": CELLS}).paper


def test_a_row_of_the_ledger_becomes_a_cell(small):
    first, second, *_ = printed.cells(small)
    assert (first.table, first.row, first.column, first.value, first.se) == (2, "Ours", "A", "81.5", "")
    assert (first.decimals, first.se_decimals, first.bold) == (1, 0, False)
    assert (second.se, second.se_decimals, second.bold) == ("0.25", 2, True)
    assert second.quantity == quantities.parse("student-rm90|probe 100%|covid|rm90|top1")
    assert not printed.cells(small)[3].bold
    assert {row: list(cells) for row, cells in printed.rows_of(1, small).items()} == {
        "Ours": ["A", "B"],
        "Theirs": ["A"],
    }
    assert [cell.value for cell in printed.cells_of(1, small)] == ["81.50", "70.1", "3"]


def test_decimals_that_carry_no_information_are_said(tmp_path):
    """A table whose values all end in 0 was rounded before it was printed: the value stands, its rounding is told."""
    thirteenth = printed.cells_of(13, PAPER)
    assert all(cell.informative == 1 < cell.decimals and cell.value.endswith("0") for cell in thirteenth)
    assert {cell.rounded_to for cell in printed.cells(PAPER) if cell.table != 13} == {None}
    text = CELLS.replace("quantity", "quantity,rounded_to").replace("rm90 | top1\n", "rm90 | top1,{}\n")
    for told, value in (("", None), ("0", 0), ("1", 1)):
        study = study_but(
            "published",
            tmp_path / f"says {told}",
            files={"tables.csv": text.replace("81.5,", "81.0,").replace("81.50,", "81.00,").format(told, told, "")},
        )
        assert printed.cells(study.paper)[0].rounded_to == value
    for wrong in ("3", "0", "-1", "one"):
        study = study_but("published", tmp_path / f"wrong {wrong}", files={"tables.csv": text.format(wrong, "", "")})
        with pytest.raises(UserError, match=rf"tables.csv: row 1: rounded_to: .*{wrong}"):
            printed.cells(study.paper)


def test_a_value_printed_twice_counts_with_its_most_decimals(small):
    values = printed.printed_values(small)
    top1, auc, theirs = (
        quantities.parse(f"{e} | covid | rm90 | {metric}")
        for e, metric in (
            ("student-rm90 | probe 100%", "top1"),
            ("student-rm90 | probe 100%", "auc"),
            ("baseline-rm90 | own", "top1"),
        )
    )
    assert values[top1] == Estimate(81.5, 0.25, 10, origin="printed in Table 1")
    assert values[auc] == Estimate(70.1, 0.3, 10, origin="printed in Table 1")
    assert values[theirs] == Estimate(3, None, 1, origin="printed in Table 1")
    assert printed.value(theirs, small) == values[theirs]
    assert printed.value(quantities.parse("teacher | own | covid | rm90 | top1"), small) is None


def test_raw_results_come_before_the_print():
    raw = PAPER.raw()
    both = [quantity for quantity in printed.printed_values(PAPER) if quantity in raw]
    assert len(both) > 50
    for quantity in both:
        assert printed.value(quantity, PAPER) is raw[quantity] != printed.printed_values(PAPER)[quantity]


def test_a_transcription_holds_what_was_published_of_one_encoder_on_one_data_set():
    study = papers.study("published")
    (product,) = [p for p in plan.measurements(study) if p == "measurements/student-rm50to95/covid"]
    recipe = json.loads(plan.recipe(product, study))
    assert (recipe["kind"], recipe["encoder"], recipe["data"], recipe["inputs"]) == (
        "transcribe", "student-rm50to95", "covid", {},
    )  # fmt: skip
    rows, facts = printed.transcribe(plan.recipe_of(product, study), None)
    assert [row["metric"] for row in rows] == ["auc", "top1"] and facts == {}
    for row in rows:
        quantity = quantities.Quantity("student-rm50to95", row["head"], "covid", row["distortion"], row["metric"])
        value = printed.value(quantity, PAPER)
        assert (row["mean"], row["se"], row["n"], row["origin"]) == (value.mean, value.se, value.n, value.origin)


def test_what_nobody_published_is_not_transcribed(tmp_path):
    study = study_but("published", tmp_path, files={"tables.csv": CELLS}, tables=[1], figures=[])
    wanted = [*plan.measured(study), quantities.parse("student-rm90 | probe 100% | covid | rm90 | top5")]
    rows = printed.transcription(study, "student-rm90", "covid", wanted=wanted).rows
    assert [row["metric"] for row in rows] == ["auc", "top1"]
    assert printed.transcription(study, "student-rm90", "stl10", wanted=wanted).rows == []


def test_notes_stand_where_a_data_set_comes_from_their_source():
    def notes(table, study):
        return layouts.notes_of(table, papers.study(study))

    assert notes(1, "paper") == []
    assert [text[:11] for text in notes(6, "paper")] == ["COVID X-ray"] and notes(6, "demo") == []
    assert notes(14, "paper") == [] and "generated by this study" in notes(14, "demo")[0]
    assert len(notes(10, "paper")) == len(notes(10, "demo")) == 1


def test_a_note_needs_all_of_its_sources(tmp_path):
    text = "1: {title: A, rows: B, notes: [{text: one, where: {covid: photographs, stl10: %s}}, {text: two}]}"
    for i, (source, notes) in enumerate({"digits": ["one", "two"], "stl10": ["two"]}.items()):
        study = study_but("demo", tmp_path / str(i), files={"tables.yaml": text % source})
        assert layouts.notes_of(1, study) == notes


def test_levels_are_the_panel_s_or_a_setting_s():
    study = papers.study("demo")
    panel = Panel(title="", levels="$fractions", curves={})
    assert layouts.levels_of(panel, study) == ["4", "5", "10", "20", "40", "100"]
    assert layouts.levels_of(panel, papers.study("paper"))[:3] == ["0.1", "0.5", "1"]
    assert layouts.levels_of(Panel(title="", levels=["rm90"], curves={}), study) == ["rm90"]
    assert layouts.setting_of(study, "$seed") == study.settings.seed
    assert layouts.setting_of(study, "top1") == "top1" and layouts.setting_of(study, 3) == 3


def test_a_point_of_a_curve_is_a_quantity():
    quantity = layouts.curve_point("a-{x} | probe {x}% | d | e | {metric}@{x}", "5", "all")
    assert str(quantity) == "a-5 | probe 5% | d | e | all@5"


def test_layouts_have_their_defaults():
    assert TableLayout(title="A", rows="B") == TableLayout(
        title="A", rows="B", best=None, comparable=True, levels=False, notes=[]
    )
    figure = FigureLayout(title="A")
    assert (figure.panels, figure.gallery, figure.columns, figure.models) == ([], None, None, {})
    figures = layouts.figures(PAPER)
    assert list(figures) == [1, 3, 4, 5, 6, 7, 8, 9, 10, 11]
    assert figures[3].panels == figures[7].panels and (figures[3].metric, figures[7].metric) == ("top1", "top5")


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("tables.yaml", "1: {title: A, row: B}", "1: unknown key 'row'; did you mean 'rows'?"),
        ("tables.yaml", "1: {title: A}", "1.rows: missing"),
        ("tables.yaml", "1: {title: A, rows: B, comparable: maybe}", "1.comparable: 'maybe' is not of type boolean"),
        ("tables.yaml", "1: {title: A, rows: B, best: column}", "1.best: 'column' is not one of row, pair"),
        ("tables.yaml", "1: {title: A, rows: B, notes: [{txt: C}]}", "1.notes.0: unknown key 'txt'; did you mean"),
        ("tables.yaml", "one: {title: A, rows: B}", "one"),
        ("tables.yaml", "1: [", "not valid YAML"),
        ("figures.yaml", "1: {title: A, panel: []}", "1: unknown key 'panel'; did you mean 'panels'?"),
        ("figures.yaml", "1: {title: A, gallery: images}", "1.gallery: 'images' is not one of predictions, samples"),
        ("figures.yaml", "1: {title: A, columns: 0}", "1.columns: 0 is below 1"),
        (
            "figures.yaml", "1: {title: A, panels: [{title: B, levels: [a], curve: {}}]}",
            "1.panels.0: unknown key 'curve'; did you mean 'curves'?",
        ),
    ],
)  # fmt: skip
def test_a_mistake_in_a_layout_is_named_with_file_and_key(tmp_path, file, text, message):
    study = study_but("demo", tmp_path, files={file: text})
    read = {"tables.yaml": layouts.tables, "figures.yaml": layouts.figures}[file]
    with pytest.raises(UserError, match=re.escape(str(tmp_path / "printed" / file))) as error:
        read(study.paper)
    assert message in str(error.value)


def test_keys_of_figures_that_begin_with_a_dot_are_shared_parts(tmp_path):
    text = ".shared: &shared {x: Level}\n1: {title: A, <<: *shared}\n"
    study = study_but("demo", tmp_path, files={"figures.yaml": text})
    assert layouts.figures(study.paper) == {1: FigureLayout(title="A", x="Level")}
