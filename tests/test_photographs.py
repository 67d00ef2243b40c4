"""Readers, crops, distortions and corruptions on the photographs that foolbox ships: twenty of ImageNet, with labels.

The numbers were written down once, to a hundredth of a grey level: they move where a library decodes, resizes or draws
in another way.
"""

import functools
from pathlib import Path

import foolbox
import numpy as np
import pytest
import torch
from PIL import Image
from skimage.filters import gaussian
from timm.data import ImageNetInfo
from torchvision import transforms

from contrastive_inversion import papers
from contrastive_inversion.data import crops, entries, readers
from contrastive_inversion.distort.imagenet_c import corrupted
from contrastive_inversion.distort.names import specification
from contrastive_inversion.distort.operators import corrupt
from contrastive_inversion.distort.released_imagenet_c import RELEASED

FOLDER = Path(foolbox.__file__).parent / "data"
PHOTOGRAPHS = sorted(FOLDER.glob("imagenet_*.jpg"))
SETTINGS = papers.study("imagenette").settings
NEAR = functools.partial(pytest.approx, abs=0.05)  # grey levels


@functools.cache
def pixels():
    """The centres of all twenty, as they are tested: float32 (20, 3, 224, 224) in [0, 1]."""
    centres = [crops.for_testing(entries.decode(entries.Entry(path, 0)), 256, 224) for path in PHOTOGRAPHS]
    return torch.from_numpy(np.stack(centres)).permute(0, 3, 1, 2).float() / 255


def mean(images):
    return round(255 * images.double().mean().item(), 2)


def test_photographs_are_read_with_their_labels(tmp_path):
    """As ImageNet's class folders: sorted by class, each picture as Pillow decodes it."""
    names, labels = ImageNetInfo().label_names(), {}
    for path in PHOTOGRAPHS:
        wnid = names[int(path.stem.rsplit("_", 1)[1])]
        labels.setdefault(wnid, len(labels))
        (tmp_path / "val" / wnid).mkdir(parents=True, exist_ok=True)
        (tmp_path / "val" / wnid / f"{path.stem}.JPEG").symlink_to(path)
    found = readers.some_of_imagenet("imagenet", tmp_path, labels, {"test": 20})["test"]
    assert len(found) == 20 and [entry.name for entry in found] == sorted(entry.name for entry in found)
    assert ImageNetInfo().label_name_to_description(names[243]).startswith("bull mastiff")
    for entry in found:
        assert labels[entry.path.parent.name] == entry.label
        assert np.array_equal(entries.decode(entry), np.asarray(Image.open(entry.path).convert("RGB")))
    assert mean(pixels()) == NEAR(MEANS["centres"])


def test_crops_are_torchvision_s():
    tested = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224)])
    for path in PHOTOGRAPHS[:5]:
        with Image.open(path) as image:
            expected = np.asarray(tested(image.convert("RGB")))
        assert np.array_equal(crops.for_testing(entries.decode(entries.Entry(path, 0)), 256, 224), expected)


def test_training_crops_are_where_their_draws_say():
    draws = crops.draws_of(1, "train", torch.arange(20), 0)
    made = [crops.for_training(entries.decode(entries.Entry(p, 0)), d, 224, 0.5, crops.SCALE)
            for p, d in zip(PHOTOGRAPHS, draws, strict=True)]  # fmt: skip
    assert mean(torch.from_numpy(np.stack(made)) / 255) == NEAR(MEANS["training crops"])


@pytest.mark.parametrize("name", ["rm50", "rm90", "gn10", "gn50", "gb21", "gb37", "mix"])
def test_distortions_of_photographs(name):
    """How far each moves a pixel in the mean, in grey levels."""
    moved = corrupt(pixels(), specification(name, SETTINGS), 1234, "evaluate/test", torch.arange(20)) - pixels()
    assert mean(moved.abs()) == NEAR(MEANS[name])


@pytest.mark.parametrize("corruption", RELEASED)
def test_corruptions_of_photographs(corruption):
    """How far each moves a pixel at severity 3."""
    clean = pixels()[:2].permute(0, 2, 3, 1).numpy()
    moved = corrupted(clean, corruption, 3, 1234, 224, RELEASED).astype(float) / 255 - clean
    assert mean(torch.from_numpy(moved).abs()) == NEAR(MEANS[corruption])


def test_lengths_are_the_released_ones_at_the_released_size():
    """Hendrycks and Dietterich blur with skimage's Gaussian of 3 px at severity 3."""
    clean = pixels()[:2].permute(0, 2, 3, 1).numpy()
    found = corrupted(clean, "gaussian_blur", 3, 1234, 224, RELEASED) / 255
    expected = np.stack([gaussian(picture, sigma=3, channel_axis=-1) for picture in clean])
    assert np.abs(found - expected)[:, 12:-12, 12:-12].max() < 1.5 / 255


@pytest.mark.parametrize("source", ["cifar10", "cifar100"])
def test_small_pictures_are_enlarged_whole(source):
    """CIFAR's pictures at 224 px, as their study trains on them, against torch's bilinear interpolation."""
    pictures = [np.asarray(Image.open(path).convert("RGB")) for path in sorted(FOLDER.glob(f"{source}_*.png"))]
    assert len(pictures) == 20
    for picture in pictures:
        made = crops.for_training(picture, np.ones(4 * crops.TRIES + 1), 224, 0, None)
        small = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float()  # (1, 3, 32, 32)
        expected = torch.nn.functional.interpolate(small, size=(224, 224), mode="bilinear", align_corners=False)
        assert np.abs(made - expected[0].permute(1, 2, 0).numpy()).max() <= 1


MEANS = {
    "centres": 109.8,
    "training crops": 105.98,
    "rm50": 54.92,
    "rm90": 98.81,
    "gn10": 20.35,
    "gn50": 101.75,
    "gb21": 15.75,
    "gb37": 20.06,
    "mix": 44.97,
    "gaussian_noise": 34.4,
    "shot_noise": 34.88,
    "impulse_noise": 11.49,
    "speckle_noise": 28.01,
    "defocus_blur": 15.14,
    "glass_blur": 17.01,
    "motion_blur": 19.96,
    "zoom_blur": 19.93,
    "gaussian_blur": 13.84,
    "snow": 68.65,
    "frost": 50.63,
    "fog": 50.64,
    "brightness": 59.56,
    "contrast": 34.1,
    "elastic_transform": 20.57,
    "pixelate": 8.21,
    "jpeg_compression": 8.55,
    "saturate": 13.14,
    "spatter": 7.33,
}
