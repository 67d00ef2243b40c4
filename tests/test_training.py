"""Trainings on the smoke study's small data: they learn, and a kill loses nothing."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from contrastive_inversion.base import files
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.base.job import Job
from contrastive_inversion.data import store
from contrastive_inversion.learn import networks
from contrastive_inversion.learn.loop import learning_rate
from contrastive_inversion.ledger import plan
from contrastive_inversion.run import jobs

STUDY = "smoke"


def make(product, root):
    """A product and all that it needs."""
    for needed in plan.inputs(product, STUDY):
        if not (root / plan.file_of(needed)).exists():
            make(needed, root)
    jobs.run(product, root, plan.recipe(product, STUDY))
    return root / plan.file_of(product)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("results") / STUDY
    make("encoders/teacher", root)
    make("images/imagenet100", root)
    return root


def long_recipe(epochs=12):
    return plan.canonical(
        plan.parse(plan.recipe("encoders/student-rm90", STUDY))
        | {"settings": plan.parse(plan.recipe("encoders/student-rm90", STUDY))["settings"] | {"epochs": epochs}}
    )


def copy_inputs(root, target):
    for product in ("images/imagenet100", "encoders/teacher"):
        path = target / plan.file_of(product)
        path.parent.mkdir(parents=True, exist_ok=True)
        os.link(root / plan.file_of(product), path)


def test_a_killed_training_goes_on_to_identical_weights(root, tmp_path):
    product, recipe = "encoders/student-rm90", long_recipe()
    calm, hit = tmp_path / "calm", tmp_path / "hit"
    for folder in (calm, hit):
        copy_inputs(root, folder)
    jobs.run(product, calm, recipe)
    command = [
        sys.executable,
        "-m",
        "contrastive_inversion.run.cli",
        "make",
        product,
        "--root",
        str(hit),
        "--recipe",
        recipe,
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    checkpoint = hit / "state" / product / "checkpoint.pt"
    while not checkpoint.exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (hit / plan.file_of(product)).exists()
    done = torch.load(checkpoint, weights_only=True)["epoch"]
    assert 1 <= done < 12
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert re.search(rf"going on after epoch {done}", output)
    expected, first = files.load(calm / plan.file_of(product))
    found, second = files.load(hit / plan.file_of(product))
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert first["content_hash"] == second["content_hash"] and first["losses"] == second["losses"]


def test_a_damaged_checkpoint_is_named_and_kept(root, tmp_path):
    copy_inputs(root, tmp_path)
    checkpoint = tmp_path / "state/encoders/student-rm90/checkpoint.pt"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"PK\x03\x04 half a file")
    with pytest.raises(UserError, match="checkpoint.pt: damaged checkpoint .* delete it"):
        jobs.run("encoders/student-rm90", tmp_path, long_recipe())
    assert checkpoint.exists()


def test_a_half_written_store_is_named(root, tmp_path):
    copy_inputs(root, tmp_path)
    path = tmp_path / "images/imagenet100.safetensors"
    whole = path.read_bytes()
    path.unlink()
    path.write_bytes(whole[: len(whole) // 2])
    store.load.cache_clear()
    with pytest.raises(UserError, match="imagenet100.safetensors: damaged or incomplete .* delete it and run again"):
        jobs.run("encoders/student-rm90", tmp_path, long_recipe())
    store.load.cache_clear()


def test_an_input_of_another_recipe_is_refused(root, tmp_path):
    copy_inputs(root, tmp_path)
    recipe = plan.parse(long_recipe())
    recipe["inputs"]["encoders/teacher"] = "0" * 64
    with pytest.raises(UserError, match="teacher.safetensors: made by recipe"):
        jobs.run("encoders/student-rm90", tmp_path, plan.canonical(recipe))


def test_distillation_lowers_its_loss_and_leaves_the_teacher_alone(root):
    before = files.load(root / "encoders/teacher.safetensors")[1]["content_hash"]
    path = make("encoders/student-gn30", root)
    losses = files.load(path)[1]["losses"]
    assert losses[-1] < losses[0]
    assert files.load(root / "encoders/teacher.safetensors")[1]["content_hash"] == before


def test_a_student_before_its_first_step_equals_the_teacher(root):
    teacher, _, _ = networks.load(root / "encoders/teacher.safetensors", None)
    again, _, _ = networks.load(root / "encoders/teacher.safetensors", None)
    batch = torch.rand(4, 3, 48, 48)
    assert torch.equal(teacher(batch), again(batch)) and not teacher.training


def test_products_are_the_same_when_made_again(root, tmp_path):
    again = make("images/imagenet100", tmp_path)
    assert (
        files.load(again)[1]["content_hash"] == files.load(root / "images/imagenet100.safetensors")[1]["content_hash"]
    )


def test_a_full_disk_is_one_clear_error(tmp_path, monkeypatch):
    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(UserError, match="the disk is full"):
        files.save(tmp_path / "x.safetensors", {"a": torch.ones(1)}, {})
    assert list(tmp_path.iterdir()) == []


def test_a_loss_that_is_not_finite_stops_with_step_and_images():
    from contrastive_inversion.learn.loop import check_loss

    with pytest.raises(UserError, match=r"loss is nan at step 7 \(images \[3, 4\]"):
        check_loss(float("nan"), 4.6, 7, torch.tensor([3, 4]), Job("encoders/x", Path(), ""))


def test_a_loss_that_explodes_stops_the_job_and_a_large_first_one_does_not():
    from contrastive_inversion.learn.loop import check_loss

    job = Job("encoders/x", Path(), "")
    check_loss(26_000.0, 26_000.0, 0, torch.tensor([3]), job)
    with pytest.raises(UserError, match="loss is 5000 at step 9"):
        check_loss(5000.0, 4.6, 9, torch.tensor([3]), job)


def test_learning_rates_follow_their_schedules():
    cosine = {"lr": 1.0, "schedule": "cosine", "warmup": 0.1}
    rates = [learning_rate(cosine, step, 10, 10) for step in range(100)]
    assert rates[9] == 1.0 and rates[0] == pytest.approx(0.1) and rates[-1] < 0.001
    assert rates[55] == pytest.approx(0.5, abs=0.01)
    steps = {"lr": 0.1, "schedule": "step"}
    assert [learning_rate(steps, e * 5, 5, 90) for e in (0, 29, 30, 60)] == pytest.approx([0.1, 0.1, 0.01, 0.001])
