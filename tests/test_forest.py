"""Forest plots: places by hand, and what a reader is told of a contrast."""

import math
from dataclasses import replace

import pytest

from contrastive_inversion import papers
from contrastive_inversion.ledger.claims import Outcome
from contrastive_inversion.ledger.statements import Comparison
from contrastive_inversion.show import forest

PAPER = papers.paper("inverse_problems")
OURS, THEIRS = "student-rm90 | probe 10% | covid | rm90 | auc", "baseline-rm90 | own | covid | rm90 | auc"


def outcome(value, se, **bounds):
    return Outcome(Comparison(plus=[OURS], minus=[THEIRS], **bounds), value, se)


def row(**given):
    facts = {"text": "", "word": "open", "value": 1.0, "interval": (0.0, 2.0), "published": None}
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
    assert found.interval == pytest.approx((3 - 1.645, 3 + 1.645), abs=1e-3) and found.said == "+3.00 [1.36, 4.64]"
    below = forest.margin("fails", outcome(0.05, 0.01, below=0.02), outcome(None, None, below=0.02), PAPER)
    assert below.value == pytest.approx(-3) and below.published is None and below.said == "−3.00 [−4.64, −1.36]"
    within = forest.margin("holds", outcome(-0.015, 0.01, within=0.02), outcome(0.0, 0.0, within=0.02), PAPER)
    assert within.value == pytest.approx(0.5) and within.published == pytest.approx(2)


def test_a_bound_is_marked_as_one_towards_the_side_that_is_true():
    at_least, nothing = replace(outcome(0.05, 0.01, above=0.02), bound="≥"), outcome(None, None, above=0.02)
    assert forest.margin("holds", at_least, nothing, PAPER).said == "≥ +3.00 [1.36, ∞]"
    below = replace(outcome(0.05, 0.01, below=0.02), bound="≥")
    assert forest.margin("fails", below, nothing, PAPER).said == "≤ −3.00 [−∞, −1.36]"
    neither = replace(outcome(0.05, 0.01, above=0.02), bound="≶")
    assert forest.margin("open", neither, nothing, PAPER).said == "≶ +3.00 [−∞, ∞]"
    ((drawn,),) = (plot["rows"] for plot in forest.of_reading([at_least], [at_least], PAPER))
    assert drawn["said"] == "≥ +0.05 [0.03, ∞]" and drawn["interval"][1] == 100 > drawn["interval"][0]


def test_zero_has_no_minus():
    assert forest.signed(-0.004, 2) == forest.signed(0.0, 2) == "+0.00" and forest.signed(-0.006, 2) == "−0.01"
    assert row(value=-0.001, interval=(-0.004, -0.0)).said == "+0.00 [0.00, 0.00]"
    assert (50.0, "0") in forest.Axis(-1, 1).ticks


def test_what_quantities_share_stands_once():
    assert (
        forest.brief(outcome(0, 1, above=0).comparison)
        == "student-rm90 probe 10% − baseline-rm90 own > 0 (covid rm90 auc)"
    )
    assert forest.brief(Comparison(plus=[OURS], below=50)) == "student-rm90 probe 10% covid rm90 auc < 50"
    twice = Comparison(plus=[OURS], minus=[THEIRS, THEIRS], above=0)
    assert forest.brief(twice) == "student-rm90 probe 10% − 2 × baseline-rm90 own > 0 (covid rm90 auc)"


def test_a_reading_is_drawn_beside_the_published_numbers():
    (plot,) = forest.of_reading(
        [outcome(2, 1, above=0), Outcome(outcome(0, 1, above=0).comparison)], [outcome(4, 1, above=0)] * 2, PAPER
    )
    known, missing = plot["rows"]
    assert known["at"] < known["published"] and known["bounds"][1] == 100 and known["said"] == "+2.00 [0.36, 3.64]"
    assert missing["at"] is None and missing["interval"] is None and missing["said"] == "no number"


def test_contrasts_of_different_units_share_no_axis():
    """A point of accuracy beside a hundredth of a distance, of which a common axis would show nothing."""
    share, distance = (
        Outcome(Comparison(plus=[f"supervised | own | cifar10 | pgd | {metric}"], above=0), value, 0.1)
        for metric, value in (("all@0.25", 40.0), ("median", 0.3))
    )
    plots = forest.of_reading(
        [share, distance, share], [share, distance, share], papers.paper("contrastive_robustness")
    )
    assert [len(plot["rows"]) for plot in plots] == [2, 1]
    assert plots[1]["rows"][0]["at"] > 50 and max(float(text) for _, text in plots[1]["ticks"]) < 1
