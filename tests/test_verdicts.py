"""The statistics of estimates and verdicts, by hand and by scipy; test_statistics.py has simulated worlds."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from contrastive_inversion import papers
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.ledger import cells, layouts, printed, spreads, verdicts
from contrastive_inversion.ledger.estimates import Estimate, over_trainings, standard_error
from contrastive_inversion.ledger.quantities import parse
from contrastive_inversion.ledger.spreads import Part, Spread
from contrastive_inversion.ledger.verdicts import Judgement
from ledgers import measure, study_but

STUDY = papers.study("paper")
TABLE_1, TABLE_6, TABLE_10 = (printed.cells_of(number, STUDY.paper) for number in (1, 6, 10))
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


def variance(cell, ours, measured=None, study=STUDY):
    known = {} if measured is None else {"top1": Spread(measured, 4, assumed=False)}
    return verdicts.score(cell, ours, study, known).se ** 2


def test_the_uncertainty_of_a_cell_by_hand():
    """Theirs² + ours² + spread² (1 + 1/n) + step²/12, each alone: 0.06, 0.08, 0.3 with n = 4, two decimals."""
    ours = Estimate(77, 0.08, 10, trainings=4)
    rounding = 1e-4 / 12
    assert variance(CELL, ours) == pytest.approx(0.0036 + 0.0064 + 0.09 * 1.25 + rounding, rel=1e-12)
    assert variance(replace(CELL, decimals=0), ours) == pytest.approx(0.01 + 0.09 * 1.25 + 1 / 12, rel=1e-12)
    assert variance(replace(CELL, rounded_to=1), ours) == pytest.approx(0.01 + 0.09 * 1.25 + 0.01 / 12, rel=1e-12)
    assert variance(CELL, ours, measured=2.0) == pytest.approx(0.01 + 4 * 1.25 + rounding, rel=1e-12)
    assert variance(CELL, ours, measured=0.0) == pytest.approx(0.01 + rounding, rel=1e-12)


def test_a_side_without_a_standard_error_is_given_the_other_s():
    """Both drew distortions; where neither has one, nothing was drawn."""
    rounding, once = 1e-4 / 12, Estimate(77, None, 1)
    assert variance(CELL, once) == pytest.approx(2 * 0.0036 + 0.09 * 2 + rounding, rel=1e-12)
    assert variance(replace(CELL, se=""), Estimate(77, 0.08, 10)) == pytest.approx(
        2 * 0.0064 + 0.09 * 2 + rounding, rel=1e-12
    )
    assert variance(replace(CELL, se=""), once) == pytest.approx(0.09 * 2 + rounding, rel=1e-12)


def cell_of(text, **changes):
    return replace(CELL, quantity=parse(text), **changes)


MOVED = "student-rm50 | teacher probe 100% on clean | imagenet100 | rm50 | top1"
RESTORED = "resnet | probe 100% on clean | imagenet100 | dd-rm50 | top1"


@pytest.mark.parametrize(
    ("text", "spread"),
    [
        ("teacher | probe 100% on rm50 | imagenet100 | rm50 | top1", [("head_top1", 0.04, 2)]),
        ("resnet | probe 100% on clean | imagenet100 | nlm-gn10 | top1", [("head_top1@nlm", 0.04, 2)]),
        (RESTORED, [("head_top1@dd", 0.04, 2), ("restoration", 1.69, 2)]),
        (MOVED, [("top1", 0.09, 1.25), ("head_top1", 0.04, 2)]),
        (
            "student-rm50 | probe 100% | imagenet100 | dd-rm50 | top1",
            [("top1@dd", 0.49, 1.25), ("restoration", 1.69, 2)],
        ),
        ("resnet | own | imagenet100 | clean | top1", []),
        ("baseline-rm50 | own | imagenet100 | rm50 | top1", [("top1", 0.09, 1.25)]),
        ("baseline100-rm50 | own | imagenet100 | rm50 | top1", [("top1", 0.09, 1.25), ("top1", 0.09, 2)]),
        ("student-rm50 | beside teacher | imagenet100 | rm50 | cosine", [("cosine", 25e-6, 1.25)]),
        (
            "student-rm50 | beside student-rm90 | imagenet100 | rm50 | cosine",
            [("cosine", 25e-6, 1.25), ("cosine", 25e-6, 2)],
        ),
    ],
)
def test_all_that_is_drawn_behind_a_number_has_a_spread(text, spread):
    """Of four trainings, a head that is moved, a restoration, what they start from and what they are beside are one.

    A head on fixed weights is fitted alone.
    """
    ours = Estimate(77, 0.08, 10, trainings=4 if text.startswith(("student", "baseline")) else 1)
    parts = spreads.parts(parse(text), ours, STUDY, {}, others=1)
    assert [(p.drawn.kind, pytest.approx(p.variance)) for p in parts] == [(k, v * n) for k, v, n in spread]
    assert all(part.spread.assumed for part in parts)


def test_encoders_that_start_from_one_share_its_draw():
    drawn = [
        spreads.behind(parse(f"baseline100-{d} | own | imagenet100 | {d} | top1"), STUDY)[1] for d in ("gn10", "gb21")
    ]
    assert drawn == [spreads.Drawn("top1", "resnet100", repeated=False)] * 2


def test_the_spread_behind_a_number_is_the_root_of_the_sum_of_squares():
    parts = spreads.parts(parse(MOVED), Estimate(77, 0.08, 10), STUDY, {}, others=1)
    assert spreads.own_spread([Part(1.0), *parts]) == pytest.approx(math.sqrt(0.3**2 + 0.2**2))


def test_what_was_measured_once_and_has_no_spread_is_refused():
    cell = cell_of("resnet | own | imagenet100 | clean | top1", se="")
    with pytest.raises(UserError, match="study paper: 'resnet .* has neither a standard error nor a spread"):
        verdicts.score(cell, Estimate(77, None, 1), STUDY)
    exact = study_but("paper", training_spread={"head_top1": 0, "restoration": 0})
    with pytest.raises(UserError, match="no evaluation is exact"):
        verdicts.score(cell_of(RESTORED, se=""), Estimate(23, None, 1, images=5000), exact)


@pytest.mark.parametrize(
    ("images", "sampling"),
    [(None, 0), (5000, 0), (40, 1 / 40 - 1 / 5000), (20000, 1 / 5000 - 1 / 20000)],
)
def test_other_test_images_than_the_print_s_add_their_draw(images, sampling):
    """The smaller set is a part of the larger, whose share tells p; of an area under a curve nothing is known."""
    ours = Estimate(70, 0.08, 10, images=images)
    share = {40: (1 + 40 * 0.7753) / 42, 20000: (1 + 20000 * 0.7) / 20002}.get(images, 0)
    drawn = 1e4 * share * (1 - share) * sampling
    assert variance(CELL, ours) == pytest.approx(0.01 + 0.18 + 1e-4 / 12 + drawn, rel=1e-12)
    area = cell_of("student-rm50to95 | probe 100% | covid | rm50to95 | auc", value="0.9")
    assert variance(area, ours) == variance(area, replace(ours, images=None))
    none_right = spreads.sampling(CELL.quantity, (20, 40), 0, STUDY)
    assert none_right[0].variance == pytest.approx(1e4 / 22 * 21 / 22 / 40)


@pytest.mark.parametrize(
    ("encoder", "data", "metric", "spread"),
    [
        ("teacher", "imagenet100", "top1", 0.2),
        ("resnet", "imagenet100", "top1", 0.2),
        ("resnet100", "imagenet100", "top1", 0.3),
        ("baseline-rm90", "imagenet100", "top1", 0.3),
        ("student-rm90", "imagenet100", "top1", 0.3),
        ("student-rm90", "imagenet100", "top5", 0.2),
        ("student-rm90", "label_shift", "top5", 1),
        ("student-rm90", "covid", "auc", 0.005),
    ],
)
def test_what_is_trained_or_fitted_anew_has_a_spread(encoder, data, metric, spread):
    quantity = parse(f"{encoder} | probe 100% | {data} | rm90 | {metric}".replace("100% |", "100% on rm90 |"))
    cell = replace(CELL, quantity=quantity)
    known = 0.0036 + 0.01 + 1e-4 / 12
    assert variance(cell, Estimate(77, 0.1, 10, trainings=2)) == pytest.approx(known + 1.5 * spread**2, rel=1e-12)


def test_a_spread_that_a_study_does_not_declare_is_asked_for():
    study = replace(STUDY, settings=STUDY.settings.model_copy(update={"training_spread": {"top5": 0.2}}))
    with pytest.raises(
        UserError, match=r"paper.yaml: training_spread.top1: missing, 'b.*top1' needs it; did you mean 'top5'"
    ):
        spreads.declared("top1", CELL.quantity, study)


def several(sd, trainings=3):
    return Estimate(80, 0.1, 10, trainings=trainings, training_sd=sd)


def test_spreads_are_pooled_by_kind_with_degrees_of_freedom_by_encoder():
    """(0.01 * 2 + 0.49 * 4) / 6; a second cell of the same encoder adds to the variance, not to its certainty.

    Welch's degrees of freedom are (0.02 + 1.96)^2 / (0.02^2 / 4 + 1.96^2 / 6) - 2 = 4.12.
    """
    baseline, ours, tenth = (cell.quantity for cell in TABLE_1[:3])
    assert ours.encoder == tenth.encoder != baseline.encoder
    found = spreads.pooled([(baseline, several(0.1)), (ours, several(0.7, 5)), (tenth, None)], STUDY)
    df = 1.98**2 / (0.02**2 / 4 + 1.96**2 / 6) - 2
    assert found == {"top1": Spread(pytest.approx(math.sqrt(0.33)), pytest.approx(df), assumed=False)} and 4 < df < 4.2
    both = spreads.pooled([(ours, several(0.1)), (tenth, several(0.7))], STUDY)
    assert both == {"top1": Spread(pytest.approx(0.5), 2, assumed=False)}
    other = replace(ours, metric="top5")
    assert set(spreads.pooled([(ours, several(0.1)), (other, several(0.7))], STUDY)) == {"top1", "top5"}
    assert spreads.pooled([(ours, None), (tenth, Estimate(80, 0.1, 10))], STUDY) == {}
    head = parse("teacher | probe 100% on rm50 | imagenet100 | rm50 | top1")
    assert spreads.pooled([(head, several(0.3)), (parse(MOVED), several(0.5))], STUDY) == {
        "head_top1": Spread(pytest.approx(0.3), 2, assumed=False), "top1": Spread(pytest.approx(0.5), 2, assumed=False),
    }  # fmt: skip
    fixed = parse("teacher | own | imagenet100 | clean | top1")
    assert spreads.pooled([(fixed, several(0.3))], STUDY) == {}


def test_encoders_that_spread_alike_have_all_their_degrees_of_freedom_and_one_that_stands_out_has_its_own():
    cells = [replace(CELL.quantity, encoder=f"student-rm{i}") for i in range(10, 90, 10)]
    alike, apart = (
        spreads.pooled([(q, several(sd)) for q, sd in zip(cells, sds, strict=True)], STUDY)["top1"]
        for sds in ([0.5] * 8, [27] + [0.5] * 7)
    )
    assert alike == Spread(pytest.approx(0.5), 16, assumed=False)
    assert apart.df == pytest.approx(2, abs=0.02) and apart.value == pytest.approx(27 / math.sqrt(8), rel=2e-3)


def test_welch_s_degrees_of_freedom_are_right_on_average():
    """Where variances of 1 and 9 are estimated: those of a chi-squared with the pooled variance's own variance."""
    random = np.random.default_rng(0)
    true = np.array([1.0] * 6 + [9.0] * 6)
    squares = true * random.chisquare(4, (4000, 12))  # (worlds, encoders)
    exact = true.sum() ** 2 / (true**2 / 4).sum()
    told = [spreads.pooled_spread([[(square, 4)] for square in world]).df for world in squares]
    assert np.mean(told) == pytest.approx(exact, rel=0.1) and exact == pytest.approx(29.3, abs=0.1)


def test_a_bound_shows_no_spread_and_trainings_that_agree_leave_the_declared_one():
    """Three medians at an attack's radius agree because the attack ends there."""
    baseline, ours = (cell.quantity for cell in TABLE_1[:2])
    assert spreads.pooled([(baseline, replace(several(0.0), censored=True)), (ours, several(0.7))], STUDY) == (
        spreads.pooled([(ours, several(0.7))], STUDY)
    )
    assert spreads.pooled([(baseline, several(0.0)), (ours, several(0.7))], STUDY)["top1"].value < 0.5
    assert spreads.pooled([(baseline, several(0.0)), (ours, several(0.0))], STUDY) == {}
    once = replace(several(0.0), se=None, n=1)
    (judged,) = verdicts.of_table([replace(CELL, se="")], [once], STUDY)
    assert judged.spread == "assumed" and judged.df == math.inf


def test_a_table_is_judged_by_its_pooled_spread_and_student_s_t():
    estimates = [replace(several(sd), mean=77.53) for sd in (0.1, 0.7)]
    judged = verdicts.of_table(TABLE_1[:2], estimates, STUDY)[1]
    parts = [(0.0064, 9), (0.01, 27), (0.25 * 4 / 3, 1 / (0.02**2 / 4 + 0.98**2 / 4) - 2), (1e-4 / 12, math.inf)]
    variance = sum(v for v, _ in parts)
    assert judged.z == pytest.approx((77.53 - 85.87) / math.sqrt(variance), rel=1e-12)
    assert judged.df == pytest.approx(variance**2 / sum(v**2 / df for v, df in parts), rel=1e-12)
    assert (judged.spread, judged.words) == ("measured", "worse")


def test_a_declared_and_a_measured_part_are_added_by_welch_and_satterthwaite():
    """A moved head's declared 2 · 0.04 beside a measured 0.25 · 4/3 of 2 degrees of freedom: it stays assumed."""
    scored = verdicts.score(cell_of(MOVED, se=""), replace(several(0.5), se=None), STUDY, {"top1": Spread(0.5, 2)})
    total = 0.08 + 1 / 3 + 1e-4 / 12
    assert scored.se == pytest.approx(math.sqrt(total)) and scored.df == pytest.approx(total**2 / ((1 / 3) ** 2 / 2))
    assert scored.spread == "assumed"


def test_the_degrees_of_freedom_of_a_sum_by_hand():
    """Welch's: (1 + 3)² / (1/5 + 9/10) = 14.5; two parts of one kind are one estimate: (1 + 3)² / (16/5) = 5."""
    drawn = spreads.Drawn("top1", "a")
    assert spreads.degrees_of_freedom([Part(1, 5), Part(3, 10)]) == pytest.approx(16 / 1.1)
    assert spreads.degrees_of_freedom([Part(1, 5), Part(1, 5)]) == pytest.approx(10)
    assert spreads.degrees_of_freedom([Part(1, 5, drawn), Part(3, 5, replace(drawn, source="b"))]) == pytest.approx(5)
    assert spreads.degrees_of_freedom([Part(1)]) == spreads.degrees_of_freedom([]) == math.inf


# --- the spread at which a verdict flips ----------------------------------------------------------------------------


def test_each_verdict_tells_the_spread_at_which_it_would_flip():
    """Just below and above it the study's own spread gives the two verdicts."""
    cells = TABLE_1[:3]
    estimates = [Estimate(float(c.value) + d, 0.08, 10) for c, d in zip(cells, (-0.8, 1.4, 0.0), strict=True)]
    flips = verdicts.flips(cells, estimates, STUDY)
    assert [each.verdict for each in verdicts.of_table(cells, estimates, STUDY)] == ["within", "better", "within"]
    assert flips[2] == verdicts.Flip(0.3, None)
    for place, (low, high) in enumerate([("worse", "within"), ("better", "within")]):
        for nudge, verdict in ((0.99, low), (1.01, high)):
            study = study_but("paper", training_spread={"top1": flips[place].at * nudge})
            assert verdicts.of_table(cells, estimates, study)[place].verdict == verdict
    assert flips[0].at < 0.3 < flips[1].at and flips[0].spread == flips[1].spread == 0.3


def test_what_is_not_judged_or_has_no_spread_does_not_flip():
    fixed = cell_of("resnet | own | imagenet100 | clean | top1")
    assert verdicts.flips([CELL, fixed], [None, Estimate(77, 0.1, 10)], STUDY) == [None, None]
    assert verdicts.flips(TABLE_10[:1], [Estimate(77, 0.1, 10)], STUDY) == [None]


def test_a_flip_is_looked_for_between_no_spread_and_a_hundred_times_it():
    for change in (0.02, 0.7, 1.5, 63.0):
        assert spreads.flip_factor(lambda f, c=change: f < c) == pytest.approx(change, abs=2e-3)
    assert spreads.flip_factor(lambda f: f < 101) is None


# --- Holm's method, p-values, power ---------------------------------------------------------------------------------


@pytest.mark.parametrize("z", [-4.2, -1.96, 0, 0.3, 2.5758])
def test_p_values_are_scipy_s(z):
    assert verdicts.p_value(z) == pytest.approx(2 * stats.norm.sf(abs(z)), rel=1e-12)
    for df in (1, 2.5, 9):
        assert verdicts.p_value(z, df) == pytest.approx(2 * stats.t.sf(abs(z), df), rel=1e-12)


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
    three = [CELL, replace(CELL, se="0.02"), replace(CELL, se="")]
    # so many degrees of freedom that a normal is near
    errors = [math.sqrt(2 * float(c.se or 0) ** 2 + 2 * 0.3**2 + 1e-4 / 12) for c in three]
    threshold = stats.norm.isf(0.05 / 6)
    chances = [stats.norm.sf(threshold, loc=1 / e) + stats.norm.cdf(-threshold, loc=1 / e) for e in errors]
    assert verdicts.power(1, three, STUDY) == pytest.approx(sorted(chances)[1], rel=2e-3)
    assert verdicts.power(0, three, STUDY) == pytest.approx(0.05 / 3, rel=2e-3)
    unsure = verdicts.power(1, [replace(CELL, se="0.50")], STUDY)
    error = verdicts.score(CELL, Estimate(float(CELL.value), None, 1), STUDY).se ** 2 + 2 * 0.5**2
    assert unsure == pytest.approx(stats.norm.sf(1.96, loc=1 / math.sqrt(error)), abs=0.03)  # Student's t with 18 or so


def test_a_point_of_an_area_is_a_hundredth():
    area = replace(TABLE_6[0], se="")
    threshold, error = stats.norm.isf(0.025), verdicts.score(area, Estimate(float(area.value), None, 1), STUDY).se
    expected = stats.norm.sf(threshold, loc=0.03 / error) + stats.norm.cdf(-threshold, loc=0.03 / error)
    assert 0.1 < expected < 0.99 and verdicts.power(3, [area], STUDY) == pytest.approx(expected, rel=2e-3)
    assert math.isnan(verdicts.power(1, [], STUDY))


# --- verdicts -------------------------------------------------------------------------------------------------------


def test_verdicts_name_direction_and_absence():
    def judged(estimate):
        return verdicts.of_table([CELL], [estimate], STUDY)[0]

    score = verdicts.score(CELL, Estimate(90.0, 0.1, 10), STUDY)
    for value, verdict, delta in ((90, "better", 12.47), (60, "worse", -17.53), (77.6, "within", 0.07)):
        z = pytest.approx(delta / score.se)
        assert judged(Estimate(value, 0.1, 10)) == Judgement(
            verdict, z, pytest.approx(score.df), "assumed", equal=value == 77.6
        )
    assert judged(Estimate(90, 0.1, 10)).words == "better, spread assumed"
    assert judged(Estimate(77.6, 0.1, 10)).words == "equal within 1 point, spread assumed"
    assert judged(Estimate(78.2, 0.1, 10)).words == "not distinguishable, spread assumed"
    assert judged(None) == Judgement("missing") and judged(None).words == "missing"


def test_within_is_equal_within_a_point_where_two_one_sided_tests_say_so():
    """The difference and 1.645 s are together below a point, which is 0.01 of an area; s is 0.42 of a point here."""
    cell = replace(CELL, se="", value="80.00")
    score = verdicts.score(cell, Estimate(80, None, 1), STUDY)
    room = 1.644854 * score.se
    for difference, equal in ((0, True), (0.99 - room, True), (1.01 - room, False), (room - 0.99, True), (-1.5, False)):
        (judged,) = verdicts.of_table([cell], [Estimate(80 + difference, None, 1)], STUDY)
        assert judged.equal is equal, difference
    area = replace(TABLE_6[0], se="")
    for difference in (0.0, 0.004):
        (judged,) = verdicts.of_table([area], [Estimate(float(area.value) + difference, None, 1)], STUDY)
        assert not judged.equal  # 1.645 times 0.007 is more than 0.01
    several = [Estimate(float(c.value), None, 1, trainings=9, training_sd=0.001) for c in TABLE_6]
    assert all(each.equal for each in verdicts.of_table(TABLE_6, several, STUDY))


def test_equality_knows_how_sure_a_spread_is():
    """A difference of 0 with an error of 0.4 points: a point is 2.5 of them, enough for a normal, not for t of 1."""
    score = verdicts.score(CELL, Estimate(float(CELL.value), 0.1, 10), STUDY)
    for df, equal in ((math.inf, True), (1, False)):
        assert verdicts.is_equal(CELL, replace(score, value=0.0, parts=(Part(0.16, df),)), STUDY) is equal


def test_missing_cells_leave_the_others_verdicts_in_place():
    estimates = [None, Estimate(99, 0.1, 10), None, Estimate(float(TABLE_1[3].value), 0.1, 10)]
    judged = verdicts.of_table(TABLE_1[:4], estimates, STUDY)
    assert [each.verdict for each in judged] == ["missing", "better", "missing", "within"]
    with pytest.raises(ValueError, match="zip"):
        verdicts.of_table(TABLE_1[:2], estimates[:1], STUDY)


def test_a_study_that_is_not_comparable_judges_no_cell():
    small = replace(STUDY, settings=STUDY.settings.model_copy(update={"comparable": False}))
    assert verdicts.of_table([CELL], [Estimate(60, 0.1, 10)], small) == [Judgement("not comparable")]


def tables_yaml(about_table_1):
    return f"1: {{title: First, rows: Distortion{about_table_1}}}\n"


def test_a_layout_that_is_not_comparable_switches_off_its_table_s_verdicts(tmp_path):
    study = study_but("paper", tmp_path, files={"tables.yaml": tables_yaml(", comparable: false")})
    assert verdicts.of_table([CELL], [Estimate(60, 0.1, 10)], study) == [Judgement("not comparable")]
    assert verdicts.of_table(TABLE_10[:1], [Estimate(60, 0.1, 10)], STUDY) == [Judgement("not comparable")]


def test_a_note_switches_off_no_verdict(tmp_path):
    study = study_but("paper", tmp_path, files={"tables.yaml": tables_yaml(", notes: [{text: Odd.}]")})
    assert layouts.notes_of(1, study) == ["Odd."]
    assert verdicts.of_table([CELL], [Estimate(60, 0.1, 10)], study)[0].verdict == "worse"


def test_several_training_seeds_take_the_place_of_the_declared_spread():
    wide = [Estimate(float(cell.value) + 2, 0.1, 10, trainings=3, training_sd=2.0) for cell in TABLE_1]
    narrow = [Estimate(float(cell.value) + 2, 0.1, 10, trainings=3, training_sd=0.1) for cell in TABLE_1]
    assert {each.verdict for each in verdicts.of_table(TABLE_1, wide, STUDY)} == {"within"}
    assert {each.verdict for each in verdicts.of_table(TABLE_1, narrow, STUDY)} == {"better"}


def test_a_row_of_cells_csv_says_ours_theirs_and_the_verdict():
    ours = Estimate(77.123456, 0.098765, 10)
    judged = Judgement("within", -1.23456, 12.345, "measured")
    row = cells.row(CELL, ours, judged, verdicts.Flip(0.3, 0.123456))
    assert (row["table"], row["row"], row["column"]) == (1, CELL.row, CELL.column)
    assert row["quantity"] == str(CELL.quantity)
    assert (row["published"], row["published_se"]) == ("77.53", "0.06")
    assert (row["reproduced"], row["reproduced_se"], row["n"]) == (77.1235, 0.0988, 10)
    assert (row["delta"], row["verdict"], row["z"]) == (-0.4065, "within", -1.23)
    assert row["said"] == "not distinguishable"
    assert cells.row(CELL, replace(ours, images=40), judged)["images"] == 40
    assert (row["df"], row["spread_is"], row["spread"], row["flips_at"]) == (12.3, "measured", 0.3, 0.1235)
    never = cells.row(CELL, ours, judged, verdicts.Flip(0.3, None))
    assert (never["spread"], never["flips_at"]) == (0.3, None)
    empty = cells.row(replace(CELL, se=""), None, Judgement("missing"))
    assert {key for key, value in empty.items() if value is None} == {
        "published_se", "reproduced", "reproduced_se", "n", "images", "delta", "z", "df", "spread_is", "spread",
        "flips_at",
    }  # fmt: skip
    assert cells.row(CELL, Estimate(77, None, 1), Judgement("within", 0.0))["reproduced_se"] is None


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
        "table", "row", "column", "quantity", "published", "published_se", "reproduced", "reproduced_se", "n", "images",
        "delta",
        "verdict", "said", "z", "df", "spread_is", "spread", "flips_at",
    ]  # fmt: skip
