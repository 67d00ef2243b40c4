"""Distorted images: against torchvision, against statistics, and drawn by image, epoch, purpose and place alone."""

import pytest
import torch
from scipy import stats
from torchvision.transforms.functional import gaussian_blur, rgb_to_grayscale

from calls import Calls
from contrastive_inversion.base import rng
from contrastive_inversion.distort import colour, repeated
from contrastive_inversion.distort.names import operations
from contrastive_inversion.distort.operators import corrupt, kept

IDS = torch.tensor([11, 4, 8, 200, 1, 0])
JITTER = {"op": "jitter", "brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1}
DRAWN = {
    "mask": {"op": "mask", "fraction": [0.5, 0.5]},
    "masks": {"op": "mask", "fraction": [0.5, 0.95]},
    "noise": {"op": "noise", "sigma": [0.3, 0.3]},
    "noises": {"op": "noise", "sigma": [0.1, 0.3]},
    "blurs": {"op": "blur", "kernel": 23, "sigma": [1, 5]},
    "jitter": JITTER,
    "sometimes": {"op": "grey", "probability": 0.5},
}


@pytest.fixture(scope="module")
def images():
    return torch.rand(len(IDS), 3, 64, 48, generator=torch.Generator().manual_seed(0)) + 0.01


def mask(low, high=None):
    return {"op": "mask", "fraction": [low, high or low]}


def noise(low, high=None):
    return {"op": "noise", "sigma": [low, high or low]}


def distorted(images, *ops, ids=IDS, epoch=0, seed=1, purpose="test"):
    return corrupt(images, operations(*ops), seed, purpose, ids, epoch)


def uniforms(images, stream, epoch=0):
    """Numbers in (0, 1), one for each image, that should be uniform."""
    return rng.uniform(1, 1, stream, torch.arange(len(images)), epoch)[:, 0]


def test_nothing_to_do_and_an_unharmed_input(images):
    before = images.clone()
    assert torch.equal(distorted(images), before)
    for op in DRAWN.values():
        distorted(images, op)
        assert torch.equal(images, before)


@pytest.mark.parametrize("name", DRAWN)
def test_a_device_is_given_as_many_kernels_for_many_images_as_for_two(name):
    """On `meta` tensors, which hold no numbers: a question about one, which would wait for a GPU, fails there."""
    counts = []
    distorted(torch.empty(2, 3, 224, 224, device="meta"), DRAWN[name], ids=torch.arange(2, device="meta"))  # constants
    for size in (2, 256):
        with Calls() as calls:
            found = distorted(
                torch.empty(size, 3, 224, 224, device="meta"), DRAWN[name], ids=torch.arange(size, device="meta")
            )
        assert found.device.type == "meta"
        counts.append(calls.count)
    assert counts[0] == counts[1] <= 400


@pytest.mark.parametrize("name", ["masks", "noises", "blurs"])
def test_a_distortion_is_one_graph_for_a_compiler(images, name):
    spec = operations(DRAWN[name])

    def drawn(images, ids, epoch):
        return corrupt(images, spec, 1, "test", ids, epoch)

    torch.compiler.reset()
    compiled = torch.compile(drawn, backend="eager", fullgraph=True)
    for epoch in (2, 3):
        assert torch.equal(compiled(images, IDS, epoch), drawn(images, IDS, epoch))


# --- masks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fraction", "count"), [(0.5, 25_088), (0.75, 37_632), (0.9, 45_158), (0.99, 49_674)])
def test_masks_hide_exactly_the_paper_count_of_pixels_in_all_channels(fraction, count):
    result = distorted(torch.ones(2, 3, 224, 224), mask(fraction), ids=torch.tensor([0, 1]))
    assert (result == 0).sum(dim=(2, 3)).tolist() == [[count] * 3] * 2
    assert (result[:, 0] == result[:, 1]).all() and (result[:, 0] == result[:, 2]).all()
    assert not torch.equal(result[0], result[1])


@pytest.mark.parametrize(
    ("fraction", "count"), [(0.29, 29), (0.57, 57), (0.0, 0), (0.009, 0), (0.01, 1), (0.999, 99), (1.0, 100)]
)
def test_counts_are_rounded_down_but_for_binary_noise(fraction, count):
    words = torch.arange(100).flip(0)[None]
    hidden = ~kept(torch.tensor([fraction], dtype=torch.float64), words)
    assert hidden.flatten().tolist() == [False] * (100 - count) + [True] * count  # the smallest words


def test_equal_words_hide_the_pixels_that_come_first():
    fractions = torch.tensor([0.25, 0.5], dtype=torch.float64)
    hidden = ~kept(fractions, torch.full((2, 16), 2**32 - 1))
    assert hidden.tolist() == [[i < count for i in range(16)] for count in (4, 8)]


def test_masks_keep_what_they_do_not_hide(images):
    result = distorted(images, mask(0.75))
    assert torch.equal(result[result > 0], images[result > 0])


def test_every_pixel_is_hidden_equally_often():
    hidden = distorted(torch.ones(4000, 1, 5, 5), mask(0.4), ids=torch.arange(4000)) == 0
    assert (hidden.flatten(1).float().mean(dim=0) - 0.4).abs().max() < 4 * (0.4 * 0.6 / 4000) ** 0.5
    assert (torch.corrcoef(hidden.flatten(1).float().T) - torch.eye(25) + 1 / 24).fill_diagonal_(0).abs().max() < 0.08


def test_drawn_fractions_are_uniform_between_their_bounds():
    ids = torch.arange(400)
    hidden = (distorted(torch.ones(400, 1, 100, 100), mask(0.5, 0.95), ids=ids) == 0).float().mean(dim=(1, 2, 3))
    assert stats.kstest(hidden, stats.uniform(0.5, 0.45).cdf).pvalue > 0.05
    expected = 0.5 + 0.45 * uniforms(hidden, "test/0/mask/parameter")
    assert torch.allclose(hidden.double(), expected, atol=1.01e-4)


# --- noise ----------------------------------------------------------------------------------------------------------


def test_noise_is_normal_independent_in_every_channel_and_not_clipped(images):
    added = (distorted(images, noise(0.3)) - images).flatten(1)
    assert stats.kstest(added.flatten(), stats.norm(0, 0.3).cdf).pvalue > 0.05
    parts = added.unflatten(1, (3, -1)).flatten(0, 1)  # images and channels
    assert (torch.corrcoef(parts) - torch.eye(len(parts))).abs().max() < 0.08
    assert distorted(images, noise(0.3)).min() < 0 and distorted(images, noise(0.3)).max() > 1.3
    assert torch.allclose(added, 0.3 * rng.normal(3 * 64 * 48, 1, "test/0/noise", IDS), atol=1e-6)


def test_drawn_levels_are_uniform_between_their_bounds():
    zeros = torch.zeros(300, 3, 64, 64)
    found = distorted(zeros, noise(0.1, 0.3), ids=torch.arange(300)).std(dim=(1, 2, 3))
    assert stats.kstest(found, stats.uniform(0.1, 0.2).cdf).pvalue > 0.05
    expected = 0.1 + 0.2 * uniforms(zeros, "test/0/noise/parameter")
    assert torch.allclose(found.double(), expected, rtol=0.05)


# --- blur, grey, jitter ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kernel", "sigma"), [(21, 5), (37, 9), (3, 0.5), (1, 2)])
def test_blur_equals_torchvision(images, kernel, sigma):
    expected = gaussian_blur(images, kernel, sigma)
    found = distorted(images, {"op": "blur", "kernel": kernel, "sigma": [sigma, sigma]})
    assert torch.allclose(found, expected, atol=3e-6)


def test_every_image_is_blurred_by_a_deviation_of_its_own(images):
    found = distorted(images, DRAWN["blurs"], epoch=3)
    sigmas = (1 + 4 * rng.uniform(1, 1, "test/0/blur/parameter", IDS, 3)[:, 0]).tolist()
    assert max(sigmas) - min(sigmas) > 2
    for image, sigma, result in zip(images, sigmas, found, strict=True):
        assert torch.allclose(result, gaussian_blur(image, 23, sigma), atol=3e-6)


def test_grey_is_torchvision_s_luma_or_the_mean(images):
    assert torch.allclose(distorted(images, {"op": "grey"}), rgb_to_grayscale(images, 3), atol=1e-6)
    expected = (images[:, 0] + images[:, 1] + images[:, 2])[:, None].expand_as(images) / 3
    assert torch.allclose(distorted(images, {"op": "grey", "mean": True}), expected, atol=1e-6)


def test_jitter_draws_eight_numbers_for_each_image(images):
    found = distorted(images.clamp(max=1), DRAWN["jitter"], epoch=2)
    draws = rng.uniform(8, 1, "test/0/jitter", IDS, 2)
    assert torch.equal(found, colour.jittered(images.clamp(max=1), operations(JITTER)[0], draws))


# --- what draws hang on ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DRAWN)
def test_the_result_does_not_depend_on_batch_or_order(images, name):
    op, exact = DRAWN[name], {"atol": 0.0 if name != "blurs" else 1e-6}
    together = distorted(images, op)
    parts = torch.cat([distorted(images[i], op, ids=IDS[i]) for i in (slice(0, 2), slice(2, 3), slice(3, 6))])
    assert torch.allclose(together, parts, rtol=0, **exact)
    assert torch.allclose(distorted(images.flip(0), op, ids=IDS.flip(0)), together.flip(0), rtol=0, **exact)


@pytest.mark.parametrize("change", [{"epoch": 1}, {"seed": 2}, {"purpose": "train"}, {"ids": IDS + 1}])
@pytest.mark.parametrize("name", DRAWN)
def test_another_epoch_seed_purpose_or_image_draws_anew(images, name, change):
    """Unlike in every image, or in some where an operation applies to some."""
    same = (distorted(images, DRAWN[name]) == distorted(images, DRAWN[name], **change)).flatten(1).all(dim=1)
    assert not same.all() if name == "sometimes" else not same.any()


def test_the_first_epoch_is_number_0(images):
    spec = operations(DRAWN["masks"])
    assert torch.equal(corrupt(images, spec, 1, "test", IDS), corrupt(images, spec, 1, "test", IDS, 0))


def test_two_steps_of_a_composition_draw_apart():
    """Variances add up, and two halves hide three quarters."""
    ids = torch.arange(200)
    zeros, ones = torch.zeros(200, 1, 20, 20), torch.ones(200, 1, 20, 20)
    assert distorted(zeros, noise(0.3), noise(0.4), ids=ids).std() == pytest.approx(0.5, rel=0.02)
    hidden = (distorted(ones, mask(0.5), mask(0.5), ids=ids) == 0).float().mean()
    assert hidden == pytest.approx(0.75, abs=0.01)
    levels = distorted(ones, mask(0.1, 0.9), mask(0.1, 0.9), ids=ids) == 0
    assert levels.float().mean() == pytest.approx(1 - 0.5**2, abs=0.03)
    both = [{"op": "grey", "probability": 0.5}, {"op": "grey", "mean": True, "probability": 0.5}]
    pictures = torch.tensor([0.2, 0.9, 0.4])[None, :, None, None].expand(2000, 3, 1, 1)
    untouched = (distorted(pictures, *both, ids=torch.arange(2000)) == pictures).all(dim=1).float().mean()
    assert untouched == pytest.approx(0.25, abs=0.03)


def test_steps_apply_in_the_order_of_the_list():
    zeros = torch.zeros(3, 1, 20, 20)
    noisy_last = distorted(zeros + 1, mask(0.5), noise(0.1), ids=torch.arange(3))
    assert (noisy_last == 0).sum() == 0
    masked_last = distorted(zeros + 1, noise(0.1), mask(0.5), ids=torch.arange(3))
    assert ((masked_last == 0).sum(dim=(1, 2, 3)) == 200).all()


@pytest.mark.parametrize("probability", [0.0, 0.3, 0.8, 1.0])
def test_a_step_applies_with_its_probability_and_to_other_images_in_another_epoch(probability):
    ones, ids = torch.ones(4000, 1, 4, 4), torch.arange(4000)
    op = mask(0.5) | {"probability": probability}
    first, second = ((distorted(ones, op, ids=ids, epoch=e) == 0).any(dim=(1, 2, 3)) for e in (0, 1))
    assert first.float().mean() == pytest.approx(probability, abs=0.02)
    assert (first & second).float().mean() == pytest.approx(probability**2, abs=0.02)
    assert torch.equal(first, uniforms(ones, "test/0/mask/applies") < probability)
    where = distorted(ones, op, ids=ids)[first]
    assert torch.equal(where, distorted(ones, mask(0.5), ids=ids)[first])  # what is drawn for an image stays


# --- what the authors' generator repeated ---------------------------------------------------------------------------


PLACE = torch.tensor([0, 1, 2, 0, 1, 2])


def distorted_alike(images, op):
    return repeated.corrupt(images, operations(op), 1, "test", IDS, 5, PLACE)


@pytest.mark.parametrize("name", ["mask", "masks"])
def test_repeated_masks_hang_on_the_place_alone(images, name):
    found = distorted_alike(images, DRAWN[name])
    assert torch.equal(found, distorted(images, DRAWN[name], ids=PLACE, epoch=0))


def test_repeated_levels_of_noise_scale_noise_that_does_not_repeat(images):
    added = distorted_alike(torch.zeros_like(images), DRAWN["noises"])
    sigma = 0.1 + 0.2 * rng.uniform(1, 1, "test/0/noise/parameter", PLACE, 0)
    normals = rng.normal(3 * 64 * 48, 1, "test/0/noise", IDS, 5)
    assert torch.allclose(added.flatten(1).double(), sigma * normals.double(), atol=1e-6)


@pytest.mark.parametrize("name", ["blurs", "jitter", "sometimes"])
def test_nothing_else_repeats(images, name):
    """Nor does which images a step applies to."""
    assert torch.equal(distorted_alike(images, DRAWN[name]), distorted(images, DRAWN[name], epoch=5))
