"""The embedded study's data and, on a part of it, the paper's point: a student sees through masks, its teacher not."""

import numpy as np
import pytest
import torch

from contrastive_inversion.base import files
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.data import characters
from contrastive_inversion.distort.imagenet_c import CORRUPTIONS
from contrastive_inversion.ledger import plan
from contrastive_inversion.run import jobs


def test_classes_are_distinct_named_and_the_same_everywhere():
    classes = characters.classes()
    assert len(classes) == len(set(classes)) >= 1200
    assert classes[:26] == tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    assert characters.caption("A") == "latin capital letter a"
    assert not set(characters.SHIFTED) & set(classes)


def test_no_two_classes_look_alike():
    signatures = np.array([characters.signature(c) for c in characters.classes()[40:240]])
    alike = signatures @ signatures.T - np.eye(len(signatures))
    assert alike.max() < characters.LOOKALIKE_COSINE


def test_an_image_is_a_function_of_its_draws():
    draws = np.linspace(0.01, 0.99, characters.DRAWS)
    first, again = characters.render("K", draws, 54), characters.render("K", draws, 54)
    assert np.array_equal(first, again) and first.shape == (54, 54, 3) and first.dtype == np.uint8
    assert not np.array_equal(first, characters.render("K", draws[::-1], 54))
    assert first.std() > 20  # the character stands out


def test_missing_fonts_are_one_clear_error(tmp_path, monkeypatch):
    monkeypatch.setattr("matplotlib.get_data_path", lambda: str(tmp_path))
    characters.faces.cache_clear()
    with pytest.raises(UserError, match="0 DejaVu and STIX fonts.*reinstall matplotlib"):
        characters.faces()
    characters.faces.cache_clear()


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A function that makes a product of a reduced demo study: 20 classes, a teacher of 60, minutes made seconds."""
    root = tmp_path_factory.mktemp("reduced") / "demo"
    made = {}

    def make(product, **changes):
        if product not in made:
            recipe = plan.parse(plan.recipe(product, "demo"))
            recipe["settings"] = recipe.get("settings", {}) | changes
            recipe["inputs"] = {name: made[name] for name in recipe["inputs"] if name in made}
            text = plan.canonical(recipe)
            jobs.run(product, root, text)
            made[product] = plan.digest(text)
        return root / plan.file_of(product)

    make("images/captions", classes=[0, 60], train=40)
    make("images/imagenet100", classes=[0, 20], train=25, test=10)
    make("encoders/teacher", epochs=14)
    return make


def test_a_student_beats_its_raw_teacher_under_a_mask(study):
    losses = files.load(study("encoders/student-rm50", epochs=30))[1]["losses"]
    assert losses[-1] < 0.5 * losses[0]
    study("heads/teacher/imagenet100")
    study("heads/student-rm50/imagenet100")
    rows = files.read_json(study("measurements/student-rm50/imagenet100"))["rows"]
    found = {(row["head"], row["metric"]): np.mean(row["values"]) for row in rows}
    raw = files.read_json(study("measurements/teacher/imagenet100"))["rows"]
    teacher = next(np.mean(r["values"]) for r in raw if r["distortion"] == "rm50" and r["metric"] == "top1")
    assert found["probe 100%", "top1"] > teacher + 20
    assert found["probe 100%", "top1"] > 60
    assert found["probe 100%", "top5"] >= found["probe 100%", "top1"] >= found["probe 10%", "top1"]


def test_generated_imagenet_c_has_every_corruption_and_severity(study):
    tensors, record = files.load(study("images/imagenet100c", images_per_class=1))
    assert record["origin"] == "generated"
    assert {name for name in tensors if "/" in name} == {f"{f.__name__}/{s}" for f in CORRUPTIONS for s in range(1, 6)}
    assert all(tensors[name].shape == (20, 48, 48, 3) for name in tensors if "/" in name)
    assert torch.equal(tensors["labels"], torch.arange(20))
