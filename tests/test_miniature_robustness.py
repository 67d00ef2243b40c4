"""The robustness report's studies on small files of CIFAR-10's published format: the real network, every kind of job.

Only epochs, counts of images and batches, seeds and steps of attacks are lowered. Classes are colours, so that there
is something to learn.
"""

import json

import numpy as np
import pytest
import yaml
from torchvision.datasets import cifar

import formats
from contrastive_inversion import papers
from contrastive_inversion.base import files, machine
from contrastive_inversion.ledger import plan
from contrastive_inversion.run import verify
from flow import make

IMAGES = 8  # in each of CIFAR-10's five training batches and its test batch


def coloured(seed):
    """A batch as its publishers pickle it: noisy pictures in their class's colour, and their labels."""
    random = np.random.default_rng(seed)
    labels = (np.arange(IMAGES) + IMAGES * seed) % 10
    colours = np.random.default_rng(99).integers(40, 215, (10, 3, 1))
    pixels = colours[labels] + random.integers(-40, 40, (IMAGES, 3, 1024))
    return {"data": pixels.reshape(IMAGES, 3072).astype(np.uint8), "labels": labels.tolist()}


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """A folder with CIFAR-10 as it is published, unpacked."""
    folder = tmp_path_factory.mktemp("cifar")
    for seed, name in enumerate([f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]):
        formats.pickled(folder / "cifar-10-batches-py" / name, coloured(seed))
    names = {"label_names": [f"colour {i}" for i in range(10)]}
    formats.pickled(folder / "cifar-10-batches-py/batches.meta", names)
    return folder


def lowered(parent):
    short = {"epochs": 1, "batch": 20}
    part = {"epochs": 4, "batch": 4}
    return {
        "inherits": parent, "gpu": 0, "training_seeds": [0],
        "contrastive": short, "supervised": short | {"part": part}, "finetuned": short | {"part": part},
        "probe": short,
        "attacks": {
            "images": 4, "batch": 4, "plb": {"outer": 2, "inner": 1}, "pgd": {"steps": 2},
            "checks": {"pgd-long": {"steps": 3}},
        } | ({"regularised_images": 3} if parent == "simclr-authors" else {}),
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("parent", ["simclr", "simclr-authors"])
def test_the_whole_study_runs(parent, archive, tmp_path, monkeypatch):
    """Every encoder, probe and measurement that the study asks for, its tables, its figure, its claims, its page."""
    name = f"{parent}-miniature"
    (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(lowered(parent)))
    monkeypatch.setenv(papers.OWN_STUDIES, str(tmp_path))
    monkeypatch.setattr(cifar, "check_integrity", lambda path, md5=None: True)
    monkeypatch.setenv(machine.VARIABLE, json.dumps({"data": {"cifar": str(archive)}}))
    study = papers.study(name)
    for product in plan.measurements(study):
        make(product, study, tmp_path / name)
    rows = [row for path in (tmp_path / name / "measurements").rglob("*.json") for row in files.read_json(path)["rows"]]
    assert {row["distortion"] for row in rows} == {
        "clean", "pgd", "plb", "strongest", *study.settings.attacks.checks,
    }  # fmt: skip
    assert all(np.isfinite([d for d in row["values"] if d is not None]).all() for row in rows)
    verify.verify(study, tmp_path, tmp_path / "figures")
    assert 'title="missing"' not in (tmp_path / name / "report.html").read_text()
    assert (tmp_path / "figures" / name / "figure_2.png").stat().st_size > 10_000
