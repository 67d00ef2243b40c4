"""What people read: tables, figures, the page and the screen of progress, from measurements made by hand."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.ticker import FormatStrFormatter, MaxNLocator

from contrastive_inversion import papers
from contrastive_inversion.base import files
from contrastive_inversion.base.canonical import digest
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.ledger import accepted, layouts, plan, printed
from contrastive_inversion.ledger.estimates import Estimate
from contrastive_inversion.ledger.layouts import FigureLayout
from contrastive_inversion.ledger.measurements import Measurements
from contrastive_inversion.show import curves, figures, page, progress, provenance, shown_tables, tables
from ledgers import measure, study_but, write_rows, write_tensors

DEMO, PUBLISHED = papers.study("demo"), papers.study("published")
PAPER = DEMO.paper
TABLE_6 = printed.cells_of(6, PAPER)
VALUES = {
    "baseline-rm50to95": [0.90, 0.92],
    "student-rm50to95": [0.93, 0.95],
    "baseline-gn10to30": [0.80, 0.80],
    "student-gn10to30": [0.70, 0.74],
}


def test_rendering_does_not_import_torch(tmp_path):
    code = (
        "import importlib, pathlib, pkgutil, sys\n"
        "from contrastive_inversion import papers\n"
        "for room in ('base', 'ledger', 'show'):\n"
        "    package = importlib.import_module('contrastive_inversion.' + room)\n"
        "    for module in pkgutil.iter_modules(package.__path__):\n"
        "        if module.name != 'rng': importlib.import_module(package.__name__ + '.' + module.name)\n"
        "from contrastive_inversion.run import cli\n"
        "from contrastive_inversion.show import tables\n"
        "tables.write(3, papers.study('paper'), pathlib.Path(sys.argv[1]))\n"
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)


def test_what_renders_names_no_paper():
    """Nor an encoder, an attack, or a table's or figure's number: what is special is data of the paper's folder."""
    known = [word for name in papers.names() for word in (name, *papers.paper(name).encoders)]
    words = re.compile(rf"\b(?:(?:{'|'.join(known)}|pgd|plb)\b|[Tt]ables? \d|[Ff]igures? \d|number (?:==|!=|in \()).*")
    assert words.findall("if number == 3: teacher") and words.findall("Figures 1 and 2")
    for path in (*Path(tables.__file__).parent.glob("*.py"), page.TEMPLATE):
        assert words.findall(path.read_text(encoding="utf-8")) == [], path


# --- numbers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        (0.9175, 3, "0.918"), (85.865, 2, "85.87"), (78.05, 1, "78.1"), (71.9, 1, "71.9"), (100 / 3, 2, "33.33"),
        (7.0, 0, "7"), (12345.678, 2, "12345.68"), (0.00000000004, 2, "0.00"),
        (2.49999999996, 0, "3"), (2.4999999999, 0, "2"), (-0.004, 2, "0.00"), (-0.005, 2, "-0.01"),
        (1e-9, 9, "0.000000001"),
    ],
)  # fmt: skip
def test_numbers_round_half_up_in_decimal(value, decimals, text):
    assert tables.rounded(value, decimals) == text


def test_cells_print_with_the_decimals_of_the_paper():
    cell = TABLE_6[0]
    assert (cell.decimals, cell.se_decimals) == (3, 4)
    assert tables.as_printed(Estimate(0.9175, 0.00101, 10), cell) == "0.918±0.0010"
    assert tables.as_printed(Estimate(0.9175, None, 1), cell) == "0.918"
    assert tables.as_printed(Estimate(0.9175, 0.00101, 10, censored=True), cell) == "≥ 0.918±0.0010"
    assert tables.as_printed(None, cell) == "–"
    assert tables.as_printed(Estimate(0.9175, 0.00101, 10), replace(cell, se_decimals=0)) == "0.918±0.001"


def test_several_trainings_print_their_error_first_and_the_evaluation_s_in_brackets():
    cell = printed.cells_of(1, PAPER)[0]
    several = Estimate(85.868, 0.08, 10, trainings=4, training_sd=0.42)
    assert tables.as_printed(several, cell) == "85.87±0.21 [0.08]"
    assert tables.as_printed(replace(several, se=None), cell) == "85.87±0.21"
    assert tables.as_printed(replace(several, training_sd=0.0), cell) == "85.87±0.00 [0.08]"


def test_published_values_have_no_error_where_the_print_has_none():
    with_error, without = TABLE_6[0], replace(TABLE_6[0], se="")
    estimate = Estimate(0.9, 0.1, 10)
    assert tables.shown(estimate, with_error, PUBLISHED) == tables.shown(estimate, without, DEMO) == estimate
    assert tables.shown(estimate, without, PUBLISHED) == replace(estimate, se=None)
    assert tables.shown(None, without, PUBLISHED) is None


# --- tables ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def small():
    """The demo study with a table that is no grid and one that is."""
    return study_but("demo", tables=[3, 6], figures=[], also=[])


@pytest.fixture
def hand_made(small, tmp_path):
    """Measurement files of the small study, made by hand."""
    measure(small, tmp_path, {str(cell.quantity): VALUES[cell.quantity.encoder] for cell in TABLE_6})
    return tmp_path


def test_a_table_from_hand_made_measurements(small, hand_made):
    tables.write(6, small, hand_made)
    folder = hand_made / "demo" / "tables"
    assert (
        (folder / "table_6.csv")
        .read_bytes()
        .startswith(b'"Model, on patches of two photographs",AUC\nBaseline (RM),0.910')
    )
    plain = pd.read_csv(folder / "table_6.csv")
    assert plain["AUC"].tolist() == ["0.910±0.0100", "0.940±0.0100", "0.800±0.0000", "0.720±0.0200"]
    assert plain["Model, on patches of two photographs"].tolist() == [
        "Baseline (RM)",
        "Ours (RM)",
        "Baseline (GN)",
        "Ours (GN)",
    ]
    marked = (folder / "table_6.md").read_text()
    assert marked.startswith("**Table 6: Area under the ROC curve on COVID X-ray**\n\n| Model, on patches of two ")
    assert "| **0.940±0.0100** |" in marked and "| **0.800±0.0000** |" in marked and "**0.910" not in marked
    assert marked.splitlines()[3].startswith("|:--") and marked.splitlines()[3].endswith("--:|")
    latex = (folder / "table_6.tex").read_text()
    assert r"\toprule" in latex and r"Ours (RM) & \textbf{0.940$\pm$0.0100} \\" in latex
    said = "Study demo: other data stand in, not comparable with the print."
    assert rf"\caption{{Area under the ROC curve on COVID X-ray. {said}}}" in latex and r"\label{tab:6}" in latex
    assert marked.endswith(f"\n\n{said}\n") and not tables.not_comparable(PUBLISHED)
    assert r"\begin{tabular}{lr}" in latex and r"\centering" in latex


def test_the_terminal_shows_ours_and_the_published(small, hand_made):
    lines = [[part.strip() for part in line.split("|")] for line in tables.terminal(6, small, hand_made).splitlines()]
    assert lines[0][1:3] == ["Model, on patches of two photographs", "AUC"]
    assert lines[3][1:3] == ["Ours (RM)", f"0.940±0.0100 ({TABLE_6[1].value}±{TABLE_6[1].se})"]
    cell = printed.cells_of(1, PAPER)[-1]
    assert not cell.se
    one = study_but("demo", tables=[1], figures=[], also=[])
    measure(one, hand_made, {str(cell.quantity): [50.0] for cell in printed.cells_of(1, PAPER)})
    tables.write(1, one, hand_made)
    assert (hand_made / "demo/tables/table_1.md").read_text().count(" 50.00 |") == 24  # as text, not as the number 50
    assert tables.terminal(1, one, hand_made).splitlines()[-1].endswith(f" 50.00 ({cell.value}) |")


@pytest.mark.parametrize(
    ("name", "heads", "row"),
    [
        ("demo", ["Character", "Code point", "New label", "Its code point", "Index"], ["Á", "U+00C1", "A", "U+0041"]),
        ("paper", ["ImageNet class", "wnid", "New label", "Its wnid", "Index"], None),
    ],
)
def test_a_table_that_is_no_grid_is_its_paper_s(tmp_path, name, heads, row):
    tables.write(3, papers.study(name), tmp_path)
    frame = pd.read_csv(tmp_path / name / "tables/table_3.csv")
    assert list(frame.columns) == heads
    assert row is None or frame.iloc[0].tolist()[:4] == row
    assert "**Table 3: Label shift" in (tmp_path / name / "tables/table_3.md").read_text()
    assert ":--:" not in (marked := (tmp_path / name / "tables/table_3.md").read_text()) and "--:" not in marked
    assert r"\begin{tabular}{lllll}" in (tmp_path / name / "tables/table_3.tex").read_text()


def test_the_best_along_a_row_or_of_a_pair_of_rows_is_bold(tmp_path):
    quantities = [replace(TABLE_6[0].quantity, encoder=f"student-rm9{i}") for i in range(6)]
    grid = [
        {column: replace(TABLE_6[0], quantity=quantities[2 * i + j]) for j, column in enumerate("xy")} for i in range(2)
    ]
    ours = dict(zip(quantities, (Estimate(v, None, 1) for v in (0.91, 0.95, 0.93, 0.94)), strict=False))

    def bold(rule):
        return {q.encoder[-1] for group in tables.groups(grid, rule) for q in tables.best_of(group, ours)}

    assert (bold("row"), bold("pair"), bold(None)) == ({"1", "3"}, {"1", "2"}, set())
    with pytest.raises(ValueError, match="shorter"):
        tables.groups(grid[:1], "pair")


def test_ties_as_printed_are_not_bold_and_missing_values_are_no_best():
    one, other = TABLE_6[:2]
    same = {one.quantity: Estimate(0.91801, None, 1), other.quantity: Estimate(0.91799, None, 1)}
    assert tables.best_of([one, other], same) == set()
    assert tables.best_of([one, other], same | {other.quantity: Estimate(0.9171, None, 1)}) == {one.quantity}
    assert tables.best_of([one, other], same | {other.quantity: None}) == {one.quantity}
    assert tables.best_of([one, other], dict.fromkeys(same)) == set()


def test_levels_that_the_print_does_not_name_are_the_study_s_own():
    levels, named = printed.rows_of(10, PAPER)["row 5"], printed.rows_of(1, PAPER)["Random Mask 50%"]
    assert tables.row_title("row 5", levels, DEMO) == "noise σ = 0.02"
    assert tables.row_title("row 5", levels, PUBLISHED) == "row 5"
    assert tables.row_title("Random Mask 50%", named, DEMO) == "Random Mask 50%"


def test_heads_say_what_stands_in_for_the_data():
    assert list(layouts.headings(2, DEMO).values())[:3] == [
        "Model",
        "CIFAR-10: ten characters",
        "CIFAR-100: 100 characters",
    ]
    assert list(layouts.headings(1, DEMO))[0] == "Distortion"
    assert list(layouts.headings(1, DEMO).values())[:2] == ["Distortion, on 100 characters", "Supervised Baseline"]
    assert all(layouts.headings(n, PUBLISHED) == {w: w for w in layouts.headings(n, PUBLISHED)} for n in (1, 2, 6))


def test_notes_stand_below_a_table(tmp_path):
    text = "6: {title: 'A & B', rows: Model, notes: [{text: One.}, {text: Two., where: {covid: photographs}}]}\n"
    study = study_but("demo", tmp_path, files={"tables.yaml": text}, tables=[6], figures=[], also=[])
    measure(study, tmp_path, {str(cell.quantity): VALUES[cell.quantity.encoder] for cell in TABLE_6})
    tables.write(6, study, tmp_path)
    markdown = (tmp_path / "demo/tables/table_6.md").read_text()
    assert " |\n\nOne.\n\nTwo.\n" in markdown and markdown.startswith("**Table 6: A & B**\n")
    assert "**0" not in markdown  # no rule of what is best
    assert r"\caption{A \& B. One. Two. " in (tmp_path / "demo/tables/table_6.tex").read_text()


def test_latex_s_own_characters_are_escaped():
    assert tables.tex("5 % ± σ – − _ & #") == r"5 \% $\pm$ $\sigma$ -- $-$ \_ \& \#"
    assert tables.tex("λ ∞ $ ^ ~") == r"$\lambda$ $\infty$ \$ \textasciicircum{} \textasciitilde{}"
    assert tables.tex("ÁÇÑŠ") == r"\'{A}\c{C}\~{N}\v{S}"
    assert tables.tex(7) == "7"


@pytest.mark.parametrize("name", papers.study_names())
def test_every_table_s_latex_is_ascii(name):
    """So that pdflatex reads it; of values beside the print's there are at most ± and ≥."""
    study = papers.study(name)
    for number in study.settings.tables:
        prose = study.paper.tables.get(number)
        frame = prose(study) if prose else tables.grid(number, study, lambda cell: "≥ 1.00±0.10")
        caption = " ".join([layouts.tables(study.paper)[number].title, *layouts.notes_of(number, study)])
        assert tables.as_latex(frame, caption, number, "right").isascii(), (number, caption)


def test_a_missing_measurement_is_named(small, tmp_path):
    with pytest.raises(UserError, match=r"baseline-rm50to95/covid.json: missing"):
        tables.write(6, small, tmp_path)


# --- figures --------------------------------------------------------------------------------------------------------


def drawn(study, results, layout=None):
    """The axes of Figure 4, or of another layout."""
    return figures.curves(layout or layouts.figures(study.paper)[4], study, results).axes


@pytest.fixture
def one_figure(tmp_path):
    """A study of Figure 4, where students reach 60, 61, ... and baselines 20 without an error."""
    study = study_but("demo", tables=[], figures=[4], also=[])
    wanted = sorted(set(plan.of_figure(4, study)), key=str)
    numbers = {
        str(q): [60.0 + i, 64.0 + i] if q.encoder.startswith("student") else [20.0] for i, q in enumerate(wanted)
    }
    measure(study, tmp_path, numbers)
    return study


def test_a_panel_has_our_curves_and_behind_them_the_published(one_figure, tmp_path):
    masks, noises = drawn(one_figure, tmp_path)
    assert [line.get_label() for line in masks.lines] == [
        "Ours", "Ours, published", "Supervised baseline", "Supervised baseline, published",
    ]  # fmt: skip
    ours, theirs, baseline, _ = masks.lines
    assert list(ours.get_xdata()) == [96, 97, 98, 99] and list(noises.lines[0].get_xdata()) == [0.35, 0.4, 0.45, 0.5]
    assert np.diff(ours.get_ydata()).tolist() == [1, 1, 1] and list(baseline.get_ydata()) == [20] * 4
    assert theirs.get_ydata()[0] == printed.value(plan.of_figure(4, DEMO)[0], PAPER).mean
    assert (ours.get_linestyle(), theirs.get_linestyle()) == ("-", "--") and ours.get_color() == theirs.get_color()
    assert ours.get_color() != baseline.get_color() and ours.get_marker() != baseline.get_marker()
    (band,) = masks.collections  # the baselines, measured once, have none
    low, high = (edge(band.get_paths()[0].vertices[:, 1]) for edge in (np.min, np.max))
    assert (low, high) == (ours.get_ydata()[0] - 2, ours.get_ydata()[-1] + 2)  # one standard error of 60 and 64
    assert (masks.get_title(), masks.get_xlabel()) == ("Trained on masks of 50–95 %", "Missing pixels (%)")
    assert masks.get_ylabel() == "Top-1 accuracy (%)"


def test_a_legend_has_ours_to_the_left_and_what_was_published_of_each_beside_it(one_figure, tmp_path):
    """In two columns, filled one after the other; a curve of which nothing was published leaves its place empty."""
    (axis, *_) = drawn(one_figure, tmp_path)
    assert texts_of(axis) == ["Ours", "Supervised baseline", "published", "published"]
    box = axis.get_legend().get_window_extent()
    assert box.y1 < axis.xaxis.label.get_window_extent().y0
    axis.lines[1].remove()
    figures.legend(axis, ["Ours", "Supervised baseline"])
    assert texts_of(axis) == ["Ours", "Supervised baseline", "", "published"]


def texts_of(axis):
    """The texts of a legend, as drawn."""
    axis.figure.canvas.draw()
    return [text.get_text() for text in axis.get_legend().get_texts()]


def test_a_cell_on_fewer_images_than_others_of_its_data_set_says_so():
    cells = printed.cells_of(8, PAPER)[:3]
    assert tables.fewer(cells, [Estimate(1, None, 1, images=n) for n in (20, 800, 800)]) == [20, None, None]
    assert tables.fewer(cells, [None, Estimate(1, None, 1), Estimate(1, None, 1, images=5)]) == [None, None, None]
    cells = [replace(cells[0], quantity=replace(cells[0].quantity, data=data)) for data in ("a", "b")]
    assert tables.fewer(cells, [Estimate(1, None, 1, images=n) for n in (20, 800)]) == [None, None]


def test_files_of_a_table_say_which_columns_are_of_fewer_images(tmp_path):
    """Of the kept demo, whose Deep Decoder restored 20 of 800 test images."""
    shutil.copytree(Path(__file__).resolve().parent.parent / "results/reference/demo", tmp_path / "demo")
    tables.write(8, papers.study("demo"), tmp_path)
    for ending in ("md", "tex"):
        text = (tmp_path / f"demo/tables/table_8.{ending}").read_text()
        assert "Inpainting: on 20 test images, fewer than the rest." in text and "Ours: on" not in text
    head = (tmp_path / "demo/tables/table_8.csv").read_text().splitlines()[0]
    assert "Inpainting (20 images)" in head and head.count("images)") == 1


def test_a_band_is_of_trainings_where_there_are_several():
    assert figures.band(Estimate(80, 0.2, 10)) == 0.2 and figures.band(Estimate(80, None, 1)) == 0
    assert figures.band(Estimate(80, 0.2, 10, trainings=4, training_sd=1.0)) == 0.5


def test_an_axis_is_of_whole_numbers_where_all_its_levels_are(one_figure, tmp_path):
    axes = drawn(one_figure, tmp_path)
    assert axes[1].get_xticks() == pytest.approx([0.3, 0.35, 0.4, 0.45, 0.5, 0.55])
    assert figures.round_ticks(True).tick_values(50, 99).tolist() == [50, 60, 70, 80, 90, 100]
    masks, noises = (axis.xaxis.get_major_locator() for axis in axes)
    assert isinstance(masks, MaxNLocator) and masks._integer and not getattr(noises, "_integer", False)
    layout = layouts.figures(PAPER)[4]
    logarithmic = layout.model_copy(update={"panels": [layout.panels[0].model_copy(update={"log": True})], "x": "X"})
    (axis,) = drawn(one_figure, tmp_path, logarithmic)
    assert axis.get_xscale() == "log" and not getattr(axis.xaxis.get_major_locator(), "_integer", False)
    assert isinstance(axis.xaxis.get_major_formatter(), FormatStrFormatter)


def test_a_curve_without_levels_is_a_line_across_its_panel(one_figure, tmp_path):
    panel = {"title": "A", "levels": ["rm96", "rm97"], "curves": {
        "All": "student-rm50to95 | probe 100% | imagenet100 | rm96 | {metric}",
        "Nobody's": "baseline-rm50to95 | own | imagenet100 | {x} | {metric}",
    }}  # fmt: skip
    layout = FigureLayout.model_validate(
        {"title": "A", "metric": "top1", "x": "Level", "panels": [panel] * 3, "columns": 2}
    )
    axes = drawn(one_figure, tmp_path, layout.model_copy(update={"panels": layout.panels * 2}))
    assert len(axes) == 6 and axes[0].get_gridspec().get_geometry() == (3, 2)
    line = axes[0].lines[0]
    assert line.get_ydata()[0] == line.get_ydata()[1] and list(line.get_xdata()) == [0, 1]
    assert axes[0].get_xlabel() == "Level"


def test_a_published_study_draws_no_second_curves(tmp_path):
    study = study_but("published", tables=[], figures=[4], also=[])
    for product in plan.measurements(study):
        write_rows(study, tmp_path, product, plan.recipe_of(product, study).rows)
    assert [line.get_label() for line in drawn(study, tmp_path)[0].lines] == ["Ours", "Supervised baseline"]


def test_a_figure_is_the_same_bytes_each_time(one_figure, tmp_path):
    for name in ("a", "b"):
        figures.write(4, one_figure, tmp_path, tmp_path / name)
    for ending, start in (("pdf", b"%PDF"), ("png", b"\x89PNG")):
        content = (tmp_path / f"a/demo/figure_4.{ending}").read_bytes()
        assert content.startswith(start) and content == (tmp_path / f"b/demo/figure_4.{ending}").read_bytes()


def test_a_figure_is_the_same_bytes_whatever_the_user_s_matplotlibrc_says(one_figure, tmp_path):
    figures.write(4, one_figure, tmp_path, tmp_path / "a")
    with plt.rc_context({"font.size": 40, "svg.fonttype": "path", "lines.linewidth": 9, "figure.dpi": 20}):
        figures.write(4, one_figure, tmp_path, tmp_path / "b")
    for ending in figures.METADATA:
        drawn = [(tmp_path / f"{name}/demo/figure_4.{ending}").read_bytes() for name in ("a", "b")]
        assert drawn[0] == drawn[1], ending


def test_a_full_disk_while_a_figure_is_drawn_is_one_line(one_figure, tmp_path, small_disk):
    folder, _ = small_disk
    (folder / "filling").write_bytes(bytes(98_000))
    with pytest.raises(UserError, match=r"figure_4.pdf: the disk is full"):
        figures.write(4, one_figure, tmp_path, folder)


@pytest.mark.parametrize("number", [1, 11])
def test_a_gallery_shows_samples_and_what_models_take_them_for(tmp_path, number):
    levels, labels = layouts.figures(PAPER)[number].distortions, ["A", "a class with quite a long name of its own"]
    predictions = {}
    if number == 1:
        guesses = [[["A", 0.756], ["B", 0.2]], [["B", 0.5], ["C", 0.125]]]
        predictions = {level: {"ours": guesses, "baseline": guesses[::-1]} for level in levels}
    tensors = {level: np.zeros((2, 4, 4, 3), "uint8") for level in ["clean", *levels]}
    facts = {"labels": labels, "predictions": predictions}
    write_tensors(DEMO, tmp_path, f"galleries/figure_{number}", tensors, **facts)
    axes = figures.gallery(number, DEMO, tmp_path).axes
    assert len(axes) == 2 * (1 + len(levels)) and all(len(axis.images) == 1 for axis in axes)
    assert [axis.get_title() for axis in axes[:3]] == ["A", "a class with quite a long…", ""]
    assert [axis.get_ylabel() for axis in axes[:5]] == [
        "clean",
        "",
        "mask 90 %" if number == 1 else "mask 50 %",
        "",
        "noise σ = 0.5" if number == 1 else "mask 75 %",
    ]
    axes[0].figure.canvas.draw()
    assert np.ptp([axis.get_window_extent().width for axis in axes]) < 1  # px: titles and guesses make none smaller
    if number == 1:
        assert axes[0].get_xlabel() == ""
        assert axes[2].get_xlabel() == "Ours:\n✓ A 76 %\nB 20 %\nSupervised baseline:\nB 50 %\nC 12 %"
    else:
        assert {axis.get_xlabel() for axis in axes} == {""}


def test_a_gallery_of_another_recipe_is_refused(tmp_path):
    write_tensors(DEMO, tmp_path, "galleries/figure_11", {"clean": np.zeros(1)}, recipe_hash="0" * 64)
    with pytest.raises(UserError, match="galleries/figure_11.safetensors: made by recipe 000000000000"):
        figures.write(11, DEMO, tmp_path, tmp_path)


# --- the page -------------------------------------------------------------------------------------------------------


def page_of(study, results, compare=None):
    """The page's text, blank lines and indents left out."""
    page.write(study, results, results / "figures", compare)
    return (results / study.name / "report.html").read_text()


def test_a_log_is_linked_where_it_is_kept(small, hand_made, tmp_path):
    kept = shutil.copytree(hand_made, tmp_path / "kept")
    log = "logs/measurements/student-rm50to95/covid.log"
    assert "logs/" not in page_of(small, kept)
    (kept / small.name / log).parent.mkdir(parents=True)
    (kept / small.name / log).touch()
    assert f'<a href="{log}">{log}</a>' in page_of(small, kept)


def test_the_page_has_every_cell_with_its_verdict_and_its_origin(small, hand_made):
    text = page_of(small, hand_made)
    assert "Does it hold? Study demo" in text and text.count('<td class="cell"') == 4
    cell = text[text.index("<b>0.940±0.0100</b>") :]
    assert cell.startswith(
        '<b>0.940±0.0100</b> <span class="badge not-comparable" title="not comparable">+0.022</span>'
    )
    assert f"published {TABLE_6[1].value}±{TABLE_6[1].se}" in cell and str(TABLE_6[1].quantity) in cell
    product = "measurements/student-rm50to95/covid"
    assert f'<a href="{product}.json">{product}.json</a>, 5 images' in cell
    recipe = digest(plan.recipe(product, small))[:12]
    assert f"{recipe}, 1, 1.5 s" in cell and "n = 2" in cell
    assert "<b>4</b> printed cells" in text and "<b>4</b> jobs" in text and "4 measurements" in text
    assert (
        "<h3>Table 3: Label shift" in text and '<table class="dataframe left">' in text and "A true loss of" not in text
    )


def test_a_censored_number_is_shown_as_a_bound_beside_the_tables():
    robust = study_but("simclr-demo", also=["supervised | own | cifar10 | pgd | median"])
    for censored, text in ((True, "≥ 0.50"), (False, "0.50")):
        known = SimpleNamespace(of=lambda quantity, censored=censored: Estimate(0.5, 0.0, 200, censored=censored))
        assert shown_tables.beside_tables(robust, known) == [("supervised", "own", "cifar10", "pgd", "median", text)]


def test_the_page_speaks_in_its_paper_s_words(small, hand_made, tmp_path):
    text = page_of(small, hand_made)
    said = "In each cell: what was measured here ± standard error over instantiations of the distortions"
    assert f"{said}, from one training; the difference" in text
    assert "<td>Instantiations</td><td>10 of each drawn distortion; blur and other" in text
    assert "<h3>On clean images</h3>" not in text
    plain = replace(small, paper=replace(PAPER, sentences={}))
    assert (
        "In each cell: what was measured here, from one training; the difference" in (bare := page_of(plain, hand_made))
        and "<td>Instantiations" not in bare
    )
    model = "supervised{} | own | cifar10"
    values = {(m, q): 10 * i + j for i, m in enumerate(("", "-lambda1")) for j, q in enumerate(("pgd", "plb"))}
    known = {f"{model.format(m)} | {q} | all@0.5": [value] for (m, q), value in values.items()}
    known["supervised | own | cifar10 | clean | top1"] = [0.125]
    robust = study_but("simclr-demo", tables=[], figures=[], also=list(known))
    measure(robust, tmp_path, known)
    text = page_of(robust, tmp_path)
    assert (
        "<td>Attacked images</td><td>200, the same for every model; distances are of L2 in [0, 1] pixels</td>" in text
    )
    heading = "<h3>Does PGD fail because it is weak? Images misclassified within 0.5</h3>"
    for model in ("supervised", "supervised-lambda1"):
        lacking = f"<li>{model}: not measured: strongest, pgd-transfer; nothing is said of its gradients</li>"
        assert lacking in text[text.index(heading) :]
    assert "<h3>Behind the claims</h3>" in text and "<summary>5 quantities</summary>" in text
    shown = (("", "pgd | all@0.5", "0.00"), ("-lambda1", "plb | all@0.5", "11.00"), ("", "clean | top1", "0.13"))
    for model, level, value in shown:
        fields = [f"supervised{model}", "own", "cifar10", *level.split(" | "), value]
        assert "".join(f"<td>{field}</td>" for field in fields) in text
    assert "In contrasts, a model, its head, data, attack and metric." in text
    assert "The images that Figure 2 counts here" not in text  # no figure is shown


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"training_seeds": [1]}, "In each cell: what was measured here, from one training; the difference"),
        (
            {"training_seeds": [1, 2, 3]},
            "In each cell: what was measured here, the mean over 3 trainings; the difference",
        ),
        (
            {"measured": False},
            "In each cell: the authors' own result, or the print itself where none was published; the difference",
        ),
    ],
)
def test_the_page_says_over_how_many_trainings_its_cells_are(changed, said, tmp_path):
    study = study_but("simclr-demo", tables=[], figures=[], also=[], **changed)
    assert said in page_of(study, tmp_path)


def test_the_page_tells_power_shift_and_assumption(hand_made):
    study = study_but("demo", tables=[3, 6], figures=[], also=[], comparable=True, spreads=None)
    text = page_of(study, hand_made)
    ours = [Measurements(study, hand_made).of(cell.quantity) for cell in TABLE_6]
    powers = [100 * shown_tables.verdicts.power(points, TABLE_6, study, ours) for points in (1, 2, 3)]
    chances = ", ".join(f"{power:.0f}" for power in powers)
    assert f"A true loss of 1, 2, 3 points of 0.01 in one cell is found with a chance of {chances} %." in text
    assert "of a false alarm in a table at 5 %" in text and "label shift 1.5, head top1 0.9" in text
    assert "<b>2 of 4</b> judged cells within, spread assumed<br>" in text
    assert "with a chance of about 5 %" in text and shown_tables.family(13) == "49" and shown_tables.family(0) is None
    found = shown_tables.shift.of_table(TABLE_6, ours, study)
    assert f"<strong>{found.words.capitalize()}</strong>: mean difference {shown_tables.signed(found.mean, 3)}" in text
    assert f"<strong>All tables: {found.words}</strong>" in text and "over 4 quantities" in text
    judged, flips = (of(TABLE_6, ours, study) for of in (shown_tables.verdicts.of_table, shown_tables.verdicts.flips))
    assert all(f"<dd>{each.words} (z = {each.z:.1f}" in text for each in judged)
    assert {each.words for each in judged} > {"not distinguishable, spread assumed"}
    assert "0 of them shown to be equal within 1 point, the others not distinguishable;" in text
    spreads = [shown_tables.flip_of(*each) for each in zip(flips, judged, strict=True)]
    assert all(f"<dt>Spread</dt><dd>{each}</dd>" in text for each in spreads)
    assert shown_tables.flip_of(shown_tables.Flip(0.3, 0.456), judged[0]) == "0.3, assumed; the verdict flips at 0.46"
    assert shown_tables.flip_of(shown_tables.Flip(0.3, None), judged[0]) == "0.3, assumed; the verdict flips at none"
    without = page_of(study_but("demo", tables=[3], figures=[], also=[], comparable=True), hand_made)
    assert "A true loss of" not in without and "All tables:" not in without and "assumed:" in without


def test_the_page_says_where_numbers_come_from(small, hand_made):
    images, encoder = "images/covid", "encoders/student-rm50to95"
    facts = {"losses": [2.0, 1.23456], "torch": "2.9", "seconds": 58.5}
    write_tensors(small, hand_made, images, {"a": np.zeros(2)})
    write_tensors(small, hand_made, encoder, {"a": np.zeros(1)}, **facts)
    hashes = [files.content_hash({"a": np.zeros(size)})[:16] for size in (2, 1)]
    write_tensors(small, hand_made, "encoders/teacher", {"a": np.zeros(1)}, device="a GPU")
    (hand_made / "demo/encoders/left-over.safetensors").write_bytes(b"of another study")
    text = page_of(small, hand_made)
    assert "<b>7</b> jobs" in text and "2 encoders, 1 images, 4 measurements" in text
    assert "<b>1 min</b> of computing" in text and "a CPU, a GPU" in text and "<td>torch</td><td>2.9</td>" in text
    said = page.jinja2.filters.escape(str(small.said["data"]["covid"]))
    assert f"<td>images/covid</td><td><small>{said}</small></td><td><code>{hashes[0]}</code>" in text
    row = f"<td>mask 50–95 %</td><td>10</td><td>1.2346</td><td>58.5</td><td><code>{hashes[1]}</code>"
    assert (
        f"<td>student-rm50to95</td>{row}" in text and "<td>teacher</td><td>clean images</td><td>7</td><td></td>" in text
    )


@pytest.mark.parametrize(
    ("facts", "problem"),
    [
        ({"torch": 3}, "its record says of torch: 3 is not of type string"),
        ({"seconds": "x"}, "its record says of seconds: 'x' is not of type number"),
        ({"started": 3}, "its record says of started: 3 is not of type string"),
        ({"losses": ["x"]}, "its record says of losses.0: 'x' is not of type number"),
        ({"recipe": {"settings": [3]}}, "its record says of recipe.settings: .3. is not of type mapping"),
    ],
)
def test_the_page_reads_no_record_of_nonsense(small, hand_made, facts, problem):
    write_tensors(small, hand_made, "images/covid", {"a": np.zeros(2)}, **facts)
    with pytest.raises(UserError, match=rf"covid.safetensors: damaged or incomplete \({problem}\); delete it and run"):
        provenance.shown(small, Measurements(small, hand_made))


def test_the_page_reads_no_record_of_another_product(small, hand_made):
    write_tensors(small, hand_made, "images/imagenet100", {"a": np.zeros(2)})
    folder = hand_made / "demo/images"
    (folder / "imagenet100.safetensors").rename(folder / "covid.safetensors")
    with pytest.raises(UserError, match=r"covid.safetensors: damaged .*\(its record is that of 'images/imagenet100'\)"):
        provenance.shown(small, Measurements(small, hand_made))


CLAIMS = """
- id: auc
  section: D.2
  quote: The masking models tie and our noise model is behind.
  readings:
    - reading: "tie: within 0.01"
      compare:
        - {plus: ["student-rm50to95 | probe 100% | covid | rm50to95 | auc"], minus: ["baseline-rm50to95 | probe 100% | covid | rm50to95 | auc"], within: 0.01}
        - {plus: ["baseline-gn10to30 | probe 100% | covid | gn10to30 | auc"], minus: ["student-gn10to30 | probe 100% | covid | gn10to30 | auc"], above: 0}
    - reading: behind alone
      compare:
        - {plus: ["baseline-gn10to30 | probe 100% | covid | gn10to30 | auc"], minus: ["student-gn10to30 | probe 100% | covid | gn10to30 | auc"], above: 0}
- id: water
  section: D.2
  quote: Water is wet.
  truism: true
  readings: [{reading: so, compare: [{plus: ["student-rm50to95 | probe 100% | covid | rm50to95 | auc"], above: 0}]}]
- {id: people, section: "1", quote: People would fail., untested: Nobody asked them.}
"""  # noqa: E501


def test_the_page_says_what_holds_and_where_a_study_departs(hand_made, tmp_path):
    study = study_but("demo", tmp_path, files={"claims.yaml": CLAIMS}, tables=[3, 6], figures=[], also=[], spreads=None)
    text = page_of(study, hand_made)
    row = text[text.index('id="claim-auc"') : text.index('id="claim-water"')]
    assert "<q>The masking models tie and our noise model is behind.</q>" in row
    # 0.94 - 0.91 is 0.02 beyond 0.01 with 0.02 of uncertainty; 0.80 - 0.72 is 0.08 with 0.03
    tie, behind = row.split("Read as: ")[1:]
    assert (
        tie.startswith("tie: within 0.01</span>") and '−2.00 [−5.72, 1.72] <span class="badge open">open</span>' in tie
    )
    assert behind.startswith("behind alone</span>") and '<span class="badge holds">holds</span>' in behind
    assert "1 of 2 true by themselves; spread assumed, flips at no spread; cannot hold here" in row
    assert "it would take bounds 0.023 to either side; on 5 test images; 1 training; " in row
    assert [re.search("by the published numbers: ([a-z ]+)<", each)[1] for each in (tie, behind)] == ["open", "holds"]
    assert '+0.03 [−0.01, 0.07] <span class="badge open">open' in row
    assert '+0.08 [0.01, 0.15] <span class="badge true">true' in row
    assert '<div class="verdicts"><span class="badge open">open</span>' in row
    assert "a truism, not counted" in text and "<b>1</b> claims<br>" in text and "0 with readings that differ" in text
    assert '“People would fail.”<br><small class="muted">Nobody asked them.</small>' in text
    both = '<td><span class="long">48</span></td><td><span class="long">224</span></td>'
    assert f"<tr><td><code>image_size</code></td>{both}</tr>" in text
    assert "<code>description</code>" not in text


def test_another_run_stands_beside_ours(small, hand_made, tmp_path):
    other = tmp_path / "other"
    twice = papers.study("demo")
    measure(twice, other, {str(TABLE_6[1].quantity): [0.5, 0.7]})
    measured = Measurements(twice, other)
    with pytest.raises(UserError, match="holds no"):
        measured.of(replace(TABLE_6[1].quantity, metric="top1"))
    judged, ours = shown_tables.Judgement("within", 0.0, 9.0), Measurements(small, hand_made)
    estimate = ours.of(TABLE_6[1].quantity)
    cell = shown_tables.cell_of(TABLE_6[1], estimate, judged, None, ours, measured)
    assert cell["other"] == "0.600±0.1000" and cell["ours"] == "0.940±0.0100"
    assert shown_tables.cell_of(TABLE_6[1], estimate, judged, None, ours, None)["other"] is None


def test_what_a_study_says_is_escaped(hand_made):
    study = study_but("demo", tables=[6], figures=[], also=[], description="A <b>bold</b> & plain study.")
    assert "<p>A &lt;b&gt;bold&lt;/b&gt; &amp; plain study.</p>" in page_of(study, hand_made)


def test_figures_lie_in_the_page(one_figure, tmp_path):
    assert "<figcaption>" not in page_of(one_figure, tmp_path)
    figures.write(4, one_figure, tmp_path, tmp_path / "figures")
    text = page_of(one_figure, tmp_path)
    drawing = text[text.index('<figure class="block" id="figure-4">') : text.index("<figcaption>")]
    assert '<svg role="img" aria-label="Figure 4: Top-1 accuracy beyond the trained severity" ' in drawing
    assert "currentColor" in drawing and "#ffffff" not in drawing and "#262626" not in drawing
    assert 'id="f4-axes_1"' in drawing and "<figcaption>Figure 4: Top-1 accuracy beyond the trained severity. " in text
    assert '<a href="../figures/demo/figure_4.svg">svg</a>' in text
    path = tmp_path / "figures/demo/figure_4.png"
    here = tmp_path / "demo"
    gallery = page.figure_of(11, DEMO, path, here)
    assert not gallery["dashed"] and gallery["png"].startswith("data:image/png;base64,iVBOR")
    assert not page.figure_of(4, PUBLISHED, path, here)["dashed"]
    width = re.search(r'viewBox="0 0 ([\d.]+) ', drawing)[1]
    assert f'style="max-width: {1.6 * float(width):.0f}px"' in drawing


def test_the_page_of_published_numbers_says_what_was_not_published():
    (of_masks, of_noise), otherwise = curves.unpublished(layouts.figures(PUBLISHED.paper)[5], PUBLISHED)
    assert otherwise == []
    assert of_masks.startswith("Supervised baseline in “Trained on masks") and "noise" in of_noise
    path = Path("figure_5.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page.drawings, "inline", lambda path, name: "")
        assert page.figure_of(5, PUBLISHED, path, Path())["unpublished"] == [of_masks, of_noise]


def test_a_difference_is_that_of_the_two_numbers_that_are_shown():
    """0.9175 stands as 0.918, beside 0.918."""
    cell = next(cell for cell in TABLE_6 if cell.value == "0.918")
    assert shown_tables.delta(Estimate(0.9175, None, 1), cell) == "+0.000"
    assert shown_tables.delta(Estimate(0.9165, None, 1), cell) == "−0.001"


def test_a_claim_of_which_an_earlier_one_has_every_reading_is_said_before(hand_made, tmp_path):
    again = CLAIMS.split("- id: water")[0].replace("- id: auc", "- id: again")
    again = again[: again.index('    - reading: "tie')] + again[again.index("    - reading: behind alone") :]
    files = {"claims.yaml": CLAIMS + again.replace("behind alone", "in other words")}
    study = study_but("demo", tmp_path, files=files, tables=[3, 6], figures=[], also=[], spreads=None)
    text = page_of(study, hand_made)
    said = text[text.index('id="claim-again"') :]
    assert '<a href="#claim-auc">said before</a>, not counted again)' in said
    assert "said before" not in text[: text.index('id="claim-again"')] and "<b>1</b> claims<br>" in text


def test_a_study_that_need_not_match_the_print_says_which_one_does():
    counts = page.Counter({"within": 3, "worse": 1, "not comparable": 1, "missing": 2})
    shown = {"cell_counts": counts, "judged": 4, "copied": 1, "equal": 2, "assumed": True}
    found, rest = (
        "No difference was found in 3 of the 4 printed numbers that can be judged",
        "1 is not comparable; 2 are missing.",
    )
    halves = "(2 of them shown to be equal within 1 point; spread assumed)"
    for name, words in (
        ("paper", f"{found} {halves}, in a study that need not match them as `authors` is expected to; {rest}"),
        ("authors", f"{found} {halves}; {rest}"),
        ("published", f"{found}; 1 of them is the print itself; {rest}"),
    ):
        told = shown | {"copied": shown["copied"] * (name == "published")}
        assert page.verdict(papers.study(name), {"groups": {}}, told) == [words]
    measured = page.of_print(papers.study("authors"), shown | {"assumed": False, "copied": 0})
    assert measured == f"{found} (2 of them shown to be equal within 1 point); {rest}"
    assert page.verdict(papers.study("authors"), {"groups": {}}, shown | {"judged": 0}) == []


def test_what_is_judged_and_copied_of_the_published_numbers(tmp_path):
    study = study_but("published", tables=[6, 10], figures=[], also=[])
    values = {str(cell.quantity): [float(cell.value)] for number in (6, 10) for cell in printed.cells_of(number, PAPER)}
    measure(study, tmp_path, values)
    shown, judged = shown_tables.of_study(study, Measurements(study, tmp_path), None), len(TABLE_6)
    assert shown["judged"] == judged == shown["cell_counts"]["within"]
    assert shown["cell_counts"]["not comparable"] == len(printed.cells_of(10, PAPER))
    text = page_of(study, tmp_path)
    assert f"<b>{judged} of {judged}</b> judged cells within<br>" in text and "shown to be equal" not in text


def test_galleries_whose_images_are_not_kept_are_named(one_figure, tmp_path):
    assert "Not drawn here" not in page_of(one_figure, tmp_path)
    said = "Not drawn here, as their sample images are not at hand: "
    assert f"{said}Figure 1." in page_of(study_but("demo", tables=[], figures=[1], also=[]), tmp_path)
    assert f"{said}Figures 1 and 11." in page_of(study_but("demo", tables=[], figures=[1, 11], also=[]), tmp_path)


def test_what_was_kept_for_one_reason_is_said_once(small, hand_made):
    def kept(product, change, because="alike"):
        facts = {"before": "a", "now": "b", "when": "2026-01-02"}
        return accepted.Accepted(products=[product], changes=[change], because=because, **facts)

    accepted.add(hand_made / "demo", [kept("b", "y"), kept("a", "x"), kept("a", "x"), kept("c", "z", "otherwise")])
    one, other = provenance.kept(hand_made / "demo")
    assert (one["products"], one["changes"], one["because"]) == (["a", "b"], ["x", "y"], "alike")
    assert (other["products"], other["because"]) == (["c"], "otherwise")
    text = page_of(small, hand_made)
    assert text.index('id="departures"') < text.index("Kept although their code has changed since")
    assert "<td><details><summary>2</summary><small>x, y</small></details></td><td>alike</td>" in text


# --- progress -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "text"), [(4.4, "4 s"), (59.6, "1 min 00 s"), (65, "1 min 05 s"), (3900, "1 h 05 min")]
)
def test_durations_as_people_say_them(seconds, text):
    assert progress.duration(seconds) == text


def test_the_latest_jobs_stand_first_and_the_rest_are_counted(tmp_path):
    for i in range(4):
        folder = tmp_path / "demo/state/encoders" / str(i)
        folder.mkdir(parents=True)
        report = {
            "product": f"encoders/{i}", "state": "running" if i == 0 else "finished", "epoch": i, "epochs": 5,
            "loss": None, "images_per_second": 2.5, "updated": float(i), "eta_seconds": 0,
        }  # fmt: skip
        (folder / "progress.json").write_text(json.dumps(report))
    (tmp_path / "demo/state/encoders/0/other.json").write_text("{")
    (tmp_path / "demo/state/encoders/9").mkdir()
    (tmp_path / "demo/state/encoders/9/progress.json").write_text("{")
    lines = progress.screen(tmp_path, 2).splitlines()
    assert [re.findall(r"encoders/\d|running|stopped|finished|damaged", line) for line in lines[2:6]] == [
        ["encoders/9", "damaged"], ["encoders/0", "stopped"], ["encoders/3", "finished"], ["encoders/2", "finished"],
    ]  # fmt: skip
    assert lines[6] == "... and 1 more finished jobs (--all shows them)" and "more finished" not in progress.screen(
        tmp_path, None
    )
    assert "No job has run yet" in progress.screen(tmp_path / "nowhere", None)
