"""Forest plots: places by hand, and what a reader is told of a contrast."""

import math
from dataclasses import replace

import pytest

from contrastive_inversion import papers
from contrastive_inversion.ledger.claims import Judged, Outcome
from contrastive_inversion.ledger.statements import Comparison
from contrastive_inversion.show import forest, shown_claims

PAPER = papers.paper("inverse_problems")
OURS, THEIRS = "student-rm90 | probe 10% | covid | rm90 | auc", "baseline-rm90 | own | covid | rm90 | auc"


def outcome(value, se, **bounds):
    return Outcome(Comparison(plus=[OURS], minus=[THEIRS], **bounds), value, se)


def row(**given):
    facts = {"text": "", "full": "", "word": "open", "value": 1.0, "interval": (0.0, 2.0), "published": None}
    return forest.Row(**facts | {"bounds": (0.0, math.inf)} | given)


def test_places_are_percents_of_an_axis_on_which_everything_lies():
    axis = forest.Axis(-10, 30)
    assert [axis.at(value) for value in (-10, 0, 30, 99, -math.inf, math.inf)] == [0, 25, 100, 100, 0, 100]
    assert axis.ticks == [(0, "−10"), (25, "0"), (50, "10"), (75, "20"), (100, "30")]
    found = forest.axis([row(value=5, interval=(3, 7)), row(published=-1), row(value=None, interval=None)])
    assert (found.low, found.high) == pytest.approx((-1 - 0.48, 7 + 0.48))  # a margin of 6 % of the 8 between them
    assert forest.axis([]) == forest.Axis(-1, 1)


def test_a_margin_is_in_points_inside_of_the_nearer_bound():
    """A point of an AUC is 0.01, and Student's t with no end of degrees of freedom has its 95 % at 1.645."""
    found = forest.margin("open", outcome(0.05, 0.01, above=0.02), outcome(0.10, None, above=0.02), PAPER)
    assert found.value == pytest.approx(3) and found.published == pytest.approx(8)
    assert found.interval == pytest.approx((3 - 1.645, 3 + 1.645), abs=1e-3) and found.said == "+3.0 ± 1.6"
    below = forest.margin("fails", outcome(0.05, 0.01, below=0.02), outcome(None, None, below=0.02), PAPER)
    assert below.value == pytest.approx(-3) and below.published is None and below.said == "−3.0 ± 1.6"
    within = forest.margin("holds", outcome(-0.015, 0.01, within=0.02), outcome(0.0, 0.0, within=0.02), PAPER)
    assert within.value == pytest.approx(0.5) and within.published == pytest.approx(2)


def test_a_bound_is_marked_as_one_towards_the_side_that_is_true():
    at_least = replace(outcome(0.05, 0.01, above=0.02), bound="≥")
    assert forest.margin("holds", at_least, outcome(None, None, above=0.02), PAPER).said == "≥ +3.0 ± 1.6"
    below = replace(outcome(0.05, 0.01, below=0.02), bound="≥")
    assert forest.margin("fails", below, outcome(None, None, below=0.02), PAPER).said == "≤ −3.0 ± 1.6"
    neither = replace(outcome(0.05, 0.01, above=0.02), bound="≶")
    assert forest.margin("open", neither, outcome(None, None, above=0.02), PAPER).said == "≶ +3.0"
    assert shown_claims.margin_of(Judged(None, "fails", (below,), 0, None)) == "≤ −0.03"
    (drawn,) = forest.of_reading([at_least], [at_least])["rows"]
    assert drawn["said"] == "≥ +0.05 ± 0.02" and drawn["interval"][1] == 100 > drawn["interval"][0]


def test_what_quantities_share_stands_once():
    assert (
        forest.brief(outcome(0, 1, above=0).comparison)
        == "student-rm90 probe 10% − baseline-rm90 own > 0 (covid rm90 auc)"
    )
    assert forest.brief(Comparison(plus=[OURS], below=50)) == "student-rm90 probe 10% covid rm90 auc < 50"
    twice = Comparison(plus=[OURS], minus=[THEIRS, THEIRS], above=0)
    assert forest.brief(twice) == "student-rm90 probe 10% − 2 × baseline-rm90 own > 0 (covid rm90 auc)"


def test_a_reading_is_drawn_beside_the_published_numbers():
    plot = forest.of_reading(
        [outcome(2, 1, above=0), Outcome(outcome(0, 1, above=0).comparison)], [outcome(4, 1, above=0)] * 2
    )
    known, missing = plot["rows"]
    assert known["at"] < known["published"] and known["bounds"][1] == 100 and known["said"] == "+2.00 ± 1.64"
    assert missing["at"] is None and missing["interval"] is None and missing["said"] == "no number"
