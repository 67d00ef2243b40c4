"""The run of the demo that is kept in git: sound, of the present recipes, and what the README says of it."""

import shutil
from pathlib import Path

import numpy as np

from contrastive_inversion.base import files
from contrastive_inversion.ledger import plan, quantities
from contrastive_inversion.ledger.measurements import Measurements
from contrastive_inversion.run import verify

REFERENCE = Path(__file__).resolve().parent.parent / "results" / "reference"


def test_the_kept_run_is_sound_and_rebuilds(tmp_path, capsys):
    shutil.copytree(REFERENCE / "demo" / "measurements", tmp_path / "demo" / "measurements")
    verify.verify("demo", tmp_path, tmp_path / "figures")
    assert "tables, figures, verdicts, claims and page of 'demo' rebuilt" in capsys.readouterr().out
    page = (tmp_path / "demo" / "report.html").read_text()
    assert page.count('<td class="cell"') == 218 and 'title="missing"' not in page


def test_the_kept_run_of_the_second_report_is_sound_and_rebuilds(tmp_path, capsys):
    shutil.copytree(REFERENCE / "simclr-demo" / "measurements", tmp_path / "simclr-demo" / "measurements")
    verify.verify("simclr-demo", tmp_path, tmp_path / "figures")
    assert "claims and page of 'simclr-demo' rebuilt" in capsys.readouterr().out
    page = (tmp_path / "simclr-demo" / "report.html").read_text()
    assert page.count('<td class="cell"') == 15 and "<figcaption>Figure 2" in page


def test_its_classifiers_learned_and_its_attacks_succeeded():
    measured = Measurements("simclr-demo", REFERENCE)
    for model in ("supervised{} | own", "contrastive{} | probe 100% on clean"):
        for strength in ("", "-lambda0.1", "-lambda1", "-lambda10"):
            quantity = f"{model.format(strength)} | cifar10"
            assert measured.of(quantities.parse(f"{quantity} | clean | top1")).mean > 75
            assert measured.of(quantities.parse(f"{quantity} | plb | all@3")).mean > 95


def test_its_models_learned_and_its_raw_teacher_did_not_see_through_masks():
    measured = Measurements("demo", REFERENCE)

    def top1(text):
        return measured.of(quantities.parse(text)).mean

    for mask, floor in (("rm50", 80), ("rm90", 50)):
        student = top1(f"student-{mask} | probe 100% | imagenet100 | {mask} | top1")
        raw = top1(f"teacher | probe 100% on {mask} | imagenet100 | {mask} | top1")
        assert student > floor and raw < student - 40
    assert top1("teacher | probe 100% on clean | imagenet100 | clean | top1") > 90


def test_every_measurement_keeps_its_raw_rows():
    for product in plan.study_measurements("demo"):
        content = files.read_json(REFERENCE / "demo" / plan.file_of(product))
        assert all(len(row["values"]) in (1, 5, 10) and np.isfinite(row["values"]).all() for row in content["rows"])
        assert {"recipe_hash", "code", "seed", "device", "seconds", "inputs"} <= content["record"].keys()
