import pytest
import torch
import torch.nn.functional as F
from skimage.restoration import denoise_nl_means, estimate_sigma

from contrastive_inversion.base import rng
from contrastive_inversion.distort import restoration
from contrastive_inversion.distort.imagenet_c import CORRUPTIONS
from contrastive_inversion.distort.names import IMAGENET_C

SETTINGS = {"channels": 6, "upsamplings": 2, "steps": 8, "lr": 0.01, "input_noise": 0.005}
IDS = torch.tensor([5, 0, 9])


@pytest.fixture
def masked():
    generator = torch.Generator().manual_seed(0)
    mask = (torch.rand(3, 1, 12, 12, generator=generator) > 0.5).double()
    return torch.rand(3, 3, 12, 12, generator=generator).double() * mask, mask


def test_deep_decoder_of_a_batch_equals_separate_runs(masked):
    together = restoration.deep_decoder(*masked, IDS, SETTINGS, 1, dtype=torch.float64)
    for i in range(3):
        alone = restoration.deep_decoder(
            *(x[i : i + 1] for x in masked), IDS[i : i + 1], SETTINGS, 1, dtype=torch.float64
        )
        assert torch.allclose(together[i], alone[0], atol=1e-6)


def test_the_decoder_is_the_network_of_its_authors():
    """Against the same layers as modules: 1x1 convolutions, bilinear upsampling, ReLU, batch norm in train mode."""
    weights, scales, shifts = restoration.initial_weights(IDS[:1], 6, 2, 1, torch.float64)
    scales = [s + 0.1 * i for i, s in enumerate(scales)]
    x = rng.uniform(6 * 9, 1, "x", IDS[:1]).view(1, 6, 9)
    y = x.view(1, 6, 3, 3)
    for layer in range(3):
        y = F.conv2d(y, weights[layer][0][..., None, None])
        if layer < 2:
            y = F.interpolate(y, scale_factor=2, mode="bilinear", align_corners=False)
        y = F.batch_norm(y.relu(), None, None, scales[layer][0, :, 0], shifts[layer][0, :, 0], training=True)
    y = torch.sigmoid(F.conv2d(y, weights[3][0][..., None, None]))
    assert torch.allclose(restoration.decode(x, weights, scales, shifts, 3), y, atol=1e-12)


def test_a_longer_fit_is_closer_to_the_known_pixels(masked):
    image, mask = masked

    def error(steps):
        output = restoration.deep_decoder(
            image, mask, IDS, SETTINGS | {"steps": steps, "channels": 16}, 1, dtype=torch.float64
        )
        return ((output - image) * mask).square().mean()

    assert error(150) < 0.5 * error(2)


def test_non_local_means_is_scikit_image_s_with_the_authors_parameters():
    noisy = torch.rand(2, 3, 24, 24, generator=torch.Generator().manual_seed(0)) * 1.4 - 0.2

    class Silent:
        def advance(self, *arguments):
            pass

    settings = {"patch_size": 7, "patch_distance": 11, "h": 0.1}
    result = restoration.non_local_means(noisy, settings, Silent(), 0)
    picture = noisy[1].permute(1, 2, 0).numpy()
    sigma = sum(estimate_sigma(picture, channel_axis=-1)) / 3
    expected = denoise_nl_means(picture, 7, 11, 0.1, fast_mode=True, sigma=sigma, channel_axis=-1)
    assert torch.allclose(result[1], torch.from_numpy(expected).permute(2, 0, 1).float(), atol=1e-6)


def test_imagenet_c_has_its_19_corruptions_at_five_severities():
    assert {f.__name__ for f in CORRUPTIONS} == set(IMAGENET_C) and len(IMAGENET_C) == 19
    assert all(len(severities) == 5 for severities in CORRUPTIONS.values())


@pytest.mark.parametrize("corruption", CORRUPTIONS, ids=lambda f: f.__name__)
def test_generated_corruptions_change_images_more_when_more_severe(corruption):
    import numpy as np

    y, x = np.mgrid[0:48, 0:48] / 48
    clean = np.stack([x, y, (np.sin(9 * x) > 0)], axis=2)[None].astype(np.float32) * 0.8
    changes = []
    for parameters in CORRUPTIONS[corruption]:
        result = np.clip(corruption(clean, parameters, np.random.default_rng(0), 48 / 112), 0, 1)
        assert result.shape == clean.shape and np.isfinite(result).all()
        changes.append(np.abs(result - clean).mean())
    assert min(changes) > 0
    if corruption.__name__ not in ("saturate", "spatter", "elastic_transform", "glass_blur"):  # not ordered by design
        assert changes[4] > changes[0]
