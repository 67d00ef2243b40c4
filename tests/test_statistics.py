"""How often verdicts are wrong, in worlds whose truth is known; docs/statistics.py draws them and has longer tables."""

from dataclasses import replace

import numpy as np
import pytest

from contrastive_inversion.ledger import shift, spreads, verdicts
from contrastive_inversion.ledger.estimates import Estimate
from test_docs import DOCS, script

WORLDS = 600  # five percent are told from ten: 7.3 % at most in 99.5 % of runs, and seeds are fixed
worlds = script("statistics")


def rate(event, **keys):
    return worlds.rate(event, WORLDS, **keys)


def level(share, chance=verdicts.FALSE_ALARM_RATE):
    """Whether a share of worlds can be that of an event of this chance, on either side."""
    low, high = worlds.bounds(chance, WORLDS)
    return low <= share <= high


def at_most(share, chance=verdicts.FALSE_ALARM_RATE):
    return share <= worlds.bounds(chance, WORLDS)[1]


# --- false alarms ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [1, 2, 6, 7, 8, 9, 11, 13])
def test_a_faithful_table_shows_a_cell_outside_in_five_percent_of_worlds(number):
    """Those of probes on fixed weights and of restorations fitted once among them; nothing is taken as exact."""
    assert level(rate(lambda random: worlds.alarmed(number, random, together=0.0)))
    assert at_most(rate(lambda random: worlds.alarmed(number, random, together=1.0), seed=1))


@pytest.mark.parametrize("trainings", [2, 3])
@pytest.mark.parametrize("number", [1, 6, 9])
def test_so_it_is_with_a_spread_measured_on_two_or_three_trainings(number, trainings):
    for together in (0.0, 1.0):
        found = rate(lambda random, t=together: worlds.alarmed(number, random, trainings=trainings, together=t))
        assert at_most(found)


@pytest.mark.parametrize("number", [1, 6, 9])
def test_so_it_is_with_spreads_that_another_study_measured(number):
    """Those of `paper-seeds`, with their own degrees of freedom."""
    assert at_most(rate(lambda random: worlds.alarmed(number, random, read=worlds.of_seeds())))


def test_what_another_study_measured_taken_for_exact_would_raise_more_alarms(monkeypatch):
    assert at_most(rate(lambda random: worlds.alarmed(6, random, read={"auc": 4})))
    monkeypatch.setattr(spreads, "degrees_of_freedom", lambda found: np.inf)
    assert not at_most(rate(lambda random: worlds.alarmed(6, random, read={"auc": 4})))


def test_encoders_that_spread_unequally_raise_more_alarms_so_the_page_says():
    for trainings in (1, 3):
        assert rate(lambda random, n=trainings: worlds.alarmed(1, random, uneven=0.5, trainings=n)) > 0.1


def test_the_evaluation_s_error_alone_would_accuse_most_faithful_cells():
    """Of Table 1, as `verdicts` says: 60 % at a spread of 0.3 points."""
    random, accused = np.random.default_rng(0), []
    for _ in range(100):
        for cell, ours in zip(*worlds.World(random).draw(worlds.table(1)), strict=True):
            found = verdicts.score(cell, ours, worlds.STUDY)
            alone = replace(found, parts=tuple(part for part in found.parts if not part.spread))
            accused += [alone.p <= verdicts.FALSE_ALARM_RATE] if cell.se else []
    assert np.mean(accused) == pytest.approx(0.6, abs=0.03)


def test_what_is_drawn_once_is_the_same_in_all_trainings():
    """A moved head's draw is no part of what trainings show: 0.3 points, not √(0.3² + 0.2²); alike in all of them."""
    cell = next(c for c in worlds.table(9) if "teacher probe" in str(c.quantity))
    random = np.random.default_rng(0)
    deviations = np.array([worlds.World(random).deviations([cell], 3)[:, 0] for _ in range(4000)])
    assert deviations.var(axis=1, ddof=1).mean() == pytest.approx(0.09, rel=0.05)
    assert deviations.mean(axis=1).var() == pytest.approx(0.09 / 3 + 0.04, rel=0.07)


def test_a_normal_in_place_of_student_s_t_would_raise_more_alarms(monkeypatch):
    """At two trainings of two encoders, in a table of four cells: the simulation can tell the two apart."""
    monkeypatch.setattr(spreads, "degrees_of_freedom", lambda found: np.inf)
    assert not at_most(rate(lambda random: worlds.alarmed(6, random, trainings=2)))


def test_a_part_of_the_images_adds_its_draw():
    """On 40 of 5000 images; equal numbers are the same images, which both sides share."""
    assert level(rate(lambda random: worlds.alarmed(7, random, images=40)))
    assert at_most(rate(lambda random: worlds.alarmed(7, random, images=1000), seed=2))


def test_a_declared_spread_that_is_too_small_raises_alarms_so_it_is_told():
    assert rate(lambda random: worlds.alarmed(1, random, spread=1.5)) > 0.4
    assert rate(lambda random: worlds.alarmed(1, random, spread=2.0)) > 0.9
    theirs, ours = worlds.World(np.random.default_rng(0)).draw(worlds.table(1))
    assert {each.spread for each in verdicts.of_table(theirs, ours, worlds.STUDY)} == {"assumed"}


# --- power ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("points", [1, 2, 3])
def test_the_power_that_is_stated_is_the_power_that_worlds_have(points):
    found = rate(lambda random: worlds.lost(1, random, points))
    assert level(found, verdicts.power(points, worlds.table(1), worlds.STUDY))


def test_the_power_of_a_spread_measured_on_few_trainings_is_that_of_a_noncentral_t():
    """scipy's, at 4, 9 and 40 degrees of freedom; a normal's with infinitely many."""
    from scipy import stats

    for df in (4, 9, 40):
        part = spreads.Part(0.25, df)
        for loss in (0, 0.5, 1, 2):
            threshold, noncentral = stats.t.isf(0.005, df), stats.nct(df, loss / 0.5 or 1e-12)
            exact = noncentral.sf(threshold) + noncentral.cdf(-threshold)
            assert verdicts.chance_of_finding(loss, verdicts.Score(0, (part,)), 0.01) == pytest.approx(exact, abs=2e-3)


# --- a shift of all cells -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [1, 8, 11, 12, 13])
def test_no_shift_is_found_in_faithful_tables(number):
    for together in (0.0, 1.0):
        assert at_most(rate(lambda random, t=together: worlds.shifted(number, random, together=t)))


def test_a_shift_that_no_cell_shows_is_found_by_the_mean():
    """Of every cell of Table 1 by 0.3 points: most worlds have all cells within."""
    cells = worlds.table(1)
    both = []
    for seed in range(WORLDS):
        theirs, ours = worlds.World(np.random.default_rng(seed), drop=0.3).draw(cells)
        within = all(each.verdict == "within" for each in verdicts.of_table(theirs, ours, worlds.STUDY))
        both.append((within, shift.of_table(theirs, ours, worlds.STUDY).is_shifted))
    within, found = np.mean(both, axis=0)
    assert within > 0.7 and found > 0.65


def test_all_tables_together_keep_their_level_and_find_a_shift():
    few = 150
    assert worlds.rate(worlds.page_shifted, few) <= worlds.bounds(0.05, few)[1]
    # twelve tables at five percent each, were they independent, would be 46 %; what they share is drawn once
    assert 0.25 < worlds.rate(worlds.page_coloured, few) < 0.46
    assert worlds.rate(lambda random: worlds.page_shifted(random, drop=0.5), few) > 0.7


def test_a_shift_by_hand():
    """Cells of one encoder: 0.3 in both, so 0.3 in their mean, not 0.3 / √2; those of two encoders, the latter."""
    first, _, third = worlds.table(1)[1:4]
    alike = [first, replace(third, quantity=replace(first.quantity, head="probe 10%"))]
    for cells, training in ((alike, 0.18), ([first, replace(first, quantity=third.quantity)], 0.09)):
        cells = [replace(cell, se="", value="80.00") for cell in cells]
        found = shift.of_table(cells, [Estimate(80.5, None, 1), Estimate(79.9, None, 1)], worlds.STUDY)
        assert found.mean == pytest.approx(0.2) and found.cells == 2
        assert found.se == pytest.approx(np.sqrt(training + 1e-4 / 12 / 2), rel=1e-9)
        assert (found.words, found.is_shifted) == ("no shift found, spread assumed", False)
    assert shift.of_table([], [], worlds.STUDY) is None
    far = shift.of_table(cells, [Estimate(70, None, 1)] * 2, worlds.STUDY)
    assert far.words == "shifted, below the print, spread assumed" and far.p < 1e-6


def test_a_quantity_that_is_printed_twice_counts_once_in_a_shift():
    cell = worlds.table(1)[1]
    found = shift.of_all([cell, cell], [Estimate(86.5, 0.1, 10)] * 2, worlds.STUDY)
    assert found.cells == 1 and found.mean == pytest.approx((86.5 - 85.87) / found_se(cell))


def found_se(cell):
    return verdicts.score(cell, Estimate(86.5, 0.1, 10), worlds.STUDY).se


# --- claims ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trainings", [1, 2, 3, 5])
def test_a_tie_is_called_in_five_percent_of_worlds(trainings):
    found = worlds.rate(lambda random: worlds.tie_called(random, trainings), 1000)
    low, high = worlds.bounds(0.05, 1000)
    assert low <= found <= high


CASES = [(name, verdict) for name in worlds.JOINT for verdict in ("holds", "fails")]


@pytest.mark.parametrize(("name", "verdict"), CASES, ids=[" ".join(case) for case in CASES])
def test_a_wrong_word_falls_in_at_most_five_percent_of_worlds_where_it_is_only_just_wrong(name, verdict):
    """Of all, most and some comparisons; spreads declared and measured on two trainings, cells alike or not."""
    reading, few = worlds.reading(*worlds.JOINT[name]), 250
    for seed, truth in enumerate(({"together": 0.0}, {"together": 1.0}, {"trainings": 2})):
        found = worlds.rate(lambda random, t=truth: worlds.wrongly(reading, verdict, random, **t), few, seed)
        assert found <= worlds.bounds(0.05, few)[1]


def test_counting_comparisons_would_be_wrong_far_more_often():
    """So the simulation can tell the two apart, and the joint decision is not merely silent."""
    most, all_of = (worlds.reading(*worlds.JOINT[name]) for name in ("most of 28 (Figure 6)", "all of 8 (Table 1)"))
    assert worlds.rate(lambda random: worlds.counted(most, "holds", random), 100) > 0.15
    assert worlds.rate(lambda random: worlds.counted(all_of, "fails", random), 100) > 0.15
    assert worlds.rate(lambda random: worlds.wrongly(all_of, "holds", random), 400) > 0.015


def test_a_cell_that_is_a_point_off_is_said_to_be_equal_in_at_most_five_percent():
    """And one that is not off is often said to be equal, where the spread of trainings is known."""
    off, faithful = (worlds.shares_of_words(1, points, 60) for points in (1.0, 0.0))
    assert off[0] <= worlds.bounds(0.05, 60 * 24)[1] and off[1] > 0.6
    assert faithful[0] > 0.3 and faithful[0] + faithful[1] > 0.97


# --- the page -------------------------------------------------------------------------------------------------------


def test_the_page_has_every_table_and_its_rates_are_those_of_the_code():
    text = (DOCS / "statistics.md").read_text()
    assert "{" not in text and text.count("\n| 8 |") == 4
    (line,) = [line for line in text.split("## Power")[0].splitlines() if line.startswith("| 8 |")]
    assert float(line.split("|")[2]) == pytest.approx(
        100 * worlds.rate(lambda random: worlds.alarmed(8, random)), abs=0.05
    )
