"""Our preprocessing against torchvision's and Pillow's, bit for bit, on real JPEGs."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images
from torchvision.transforms import CenterCrop, Compose, RandomResizedCrop, Resize
from torchvision.transforms import functional as F

from contrastive_inversion.data import crops


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Two photographs, saved as JPEG and read again, upright, lying and small."""
    folder = tmp_path_factory.mktemp("photos")
    found = []
    for i, photo in enumerate(load_sample_images().images):
        for box in ((0, 0, 640, 427), (100, 0, 313, 400), (5, 9, 105, 96)):
            path = folder / f"{i}-{box[0]}.jpg"
            Image.fromarray(photo).crop(box).save(path, quality=92)
            found.append(Image.open(path).convert("RGB"))
    return found


def test_testing_crops_are_torchvision_s(pictures):
    transform = Compose([Resize(256), CenterCrop(224)])
    for picture in pictures:
        assert np.array_equal(crops.for_testing(np.asarray(picture), 256, 224), np.asarray(transform(picture)))
    lying, upright = (next(p for p in pictures if p.size == size) for size in ((640, 427), (213, 400)))
    for picture, size, box in ((lying, (383, 256), (80, 16, 304, 240)), (upright, (256, 480), (16, 128, 240, 352))):
        expected = picture.resize(size, Image.Resampling.BILINEAR).crop(box)
        assert np.array_equal(crops.for_testing(np.asarray(picture), 256, 224), np.asarray(expected))


def test_training_crops_are_torchvision_s_for_the_same_box(pictures):
    draws = crops.draws_of(1, "train", torch.arange(60), 3)
    for i, row in enumerate(draws):
        picture = pictures[i % len(pictures)]
        top, left, height, width = crops.random_box(picture.height, picture.width, row[:-1], crops.SCALE)
        expected = F.resized_crop(picture, top, left, height, width, [224, 224])
        expected = F.hflip(expected) if row[-1] < 0.5 else expected
        assert np.array_equal(crops.for_training(np.asarray(picture), row, 224, 0.5, crops.SCALE), np.asarray(expected))


def test_whole_training_crops_are_torchvision_s(pictures):
    transform = Compose([Resize(64), CenterCrop(64)])
    for draw, picture in zip((0.2, 0.6, 0.4, 0.9, 0.5, 0.1), pictures, strict=True):
        expected = F.hflip(transform(picture)) if draw < 0.5 else transform(picture)
        draws = np.append(np.full(4 * crops.TRIES, 0.5), draw)
        assert np.array_equal(crops.for_training(np.asarray(picture), draws, 64, 0.5, None), np.asarray(expected))


def test_a_crop_s_share_stays_within_its_bounds():
    draws = crops.draws_of(1, "boxes", torch.arange(500), 0)
    shares = np.array([np.prod(crops.random_box(400, 400, row[:-1], (0.3, 0.5))[2:]) / 400**2 for row in draws])
    assert 0.3 - 0.005 < shares.min() < 0.31 and 0.49 < shares.max() < 0.5 + 0.005


def test_torchvision_is_imported_by_the_first_resize_only():
    """Its import takes seconds, which a job on stored squares need not spend."""
    code = (
        "import sys; from contrastive_inversion.data import batches, crops, prepare; import numpy as np\n"
        "before = 'torchvision' in sys.modules; crops.resized(np.zeros((4, 4, 3), np.uint8), [2])\n"
        "print(before, 'torchvision' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False True\n"


@pytest.mark.parametrize("size", [(375, 500), (500, 375), (1000, 100)])
def test_boxes_have_torchvision_s_distribution(size):
    """Areas and aspect ratios of 3,000 boxes against torchvision's own sampler."""
    draws = crops.draws_of(1, "boxes", torch.arange(3000), 0)
    ours = np.array([crops.random_box(*size, row[:-1], crops.SCALE) for row in draws], float)
    torch.manual_seed(0)
    blank = torch.empty(3, *size)
    theirs = np.array([RandomResizedCrop.get_params(blank, (0.08, 1), (3 / 4, 4 / 3)) for _ in range(3000)], float)
    for measure in (lambda b: b[:, 2] * b[:, 3], lambda b: b[:, 3] / b[:, 2], lambda b: b[:, 0], lambda b: b[:, 1]):
        a, b = measure(ours), measure(theirs)
        assert a.mean() == pytest.approx(b.mean(), rel=0.05, abs=1) and a.std() == pytest.approx(
            b.std(), rel=0.08, abs=1
        )


def test_a_box_falls_back_to_the_centre_as_torchvision_does():
    never = np.tile([0.9999, 0.9999, 0.5, 0.5], crops.TRIES)  # too wide for a narrow picture each time
    assert crops.random_box(1000, 100, never, crops.SCALE) == crops.central_box(1000, 100) == (433, 0, 133, 100)
