"""ImageNet-C at the released size against the released code itself.

`data/released_imagenet_c.json` was written once by `make_imagenet_c.py` of Hendrycks and Dietterich, with ImageMagick 6
and OpenCV, on a photograph that foolbox ships: for corruptions at three severities, NumPy seeded with 7, the mean grey
level and a grid of pixels. With the same draws ours must be the same.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from contrastive_inversion import papers
from contrastive_inversion.base import files
from contrastive_inversion.base.job import Job
from contrastive_inversion.data import corrupted, recipes
from contrastive_inversion.data.settings import CorruptedPhotographs, Images
from contrastive_inversion.distort import imagenet_c
from contrastive_inversion.distort.names import IMAGENET_C
from contrastive_inversion.distort.released_imagenet_c import RELEASED
from test_photographs import pixels

FOUND = json.loads((Path(__file__).parent / "data/released_imagenet_c.json").read_text())
OWN = {
    "defocus_blur",
    "glass_blur",
    "zoom_blur",
    "fog",
    "motion_blur",
    "snow",
    "elastic_transform",
    "spatter",
}  # formulas


class Draws(np.random.RandomState):
    """NumPy's old generator, which the released code draws from, under the names of the new one."""

    def integers(self, low, high, size, dtype):
        return self.randint(low, high, size)


@pytest.mark.parametrize("level", FOUND)
def test_pixels_are_those_of_the_released_code(level):
    name, severity = level.split("/")
    clean = pixels()[1:2].permute(0, 2, 3, 1).numpy()
    corruption, parameters = RELEASED[name]
    made = corruption(clean, parameters[int(severity) - 1], Draws(7), 1.0)
    found = np.floor(255 * made.clip(0, 1))[0]  # they cut off, we round
    away = np.abs(found[20::36, 20::36].ravel() - FOUND[level]["pixels"])
    if name == "spatter":  # OpenCV finds other edges of the drops
        assert (away > 2).mean() < 0.15
    else:
        assert away.max() <= (4 if name == "snow" else 1)  # they keep snow in 8 bits, twice
    assert found.mean() == pytest.approx(FOUND[level]["mean"], abs=0.8)


def test_all_nineteen_are_there_and_those_for_any_size_are_not_made_twice():
    assert sorted(RELEASED) == sorted(IMAGENET_C) and all(len(parameters) == 5 for _, parameters in RELEASED.values())
    assert {name for name in RELEASED if RELEASED[name] != imagenet_c.CORRUPTIONS[name]} == OWN


def test_photographs_at_the_released_size_alone_are_corrupted_so():
    """Small pictures keep the formulas that are scaled to them."""
    assert type(recipes.images(papers.study("imagenette"), "imagenet100c")) is CorruptedPhotographs
    assert type(recipes.images(papers.study("imagenette"), "imagenet100")) is Images
    assert type(recipes.images(papers.study("demo"), "imagenet100c")) is Images
    assert type(recipes.images(papers.study("paper"), "imagenet100c")) is Images


def test_the_store_has_every_level_of_the_first_pictures_of_each_class(tmp_path, monkeypatch):
    monkeypatch.setattr(corrupted, "RELEASED", {name: RELEASED[name] for name in ("snow", "brightness")})
    squares = torch.randint(0, 256, (6, 224, 224, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    said = {"seed": 0, "inputs": {}, "data": "small", "image_size": 224}
    files.save(
        tmp_path / "images/small.safetensors",
        {"test/images": squares, "test/labels": torch.tensor([0, 0, 0, 1, 1, 1])},
        {
            "recipe": said | {"settings": {"source": "digits", "train": 1, "stored": 224}},
            "recipe_hash": "of the source",
        },
    )
    settings = {"source": "generated-imagenet-c", "classes_of": "small", "images_per_class": 2, "reference": 224}
    recipe = CorruptedPhotographs.model_validate(
        said | {"seed": 4, "inputs": {"images/small": ""}, "settings": settings}
    )
    tensors, facts = corrupted.make(recipe, Job("images/smallc", tmp_path, "", {"images/small": "of the source"}))
    assert facts == {"origin": "generated"} and tensors["labels"].tolist() == [0, 0, 1, 1]
    assert set(tensors) == {"labels"} | {f"{name}/{s}" for name in ("snow", "brightness") for s in range(1, 6)}
    clean = squares[[0, 1, 3, 4]].numpy().astype(np.float32) / 255
    expected = imagenet_c.corrupted(clean, "snow", 3, 4, 224, RELEASED)
    assert np.array_equal(tensors["snow/3"].numpy(), expected)
    assert not np.array_equal(tensors["snow/3"].numpy(), tensors["snow/2"].numpy())
