"""The runs of the demos that are kept in git: sound, of the present recipes, and of models that learned."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from contrastive_inversion import papers
from contrastive_inversion.base import files
from contrastive_inversion.base.job import file_of
from contrastive_inversion.ledger import measured_spreads, plan, quantities
from contrastive_inversion.ledger.measurements import Measurements
from contrastive_inversion.run import verify
from contrastive_inversion.run.fresh import Results

REFERENCE = Path(__file__).resolve().parent.parent / "results" / "reference"


@pytest.mark.parametrize(("name", "cells"), [("demo", 218), ("simclr-demo", 15)])
def test_a_kept_run_is_sound_and_rebuilds(name, cells, tmp_path, capsys):
    shutil.copytree(REFERENCE / name / "measurements", tmp_path / name / "measurements")
    verify.verify(papers.study(name), tmp_path, tmp_path / "figures")
    assert f"tables, figures, verdicts, claims and page of '{name}' rebuilt" in capsys.readouterr().out
    page = (tmp_path / name / "report.html").read_text()
    assert page.count('<td class="cell"') == cells and 'title="missing"' not in page
    assert "<figcaption>Figure" in page


@pytest.mark.parametrize(
    ("study", "reader", "df"), [("demo-seeds", "demo", 37.202406), ("simclr-demo-seeds", "simclr-demo", 7.805991)]
)
def test_the_kept_spreads_are_those_of_the_kept_trainings(study, reader, df, tmp_path):
    shutil.copytree(REFERENCE / study / "measurements", tmp_path / study / "measurements")
    assert verify.problems(Results(papers.study(study), tmp_path)) == []
    measured_spreads.write(papers.study(study), tmp_path)
    assert measured_spreads.path_of(study, tmp_path).read_text() == (REFERENCE / study / "spreads.csv").read_text()
    assert measured_spreads.informed(papers.study(reader), tmp_path / "elsewhere").spreads["top1"].df == df


def test_its_classifiers_learned_and_its_attacks_succeeded():
    measured = Measurements(papers.study("simclr-demo"), REFERENCE)
    for model in ("supervised{} | own", "contrastive{} | probe 100% on clean"):
        for strength in ("", "-lambda0.1", "-lambda1", "-lambda10"):
            quantity = f"{model.format(strength)} | cifar10"
            assert measured.of(quantities.parse(f"{quantity} | clean | top1")).mean > 75
            assert measured.of(quantities.parse(f"{quantity} | plb | all@3")).mean > 95


def test_its_models_learned_and_its_raw_teacher_did_not_see_through_masks():
    measured = Measurements(papers.study("demo"), REFERENCE)

    def top1(text):
        return measured.of(quantities.parse(text)).mean

    for mask, floor in (("rm50", 80), ("rm90", 50)):
        student = top1(f"student-{mask} | probe 100% | imagenet100 | {mask} | top1")
        raw = top1(f"teacher | probe 100% on {mask} | imagenet100 | {mask} | top1")
        assert student > floor and raw < student - 40
    assert top1("teacher | probe 100% on clean | imagenet100 | clean | top1") > 90


def test_every_measurement_keeps_its_raw_rows():
    for product in plan.measurements(papers.study("demo")):
        content = files.read_json(REFERENCE / "demo" / file_of(product))
        assert all(len(row["values"]) in (1, 5, 10) and np.isfinite(row["values"]).all() for row in content["rows"])
        assert {"recipe_hash", "code", "seed", "device", "seconds", "inputs"} <= content["record"].keys()
