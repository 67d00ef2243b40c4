"""The emulated schedule: every job once, after what it is made from, and no two of them on one card."""

import importlib
import sys
from pathlib import Path

import pytest

from contrastive_inversion import papers
from contrastive_inversion.ledger import plan

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
STUDY, TARGET = "paper", "table_12"


@pytest.fixture(scope="module")
def emulation():
    sys.path.insert(0, str(BENCHMARKS))
    yield importlib.import_module("emulation")
    sys.path.remove(str(BENCHMARKS))


def test_jobs_run_once_in_order_and_on_two_cards_without_meeting(emulation, tmp_path):
    ran = {event.product: event for event in emulation.emulate(STUDY, [TARGET], 2, 4, 0.5, tmp_path)}
    study = papers.study(STUDY)
    recipes = plan.with_inputs(plan.behind_targets([TARGET], study), study)
    assert set(ran) == set(recipes) and {event.card for event in ran.values()} == {"", "GPU-0", "GPU-1"}
    assert all(ran[needed].ended <= ran[name].began for name, recipe in recipes.items() for needed in recipe.inputs)
    assert emulation.overlaps(list(ran.values())) == []


def test_jobs_that_meet_on_a_card_are_seen_and_shares_are_of_the_whole_time(emulation):
    held = [emulation.Event("a", 0, 4, "0"), emulation.Event("b", 4, 6, "0"), emulation.Event("c", 1, 8, "")]
    assert emulation.overlaps(held) == [] and emulation.shares(held, 2) == {"seconds": 8, "busy": 6 / 16}
    assert emulation.overlaps([*held, emulation.Event("d", 3, 5, "0")]) == [("a", "d"), ("d", "b")]
