"""Claims: their words, on data where they must hold, fail or stay open; their uncertainty and margin by hand."""

import math
import re
from dataclasses import replace

import pandas as pd
import pytest
from scipy import stats

from contrastive_inversion import papers
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.ledger import claims, contrasts, joint, plan, printed, quantities
from contrastive_inversion.ledger.claims import Judged, JudgedClaim, Outcome
from contrastive_inversion.ledger.estimates import Estimate
from contrastive_inversion.ledger.joint import Contrast
from contrastive_inversion.ledger.spreads import Part, Spread
from contrastive_inversion.ledger.statements import Claim, Comparison, Reading
from ledgers import measure, study_but, write_rows

STUDY = papers.study("paper")
CLAIMS = [(name, claim) for name in papers.names() for claim in claims.of_paper(papers.paper(name))]
READINGS = [
    (f"{name}: {claim.id} {number}", reading) for name, claim in CLAIMS for number, reading in enumerate(claim.readings)
]
STUDENT, TEACHER = (
    f"{name} | probe 100% on clean | imagenet100 | clean | top1" for name in ("student-rm90", "teacher")
)


def reading_of(*compare, **keys):
    return Reading.model_validate({"reading": "so it is", "compare": list(compare)} | keys)


def named(identity):
    return next(claim for claim in claims.of_paper(STUDY.paper) if claim.id == identity)


def exactly(value, se, df=math.inf, key="a"):
    """A contrast of one part."""
    return Contrast(value, (Part(se**2, df),), (key,), (1,))


# --- the paper's words ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", papers.names())
def test_every_quotation_stands_word_for_word_in_its_section(name):
    """In the copy of the papers' sentences; a paper's section or the caption that the claim names."""
    text = (papers.paper(name).printed / "sentences.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", text, re.S | re.M))
    for claim in claims.of_paper(papers.paper(name)):
        assert claim.quote in sections[claim.section.split(",")[0]], claim.id
    assert all(len(section.split()) > 4 for section in sections.values())


def test_every_claim_has_a_reading_or_a_reason():
    for name, claim in CLAIMS:
        assert claim.readings or len(claim.untested) > 40, (name, claim.id)
    untested = {claim.id for _, claim in CLAIMS if claim.untested}
    assert {"humans-fail", "proposition-1", "penalty-dampened"} <= untested
    for name in papers.names():
        assert 3 <= sum(claim.headline for of, claim in CLAIMS if of == name) <= 6
    assert [claim.id for _, claim in CLAIMS if claim.truism] == ["harder-degrades"]


MEANINGS = {
    "greatly": 2, "much more": 2, "much less": 2, "clearly": 1, "vast": 5, "no more than 1 point": -1,
    "quickly: by more than 5": 5, "quickly: by more than 2": 2,
}  # fmt: skip


@pytest.mark.parametrize(("name", "reading"), READINGS, ids=[name for name, _ in READINGS])
def test_a_word_means_the_same_in_every_reading(name, reading):
    words, compared = reading.reading, reading.comparisons
    for word, bound in MEANINGS.items():
        if word in words:
            assert {comparison.above for comparison in compared} == {bound}
    for word, bound in (("within 1 point", 1), ("within 3 points", 3)):
        if word in words:
            assert {comparison.within for comparison in compared} == {bound}
    if "insignificant" in words:
        assert {(comparison.of, comparison.below) for comparison in compared} == {("error", 0.2)}
    if "between 0 and 3" in words and "could never" not in words:
        assert {(comparison.above, comparison.below) for comparison in compared} == {(0, 3)}
    assert len(set(map(str, compared))) == len(compared)
    assert ("most of" in words) == (reading.at_least == "most")


# --- decisions ------------------------------------------------------------------------------------------------------


def beyond(reading, distance, se):
    """A reading's verdict when every comparison's contrast lies `distance` inside of its nearest bound."""
    values = [c.low + distance if math.isfinite(c.low) else c.high - distance for c in reading.comparisons]
    return claims.decide(reading, [exactly(value, se, key=i) for i, value in enumerate(values)])


@pytest.mark.parametrize("reading", [reading for _, reading in READINGS], ids=[name for name, _ in READINGS])
def test_every_reading_holds_fails_and_stays_open_where_it_must(reading):
    assert beyond(reading, 0.004, 0.001) == "holds"
    assert beyond(reading, -0.004, 0.001) == "fails"
    assert beyond(reading, 0.004, 0.01) == "open"


def above(*bounds, **keys):
    return reading_of(*({"plus": [f"{STUDENT} {i}"], "above": bound} for i, bound in enumerate(bounds)), **keys)


@pytest.mark.parametrize(
    ("at_least", "z", "verdict"),
    [
        # all: each by itself is enough, the least of them decides; 1.645 is the one-sided 5 %
        ("all", (1.65, 9, 9), "holds"),
        ("all", (1.64, 9, 9), "open"),
        # one of three must be surely false: 1.645 is not enough among three, 2.12 is (5 % / 3, by independence)
        ("all", (-1.9, 9, 9), "open"),
        ("all", (-2.2, 9, 9), "fails"),
        # two of three: of the two that lie lowest one must be surely true (1.95, 5 % of two)
        ("most", (-9, 2.0, 9), "holds"),
        ("most", (-9, 1.9, 9), "open"),
        ("most", (-2.0, -9, 9), "fails"),
        ("most", (-1.9, -9, 9), "open"),
        (1, (2.2, -9, -9), "holds"),
        (1, (1.9, -9, -9), "open"),
        (1, (-1.65, -9, -9), "fails"),
    ],
)
def test_all_most_and_some_are_decided_together(at_least, z, verdict):
    reading = above(0, 0, 0, at_least=at_least)
    assert claims.decide(reading, [exactly(value, 1, key=i) for i, value in enumerate(z)]) == verdict


def test_what_contrasts_share_is_drawn_once():
    """Eight copies of one contrast are as sure as one; eight that share nothing need 2.49 (Šidák's 5 % of eight)."""
    reading = above(*[0] * 8)

    def verdict(z, key):
        return claims.decide(reading, [exactly(z, 1, key=key(i)) for i in range(8)])

    assert verdict(-1.75, lambda i: "one") == "fails" and verdict(-1.55, lambda i: "one") == "open"
    assert verdict(-2.35, lambda i: i) == "open" and verdict(-2.6, lambda i: i) == "fails"


@pytest.mark.parametrize(("nudge", "verdict"), [(-0.012, "open"), (0.012, "fails"), (0.0, "open")])
def test_close_to_its_level_the_bootstrap_is_repeated_until_it_tells(monkeypatch, nudge, verdict):
    """Eight independent ones: Šidák's z, at which five percent are exact, and 0.17 points of chance to either side.

    A bootstrap of 4000 draws is off by 0.34 points; at the level itself nothing is said.
    """
    z = -stats.norm.ppf(1 - 0.95 ** (1 / 8)) + nudge
    reading, chance = above(*[0] * 8), joint.chance_of_any
    for first in range(7, 40, 8):
        monkeypatch.setattr(joint, "chance_of_any", lambda p, c, s, seed=0, f=first: chance(p, c, s, 1000 * f + seed))
        assert claims.decide(reading, [exactly(-z, 1, key=i) for i in range(8)]) == verdict


def test_a_measured_spread_is_shared_by_all_contrasts_of_its_kind():
    """Two degrees of freedom: the one-sided quantile is 2.92, and eight independent contrasts need 2.92 and more."""
    reading = above(*[0] * 8)
    assert claims.decide(reading, [exactly(3.0, 1, df=2, key=i) for i in range(8)]) == "holds"
    assert claims.decide(reading, [exactly(2.85, 1, df=2, key=i) for i in range(8)]) == "open"
    assert claims.decide(reading, [exactly(-3.0, 1, df=2, key=i) for i in range(8)]) == "open"
    assert claims.decide(reading, [exactly(-9.0, 1, df=2, key=i) for i in range(8)]) == "fails"


def test_what_is_known_exactly_is_decided_exactly():
    assert claims.decide(above(0, 0), [exactly(1, 0), exactly(-1, 0, key="b")]) == "fails"
    assert claims.decide(above(0, 0), [exactly(1, 0), exactly(2, 0, key="b")]) == "holds"
    assert claims.decide(above(0, 0, 0), [exactly(-1.9, 1), exactly(9, 0, key="b"), exactly(9, 0, key="c")]) == "fails"


def test_without_a_number_a_reading_is_decided_only_where_the_others_decide():
    three = above(0, 0, 0)
    assert claims.decide(three, [None, exactly(9, 1), exactly(9, 1, key="b")]) == "no number"
    assert claims.decide(three, [None, exactly(-9, 1), exactly(9, 1, key="b")]) == "fails"
    two = above(0, 0, 0, at_least=2)
    assert claims.decide(two, [None, exactly(9, 1), exactly(9, 1, key="b")]) == "holds"
    assert claims.decide(two, [None, exactly(0, 1), exactly(9, 1, key="b")]) == "no number"


@pytest.mark.parametrize(
    ("bound", "value", "se", "truth"),
    [
        ({"above": 5}, 7, 1.2, True),  # 2 > 1.645 * 1.2
        ({"above": 5}, 7, 1.22, None),
        ({"above": 5}, 3, 1.2, False),
        ({"below": 5}, 3, 1.2, True),
        ({"below": 5}, 7, 1.2, False),
        ({"above": -1}, -0.5, 0.1, True),
        ({"within": 3}, -1, 1.2, True),
        ({"within": 3}, 5, 1.2, False),
        ({"within": 3}, -5, 1.2, False),
        ({"within": 3}, -5, 1.22, None),
        ({"above": 0, "below": 3}, 1.5, 0.9, True),
        ({"above": 0, "below": 3}, 1.5, 0.92, None),
        ({"above": 0, "below": 3}, 5, 1.2, False),
        ({"within": 0.1}, 1.8, 1, None),  # not 1.645: both tails of so narrow a band count
        ({"within": 0.1}, 2.1, 1, False),
    ],
)
def test_a_comparison_is_true_or_false_beyond_its_bound(bound, value, se, truth):
    """Two one-sided tests at 5 %."""
    comparison = Comparison(plus=[STUDENT], **bound)
    assert claims.outcome(comparison, exactly(value, se), lambda q: Estimate(0, None, 1)).truth is truth


@pytest.mark.parametrize(("df", "quantile"), [(1, 6.3138), (2, 2.92), (9, 1.8331), (math.inf, 1.6449)])
def test_few_degrees_of_freedom_ask_for_more(df, quantile):
    """The one-sided 5 % of a printed table of Student's t."""
    comparison = Comparison(plus=[STUDENT], above=5)
    for factor, truth in ((1.0002, True), (0.9998, None)):
        found = claims.outcome(comparison, exactly(5 + factor * quantile, 1, df), lambda q: Estimate(0, None, 1))
        assert found.truth is truth and found.interval[0] == pytest.approx(5, abs=0.01)


def test_a_reading_is_judged_from_estimates_of_its_quantities():
    (reading,) = named("higher-accuracy").readings

    def value(ours, baseline, se=0.1):
        return lambda q: Estimate(ours if q.encoder.startswith("student") else baseline, se, 10, images=50)

    assert claims.judge(reading, value(80, 70), STUDY).verdict == "holds"
    assert claims.judge(reading, value(70, 80), STUDY).verdict == "fails"
    assert claims.judge(reading, value(80, 79.9), STUDY).verdict == "open"
    judged = claims.judge(reading, lambda q: None, STUDY)
    assert (judged.verdict, judged.margin, judged.spread) == ("no number", None, "")
    assert {(o.value, o.se, o.truth, o.interval) for o in judged.outcomes} == {(None, None, None, None)}
    judged = claims.judge(reading, value(80, 70), STUDY)
    assert judged.margin == pytest.approx(10) and judged.spread == "assumed" and judged.reach is None
    assert [o.comparison for o in judged.outcomes] == reading.comparisons
    assert {o.images for o in judged.outcomes} == {(50,)}


def test_a_contrast_tells_the_fewest_trainings_and_all_numbers_of_images_behind_it():
    comparison = Comparison(plus=[STUDENT], minus=[TEACHER], above=0)
    value = {"student-rm90": Estimate(80, 0.1, 10, images=50, trainings=3, training_sd=1.0)}
    value["teacher"] = Estimate(70, 0.1, 10, images=20)
    contrast = contrasts.contrast_of(comparison, lambda q: value[q.encoder], STUDY)
    found = claims.outcome(comparison, contrast, lambda q: value[q.encoder])
    assert (found.trainings, found.images) == (1, (50, 20))


def test_a_claim_has_the_word_that_its_readings_share():
    def word(*verdicts):
        judged = (Judged(above(0), verdict, (), None, None) for verdict in verdicts)
        return JudgedClaim(named("higher-accuracy"), tuple(judged)).verdict

    assert word("holds") == word("holds", "holds") == word("no number", "holds") == "holds"
    assert word("holds", "fails") == word("open", "fails", "holds", "no number") == "readings differ"
    assert word("open", "holds", "no number") == word("fails", "open") == "open"
    assert word() == word("no number", "no number") == "no number"


# --- uncertainty ----------------------------------------------------------------------------------------------------


def test_the_uncertainty_of_a_contrast_by_hand():
    """A sum of variances: each one's evaluation and the declared or measured spread of training or head."""
    comparison = Comparison(plus=[STUDENT, TEACHER], minus=[STUDENT.replace("rm90", "gn50")], above=0)
    estimates = {
        "student-rm90": Estimate(80, 0.4, 10),
        "teacher": Estimate(60, 0.2, 10),
        "student-gn50": Estimate(50, None, 1),
    }
    found = contrasts.contrast_of(comparison, lambda q: estimates[q.encoder], STUDY)
    assert found.value == 90 and found.se == pytest.approx(math.sqrt(0.16 + 0.09 + 0.04 + 0.04 + 0 + 0.09), rel=1e-12)
    assert found.df == pytest.approx(0.42**2 / (0.16**2 / 9 + 0.04**2 / 9))
    assert found.at(2).se == pytest.approx(math.sqrt(0.2 + 4 * 0.22))
    estimates = {name: replace(each, trainings=4, training_sd=3.0) for name, each in estimates.items()}
    measured = {"top1": Spread(3.0, 6, assumed=False)}
    found = contrasts.contrast_of(comparison, lambda q: estimates[q.encoder], STUDY, measured)
    parts = [(0.16, 36), (2 * 9 / 4, 6), (0.04, 36), (0.04 / 4, math.inf)]
    total = sum(v for v, _ in parts)
    assert found.se == pytest.approx(math.sqrt(total))
    assert found.df == pytest.approx(total**2 / sum(v**2 / df for v, df in parts))
    assert contrasts.contrast_of(comparison, lambda q: None, STUDY) is None


def test_a_quantity_that_stands_twice_moves_twice_as_far_and_one_encoder_s_own_move_together():
    """2 x - y: 4 times the variance. Two levels of one encoder add up: (0.3 + 0.3)^2."""

    def variance(plus, minus=()):
        comparison = Comparison(plus=list(plus), minus=list(minus), above=0)
        return contrasts.contrast_of(comparison, lambda q: Estimate(50, None, 1), STUDY).se ** 2

    other, level = STUDENT.replace("rm90", "gn50"), STUDENT.replace("| clean |", "| rm90 |")
    assert variance([other], [STUDENT, STUDENT]) == pytest.approx(0.09 + 4 * 0.09)
    assert variance([STUDENT, level]) == pytest.approx(0.36) and variance([STUDENT, other]) == pytest.approx(0.18)
    assert variance([STUDENT], [level]) == pytest.approx(0.18)
    assert Comparison(plus=[STUDENT, other], minus=[STUDENT], above=0).weights == {quantities.parse(other): 1}


def test_a_comparison_of_an_error_is_tested_as_a_chi_squared():
    """Of ten draws: below 0.2 where 9 (s / 0.2)^2 is under 3.33, the 5 % point of chi-squared; above from 16.9 on."""
    comparison = Comparison(plus=[STUDENT], of="error", below=0.2)

    def truth(se, **keys):
        value = {"q": Estimate(80, se, 10, **keys)}
        return claims.outcome(
            comparison, contrasts.contrast_of(comparison, lambda q: value["q"], STUDY), lambda q: value["q"]
        ).truth

    assert truth(0.95 * 0.2 * math.sqrt(3.33 / 9)) is True and truth(1.05 * 0.2 * math.sqrt(3.33 / 9)) is None
    assert truth(1.05 * 0.2 * math.sqrt(16.92 / 9)) is False and truth(0.95 * 0.2 * math.sqrt(16.92 / 9)) is None
    assert truth(0.17 / 2, trainings=4, training_sd=1.0) is None  # that of one training is 0.17
    assert contrasts.contrast_of(comparison, lambda q: Estimate(80, None, 1), STUDY) is None


@pytest.mark.parametrize(
    ("data", "images", "of"),
    [("imagenet100", 800, 5000), ("imagenet100", 20000, 5000), ("imagenet100", None, 800), ("label_shift", 250, 250)],
)
def test_a_standard_error_is_brought_to_the_print_s_number_of_images(data, images, of):
    """A binomial's of ten draws: 100 √(p (1 - p) / 10 m) on m images; m is the print's, where that is known."""
    error = {m: 100 * math.sqrt(0.8 * 0.2 / 10 / m) for m in (250, 800, 5000, 20000)}
    comparison = Comparison(plus=[STUDENT.replace("imagenet100", data)], of="error", below=0.2)
    ours = Estimate(80, error[images or 800] / math.sqrt(3), 10, images=images, trainings=3, training_sd=1.0)
    found = contrasts.contrast_of(comparison, lambda q: ours, STUDY)
    assert found.value == pytest.approx(error[of]) and found.se == pytest.approx(0.2 / math.sqrt(2 * 27))


def test_readings_of_standard_errors_say_the_images_that_these_are_brought_to():
    for name, claim in CLAIMS:
        known = papers.paper(name).images
        for reading in claim.readings:
            for data in {q.data for c in reading.comparisons if c.of == "error" for q in c.weights}:
                assert (f"on {known.get(data, 0):,} images" in reading.reading) == (data in known), claim.id


def test_the_error_of_an_error_is_that_at_its_finite_bound():
    for bounds in ({"above": 0.2}, {"below": 0.2}):
        comparison = Comparison(plus=[STUDENT], of="error", **bounds)
        assert contrasts.error_of_error(comparison, Estimate(80, 0.1, 10)).variance == pytest.approx(0.04 / 18)


def test_a_contrast_of_numbers_from_other_test_images_contains_their_draw():
    """20 restored images beside 800: p (1 - p) (1/20 - 1/800), and the restoration's own spread; none on equal ones."""
    restored = "resnet | probe 100% on clean | imagenet100 | dd-rm50 | top1"
    comparison = Comparison(plus=[STUDENT], minus=[restored], above=0)

    def variance(images):
        ours = {"student-rm90": Estimate(80, None, 1, images=800), "resnet": Estimate(30, None, 1, images=images)}
        return contrasts.contrast_of(comparison, lambda q: ours[q.encoder], STUDY).se ** 2

    spread, p = 0.09 + 0.04 + 1.69, (1 + 20 * 0.3) / 22
    assert variance(800) == variance(None) == pytest.approx(spread)
    assert variance(20) == pytest.approx(spread + 1e4 * p * (1 - p) * (1 / 20 - 1 / 800))


@pytest.mark.parametrize(
    ("name", "noisy", "masked"), [("demo", "gn10-of-nlm", "rm50-of-dd"), ("paper", "gn10", "rm50-of-dd")]
)
def test_what_is_beside_restored_images_is_measured_on_the_same_ones(name, noisy, masked):
    study = papers.study(name)
    claim = next(claim for claim in claims.relevant(study) if claim.id == "pixel-space-unreliable")
    compared = [(comparison.plus, comparison.minus) for comparison in claim.readings[0].comparisons]
    restored = "resnet | probe 100% on clean | imagenet100 | {} | top1"
    assert compared[0] == ([f"student-gn10 | probe 100% | imagenet100 | {noisy} | top1"], [restored.format("nlm-gn10")])
    assert compared[3] == ([f"student-rm50 | probe 100% | imagenet100 | {masked} | top1"], [restored.format("dd-rm50")])
    assert set(claim.readings[0].quantities) <= set(plan.asked(study))
    assert claim.readings[0].reading.endswith("; here on the same images")


def test_published_numbers_are_compared_as_they_were_printed():
    published = papers.study("published")
    assert {claim.id: claim for claim in claims.relevant(published)}.items() <= {
        claim.id: claim for claim in claims.of_paper(published.paper)
    }.items()


def test_a_reading_pools_its_measured_spreads_and_says_when_it_would_flip():
    reading, value = reading_of({"plus": [STUDENT], "minus": [STUDENT.replace("rm90", "gn50")], "above": 0}), {}
    for name, mean in (("student-rm90", 82.0), ("student-gn50", 80.0)):
        value[name] = Estimate(mean, None, 1, trainings=2, training_sd=0.5)
    judged = claims.judge(reading, lambda q: value[q.encoder], STUDY)
    (outcome,) = judged.outcomes
    assert (judged.verdict, judged.spread, outcome.df, outcome.spread, outcome.trainings) == (
        "holds", "measured", 2, "measured", 2,
    )  # fmt: skip
    assert outcome.se == pytest.approx(0.5)  # 0.25 / 2 on either side
    assert judged.flip == pytest.approx(2 / 2.919986 / 0.5, abs=2e-3)
    once = {name: Estimate(each.mean, None, 1) for name, each in value.items()}
    judged = claims.judge(reading, lambda q: once[q.encoder], STUDY)
    assert (judged.outcomes[0].df, judged.spread) == (math.inf, "assumed")
    assert claims.judge(reading, lambda q: None, STUDY).flip is None


def test_a_study_whose_trainings_spread_too_far_says_from_which_bounds_on_a_reading_could_hold():
    """1.645 √2 s: 0.70 at the paper's 0.3, 2.09 at the demo's 0.9; of four such, three are enough for most."""
    comparable = named("transfer-cifar").readings[0]
    assert claims.reach(comparable, STUDY) is None
    assert claims.reach(comparable, papers.study("demo")) == pytest.approx(1.6449 * math.sqrt(2) * 0.9, abs=1e-3)
    narrow = {"plus": [STUDENT], "minus": [STUDENT.replace("rm90", "gn50")], "within": 0.6}
    wide = narrow | {"within": 0.8}
    assert claims.reach(reading_of(narrow, wide, wide), STUDY) == pytest.approx(0.698, abs=1e-3)
    assert claims.reach(reading_of(narrow, wide, wide, at_least="most"), STUDY) is None
    assert claims.reach(reading_of(narrow), study_but("paper", training_seeds=[1234, 2])) is None


# --- text and files -------------------------------------------------------------------------------------------------


def test_comparisons_say_what_they_compare():
    assert str(Comparison(plus=["a", "b"], minus=["c", "d"], above=1.50)) == "a + b − c − d > 1.5"
    assert str(Comparison(plus=["a"], within=2)) == "a within ±2"
    assert str(Comparison(plus=["a"], above=0, below=3)) == "a between 0 and 3"
    assert str(Comparison(plus=["a"], below=0.2, of="error")) == "standard error of a < 0.2"


def test_the_names_of_for_are_put_in_in_every_combination():
    reading = reading_of(
        {"plus": ["a-{d}-{e}", "{d}"], "minus": ["b{e}"], "within": 1}, {"plus": ["c-{d}"], "above": 2},
        **{"for": {"d": ["1", "2"], "e": ["x", "y"]}},
    )  # fmt: skip
    assert [str(comparison) for comparison in reading.comparisons] == [
        "a-1-x + 1 − bx within ±1", "c-1 > 2", "a-1-y + 1 − by within ±1", "c-1 > 2",
        "a-2-x + 2 − bx within ±1", "c-2 > 2", "a-2-y + 2 − by within ±1", "c-2 > 2",
    ]  # fmt: skip
    pairs = reading_of({"plus": ["{o} {d}"], "above": 0}, **{"for": {"o/d": ["1/x", "2/y"]}})
    assert [str(comparison) for comparison in pairs.comparisons] == ["1 x > 0", "2 y > 0"]


@pytest.mark.parametrize(("at_least", "margin"), [("all", -3), (1, 1), (2, 4), ("most", 4)])
def test_the_margin_is_that_of_the_least_sure_comparison_that_is_needed(at_least, margin):
    reading = reading_of(
        {"plus": ["a"], "above": 1}, {"plus": ["b"], "within": 3}, {"plus": ["c"], "above": 0}, at_least=at_least
    )
    # 4, 1 and -3 inside, which is 2, 5 and -15 standard errors
    pairs = zip(reading.comparisons, (5, -2, -3), (2, 0.2, 0.2), strict=True)
    outcomes = tuple(Outcome(c, value, se) for c, value, se in pairs)

    def judged(some):
        return Judged(reading, "open", some, claims.weakest(some, reading.least, "open"), None)

    assert judged(outcomes).margin == pytest.approx(margin)


@pytest.mark.parametrize(
    ("at_least", "verdict", "margin"),
    # 4 and 1 inside and -3, which is 2, 5 and -15 standard errors, beside two without a number
    [(2, "holds", 4), (1, "holds", 1), ("all", "fails", -3), (4, "fails", 4), (4, "no number", None)],
)
def test_what_has_no_number_counts_as_true_where_a_reading_fails_all_the_same(at_least, verdict, margin):
    reading = above(1, 0, 0, 0, 0, at_least=at_least)
    pairs = zip(reading.comparisons, (5, 1, -3), (2, 0.2, 0.2), strict=False)
    outcomes = (*(Outcome(c, value, se) for c, value, se in pairs), *map(Outcome, reading.comparisons[3:]))
    found = Judged(reading, verdict, outcomes, claims.weakest(outcomes, reading.least, verdict), None)
    assert found.margin == margin


def test_where_a_number_lacks_the_comparison_that_decides_is_one_that_is_surely_on_its_side():
    compared = [{"plus": [STUDENT.replace("rm90", f"rm{i}")], "above": 0} for i in range(60, 63)]
    for at_least, decided, count in (("all", "fails", 2), (2, "fails", 3), (1, "holds", 2)):
        reading = reading_of(*compared[:count], at_least=at_least)
        some = {quantity: Estimate(9.0 if decided == "holds" else -9.0, 0.1, 10) for quantity in reading.quantities[1:]}
        judged = claims.judge(reading, some.get, STUDY)
        assert judged.verdict == decided and (judged.margin > 0) == (decided == "holds")
        assert judged.outcomes[0].word == "no number"


def test_an_interval_is_inside_of_its_bound_exactly_where_a_comparison_is_sure():
    (comparison,) = reading_of({"plus": ["a"], "above": 0}).comparisons
    for value, df, sureness in ((1.6449, math.inf, 1), (-1.6449, math.inf, -1), (6.3138, 1, 1)):
        found = Outcome(comparison, value, 1.0, df=df)
        assert found.sureness == pytest.approx(sureness, abs=1e-4)
        assert found.interval[0 if value > 0 else 1] == pytest.approx(0, abs=1e-3)
    assert [Outcome(comparison, value, 0.0).sureness for value in (1, -1)] == [math.inf, -math.inf]


@pytest.mark.parametrize(
    ("values", "bounds", "evidence", "verdict"),
    [
        ((9, 2, True, False), {"above": 0}, "≥ 7.00 (standard error 0.00), true", "holds"),
        ((2, 9, True, False), {"above": 0}, "≥ −7.00 (standard error 0.00), open", "open"),
        ((9, 2, False, True), {"above": 0}, "≤ 7.00 (standard error 0.00), open", "open"),
        ((2, 9, False, True), {"above": 0}, "≤ −7.00 (standard error 0.00), false", "fails"),
        ((9, 9, True, True), {"above": -5}, "≶ 0.00 (standard error 0.00), open", "open"),
        ((9, 2, True, False), {"below": 3}, "≥ 7.00 (standard error 0.00), false", "fails"),
        ((9, 2, True, False), {"below": 30}, "≥ 7.00 (standard error 0.00), open", "open"),
        ((9, 2, True, False), {"above": 0, "below": 30}, "≥ 7.00 (standard error 0.00), open", "open"),
        ((9, 2, False, False), {"above": 0, "below": 30}, "7.00 (standard error 0.00), true", "holds"),
    ],
)
def test_a_censored_number_leaves_its_contrast_open_to_the_side_that_is_not_known(values, bounds, evidence, verdict):
    """Of a median where most attacks failed all that is known is that it is at least the radius."""
    first, second = (f"{name} | own | cifar10 | pgd | median" for name in ("supervised", "supervised-lambda1"))
    ours, theirs, *censored = values
    known = {
        quantities.parse(text): Estimate(value, 0.0, 200, censored=each)
        for text, value, each in zip((first, second), (ours, theirs), censored, strict=True)
    }
    study = papers.study("simclr-demo")
    study = replace(study, spreads=dict.fromkeys(("median", "median@penalised"), Spread(0, assumed=False)))
    judged = claims.judge(reading_of({"plus": [first], "minus": [second]} | bounds), known.get, study)
    (outcome,) = judged.outcomes
    assert claims.evidence(outcome).endswith(f": {evidence}") and judged.verdict == verdict
    assert (outcome.sureness == 0) == (verdict == "open")
    assert outcome.interval == (
        -math.inf if outcome.bound in ("≤", "≶") else outcome.value,
        math.inf if outcome.bound in ("≥", "≶") else outcome.value,
    )


def test_evidence_in_a_few_words():
    (comparison,) = reading_of({"plus": ["a"], "above": 0}).comparisons
    for truth, word in ((True, "true"), (False, "false"), (None, "open")):
        assert claims.evidence(Outcome(comparison, 1.234, 0.567, truth)) == f"a > 0: 1.23 (standard error 0.57), {word}"
    assert claims.evidence(Outcome(comparison)) == "a > 0: no number"


def test_the_authors_own_numbers_deny_that_all_student_variants_are_equal():
    (judged,) = claims.judge_claim(
        named("student-variants-equal"), lambda q: printed.value(q, STUDY.paper), STUDY
    ).readings
    assert judged.verdict == "fails" and judged.margin == pytest.approx(3 - (49.51 - 36.89))  # the sum, at 98 %
    assert sum(outcome.truth is False for outcome in judged.outcomes) == 2  # behind both others


CLAIMS_OF_TWO = """
- id: ahead
  section: "4"
  quote: Ours is ahead.
  readings:
    - reading: by more than 0.05 in one of two
      for: {e: [student-rm50to95, baseline-rm50to95]}
      at_least: 1
      compare:
        - plus: ["{e} | probe 100% | covid | rm50to95 | auc"]
          minus: ["baseline-gn10to30 | probe 100% | covid | gn10to30 | auc"]
          above: 0.05
    - reading: beyond what this study measures
      compare:
        - {plus: ["student-rm90 | probe 100% | imagenet100 | rm90 | top1"], above: 0}
- id: exactly
  section: "4"
  quote: Of all that is measured.
  readings:
    - reading: so
      for: {o: [rm50to95, gn10to30]}
      compare:
        - plus: ["student-{o} | probe 100% | covid | {o} | auc"]
          minus: ["baseline-{o} | probe 100% | covid | {o} | auc"]
          above: 0
- id: beyond
  section: "5"
  quote: Of what this study does not measure.
  readings:
    - reading: so
      compare:
        - {plus: ["student-rm90 | probe 100% | imagenet100 | rm90 | top1"], above: 0}
        - {plus: ["student-rm50to95 | probe 100% | covid | rm50to95 | auc"], above: 0}
- id: never
  section: "6"
  quote: Of what nobody measures.
  untested: Nobody does.
"""


def test_a_study_judges_the_readings_whose_quantities_it_measures(tmp_path):
    only = {"tables": [6], "figures": [], "also": [], "spreads": None}
    study = study_but("demo", tmp_path, files={"claims.yaml": CLAIMS_OF_TWO}, **only)
    assert [claim.id for claim in claims.relevant(study)] == ["ahead", "exactly"]
    values = {"student-rm50to95": 0.90006, "baseline-rm50to95": 0.8, "student-gn10to30": 0.7, "baseline-gn10to30": 0.6}
    measure(study, tmp_path, {str(q): [values[q.encoder]] for q in plan.of_table(6, study)})
    claims.write(study, tmp_path)
    written = pd.read_csv(tmp_path / "demo" / "claims.csv")
    assert list(written.columns) == list(claims.COLUMNS)
    row, exactly = written.to_dict("records")
    assert row["counted"] == exactly["counted"] == "yes"
    assert (row["claim"], row["section"], row["quote"]) == ("ahead", 4, "Ours is ahead.")
    assert (row["reading"], row["claim_verdict"]) == ("by more than 0.05 in one of two", "holds")
    # 0.3 and 0.2 above 0.05 with a declared spread of 0.01 on either side
    assert (row["verdict"], row["margin"], row["spread"], row["images"]) == ("holds", 0.2501, "assumed", 5)
    # where the surer of the two, of which both share the baseline, opens: between one and two independent ones
    one, two = (0.25006 / z / math.sqrt(2) / 0.01 for z in (1.644854, 1.959964))
    assert two < row["flips_at"] < one
    assert [text.rpartition(": ")[2] for text in row["evidence"].split("; ")] == [
        "0.30 (standard error 0.01), true",
        "0.20 (standard error 0.01), true",
    ]


def test_a_truism_and_what_is_said_before_do_not_count():
    """A headline claim is first wherever it stands; one with a further reading says something of its own."""
    ahead, other = above(0), above(1)

    def claim(identity, *readings, **keys):
        judged = (Judged(reading, "holds", (), None, None) for reading in readings)
        keys = {"id": identity, "section": "1", "quote": "q", "readings": list(readings)} | keys
        return JudgedClaim(Claim.model_construct(**keys), tuple(judged))

    known = [
        claim("first", ahead, headline=False), claim("main", ahead, other, headline=True), claim("twice", other),
        claim("plain", above(2), truism=True), claim("more", ahead, above(3)),
    ]  # fmt: skip
    before = claims.said_before(known)
    assert [claims.counted(each, before) for each in known] == [
        "said before by main", "yes", "said before by main", "a truism", "yes",
    ]  # fmt: skip


def test_a_claim_without_a_number_says_so_and_no_claims_are_an_empty_table(tmp_path):
    compare = "[{plus: ['resnet | own | covid | clean | auc'], above: 0}]"
    text = f"- {{id: a, section: b, quote: c, readings: [{{reading: d, compare: {compare}}}]}}"
    also = {"tables": [], "figures": [], "also": ["resnet | own | covid | clean | auc"]}
    study = study_but("published", tmp_path, files={"claims.yaml": text}, **also)
    write_rows(study, tmp_path, "measurements/resnet/covid", [])
    claims.write(study, tmp_path)
    (row,) = pd.read_csv(tmp_path / "published/claims.csv").to_dict("records")
    assert row["verdict"] == row["claim_verdict"] == "no number" and math.isnan(row["margin"])
    assert row["evidence"].endswith("> 0: no number")
    claims.write(study_but("published", tables=[], figures=[], also=[]), tmp_path)
    assert (tmp_path / "published/claims.csv").read_text() == ",".join(claims.COLUMNS) + "\n"


@pytest.mark.parametrize(
    ("comparison", "message"),
    [
        (
            "plus: ['resnet | own | covid | clean | auc'], above: 0",
            "a: study demo does not measure 'resnet | own | covid",
        ),
        (
            "plus: ['student-rm90 | probe 10% | imagenet100 | rm90 | top1'], within: 0.1",
            "a: 'd' can never hold: its .* 1.5",
        ),
        ("plus: ['student-rm90 | probe 10% | imagenet100 | rm90 | top1'], within: 1.6", None),
    ],
)
def test_a_claim_is_about_what_the_paper_s_study_measures_and_can_hold(tmp_path, comparison, message):
    """1.645 times a spread of 0.9 is 1.48."""
    text = f"- {{id: a, section: b, quote: c, readings: [{{reading: d, compare: [{{{comparison}}}]}}]}}"
    study = study_but("demo", tmp_path, files={"claims.yaml": text}, spreads=None)
    if message is None:
        claims.check(study.paper, study)
    else:
        with pytest.raises(UserError, match=message):
            claims.check(study.paper, study)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("readings: [{reading: r, compare: []}]", "claims.yaml: 0.readings.0.compare"),
        (
            "readings: [{reading: r, compar: []}]",
            "0.readings.0: unknown key 'compar'; did you mean 'compare'",
        ),
        (
            "readings: [{reading: r, compare: [{plus: [x], abve: 0}]}]",
            "0.readings.0.compare.0: unknown key 'abve'; did you",
        ),
        ("readings: [{compare: [{plus: [x], above: 0}]}]", "claims.yaml: 0.readings.0.reading: missing"),
        ("readings: []", "say `readings`, or in `untested`"),
        ("readings: [{reading: r, compare: [{plus: [x], above: 0}], at_least: some}]", "0.readings.0.at_least"),
    ],
)
def test_a_mistake_in_claims_yaml_is_named_with_file_and_key(tmp_path, text, message):
    study = study_but("demo", tmp_path, files={"claims.yaml": f"- {{id: a, section: b, quote: c, {text}}}"})
    with pytest.raises(UserError) as error:
        claims.of_paper(study.paper)
    assert message in str(error.value) and str(tmp_path) in str(error.value)


def test_every_quantity_of_a_reading_is_listed_once():
    reading = reading_of({"plus": [STUDENT], "minus": [TEACHER], "above": 0}, {"plus": [TEACHER], "within": 1})
    assert [q.encoder for q in reading.quantities] == ["student-rm90", "teacher"]
    assert reading.quantities[1] == replace(quantities.parse(STUDENT), encoder="teacher")
