"""The teacher's embeddings, computed once for all students: results stay what they are without them."""

import pytest
import torch

from contrastive_inversion import papers
from contrastive_inversion.base import files
from contrastive_inversion.ledger import plan
from contrastive_inversion.papers.inverse_problems import students
from contrastive_inversion.run import jobs
from flow import make

STUDENT = "encoders/student-rm90"
BASE = "distill: {epochs: 2, batch: 32, shards: 2}\n"


@pytest.fixture
def kept(study_of):
    """The smoke study whose students take the teacher's embeddings from a file."""
    return study_of(BASE.replace("}", ", targets: kept}"), name="kept", parent="smoke")


@pytest.fixture
def computed(study_of):
    return study_of(BASE, name="computed", parent="smoke")


def test_recipes_do_not_know_of_targets_and_jobs_wait_for_them(kept, computed):
    assert plan.recipe(STUDENT, kept) == plan.recipe(STUDENT, computed)
    assert plan.inputs(STUDENT, computed) == ["images/imagenet100", "encoders/teacher"]
    assert plan.inputs(STUDENT, kept) == ["images/imagenet100", "encoders/teacher", "targets/seed1"]
    assert plan.inputs(f"{STUDENT}-seed7", kept)[-1] == "targets/seed7"
    assert "targets/seed1" in plan.with_inputs([STUDENT], kept)
    assert not any(product.startswith("targets/") for product in plan.with_inputs([STUDENT], papers.study("demo")))


def test_a_student_of_kept_targets_is_the_same_to_the_bit(kept, computed, tmp_path, monkeypatch):
    expected, first = files.load(make(STUDENT, computed, tmp_path / "computed"))
    path = make("targets/seed1", kept, tmp_path / "kept")
    embeddings = files.load(path)[0]["embeddings"]
    assert embeddings.shape == (2, 100, 128) and not torch.equal(embeddings[0], embeddings[1])
    seen, load = [], students.kept_targets
    monkeypatch.setattr(students, "kept_targets", lambda *given: seen.append(load(*given)) or seen[-1])
    found, second = files.load(make(STUDENT, kept, tmp_path / "kept"))
    assert seen[0] is not None and torch.equal(seen[0], embeddings)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert first["content_hash"] == second["content_hash"] and first["losses"] == second["losses"]


def test_targets_of_other_settings_are_not_taken(kept, computed, study_of, tmp_path):
    make("targets/seed1", kept, tmp_path)
    recipe = plan.recipe_of(STUDENT, kept)
    job = jobs.Job(STUDENT, tmp_path, "", recipe.inputs)
    assert students.kept_targets(recipe, job) is not None
    for change in ({"batch": 16}, {"shards": 1}, {"epochs": 1}, {"precision": "bf16"}, {"teacher_mode": "train"}):
        other = recipe.but(settings=recipe.settings.said() | change)
        assert students.kept_targets(other, job) is None, change
    assert students.kept_targets(recipe.but(seed=2), job) is None
    warmer = recipe.but(settings=recipe.settings.said() | {"lr": 0.5, "temperature": 0.2})
    assert students.kept_targets(warmer, job) is not None  # what the teacher does not see
