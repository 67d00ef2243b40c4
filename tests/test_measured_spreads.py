"""Spreads that one study measures and another reads: by hand, through a file, into verdicts."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from contrastive_inversion import papers
from contrastive_inversion.base import files
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.ledger import cells, claims, measured_spreads, plan, printed, quantities, spreads, verdicts
from contrastive_inversion.ledger.estimates import Estimate, Spread
from contrastive_inversion.ledger.study import changed
from contrastive_inversion.run import cli, ready, verify
from ledgers import measure, study_but

PAPER = papers.study("paper")
SEEDS = papers.study("paper-seeds")
FAR = "student-rm50to95 | probe 100% | imagenet100 | rm97 | top1"
NEAR = FAR.replace("rm97", "rm93")


def of(text):
    return quantities.parse(text)


@pytest.fixture
def trained(tmp_path):
    """The results of five trainings: far masks move a number ten times as far as others."""
    random, values = np.random.default_rng(0), {}
    for quantity in plan.asked(SEEDS):
        size = 10 if SEEDS.paper.spread(quantity).endswith("@far") else 1
        for each in quantities.trainings(quantity, SEEDS):
            values[str(each)] = [50 + size * random.normal()]
    measure(SEEDS, tmp_path, values)
    measured_spreads.write(SEEDS, tmp_path)
    return tmp_path


def test_a_kind_has_a_level_where_that_spreads_otherwise():
    kinds = {text: PAPER.paper.spread(of(text)) for text in (FAR, NEAR, FAR.replace("imagenet100", "label_shift"))}
    assert list(kinds.values()) == ["top1@far", "top1", "label_shift"]
    assert PAPER.paper.spread(of("student-rm90 | probe 100% | covid | rm90 | auc")) == "auc"
    assert PAPER.paper.spread(of("student-rm90 | probe 100% | covid | rm90 | top1")) == "top1@covid"
    assert spreads.declared("top1@far", of(FAR), PAPER) == Spread(1.0)
    assert spreads.declared("head_top1@far", of(FAR), PAPER) == Spread(0.2)  # of all levels
    assert replace(PAPER, spreads={"top1@far": Spread(4, 8, assumed=False)}).spreads["top1@far"].df == 8


def test_the_spreads_of_five_trainings_by_hand(trained):
    """Pooled within each quantity; at most four degrees of freedom for each encoder; the interval is chi-squared's."""
    table = pd.read_csv(measured_spreads.path_of("paper-seeds", trained)).set_index("kind")
    assert list(table.index) == ["auc", "cosine", "label_shift", "top1", "top1@covid", "top1@far", "top5", "top5@far"]
    assert table["quantities"].to_dict() == {
        "auc": 2, "cosine": 3, "label_shift": 6, "top1": 6, "top1@covid": 2, "top1@far": 6, "top5": 6, "top5@far": 6,
    }  # fmt: skip
    assert table["df"].max() == 16 and (table["df"] >= 4).all()
    cosines = [q for q in plan.asked(SEEDS) if SEEDS.paper.spread(q) == "cosine"]
    squares = [4 * measured_spreads.Measurements(SEEDS, trained).of(q).training_sd ** 2 for q in cosines]
    assert table.loc["cosine", "df"] == pytest.approx(sum(squares) ** 2 / sum(s**2 / 6 for s in squares) - 2, abs=1e-5)
    far = [q for q in plan.asked(SEEDS) if SEEDS.paper.spread(q) == "top1@far"]
    each = [measured_spreads.Measurements(SEEDS, trained).of(q).training_sd for q in far]
    pooled = math.sqrt(np.mean(np.square(each)))
    assert table.loc["top1@far", "spread"] == pytest.approx(pooled, abs=1e-6) and pooled > 5 * table.loc["top1"].spread
    bounds = [pooled * math.sqrt(8 / stats.chi2.isf(tail, 8)) for tail in (0.025, 0.975)]
    assert table.loc["top1@far", ["low", "high"]].tolist() == pytest.approx(bounds, abs=1e-5)


def test_a_study_takes_the_spreads_of_the_one_that_it_names_once_that_has_run(trained, tmp_path):
    assert measured_spreads.informed(PAPER, tmp_path / "nowhere") is PAPER
    assert measured_spreads.informed(SEEDS, trained) is SEEDS  # its own are measured
    assert measured_spreads.informed(SEEDS, tmp_path / "nowhere") is SEEDS
    informed = measured_spreads.informed(PAPER, trained)
    assert spreads.declared("top1@far", of(FAR), informed).df == 8
    assert spreads.declared("head_top1", of(FAR), informed) == Spread(0.2)  # nobody measured it
    cell = next(
        c
        for c in printed.cells(PAPER.paper)
        if str(c.quantity) == "baseline-rm50to95 | own | imagenet100 | rm97 | top1"
    )
    for study, rests in ((PAPER, "assumed"), (informed, "measured")):
        judged = verdicts.of_table([cell], [Estimate(float(cell.value) + 3, 0.1, 10)], study)
        assert judged[0].spread == rests and judged[0].words.endswith("assumed") == (rests == "assumed")
        score = verdicts.score(cell, Estimate(42, 0.1, 10), study)
        assert (score.df > 100) == (rests == "assumed")


def test_cells_and_claims_read_the_file(trained):
    study = study_but("paper", tables=[11], figures=[], also=[])
    measure(study, trained, {str(q): [80, 81] for q in plan.asked(study)})
    table = cells.of_study(study, trained)
    assert set(table["spread_is"]) == {"measured"}
    judged = {each.claim.id: each for each in claims.of_study(study, trained)}
    assert "first-choice-better" in judged
    assert {reading.spread for each in judged.values() for reading in each.readings} == {"measured"}
    assumed = claims.of_study(replace(study, settings=study.settings.model_copy(update={"spreads": None})), trained)
    assert {reading.spread for each in assumed for reading in each.readings} == {"assumed"}


@pytest.mark.parametrize(
    "text",
    [
        "kind,spread\ntop1,0.3\n",
        "kind,spread,df\ntop1,wide,8\n",
        "kind,spread,df\ntop1,0,8\n",
        "kind,spread,df\ntop1,1,0\n",
    ],
)
def test_a_damaged_file_of_spreads_is_refused_with_its_name(tmp_path, text):
    path = measured_spreads.path_of("paper-seeds", tmp_path)
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(UserError, match=r"paper-seeds/spreads.csv: "):
        measured_spreads.informed(PAPER, tmp_path)


def test_spreads_that_were_altered_since_they_were_written_are_refused(tmp_path):
    path = measured_spreads.path_of("paper-seeds", tmp_path)
    files.write_text(path, "kind,spread,df\ntop1,0.7,8\n")
    files.write_json(path.parent / "rendered/spreads.json", {"files": {"spreads.csv": files.sha256(path)}})
    assert measured_spreads.informed(PAPER, tmp_path).spreads["top1"].value == 0.7
    path.write_text("kind,spread,df\ntop1,0.001,8\n")
    with pytest.raises(
        UserError, match=r"paper-seeds/spreads.csv: was altered .*spreads --study paper-seeds --results "
    ):
        measured_spreads.informed(PAPER, tmp_path)


def test_verify_works_out_the_spreads_that_a_study_reads(trained):
    assert verify.other_spreads(PAPER, trained) == []
    path = measured_spreads.path_of("paper-seeds", trained)
    path.write_text(path.read_text().replace("top1,", "top1,1"))
    assert verify.other_spreads(PAPER, trained) == [f"{path}: is not what the measurements beside it say"]
    file = next((trained / "paper-seeds/measurements").rglob("*.json"))
    text = file.read_text()
    file.write_text(text.replace('"images": 5', '"images": 6', 1))
    (line,) = verify.other_spreads(PAPER, trained)
    assert line.startswith(f"{path}: ") and "altered since it was measured" in line
    file.unlink()  # what is gone, or of another recipe, is for that study's own verification
    assert verify.other_spreads(PAPER, trained) == []


def test_a_study_with_other_settings_keeps_its_measured_spreads_and_stays_partial():
    study = replace(PAPER, spreads={"top1": Spread(0.7, 8)}, partial=True)
    other = changed(study, {"distill": {"batch": 7}})
    assert (other.settings.distill.batch, other.said["distill"]["batch"]) == (7, 7)
    assert (other.spreads, other.partial, other.files) == (study.spreads, True, PAPER.files)


def test_a_study_of_spreads_that_is_not_there_is_refused():
    with pytest.raises(UserError, match="there is no study 'paper-seed'; did you mean 'paper-seeds'"):
        ready.check(study_but("paper", spreads="paper-seed"))
    with pytest.raises(UserError, match="study 'simclr' is about another paper"):
        ready.check(study_but("paper", spreads="simclr"))


def test_the_studies_of_spreads_measure_every_kind_that_trainings_draw():
    for name, other in (("paper-seeds", "paper"), ("demo-seeds", "demo")):
        seeds, read = papers.study(name), papers.study(other)
        kinds = {SEEDS.paper.spread(q) for q in plan.asked(seeds)}
        assert read.settings.spreads == name and seeds.settings.spreads is None
        assert kinds >= {"top1", "top5", "top1@far", "top5@far", "top1@covid", "auc", "label_shift"}
    encoders = {q.encoder for q in plan.asked(SEEDS)}
    assert len(encoders) == 6 and len(SEEDS.settings.training_seeds) == 5
    assert cli.main(["spreads", "--help"]) == 0


def test_a_spread_that_a_study_declares_itself_stands_before_one_that_an_ancestor_s_study_measured(trained, study_of):
    study = study_of("inherits: paper\ntraining_spread: {auc: 0.5}\n", name="own", parent=None)
    informed = measured_spreads.informed(study, trained)
    assert "auc" not in informed.spreads and "top1" in informed.spreads
    assert spreads.declared("auc", of(FAR), informed) == Spread(0.5)


def test_a_kept_run_s_spreads_serve_where_no_run_lies_beside(tmp_path, monkeypatch):
    monkeypatch.setattr(measured_spreads, "KEPT", tmp_path / "kept")
    for folder, spread in (("kept", 0.7), ("here", 0.8)):
        path = measured_spreads.path_of("paper-seeds", tmp_path / folder)
        path.parent.mkdir(parents=True)
        path.write_text(f"kind,spread,df,low,high,quantities\ntop1,{spread},4,0.1,1.5,8\n")
    for folder, spread in (("elsewhere", 0.7), ("here", 0.8)):
        assert measured_spreads.informed(PAPER, tmp_path / folder).spreads == {"top1": Spread(spread, 4, assumed=False)}
