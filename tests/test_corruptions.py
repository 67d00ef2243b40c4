import pytest
import torch
from torchvision.transforms.functional import gaussian_blur

from contrastive_inversion.base.errors import UserError
from contrastive_inversion.distort.names import is_deterministic, specification
from contrastive_inversion.distort.operators import corrupt

STUDY = {"distortions": {"other": "rm90"}, "blur_sigmas": {21: 5, 37: 9}, "pixel_scale": 1}
IDS = torch.tensor([11, 4, 8, 200, 1, 0])


@pytest.fixture(scope="module")
def images():
    return torch.rand(len(IDS), 3, 64, 64, generator=torch.Generator().manual_seed(0)) + 0.01


def distorted(images, name, ids=IDS, epoch=0, study=STUDY):
    return corrupt(images, specification(name, study), 1, "test", ids, epoch)


@pytest.mark.parametrize(("name", "count"), [("rm50", 25_088), ("rm75", 37_632), ("rm90", 45_158), ("rm99", 49_674)])
def test_masks_hide_exactly_the_paper_count_of_pixels_in_all_channels(name, count):
    result = distorted(torch.ones(2, 3, 224, 224), name, torch.tensor([0, 1]))
    assert (result == 0).sum(dim=(2, 3)).tolist() == [[count] * 3] * 2
    assert (result[:, 0] == result[:, 1]).all()


def test_masks_keep_what_they_do_not_hide(images):
    result = distorted(images, "rm75")
    assert torch.equal(result[result > 0], images[result > 0])
    assert torch.equal(distorted(images, "clean"), images)


def test_drawn_mask_fractions_fill_their_range():
    ids = torch.arange(400)
    hidden = (distorted(torch.ones(400, 1, 32, 32), "rm50to95", ids) == 0).float().mean(dim=(1, 2, 3))
    assert 0.5 <= hidden.min() < 0.52 and 0.93 < hidden.max() <= 0.95
    assert abs(hidden.mean() - 0.725) < 0.02


def test_noise_has_the_named_standard_deviation_and_is_not_clipped(images):
    added = distorted(images, "gn30") - images
    assert added.std() == pytest.approx(0.3, rel=0.02) and added.mean().abs() < 0.01
    assert distorted(images, "gn30").min() < 0


def test_drawn_noise_levels_fill_their_range():
    ids = torch.arange(300)
    levels = distorted(torch.zeros(300, 3, 32, 32), "gn10to30", ids).std(dim=(1, 2, 3))
    assert 0.09 < levels.min() < 0.12 and 0.28 < levels.max() < 0.32


@pytest.mark.parametrize("name", ["gb21", "gb37"])
def test_blur_equals_torchvision(images, name):
    kernel = int(name[2:])
    expected = gaussian_blur(images, kernel, STUDY["blur_sigmas"][kernel])
    assert torch.allclose(distorted(images, name), expected, atol=3e-6)


def test_blur_with_a_sigma_of_its_own_for_each_image(images):
    spec = [{"op": "blur", "kernel": 23, "sigma": [1, 5]}]
    together = corrupt(images, spec, 1, "test", IDS)
    alone = torch.cat([corrupt(images[i : i + 1], spec, 1, "test", IDS[i : i + 1]) for i in range(len(IDS))])
    assert torch.allclose(together, alone, atol=1e-6)
    assert (together.flatten(1).std(dim=1).unique()).numel() == len(IDS)


@pytest.mark.parametrize("name", ["rm50", "rm50to95", "gn30", "gn10to30"])
def test_the_result_does_not_depend_on_batch_or_order(images, name):
    together = distorted(images, name)
    halves = torch.cat([distorted(images[:2], name, IDS[:2]), distorted(images[2:], name, IDS[2:])])
    assert torch.equal(together, halves)
    assert torch.equal(distorted(images.flip(0), name, IDS.flip(0)), together.flip(0))
    assert not torch.equal(distorted(images, name, epoch=1), together)


def test_compositions_apply_each_step_with_its_probability():
    spec = [
        {"op": "noise", "sigma": [0.1, 0.1], "probability": 0.8},
        {"op": "mask", "fraction": [0.5, 0.5], "probability": 0.3},
    ]
    result = corrupt(torch.ones(2000, 1, 8, 8), spec, 1, "test", torch.arange(2000))
    masked = (result == 0).any(dim=(1, 2, 3)).float().mean()
    noisy = ((result != 1) & (result != 0)).any(dim=(1, 2, 3)).float().mean()
    assert masked == pytest.approx(0.3, abs=0.03) and noisy == pytest.approx(0.8, abs=0.03)


def test_names_scale_alias_and_refuse():
    small = STUDY | {"pixel_scale": 0.75}
    assert specification("gb37", small) == [{"op": "blur", "kernel": 27, "sigma": [6.75, 6.75]}]
    assert specification("other", STUDY) == specification("rm90", STUDY)
    assert is_deterministic(specification("gb21", STUDY)) and not is_deterministic(specification("rm50", STUDY))
    with pytest.raises(UserError, match="unknown distortion 'rn90'; did you mean 'rm90'"):
        specification("rn90", STUDY)
