"""Claims: on data where they must hold, fail or stay open; their uncertainty and margin by hand."""

import math
from dataclasses import replace

import pandas as pd
import pytest

from contrastive_inversion import papers
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.ledger import claims, plan, printed, quantities
from contrastive_inversion.ledger.claims import Claim, Comparison, Outcome
from contrastive_inversion.ledger.estimates import Estimate
from contrastive_inversion.ledger.spreads import Spread
from ledgers import measure, study_but, write_rows

STUDY = papers.study("paper")
CLAIMS = [(name, claim) for name in papers.names() for claim in claims.of_paper(papers.paper(name))]
STUDENT, TEACHER = (
    f"{name} | probe 100% on clean | imagenet100 | clean | top1" for name in ("student-rm90", "teacher")
)


def claim_of(*compare, **keys):
    return Claim.model_validate({"id": "a", "section": "1", "sentence": "So it is.", "compare": list(compare)} | keys)


def named(identity):
    return next(claim for claim in claims.of_paper(STUDY.paper) if claim.id == identity)


def beyond(claim, distance, se):
    """A claim's verdict when every comparison's contrast lies `distance` inside of its bound."""
    values = [(c, c.above + distance if c.above is not None else c.within - distance) for c in claim.comparisons]
    return claims.decide(claim, [claims.truth(comparison, value, se) for comparison, value in values])


@pytest.mark.parametrize("claim", [claim for _, claim in CLAIMS], ids=[f"{name}: {claim.id}" for name, claim in CLAIMS])
def test_every_claim_holds_fails_and_stays_open_where_it_must(claim):
    assert beyond(claim, 0.004, 0.001) == "holds"
    assert beyond(claim, -0.004, 0.001) == "fails"
    assert beyond(claim, 0.004, 0.01) == "undecided"
    assert all(claim.comparisons) and len(set(map(str, claim.comparisons))) == len(claim.comparisons)


def test_a_claim_is_judged_from_estimates_of_its_quantities():
    claim = named("ours-beats-baseline-top1")

    def value(ours, baseline, se=0.1):
        return lambda q: Estimate(ours if q.encoder.startswith("student") else baseline, se, 10)

    assert claims.judge(claim, value(80, 70), STUDY)[0] == "holds"
    assert claims.judge(claim, value(70, 80), STUDY)[0] == "fails"
    assert claims.judge(claim, value(80, 79.9), STUDY)[0] == "undecided"
    verdict, outcomes, margin = claims.judge(claim, lambda q: None, STUDY)
    assert (verdict, margin) == ("undecided", None)
    assert {(outcome.value, outcome.se, outcome.truth) for outcome in outcomes} == {(None, None, None)}
    _, outcomes, margin = claims.judge(claim, value(80, 70), STUDY)
    assert margin == pytest.approx(10) and [o.text for o in outcomes] == [str(c) for c in claim.comparisons]


def test_the_uncertainty_of_a_contrast_by_hand():
    """A sum of variances: each one's evaluation and the declared or measured spread of training or head."""
    comparison = Comparison(plus=[STUDENT, TEACHER], minus=[STUDENT.replace("rm90", "gn50")], above=0)
    estimates = {
        "student-rm90": Estimate(80, 0.4, 10),
        "teacher": Estimate(60, 0.2, 10),
        "student-gn50": Estimate(50, None, 1),
    }
    found = claims.contrast(comparison, lambda q: estimates[q.encoder], STUDY)
    assert found.value == 90 and found.se == pytest.approx(math.sqrt(0.16 + 0.09 + 0.04 + 0.04 + 0 + 0.09), rel=1e-12)
    assert found.df == pytest.approx(0.42**2 / (0.16**2 / 9 + 0.04**2 / 9))
    assert found.at(2).se == pytest.approx(math.sqrt(0.2 + 4 * 0.22))
    estimates = {name: replace(each, trainings=4, training_sd=3.0) for name, each in estimates.items()}
    measured = {"top1": Spread(3.0, 6, assumed=False)}
    found = claims.contrast(comparison, lambda q: estimates[q.encoder], STUDY, measured)
    parts = [(0.16, 36), (2 * 9 / 4, 6), (0.04, 36), (0.04 / 4, math.inf)]
    total = sum(v for v, _ in parts)
    assert found.se == pytest.approx(math.sqrt(total))
    assert found.df == pytest.approx(total**2 / sum(v**2 / df for v, df in parts))
    assert claims.contrast(comparison, lambda q: None, STUDY) is None


def test_a_contrast_of_numbers_from_other_test_images_contains_their_draw():
    """20 restored images beside 800: p (1 - p) (1/20 - 1/800), and the restoration's own spread; none on equal ones."""
    restored = "resnet | probe 100% on clean | imagenet100 | dd-rm50 | top1"
    comparison = Comparison(plus=[STUDENT], minus=[restored], above=0)

    def variance(images):
        ours = {"student-rm90": Estimate(80, None, 1, images=800), "resnet": Estimate(30, None, 1, images=images)}
        return claims.contrast(comparison, lambda q: ours[q.encoder], STUDY).se ** 2

    spread, p = 0.09 + 0.04 + 0.36, (1 + 20 * 0.3) / 22
    assert variance(800) == variance(None) == pytest.approx(spread)
    assert variance(20) == pytest.approx(spread + 1e4 * p * (1 - p) * (1 / 20 - 1 / 800))


def test_a_claim_pools_its_measured_spreads_and_says_when_it_would_flip():
    claim, value = claim_of({"plus": [STUDENT], "minus": [STUDENT.replace("rm90", "gn50")], "above": 0}), {}
    for name, mean in (("student-rm90", 82.0), ("student-gn50", 80.0)):
        value[name] = Estimate(mean, None, 1, trainings=2, training_sd=0.5)
    verdict, (outcome,), _ = claims.judge(claim, lambda q: value[q.encoder], STUDY)
    assert (verdict, outcome.df, outcome.spread) == ("holds", 2, "measured")
    assert outcome.se == pytest.approx(0.5)  # 0.25 / 2 on either side
    assert claims.flip(claim, lambda q: value[q.encoder], STUDY) == pytest.approx(2 / 2.919986 / 0.5, abs=2e-3)
    once = {name: Estimate(each.mean, None, 1) for name, each in value.items()}
    (outcome,) = claims.judge(claim, lambda q: once[q.encoder], STUDY)[1]
    assert (outcome.df, outcome.spread) == (math.inf, "assumed") and claims.resting_on([outcome]) == "assumed"
    assert claims.flip(claim, lambda q: None, STUDY) is None


@pytest.mark.parametrize(
    ("bound", "value", "se", "truth"),
    [
        ({"above": 5}, 7, 1.2, True),  # 2 > 1.645 * 1.2
        ({"above": 5}, 7, 1.22, None),
        ({"above": 5}, 3, 1.2, False),
        ({"above": -1}, -0.5, 0.1, True),
        ({"within": 3}, -1, 1.2, True),
        ({"within": 3}, 5, 1.2, False),
        ({"within": 3}, -5, 1.2, False),
        ({"within": 3}, -5, 1.22, None),
        ({"above": 0}, 0, 0, None),
        ({"above": 0}, None, None, None),
        ({"above": 0}, 1, None, None),
        ({"above": 0}, None, 0.1, None),
    ],
)
def test_a_comparison_is_true_or_false_beyond_its_bound(bound, value, se, truth):
    assert claims.truth(Comparison(plus=[STUDENT], **bound), value, se) is truth


@pytest.mark.parametrize(("df", "quantile"), [(1, 6.3138), (2, 2.92), (9, 1.8331), (math.inf, 1.6449)])
def test_few_degrees_of_freedom_ask_for_more(df, quantile):
    """The one-sided 5 % of a printed table of Student's t."""
    comparison = Comparison(plus=[STUDENT], above=5)
    assert claims.truth(comparison, 5 + 1.0002 * quantile, 1, df) is True
    assert claims.truth(comparison, 5 + 0.9998 * quantile, 1, df) is None


def test_comparisons_say_what_they_compare():
    assert str(Comparison(plus=["a", "b"], minus=["c", "d"], above=1.50)) == "a + b − c − d > 1.5"
    assert str(Comparison(plus=["a"], within=2)) == "a within ±2"


@pytest.mark.parametrize(
    ("keys", "truths", "verdict"),
    [
        ({}, [True, True], "holds"),
        ({}, [True, None], "undecided"),
        ({}, [True, False], "fails"),
        ({"at_least": "most"}, [True] * 5 + [False] * 3, "holds"),
        ({"at_least": "most"}, [True] * 4 + [False] * 4, "fails"),
        ({"at_least": "most"}, [True] * 4 + [None] * 4, "undecided"),
        ({"at_least": "most"}, [True] * 2 + [False], "holds"),
        ({"at_least": 2}, [True, True, False, None], "holds"),
        ({"at_least": 2}, [True, None, False, False], "undecided"),
        ({"at_least": 2}, [True, False, False, False], "fails"),
        ({"at_least": 1, "at_most": 2}, [True, True, False], "holds"),
        ({"at_least": 1, "at_most": 2}, [True, True, True], "fails"),
        ({"at_least": 1, "at_most": 2}, [True, True, None], "undecided"),
        ({"at_least": 0, "at_most": 0}, [False, False], "holds"),
        ({"at_least": 0, "at_most": 0}, [True, False], "fails"),
        ({"at_least": 0, "at_most": 0}, [None, False], "undecided"),
    ],
)
def test_a_claim_counts_what_is_surely_and_what_is_possibly_true(keys, truths, verdict):
    assert claims.decide(claim_of({"plus": [STUDENT], "above": 0}, **keys), truths) == verdict


def test_the_names_of_for_are_put_in_in_every_combination():
    claim = claim_of(
        {"plus": ["a-{d}-{e}", "{d}"], "minus": ["b{e}"], "within": 1}, {"plus": ["c-{d}"], "above": 2},
        **{"for": {"d": ["1", "2"], "e": ["x", "y"]}},
    )  # fmt: skip
    assert [str(comparison) for comparison in claim.comparisons] == [
        "a-1-x + 1 − bx within ±1", "c-1 > 2", "a-1-y + 1 − by within ±1", "c-1 > 2",
        "a-2-x + 2 − bx within ±1", "c-2 > 2", "a-2-y + 2 − by within ±1", "c-2 > 2",
    ]  # fmt: skip


@pytest.mark.parametrize(("at_least", "margin"), [("all", -3), (1, 4), (2, 1), ("most", 1), (0, 4)])
def test_the_margin_is_that_of_the_weakest_comparison_that_is_needed(at_least, margin):
    claim = claim_of(
        {"plus": ["a"], "above": 1}, {"plus": ["b"], "within": 3}, {"plus": ["c"], "above": 0}, at_least=at_least
    )
    outcomes = [Outcome("", value, 0.1, None) for value in (5, -2, -3)]  # 4, 1 and -3 inside
    assert claims.margin(claim, outcomes) == margin
    assert claims.margin(claim, [*outcomes[:2], Outcome("", None, None, None)]) is None
    with pytest.raises(ValueError, match="zip"):
        claims.margin(claim, outcomes[:2])


def test_evidence_in_a_few_words():
    assert claims.evidence(Outcome("a > 0", 1.234, 0.567, True)) == "a > 0: 1.23 ± 0.57, true"
    assert claims.evidence(Outcome("a > 0", -1, 0.5, False)) == "a > 0: -1.00 ± 0.50, false"
    assert claims.evidence(Outcome("a > 0", 0, 0.5, None)) == "a > 0: 0.00 ± 0.50, open"
    assert claims.evidence(Outcome("a > 0", None, None, None)) == "a > 0: no number"


def test_the_authors_own_numbers_deny_that_all_student_variants_are_equal():
    verdict, outcomes, margin = claims.judge(
        named("student-variants-equal"), lambda q: printed.value(q, STUDY.paper), STUDY
    )
    assert verdict == "fails" and margin == pytest.approx(3 - (47.89 - 36.89))  # at 98 % the sum is 11 points below
    assert sum(outcome.truth is False for outcome in outcomes) == 1


CLAIMS_OF_TWO = """
- id: ahead
  section: "4"
  sentence: Ours is ahead.
  for: {e: [student-rm50to95, student-gn10to30]}
  at_least: 1
  compare:
    - plus: ["{e} | probe 100% | covid | rm50to95 | auc"]
      minus: ["baseline-gn10to30 | probe 100% | covid | gn10to30 | auc"]
      above: 0.05
- id: exactly
  section: "4"
  sentence: Of all that is measured.
  for: {o: [rm50to95, gn10to30]}
  compare:
    - plus: ["student-{o} | probe 100% | covid | {o} | auc"]
      minus: ["baseline-{o} | probe 100% | covid | {o} | auc"]
      above: 0
- id: beyond
  section: "5"
  sentence: Of what this study does not measure.
  compare:
    - {plus: ["student-rm90 | probe 100% | imagenet100 | rm90 | top1"], above: 0}
    - {plus: ["student-rm50to95 | probe 100% | covid | rm50to95 | auc"], above: 0}
"""


def test_a_study_judges_the_claims_whose_quantities_it_measures(tmp_path):
    text = CLAIMS_OF_TWO.replace("student-gn10to30]", "baseline-rm50to95]")
    study = study_but("demo", tmp_path, files={"claims.yaml": text}, tables=[6], figures=[], also=[])
    assert [claim.id for claim in claims.relevant(study)] == ["ahead", "exactly"]
    values = {"student-rm50to95": 0.90006, "baseline-rm50to95": 0.8, "student-gn10to30": 0.7, "baseline-gn10to30": 0.6}
    measure(study, tmp_path, {str(q): [values[q.encoder]] for q in plan.of_table(6, study)})
    claims.write(study, tmp_path)
    written = pd.read_csv(tmp_path / "demo" / "claims.csv")
    assert list(written.columns) == [
        "claim",
        "section",
        "sentence",
        "verdict",
        "margin",
        "evidence",
        "spread",
        "flips_at",
    ]
    row, _ = written.to_dict("records")
    assert (row["claim"], row["section"], row["sentence"]) == ("ahead", 4, "Ours is ahead.")
    # 0.3 and 0.2 above 0.05 with a declared spread of 0.01 on either side
    assert (row["verdict"], row["margin"], row["spread"]) == ("holds", 0.2501, "assumed")
    assert row["flips_at"] == round(0.25006 / 1.644854 / math.sqrt(2) / 0.01, 2)  # where the surer of the two opens
    assert [text.rpartition(": ")[2] for text in row["evidence"].split("; ")] == [
        "0.30 ± 0.01, true",
        "0.20 ± 0.01, true",
    ]


def test_a_claim_without_a_number_is_undecided_and_no_claims_are_an_empty_table(tmp_path):
    text = "- {id: a, section: b, sentence: c, compare: [{plus: ['resnet | own | covid | clean | auc'], above: 0}]}"
    also = {"tables": [], "figures": [], "also": ["resnet | own | covid | clean | auc"]}
    study = study_but("published", tmp_path, files={"claims.yaml": text}, **also)
    write_rows(study, tmp_path, "measurements/resnet/covid", [])
    claims.write(study, tmp_path)
    (row,) = pd.read_csv(tmp_path / "published/claims.csv").to_dict("records")
    assert row["verdict"] == "undecided" and math.isnan(row["margin"]) and row["evidence"].endswith("> 0: no number")
    claims.write(study_but("published", tables=[], figures=[]), tmp_path)
    assert (tmp_path / "published/claims.csv").read_text() == (
        "claim,section,sentence,verdict,margin,evidence,spread,flips_at\n"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- {id: a, section: b, sentence: c, compare: []}", "claims.yaml: 0.compare"),
        (
            "- {id: a, section: b, sentence: c, compar: []}",
            "claims.yaml: 0: unknown key 'compar'; did you mean 'compare'",
        ),
        (
            "- {id: a, section: b, sentence: c, compare: [{plus: [x], abve: 0}]}",
            "0.compare.0: unknown key 'abve'; did you",
        ),
        ("- {id: a, section: b, compare: [{plus: [x], above: 0}]}", "claims.yaml: 0.sentence: missing"),
        (
            "- {id: a, section: b, sentence: c, compare: [{plus: [x], above: 0}], at_least: some}",
            "claims.yaml: 0.at_least",
        ),
    ],
)
def test_a_mistake_in_claims_yaml_is_named_with_file_and_key(tmp_path, text, message):
    study = study_but("demo", tmp_path, files={"claims.yaml": text})
    with pytest.raises(UserError) as error:
        claims.of_paper(study.paper)
    assert message in str(error.value) and str(tmp_path) in str(error.value)


def test_every_quantity_of_a_claim_is_listed():
    claim = claim_of({"plus": [STUDENT], "minus": [TEACHER], "above": 0}, {"plus": [TEACHER], "within": 1})
    assert [q.encoder for q in claims.quantities_of(claim)] == ["student-rm90", "teacher", "teacher"]
    assert claims.quantities_of(claim)[1] == replace(quantities.parse(STUDENT), encoder="teacher")
