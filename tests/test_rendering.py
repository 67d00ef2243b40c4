import subprocess
import sys

import pandas as pd
import pytest

from contrastive_inversion.base import files, studies
from contrastive_inversion.ledger import plan, quantities
from contrastive_inversion.ledger.measurements import Estimate, content_hash
from contrastive_inversion.show import tables

TABLE_6 = [cell for cell in quantities.cells() if cell.table == 6]


def test_rendering_does_not_import_torch():
    code = (
        "import importlib, pkgutil, sys\n"
        "for room in ('base', 'ledger', 'show'):\n"
        "    package = importlib.import_module('contrastive_inversion.' + room)\n"
        "    for module in pkgutil.iter_modules(package.__path__):\n"
        "        if module.name != 'rng': importlib.import_module(package.__name__ + '.' + module.name)\n"
        "from contrastive_inversion.run import cli\n"
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [(0.9175, 3, "0.918"), (85.865, 2, "85.87"), (78.05, 1, "78.1"), (71.9, 1, "71.9"), (100 / 3, 2, "33.33")],
)
def test_numbers_round_half_up_in_decimal(value, decimals, text):
    assert tables.rounded(value, decimals) == text


def test_cells_print_with_the_decimals_of_the_paper():
    assert tables.as_printed(Estimate(0.9175, 0.00101, 10), TABLE_6[0]) == "0.918±0.0010"
    assert tables.as_printed(Estimate(0.9175, None, 1), TABLE_6[0]) == "0.918"
    assert tables.as_printed(None, TABLE_6[0]) == "–"


@pytest.fixture
def hand_made(tmp_path):
    """Measurement files of the demo study for Table 6, made by hand."""
    values = {
        ("baseline", "rm50to95"): [0.90, 0.92],
        ("student", "rm50to95"): [0.93, 0.95],
        ("baseline", "gn10to30"): [0.80, 0.80],
        ("student", "gn10to30"): [0.70, 0.74],
    }
    for (family, operator), found in values.items():
        product = f"measurements/{family}-{operator}/covid"
        common = {"head": "probe 100%", "distortion": operator, "over": "instantiations", "images": 5, "values": found}
        rows = [common | {"metric": "auc"}]
        record = {
            "recipe_hash": plan.digest(plan.recipe(product, "demo")), "seed": 1, "seconds": 1.0,
            "product": product,
        }  # fmt: skip
        record["content_hash"] = content_hash(rows, record)
        files.write_json(tmp_path / "demo" / plan.file_of(product), {"rows": rows, "record": record})
    return tmp_path


def test_a_table_from_hand_made_measurements(hand_made):
    tables.write(6, "demo", hand_made)
    folder = hand_made / "demo" / "tables"
    plain = pd.read_csv(folder / "table_6.csv")
    assert plain["AUC"].tolist() == ["0.910±0.0100", "0.940±0.0100", "0.800±0.0000", "0.720±0.0200"]
    assert plain["Model"].tolist() == ["Baseline (RM)", "Ours (RM)", "Baseline (GN)", "Ours (GN)"]
    marked = (folder / "table_6.md").read_text()
    assert "**0.940±0.0100**" in marked and "**0.800±0.0000**" in marked and "**0.910" not in marked
    latex = (folder / "table_6.tex").read_text()
    assert r"\toprule" in latex and r"\textbf{0.940$\pm$0.0100}" in latex


def test_ties_are_not_bold():
    rows = {"a": {"x": TABLE_6[0]}, "b": {"x": TABLE_6[1]}}
    same = {TABLE_6[0].quantity: Estimate(0.91801, None, 1), TABLE_6[1].quantity: Estimate(0.91799, None, 1)}
    assert tables.best_cells(6, rows, same, {}) == set()


def test_table_10_names_its_own_levels_where_the_paper_prints_none():
    cells = tables.rows_of(10, {})["row 5"]
    assert tables.row_title("row 5", cells, studies.load("demo")) == "noise σ = 0.02"
    assert tables.row_title("row 5", cells, studies.load("published")) == "row 5"
