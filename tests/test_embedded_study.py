"""The embedded study's data and, on a part of it, the paper's point: a student sees through masks, its teacher not."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images

from contrastive_inversion import papers
from contrastive_inversion.base import files, rng
from contrastive_inversion.base.canonical import canonical, digest
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.base.job import Input, Job, file_of
from contrastive_inversion.data import characters, prepare, store
from contrastive_inversion.data.settings import Images
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
    assert np.array_equal(first, characters.render("K", [*draws, 0.5], 54))  # no more, nor fewer
    with pytest.raises(StopIteration):
        characters.render("K", draws[:-1], 54)
    assert first.std() > 20  # the character stands out


def test_missing_fonts_are_one_clear_error(tmp_path, monkeypatch):
    monkeypatch.setattr("matplotlib.get_data_path", lambda: str(tmp_path))
    characters.faces.cache_clear()
    with pytest.raises(UserError, match="0 DejaVu and STIX fonts.*reinstall matplotlib"):
        characters.faces()
    characters.faces.cache_clear()


def recipe_of(settings):
    return Images.of(data="x", settings=settings, image_size=48, seed=1)


def made(**settings):
    """A store's tensors and facts."""
    return prepare.make(recipe_of(settings), Job("images/x", Path(), ""))


def test_an_image_of_a_set_hangs_on_its_character_and_number_alone():
    common = {"source": "glyphs", "stored": 32, "train": 3}
    few, facts = made(**common, classes=[1, 3], test=2)
    assert facts == {"classes": ["latin capital letter b", "latin capital letter c"], "characters": "BC"}
    assert few["train/images"].shape == (6, 32, 32, 3) and few["train/labels"].tolist() == [0, 0, 0, 1, 1, 1]
    assert few["test/labels"].tolist() == [0, 0, 1, 1] and few.keys() == {
        f"{split}/{part}" for split in ("train", "test") for part in ("images", "labels")
    }
    draws = rng.uniform(characters.DRAWS, 1, "glyphs/images/train", torch.tensor([ord("C") * 4096 + 2]))[0]
    assert np.array_equal(few["train/images"][5].numpy(), characters.render("C", draws.numpy(), 32))
    more, _ = made(**common | {"train": 5}, classes=[0, 6])
    assert torch.equal(more["train/images"].view(6, 5, 32, 32, 3)[1:3, :3].flatten(0, 1), few["train/images"])
    other, _ = made(**common, classes=[1, 3], purpose="web")
    assert not torch.equal(other["train/images"], few["train/images"])
    coarse, _ = made(**common, classes=[1, 3], drawn=16)
    expected = Image.fromarray(characters.render("C", draws.numpy(), 16)).resize((32, 32), Image.Resampling.BILINEAR)
    assert np.array_equal(coarse["train/images"][5].numpy(), np.asarray(expected))


def test_a_label_shift_shows_other_characters_under_the_labels_of_known_ones():
    tensors, facts = made(source="glyphs", stored=32, test=2, pairs={"Ç": "C", "Á": "A"})
    assert tensors["test/labels"].tolist() == [2, 2, 0, 0] and facts["characters"] == "ÇÁ"


def test_digits_are_scikit_learn_s_first_ones_for_training():
    scans = load_digits()
    tensors, facts = made(source="digits", stored=16, train=1000)
    assert tensors["train/labels"].tolist() == scans.target[:1000].tolist() and len(facts["classes"]) == 10
    assert tensors["test/labels"].tolist() == scans.target[1000:].tolist()
    grey = Image.fromarray((scans.images[1000] * 255 / 16).astype(np.uint8)).resize((16, 16), Image.Resampling.BILINEAR)
    assert np.array_equal(tensors["test/images"][0].numpy(), np.repeat(np.asarray(grey)[..., None], 3, axis=2))


def test_patches_of_photographs_for_training_and_tests_do_not_overlap():
    photos = load_sample_images().images
    tensors, _ = made(source="photographs", stored=32, train=6, test=4)
    assert tensors["train/labels"].tolist() == [0, 0, 0, 1, 1, 1] and tensors["test/labels"].tolist() == [0, 0, 1, 1]
    for split, left, right in (("train", 0, 384), ("test", 416, 640)):
        for patch, label in zip(tensors[f"{split}/images"].numpy(), tensors[f"{split}/labels"].tolist(), strict=True):
            region = photos[label][:, left:right]
            corners = np.argwhere((region[:-31, :-31] == patch[0, 0]).all(axis=2))
            assert sum(np.array_equal(region[top : top + 32, at : at + 32], patch) for top, at in corners) == 1
    assert len({patch.tobytes() for patch in tensors["train/images"].numpy()}) == 6


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A function that makes a product of a reduced demo study: 20 classes, a teacher of 60, minutes made seconds."""
    root = tmp_path_factory.mktemp("reduced") / "demo"
    demo = papers.study("demo")
    digests = {}

    def make(product, **changes):
        if product not in digests:
            content = json.loads(plan.recipe(product, demo))
            content["settings"] = content.get("settings", {}) | changes
            content["inputs"] = {name: digests[name] for name in content["inputs"]}
            text = canonical(content)
            jobs.run(product, demo.paper, root, text)
            digests[product] = digest(text)
        return root / file_of(product)

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
    assert {name for name in tensors if "/" in name} == {f"{name}/{s}" for name in CORRUPTIONS for s in range(1, 6)}
    assert all(tensors[name].shape == (20, 48, 48, 3) for name in tensors if "/" in name)
    assert torch.equal(tensors["labels"], torch.arange(20))
    level = store.split(Input(study("images/imagenet100c")), "frost/4")
    assert torch.equal(level.labels, tensors["labels"]) and torch.equal(level.pixels, tensors["frost/4"])
