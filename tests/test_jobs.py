"""Running a job: what it writes holds finite numbers, and is of the inputs that its record names.

What the jobs compute is stood in for: the captions are some numbers, and the teacher twice those.
"""

import pytest
import torch

from contrastive_inversion import papers
from contrastive_inversion.base import files
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.base.job import file_of
from contrastive_inversion.base.records import identity
from contrastive_inversion.ledger import plan
from contrastive_inversion.run import fresh, jobs

SMOKE, PUBLISHED = papers.study("smoke"), papers.study("published")
CAPTIONS, TEACHER, MEASURED = "images/captions", "encoders/teacher", "measurements/student-rm90/imagenet100"


@pytest.fixture
def stand_in(monkeypatch):
    """A function that lets a product's job compute something else: a function of the recipe and the job."""

    def replace(product, compute, study=SMOKE):
        kind, _ = plan.read(plan.recipe(product, study), study.paper)
        module, _, name = kind.run.partition(":")
        monkeypatch.setattr(f"contrastive_inversion.{module}.{name}", compute)

    return replace


def captions(value):
    """A job that makes captions of some numbers."""
    return lambda recipe, job: ({"numbers": torch.full((3,), value)}, {})


def twice(recipe, job):
    """A job that makes the teacher of the captions that it finds."""
    return {"numbers": 2 * numbers(CAPTIONS, job.root)}, {}


def run(product, root, study=SMOKE):
    jobs.run(product, study.paper, root / study.name, plan.recipe(product, study))


def numbers(product, root):
    return files.load(root / file_of(product))[0]["numbers"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_product_with_a_value_that_is_no_finite_number_is_not_written(tmp_path, stand_in, value):
    row = {"head": "own", "distortion": "rm90", "metric": "top1", "over": "instantiations", "images": 9}
    tensors = {"a": torch.ones(2), "b": torch.tensor([1.0, value])}
    for product, study, content, named in (
        (CAPTIONS, SMOKE, tensors, "b"),
        (MEASURED, PUBLISHED, [row | {"values": [1.0, value]}], "own on rm90"),
    ):
        stand_in(product, lambda recipe, job, content=content: (content, {}), study)
        with pytest.raises(UserError, match=f"{product}: {named} holds a value that is no finite number, so nothing"):
            run(product, tmp_path, study)
        assert not (tmp_path / study.name / file_of(product)).exists()


def test_a_product_of_an_input_that_was_replaced_is_made_again(tmp_path, stand_in, capsys):
    """By other content of the same recipe, as another machine may make it."""
    root = tmp_path / SMOKE.name
    stand_in(TEACHER, twice)
    for value in (1.0, 5.0):
        stand_in(CAPTIONS, captions(value))
        (root / file_of(CAPTIONS)).unlink(missing_ok=True)
        run(CAPTIONS, tmp_path)
        run(TEACHER, tmp_path)
        assert numbers(TEACHER, root).tolist() == [2 * value] * 3
    assert f"teacher.safetensors: made from another {CAPTIONS}. It is made again now" in capsys.readouterr().out
    written = (root / file_of(TEACHER)).stat().st_ino
    run(TEACHER, tmp_path)
    assert (root / file_of(TEACHER)).stat().st_ino == written


def test_an_input_that_is_replaced_while_a_job_computes_makes_its_product_out_of_date(tmp_path, stand_in):
    """What was read is noted before, so that none passes for made from what came later."""
    root = tmp_path / SMOKE.name
    stand_in(CAPTIONS, captions(1.0))
    run(CAPTIONS, tmp_path)
    before = identity(files.record_in(root / file_of(CAPTIONS)))

    def replacing(recipe, job):
        made = twice(recipe, job)
        (root / file_of(CAPTIONS)).unlink()
        stand_in(CAPTIONS, captions(5.0))
        run(CAPTIONS, tmp_path)
        return made

    stand_in(TEACHER, replacing)
    run(TEACHER, tmp_path)
    assert files.record_in(root / file_of(TEACHER))["inputs"] == {CAPTIONS: before}
    assert fresh.Results(SMOKE, tmp_path).reason(TEACHER) == f"made from another {CAPTIONS}"
