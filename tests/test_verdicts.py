"""The statistics of verdicts, on simulated retrainings; the claims, on data where they must hold, fail or stay open."""

from dataclasses import replace

import numpy as np
import pytest

from contrastive_inversion.base import studies
from contrastive_inversion.ledger import claims, printed, quantities, verdicts
from contrastive_inversion.ledger.measurements import Estimate

STUDY = studies.load("paper")
TABLE_1 = [cell for cell in quantities.cells() if cell.table == 1]


def retrained(cells, random, spread, shift=0.0, evaluation_se=0.08):
    """What a faithful (or shifted) retraining would report: both sides drawn around one truth."""
    found = []
    for cell in cells:
        theirs = float(cell.value)  # truth + their training + their evaluation, already drawn
        se = evaluation_se if cell.se else 0.0
        noise = random.normal(0, np.sqrt(2) * spread) + random.normal(0, np.hypot(se, float(cell.se or 0)))
        found.append(Estimate(theirs + noise + shift, se or None, 10))
    return found


def alarms(spread, shift=0.0, runs=400):
    """The share of simulated reproductions of Table 1 with any cell outside, and the share of cells outside."""
    random = np.random.default_rng(0)
    outside = []
    for _ in range(runs):
        judged = verdicts.of_table(TABLE_1, retrained(TABLE_1, random, spread, shift), STUDY)
        outside.append([verdict in ("better", "worse") for verdict, _ in judged])
    return np.any(outside, axis=1).mean(), np.mean(outside)


def test_faithful_retrainings_are_rarely_rejected():
    any_alarm, _ = alarms(STUDY["training_spread"]["top1"])
    assert any_alarm == pytest.approx(verdicts.FALSE_ALARM_RATE, abs=0.025)


def test_the_evaluation_error_alone_would_reject_most_of_them(monkeypatch):
    monkeypatch.setattr(verdicts, "training_spread", lambda quantity, study: 0.0)
    assert alarms(STUDY["training_spread"]["top1"])[0] > 0.8


def test_a_true_loss_of_two_points_is_found():
    any_alarm, cells = alarms(STUDY["training_spread"]["top1"], shift=-2.0)
    assert any_alarm > 0.99 and cells > 0.8


def test_the_power_that_the_page_states_is_the_power_that_simulations_have():
    random, found = np.random.default_rng(1), []
    for _ in range(400):
        estimates = retrained(TABLE_1, random, STUDY["training_spread"]["top1"])
        i = random.integers(len(TABLE_1))
        estimates[i] = replace(estimates[i], mean=estimates[i].mean - 2)
        found.append(verdicts.of_table(TABLE_1, estimates, STUDY)[i][0] == "worse")
    assert np.mean(found) == pytest.approx(verdicts.power(2, TABLE_1, STUDY), abs=0.04)


def test_several_training_seeds_take_the_place_of_the_declared_spread():
    wide = [Estimate(float(cell.value) + 2, 0.1, 10, trainings=3, training_sd=2.0) for cell in TABLE_1]
    narrow = [Estimate(float(cell.value) + 2, 0.1, 10, trainings=3, training_sd=0.1) for cell in TABLE_1]
    assert {verdict for verdict, _ in verdicts.of_table(TABLE_1, wide, STUDY)} == {"within"}
    assert {verdict for verdict, _ in verdicts.of_table(TABLE_1, narrow, STUDY)} == {"better"}


def test_holm_against_a_worked_example():
    # Holm (1979): sorted p-values against alpha/4, alpha/3, alpha/2, alpha
    assert verdicts.holm([0.01, 0.04, 0.03, 0.005]) == [True, False, False, True]
    assert verdicts.holm([]) == []


def test_verdicts_name_direction_absence_and_what_cannot_be_compared():
    cell = TABLE_1[0]
    assert verdicts.of_table([cell], [Estimate(90.0, 0.1, 10)], STUDY)[0][0] == "better"
    assert verdicts.of_table([cell], [Estimate(60.0, 0.1, 10)], STUDY)[0][0] == "worse"
    assert verdicts.of_table([cell], [Estimate(77.6, 0.1, 10)], STUDY)[0][0] == "within"
    assert verdicts.of_table([cell], [None], STUDY)[0][0] == "missing"
    assert verdicts.of_table([cell], [Estimate(77.6, 0.1, 10)], STUDY | {"comparable": False})[0][0] == "not comparable"
    table_10 = next(cell for cell in quantities.cells() if cell.table == 10)
    assert verdicts.of_table([table_10], [Estimate(76.75, 0.1, 10)], STUDY)[0][0] == "not comparable"


def outcomes(claim, contrast_value, se):
    """A claim's verdict when every comparison's contrast is `contrast_value` away from its bound."""
    values = [
        (c, c["above"] + contrast_value if "above" in c else c["within"] - contrast_value)
        for c in claims.expanded(claim)
    ]
    return claims.decide(claim, [claims.truth(comparison, value, se) for comparison, value in values])


@pytest.mark.parametrize("claim", claims.load({}), ids=lambda claim: claim["id"])
def test_every_claim_holds_fails_and_stays_open_where_it_must(claim):
    assert outcomes(claim, 0.004, 0.001) == "holds"
    assert outcomes(claim, -0.004, 0.001) == "fails"
    assert outcomes(claim, 0.004, 0.01) == "undecided"


def test_a_claim_is_judged_from_estimates_of_its_quantities():
    claim = next(c for c in claims.load({}) if c["id"] == "ours-beats-baseline-top1")

    def value(ours, baseline, se=0.1):
        return lambda q: Estimate(ours if q.encoder.startswith("student") else baseline, se, 10)

    assert claims.judge(claim, value(80, 70), STUDY)[0] == "holds"
    assert claims.judge(claim, value(70, 80), STUDY)[0] == "fails"
    assert claims.judge(claim, value(80, 79.9), STUDY)[0] == "undecided"
    assert claims.judge(claim, lambda q: None, STUDY)[0] == "undecided"
    assert claims.judge(claim, value(80, 70), STUDY)[2] == pytest.approx(10)


def test_most_needs_more_than_half():
    claim = {"at_least": "most"}
    assert claims.decide(claim, [True] * 5 + [False] * 3) == "holds"
    assert claims.decide(claim, [True] * 4 + [False] * 4) == "fails"
    assert claims.decide(claim, [True] * 4 + [None] * 4) == "undecided"


def test_the_authors_own_numbers_deny_that_all_student_variants_are_equal():
    claim = next(c for c in claims.load({}) if c["id"] == "student-variants-equal")
    verdict, compared, margin = claims.judge(claim, printed.value, STUDY)
    assert verdict == "fails" and margin == pytest.approx(3 - (47.89 - 36.89))  # at 98 % the sum is 11 points below
    assert sum(c.truth is False for c in compared) == 1
