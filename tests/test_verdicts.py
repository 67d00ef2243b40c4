"""The statistics of estimates and verdicts: by hand, by scipy, and on simulated retrainings."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from contrastive_inversion import papers
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.ledger import cells, printed, verdicts
from contrastive_inversion.ledger.estimates import Estimate, over_trainings, standard_error
from contrastive_inversion.ledger.quantities import parse
from ledgers import measure, study_but

STUDY = papers.study("paper")
SPREAD = STUDY.settings.training_spread["top1"]
TABLE_1, TABLE_10 = (printed.cells_of(number, STUDY.paper) for number in (1, 10))
CELL = TABLE_1[0]  # 77.53±0.06


# --- estimates ------------------------------------------------------------------------------------------------------


def test_standard_errors_are_those_of_a_sample():
    """The textbook's 2, 4, 4, 4, 5, 5, 7, 9: squares about the mean 5 sum to 32, so the variance is 32/7, not 32/8."""
    assert standard_error([2, 4, 4, 4, 5, 5, 7, 9]) == pytest.approx(math.sqrt(32 / 7 / 8), rel=1e-12)
    assert standard_error([1, 3]) == 1 and type(standard_error([1, 3])) is float
    assert standard_error([1]) is None and standard_error([]) is None


def test_trainings_are_averaged_with_their_spread():
    one = Estimate(80, 0.3, 10, images=5, origin="first")
    assert over_trainings([one]) is one
    mean = over_trainings([one, Estimate(83, 0.4, 10), Estimate(86, 1.2, 10)])
    assert (mean.mean, mean.trainings, mean.n, mean.images, mean.origin) == (83, 3, 10, 5, "first")
    assert mean.se == pytest.approx(1.3 / 3)  # sqrt(0.3² + 0.4² + 1.2²) = 1.3
    assert mean.training_sd == pytest.approx(3)  # sqrt((3² + 0² + 3²) / 2)
    assert mean.training_se == pytest.approx(3 / math.sqrt(3))
    assert one.training_se is None
    assert {type(number) for number in (mean.mean, mean.se, mean.training_sd)} == {float}  # as json and repr need it
    assert over_trainings([one, Estimate(83, None, 1)]).se is None


# --- the uncertainty of one cell ------------------------------------------------------------------------------------


def variance(cell, ours, **changes):
    return verdicts.uncertainty(cell, ours, STUDY, **changes) ** 2


def test_the_uncertainty_of_a_cell_by_hand():
    """Theirs² + ours² + spread² (1 + 1/n) + step²/12, each alone: 0.06, 0.08, 0.3 with n = 4, two decimals."""
    ours = Estimate(77, 0.08, 10, trainings=4)
    rounding = 1e-4 / 12
    assert variance(CELL, ours) == pytest.approx(0.0036 + 0.0064 + 0.09 * 1.25 + rounding, rel=1e-12)
    assert variance(CELL, Estimate(77, None, 1)) == pytest.approx(0.0036 + 0.09 * 2 + rounding, rel=1e-12)
    assert variance(replace(CELL, se=""), ours) == pytest.approx(0.0064 + 0.09 * 1.25 + rounding, rel=1e-12)
    assert variance(replace(CELL, decimals=0), ours) == pytest.approx(0.01 + 0.09 * 1.25 + 1 / 12, rel=1e-12)
    assert variance(CELL, ours, measured_spread=2.0) == pytest.approx(0.01 + 4 * 1.25 + rounding, rel=1e-12)
    assert variance(CELL, ours, measured_spread=0.0) == pytest.approx(0.01 + rounding, rel=1e-12)


@pytest.mark.parametrize(
    ("encoder", "data", "metric", "spread"),
    [
        ("teacher", "imagenet100", "top1", 0),
        ("resnet", "imagenet100", "top1", 0),
        ("resnet100", "imagenet100", "top1", 0.3),
        ("baseline-rm90", "imagenet100", "top1", 0.3),
        ("student-rm90", "imagenet100", "top1", 0.3),
        ("student-rm90", "imagenet100", "top5", 0.2),
        ("student-rm90", "label_shift", "top5", 1),
        ("student-rm90", "covid", "auc", 0.005),
    ],
)
def test_only_what_a_study_trains_has_a_spread_over_trainings(encoder, data, metric, spread):
    quantity = parse(f"{encoder} | probe 100% on rm90 | {data} | rm90 | {metric}")
    assert verdicts.training_spread(quantity, STUDY) == spread
    cell = replace(CELL, quantity=quantity)
    known = 0.0036 + 0.01 + 1e-4 / 12
    ours = Estimate(77, 0.1, 10, trainings=2)
    assert variance(cell, ours) == pytest.approx(known + 1.5 * spread**2, rel=1e-12)
    assert variance(cell, ours, measured_spread=7.0) == pytest.approx(known + (1.5 * 49 if spread else 0), rel=1e-12)


def test_a_spread_that_a_study_does_not_declare_is_asked_for():
    study = replace(STUDY, settings=STUDY.settings.model_copy(update={"training_spread": {"top5": 0.2}}))
    with pytest.raises(
        UserError, match=r"study paper: training_spread.top1: missing, 'b.*top1' needs it; did you mean 'top5'"
    ):
        verdicts.training_spread(CELL.quantity, study)


def test_the_spread_of_a_table_is_pooled_over_its_cells():
    several = [Estimate(80, 0.1, 10, trainings=3, training_sd=sd) for sd in (0.1, 0.7)]
    assert verdicts.pooled_spread([*several, None, Estimate(80, 0.1, 10)]) == pytest.approx(0.5)  # (0.01 + 0.49) / 2
    assert verdicts.pooled_spread([None, Estimate(80, 0.1, 10)]) is None
    judged = verdicts.of_table(TABLE_1[:2], [replace(e, mean=float(TABLE_1[0].value)) for e in several], STUDY)
    z = (77.53 - 85.87) / math.sqrt(0.08**2 + 0.01 + 0.25 * 4 / 3 + 1e-4 / 12)
    assert judged[1][1] == pytest.approx(z, rel=1e-12)


# --- Holm's method, p-values, power ---------------------------------------------------------------------------------


@pytest.mark.parametrize("z", [-4.2, -1.96, 0, 0.3, 2.5758])
def test_p_values_are_scipy_s(z):
    assert verdicts.p_value(z) == pytest.approx(2 * stats.norm.sf(abs(z)), rel=1e-12)


@pytest.mark.parametrize(
    ("p_values", "rejected"),
    [
        # by hand: sorted p-values against alpha/4, alpha/3, alpha/2, alpha (0.0125, 0.0167, 0.025, 0.05)
        ([0.01, 0.04, 0.03, 0.005], [True, False, False, True]),
        # against alpha/3 = 0.0167 for all, Bonferroni would reject the first alone
        ([0.015, 0.04, 0.024], [True, True, True]),
        ([0.02, 0.001, 0.049], [True, True, True]),
        # the second fails, so the third is not tested, though it is below its own 0.05
        ([0.001, 0.045, 0.03], [True, False, False]),
        ([0.05], [True]),
        ([0.0500001], [False]),
        ([], []),
    ],
)
def test_holm_by_hand(p_values, rejected):
    assert verdicts.holm(p_values) == rejected


def test_the_false_alarm_rate_is_a_parameter():
    """Abdi (2010): 0.00004, 0.0161 and 0.6123 have Holm's adjusted p-values 0.00012, 0.0322 and 0.6123."""
    p_values = [0.0161, 0.6123, 0.00004]
    for alpha, rejected in ((0.0001, [0, 0, 0]), (0.00013, [0, 0, 1]), (0.032, [0, 0, 1]), (0.0323, [1, 0, 1])):
        assert verdicts.holm(p_values, alpha) == list(map(bool, rejected))


def test_holm_is_the_shortcut_of_closed_testing():
    """A hypothesis is rejected where Bonferroni's test rejects every set of hypotheses that holds it."""
    random = np.random.default_rng(0)
    rejections = 0
    for _ in range(300):
        p = (random.uniform(size=4) ** 3).tolist()
        sets = [s for size in range(1, 5) for s in itertools.combinations(range(4), size)]
        closed = [all(min(p[j] for j in s) <= 0.05 / len(s) for s in sets if i in s) for i in range(4)]
        assert verdicts.holm(p) == closed
        rejections += sum(closed) - sum(value <= 0.05 / 4 for value in p)
    assert rejections > 20  # more than Bonferroni's, so the two are told apart


def test_power_is_that_of_a_shifted_normal():
    """Two-sided at alpha over three cells; the median over cells is the one in the middle."""
    three = [CELL, replace(CELL, se="0.5"), replace(CELL, se="")]
    errors = [math.sqrt(2 * float(c.se or 0) ** 2 + 2 * 0.3**2 + 1e-4 / 12) for c in three]
    threshold = stats.norm.isf(0.05 / 6)
    chances = [stats.norm.sf(threshold, loc=1 / e) + stats.norm.cdf(-threshold, loc=1 / e) for e in errors]
    assert verdicts.power(1, three, STUDY) == pytest.approx(sorted(chances)[1], rel=1e-9)
    assert verdicts.power(0, three, STUDY) == pytest.approx(0.05 / 3, rel=1e-9)


# --- verdicts -------------------------------------------------------------------------------------------------------


def test_verdicts_name_direction_and_absence():
    def judged(estimate):
        return verdicts.of_table([CELL], [estimate], STUDY)[0]

    error = verdicts.uncertainty(CELL, Estimate(90.0, 0.1, 10), STUDY)
    assert judged(Estimate(90.0, 0.1, 10)) == ("better", pytest.approx(12.47 / error))
    assert judged(Estimate(60.0, 0.1, 10)) == ("worse", pytest.approx(-17.53 / error))
    assert judged(Estimate(77.6, 0.1, 10)) == ("within", pytest.approx(0.07 / error))
    assert judged(None) == ("missing", None)


def test_missing_cells_leave_the_others_verdicts_in_place():
    estimates = [None, Estimate(99, 0.1, 10), None, Estimate(float(TABLE_1[3].value), 0.1, 10)]
    judged = verdicts.of_table(TABLE_1[:4], estimates, STUDY)
    assert [verdict for verdict, _ in judged] == ["missing", "better", "missing", "within"]
    assert set(cells.verdicts.VERDICTS) == {"within", "better", "worse", "not comparable", "missing"}
    with pytest.raises(ValueError, match="zip"):
        verdicts.of_table(TABLE_1[:2], estimates[:1], STUDY)


def test_a_study_that_is_not_comparable_judges_no_cell():
    small = replace(STUDY, settings=STUDY.settings.model_copy(update={"comparable": False}))
    assert verdicts.of_table([CELL], [Estimate(60, 0.1, 10)], small) == [("not comparable", None)]


def layouts(about_table_1):
    return f"1: {{title: First, rows: Distortion{about_table_1}}}\n"


def test_a_layout_that_is_not_comparable_switches_off_its_table_s_verdicts(tmp_path):
    study = study_but("paper", tmp_path, files={"tables.yaml": layouts(", comparable: false")})
    assert verdicts.of_table([CELL], [Estimate(60, 0.1, 10)], study) == [("not comparable", None)]
    assert verdicts.of_table(TABLE_10[:1], [Estimate(60, 0.1, 10)], STUDY) == [("not comparable", None)]


def test_a_note_switches_off_no_verdict(tmp_path):
    study = study_but("paper", tmp_path, files={"tables.yaml": layouts(", notes: [{text: Odd.}]")})
    assert printed.notes_of(1, study) == ["Odd."]
    assert verdicts.of_table([CELL], [Estimate(60, 0.1, 10)], study)[0][0] == "worse"


def test_several_training_seeds_take_the_place_of_the_declared_spread():
    wide = [Estimate(float(cell.value) + 2, 0.1, 10, trainings=3, training_sd=2.0) for cell in TABLE_1]
    narrow = [Estimate(float(cell.value) + 2, 0.1, 10, trainings=3, training_sd=0.1) for cell in TABLE_1]
    assert {verdict for verdict, _ in verdicts.of_table(TABLE_1, wide, STUDY)} == {"within"}
    assert {verdict for verdict, _ in verdicts.of_table(TABLE_1, narrow, STUDY)} == {"better"}


def test_a_row_of_cells_csv_says_ours_theirs_and_the_verdict():
    ours = Estimate(77.123456, 0.098765, 10)
    row = cells.row(CELL, ours, ("within", -1.23456))
    assert (row["table"], row["row"], row["column"]) == (1, CELL.row, CELL.column)
    assert row["quantity"] == str(CELL.quantity)
    assert (row["published"], row["published_se"]) == ("77.53", "0.06")
    assert (row["reproduced"], row["reproduced_se"], row["n"]) == (77.1235, 0.0988, 10)
    assert (row["delta"], row["verdict"], row["z"]) == (-0.4065, "within", -1.23)
    empty = cells.row(replace(CELL, se=""), None, ("missing", None))
    assert {key for key, value in empty.items() if value is None} == {
        "published_se", "reproduced", "reproduced_se", "n", "delta", "z",
    }  # fmt: skip
    assert cells.row(CELL, Estimate(77, None, 1), ("within", 0.0))["reproduced_se"] is None


def test_cells_csv_has_a_row_for_each_printed_cell_of_a_study_s_tables(tmp_path):
    study = study_but("demo", tables=[6, 3], figures=[], also=[])
    listed = printed.cells_of(6, study.paper)
    measure(study, tmp_path, {str(cell.quantity): [0.5, 0.5 + i / 10] for i, cell in enumerate(listed)})
    cells.write(study, tmp_path)
    written = pd.read_csv(tmp_path / "demo" / "cells.csv", dtype={"published": str})
    assert written["quantity"].tolist() == [str(cell.quantity) for cell in listed]
    assert written["reproduced"].tolist() == [0.5, 0.55, 0.6, 0.65] and set(written["verdict"]) == {"not comparable"}
    assert written["reproduced_se"].tolist() == [0, 0.05, 0.1, 0.15] and written["z"].isna().all()
    assert list(written.columns) == [
        "table", "row", "column", "quantity", "published", "published_se", "reproduced", "reproduced_se", "n", "delta",
        "verdict", "z",
    ]  # fmt: skip


# --- the whole method, on simulated retrainings ---------------------------------------------------------------------


def retrained(random, spread, shift=0.0, trainings=1, evaluation_se=0.08):
    """What a faithful (or shifted) retraining of Table 1 would report: both sides drawn around one truth."""
    drawn = []
    for cell in TABLE_1:
        theirs = float(cell.value)  # truth + their training + their evaluation, already drawn
        se = evaluation_se if cell.se else 0.0
        noise = random.normal(0, spread * np.sqrt(1 + 1 / trainings))
        noise += random.normal(0, np.hypot(se, float(cell.se or 0)))
        drawn.append(Estimate(theirs + noise + shift, se or None, 10, trainings=trainings))
    return drawn


def alarms(spread, shift=0.0, runs=400, trainings=1):
    """The share of simulated reproductions of Table 1 with any cell outside, and the share of cells outside."""
    random = np.random.default_rng(0)
    outside = []
    for _ in range(runs):
        judged = verdicts.of_table(TABLE_1, retrained(random, spread, shift, trainings), STUDY)
        outside.append([verdict in ("better", "worse") for verdict, _ in judged])
    return np.any(outside, axis=1).mean(), np.mean(outside)


@pytest.mark.parametrize("trainings", [1, 5])
def test_faithful_retrainings_are_rarely_rejected(trainings):
    any_alarm, _ = alarms(SPREAD, trainings=trainings)
    assert any_alarm == pytest.approx(verdicts.FALSE_ALARM_RATE, abs=0.025)


def test_the_evaluation_error_alone_would_reject_most_of_them(monkeypatch):
    monkeypatch.setattr(verdicts, "training_spread", lambda quantity, study: 0.0)
    assert alarms(SPREAD)[0] > 0.8


def test_a_true_loss_of_two_points_is_noticed():
    any_alarm, outside = alarms(SPREAD, shift=-2.0)
    assert any_alarm > 0.99 and outside > 0.8


def test_the_power_that_the_page_states_is_the_power_that_simulations_have():
    random, noticed = np.random.default_rng(1), []
    for _ in range(400):
        estimates = retrained(random, SPREAD)
        i = random.integers(len(TABLE_1))
        estimates[i] = replace(estimates[i], mean=estimates[i].mean - 2)
        noticed.append(verdicts.of_table(TABLE_1, estimates, STUDY)[i][0] == "worse")
    assert np.mean(noticed) == pytest.approx(verdicts.power(2, TABLE_1, STUDY), abs=0.04)
