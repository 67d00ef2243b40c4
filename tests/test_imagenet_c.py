"""The 19 corruptions of ImageNet-C: each against what defines it, and the store that is made of them."""

import io

import numpy as np
import pytest
import torch
from matplotlib.colors import hsv_to_rgb, rgb_to_hsv
from PIL import Image

from contrastive_inversion.base import files
from contrastive_inversion.base.job import Job
from contrastive_inversion.data import generated
from contrastive_inversion.data.settings import Images
from contrastive_inversion.distort import imagenet_c
from contrastive_inversion.distort.imagenet_c import CORRUPTIONS
from contrastive_inversion.distort.names import IMAGENET_C

SEVERITIES = {name: parameters for name, (_, parameters) in CORRUPTIONS.items()}
# of the released ImageNet-C at 224 px; motion blur, snow, elastic transform and spatter have parameters of their own
RELEASED = {
    "gaussian_noise": (0.08, 0.12, 0.18, 0.26, 0.38), "shot_noise": (60, 25, 12, 5, 3),
    "impulse_noise": (0.03, 0.06, 0.09, 0.17, 0.27), "speckle_noise": (0.15, 0.2, 0.35, 0.45, 0.6),
    "defocus_blur": (3, 4, 6, 8, 10), "zoom_blur": (1.11, 1.16, 1.21, 1.26, 1.31), "gaussian_blur": (1, 2, 3, 4, 6),
    "glass_blur": ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
    "frost": ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)),
    "fog": ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)), "brightness": (0.1, 0.2, 0.3, 0.4, 0.5),
    "contrast": (0.4, 0.3, 0.2, 0.1, 0.05), "pixelate": (0.6, 0.5, 0.4, 0.3, 0.25),
    "jpeg_compression": (25, 18, 15, 10, 7), "saturate": ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)),
}  # fmt: skip
OWN = {
    "motion_blur": (3, 5, 7, 10, 13),
    "snow": ((0.02, 4, 0.8), (0.05, 5, 0.7), (0.08, 6, 0.65), (0.1, 8, 0.6), (0.14, 10, 0.55)),
    "elastic_transform": ((6, 12), (8, 10), (10, 8), (12, 6), (14, 5)),
    "spatter": ((0.75, 0.5), (0.68, 0.6), (0.62, 0.7), (0.68, 0.85), (0.6, 0.9)),
}


@pytest.fixture
def random():
    return np.random.default_rng(0)


@pytest.fixture
def pictures():
    return np.random.default_rng(1).uniform(0.05, 0.95, (4, 24, 24, 3)).astype(np.float32)


def plain(value, size=200):
    return np.full((1, size, size, 3), value, np.float32)


def point(size=41):
    """One white pixel in the middle of black."""
    picture = np.zeros((1, size, size, 3), np.float32)
    picture[:, size // 2, size // 2] = 1
    return picture


def spread(picture):
    """Covariance (2, 2) of where a picture's light is, down and right, and its centre."""
    light = picture[0].sum(axis=2)
    places = np.stack(np.mgrid[0 : light.shape[0], 0 : light.shape[1]]).reshape(2, -1)
    return np.cov(places, aweights=light.ravel(), ddof=0), np.average(places, axis=1, weights=light.ravel())


def ramps(size=64):
    """Red is the row, green the column, blue their sum: a pixel tells where it comes from."""
    down, right = np.mgrid[0:size, 0:size]
    return np.stack([down, right, down + right], axis=2)[None].astype(np.float64)


def test_there_are_19_corruptions_of_five_severities_with_the_released_parameters():
    assert set(SEVERITIES) == set(IMAGENET_C) and len(IMAGENET_C) == 19
    assert SEVERITIES == RELEASED | OWN


# --- noise ----------------------------------------------------------------------------------------------------------


def test_gaussian_noise_has_its_deviation(random):
    found = imagenet_c.gaussian_noise(plain(0.5), 0.18, random, 1) - 0.5
    assert found.std() == pytest.approx(0.18, rel=0.01) and abs(found.mean()) < 0.002
    assert np.abs(np.corrcoef(found.reshape(-1, 3).T) - np.eye(3)).max() < 0.02


def test_shot_noise_counts_photons(random):
    found = imagenet_c.shot_noise(plain(0.4), 25, random, 1)
    assert found.mean() == pytest.approx(0.4, rel=0.01) and found.var() == pytest.approx(0.4 / 25, rel=0.02)
    assert np.allclose(found * 25, np.round(found * 25))


def test_impulse_noise_turns_as_many_values_black_as_white(random):
    found = imagenet_c.impulse_noise(plain(0.4), 0.27, random, 1)
    assert (found == 0).mean() == pytest.approx(0.135, abs=0.003)
    assert (found == 1).mean() == pytest.approx(0.135, abs=0.003)
    assert (found[(found != 0) & (found != 1)] == np.float32(0.4)).all()


def test_speckle_noise_grows_with_the_value(random):
    for value in (0.2, 0.8):
        found = imagenet_c.speckle_noise(plain(value), 0.35, random, 1)
        assert found.std() == pytest.approx(0.35 * value, rel=0.02) and found.mean() == pytest.approx(value, rel=0.01)


# --- blur -----------------------------------------------------------------------------------------------------------


def test_convolution_reflects_edges_and_keeps_channels_and_pictures_apart(pictures):
    found = imagenet_c.convolved(pictures, np.array([[0.0, 0, 0], [2, 0, 0], [0, 0, 0]]))
    assert np.allclose(found[:, :, :-1], pictures[:, :, 1:]) and np.allclose(found[:, :, -1], pictures[:, :, -1])


@pytest.mark.parametrize(("c", "scale"), [(10, 1), (8, 0.5), (3, 0.1)])
def test_defocus_is_a_disk(random, c, scale):
    """Of radius c * scale, at least 0.7: light within radius r lies r / sqrt(2) from its centre in the square mean."""
    found = imagenet_c.defocus_blur(point(), c, random, scale)
    radius = max(c * scale, 0.7)
    down, right = np.mgrid[-20:21, -20:21]
    assert found.sum() == pytest.approx(3, rel=1e-5)
    disk = np.clip(radius + 0.5 - np.sqrt(down**2.0 + right**2), 0, 1)
    assert np.allclose(found[0, :, :, 1], disk / disk.sum(), atol=1e-7)
    covariance, centre = spread(found)
    assert np.allclose(centre, 20, atol=1e-4) and covariance[0, 0] == pytest.approx(radius**2 / 4, rel=0.15, abs=0.1)


def test_gaussian_blur_has_its_deviation_in_both_directions(random):
    covariance, centre = spread(imagenet_c.gaussian_blur(point(), 6, random, 0.5))
    assert np.allclose(covariance, 9 * np.eye(2), rtol=0.02, atol=1e-3) and np.allclose(centre, 20)
    found = imagenet_c.gaussian_blur(point(), 6, random, 0.5)
    assert found[0, 20, 20].tolist() == pytest.approx([1 / (2 * np.pi * 9)] * 3, rel=0.02)  # channels do not mix


def test_motion_blur_is_a_line_at_a_random_angle(random):
    angles = []
    for _ in range(40):
        found = imagenet_c.motion_blur(point(), 12, random, 1)
        assert found.sum() == pytest.approx(3, rel=1e-5)
        covariance, centre = spread(found)
        lengths, axes = np.linalg.eigh(covariance)
        assert np.allclose(centre, 20, atol=0.6) and lengths[0] < 0.2
        assert lengths[1] == pytest.approx(12**2 / 3, rel=0.1)  # of a line that reaches 12 px both ways
        angles.append(np.degrees(np.arctan(axes[0, 1] / axes[1, 1])))
    assert -48 < min(angles) < -30 and 30 < max(angles) < 48 and abs(np.mean(angles)) < 15
    short = spread(imagenet_c.motion_blur(point(), 3, random, 0.2))[0]
    assert short.trace() == pytest.approx(2**2 / 3, rel=0.5)  # 2 px at least
    assert spread(imagenet_c.motion_blur(point(), 12, random, 0.5))[0].trace() == pytest.approx(6**2 / 3, rel=0.2)


def test_shuffling_takes_pixels_from_where_the_shifts_point(pictures):
    shifts = np.zeros((2, 4, 24, 24), np.int64)
    shifts[0, 1], shifts[1, 2] = 2, -3
    found = imagenet_c.shuffled(pictures, shifts)
    assert np.array_equal(found[[0, 3]], pictures[[0, 3]])
    assert np.array_equal(found[1, :-2], pictures[1, 2:]) and np.array_equal(found[1, -2:], pictures[1, [-1, -1]])
    assert np.array_equal(found[2, :, 3:], pictures[2, :, :-3]) and np.array_equal(found[2, :, 0], pictures[2, :, 0])


@pytest.mark.parametrize(
    ("c", "scale", "most"), [((0, 2, 1), 1, 2), ((0, 2, 3), 1, 6), ((0, 4, 1), 0.6, 2), ((0, 1, 1), 0.1, 1)]
)
def test_glass_blur_moves_pixels_within_its_reach_at_every_pass(random, c, scale, most):
    clean = ramps()
    moved = imagenet_c.glass_blur(clean, c, random, scale) - clean
    assert np.array_equal(moved[..., 2], moved[..., 0] + moved[..., 1])  # all channels of a pixel move together
    assert moved[..., :2].max() == most == -moved[..., :2].min()
    assert moved[..., 0].std() == pytest.approx((c[2] * ((2 * most / c[2] + 1) ** 2 - 1) / 12) ** 0.5, rel=0.1)


def test_glass_blur_is_smooth_before_and_after(random):
    covariance, _ = spread(imagenet_c.glass_blur(point(), (4, 1, 0), random, 0.5))
    assert np.allclose(covariance, 2 * 2**2 * np.eye(2), rtol=0.02, atol=1e-3)  # twice a deviation of 2 px


def test_a_zoom_enlarges_about_the_centre():
    down, right = ramps(9)[0, ..., 0], ramps(9)[0, ..., 1]
    found = imagenet_c.zoomed(ramps(9), 1.6)
    assert np.allclose(found[0, ..., 0], 4 + (down - 4) / 1.6, atol=1e-5)
    assert np.allclose(found[0, ..., 1], 4 + (right - 4) / 1.6, atol=1e-5)
    assert np.allclose(imagenet_c.zoomed(ramps(8), 1), ramps(8))


def test_zoom_blur_is_the_mean_of_the_picture_and_its_zooms(random):
    found = imagenet_c.zoom_blur(ramps(9), 1.31, random, 1)
    zooms = [1 + 0.02 * k for k in range(16)]  # 1, 1.02, ..., 1.3
    factor = (1 + sum(1 / zoom for zoom in zooms)) / 17
    assert np.allclose(found[0, ..., 0], 4 + (ramps(9)[0, ..., 0] - 4) * factor, atol=1e-5)


# --- colours --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("c", [0.1, 0.5])
def test_brightness_raises_the_value_of_hsv(pictures, random, c):
    pictures[0, 0, 0] = 0
    hsv = rgb_to_hsv(pictures)
    hsv[..., 2] = np.minimum(hsv[..., 2] + c, 1)
    assert np.allclose(imagenet_c.brightness(pictures, c, random, 1), hsv_to_rgb(hsv), atol=1e-5)


@pytest.mark.parametrize("c", SEVERITIES["saturate"])
def test_saturate_scales_and_shifts_the_saturation_of_hsv(pictures, random, c):
    hsv = rgb_to_hsv(pictures)
    hsv[..., 1] = np.clip(hsv[..., 1] * c[0] + c[1], 0, 1)
    assert np.allclose(imagenet_c.saturate(pictures, c, random, 1), hsv_to_rgb(hsv), atol=1e-5)
    assert np.array_equal(imagenet_c.saturate(plain(0.4), c, random, 1), plain(0.4))  # grey has no hue
    assert np.array_equal(imagenet_c.saturate(plain(0), c, random, 1), plain(0))


def test_contrast_keeps_each_channel_s_mean_and_scales_its_deviation(pictures, random):
    found = imagenet_c.contrast(pictures, 0.3, random, 1)
    assert np.allclose(found.mean(axis=(1, 2)), pictures.mean(axis=(1, 2)), atol=1e-6)
    assert np.allclose(found.std(axis=(1, 2)), 0.3 * pictures.std(axis=(1, 2)), rtol=1e-4)
    assert np.allclose(
        found - found.mean(axis=(1, 2), keepdims=True),
        0.3 * (pictures - pictures.mean(axis=(1, 2), keepdims=True)),
        atol=1e-6,
    )


# --- weather --------------------------------------------------------------------------------------------------------


def test_clouds_fill_0_to_1_and_are_smoother_where_high_octaves_weigh_less():
    rough, smooth = (imagenet_c.clouds(np.empty((6, 64, 64, 3)), r, np.random.default_rng(0)) for r in (1.1, 4))
    for found in (rough, smooth):
        assert found.shape == (6, 64, 64, 1)
        assert (found.min(axis=(1, 2, 3)) == 0).all() and (found.max(axis=(1, 2, 3)) == 1).all()
        assert len(np.unique(found.reshape(6, -1), axis=0)) == 6
    steps = [np.abs(np.diff(found, axis=axis)).mean() for found in (rough, smooth) for axis in (1, 2)]
    assert steps[2] < 0.7 * steps[0] and steps[3] < 0.7 * steps[1]
    assert steps[0] == pytest.approx(steps[1], rel=0.1)  # down and right alike


def test_clouds_are_five_octaves_of_noise():
    """On 33 points the knots of all octaves are pixels, so the sum can be written down."""
    found = imagenet_c.clouds(np.empty((2, 33, 33, 3)), 2, np.random.default_rng(5))[..., 0]
    random, total = np.random.default_rng(5), np.zeros((2, 33, 33))
    for octave in range(1, 6):
        knots = np.linspace(0, 32, 2**octave + 1)
        for picture, grain in zip(total, random.random((2, len(knots), len(knots))), strict=True):
            rows = np.stack([np.interp(np.arange(33), knots, column) for column in grain.T], axis=1)
            picture += np.stack([np.interp(np.arange(33), knots, row) for row in rows]) / 2**octave
    total -= total.min(axis=(1, 2), keepdims=True)
    assert np.allclose(found, total / total.max(axis=(1, 2), keepdims=True), atol=1e-9)


def test_fog_adds_clouds_and_keeps_the_peak(random):
    found = imagenet_c.fog(plain(0.6, 64), (1.5, 2), random, 1)
    assert found.max() == pytest.approx(0.6, rel=1e-5) and found.min() == pytest.approx(0.6 * 0.6 / 2.1, rel=1e-5)
    dark = np.concatenate([plain(0.1, 64), plain(0.9, 64)])
    found = imagenet_c.fog(dark, (1.5, 2), random, 1)
    assert found.max(axis=(1, 2, 3)) == pytest.approx([0.1, 0.9], rel=1e-5)  # each picture's own peak


def test_frost_lays_bluish_crystals_over_a_dimmed_picture(random):
    found = imagenet_c.frost(plain(0.5, 64), (0.8, 0.6), random, 1) - 0.4
    assert found.min() >= 0 and found.max(axis=(0, 1, 2)) == pytest.approx([0.51, 0.558, 0.6], rel=1e-5)
    crystals = np.sort((found / 0.6)[..., 2].ravel())
    clouds = imagenet_c.clouds(plain(0.5, 64), 1.2, np.random.default_rng(0)).ravel()
    assert np.allclose(crystals, np.sort(np.sqrt(np.abs(2 * clouds - 1))), atol=1e-6)


def test_snow_whitens_and_falls_in_streaks(pictures, random):
    dry = imagenet_c.snow(pictures, (0.0, 4, 0.7), random, 1)
    white = np.maximum(pictures, pictures.mean(axis=3, keepdims=True) * 1.5 + 0.5)
    assert np.allclose(dry, 0.7 * pictures + 0.3 * white, atol=1e-6)
    flakes = imagenet_c.snow(plain(0.4), (0.001, 10, 1), random, 0.8) - 0.4
    assert np.allclose(flakes[..., 0], flakes[..., 2]) and flakes.min() > -1e-6 and flakes.max() <= 1 + 1e-6
    assert flakes.mean() == pytest.approx(0.001 * 8, rel=0.4)  # a flake's light is the length of its streak
    assert imagenet_c.snow(plain(0.4), (0.001, 10, 1), random, 0.01).mean() - 0.4 == pytest.approx(0.002, rel=0.4)
    assert imagenet_c.snow(plain(0.4), (0.9, 4, 1), random, 1).max() <= 1.4 + 1e-6


@pytest.mark.parametrize(("opacity", "colour"), [(0.7, (0.68, 0.93, 0.93)), (0.71, (0.25, 0.16, 0.08))])
def test_spatter_is_drops_of_water_or_mud(opacity, colour):
    found = imagenet_c.spatter(plain(0.5, 64), (0.62, opacity), np.random.default_rng(3), 1)
    wet = imagenet_c.clouds(plain(0.5, 64), 1.1, np.random.default_rng(3))[..., 0] > 0.62
    assert 0.05 < wet.mean() < 0.5 and (found[~wet] == np.float32(0.5)).all()
    assert np.allclose(found[wet], (1 - opacity) * 0.5 + opacity * np.array(colour), atol=1e-6)


# --- shape and coding -----------------------------------------------------------------------------------------------


def test_displacement_samples_where_it_points_to(pictures):
    down, right = np.zeros((4, 24, 24)), np.zeros((4, 24, 24))
    down[1], right[2] = 2, 0.5
    found = imagenet_c.displaced(pictures, down, right)
    assert np.allclose(found[[0, 3]], pictures[[0, 3]], atol=1e-6) and np.allclose(
        found[1, :-2], pictures[1, 2:], atol=1e-6
    )
    assert np.allclose(found[1, -2:], pictures[1, -1:-3:-1], atol=1e-6)  # reflected
    assert np.allclose(found[2, :, :-1], (pictures[2, :, 1:] + pictures[2, :, :-1]) / 2, atol=1e-6)


def test_elastic_transform_moves_smoothly_and_at_most_by_its_strength(random):
    inner = slice(12, -12)
    moved = (imagenet_c.elastic_transform(ramps(80), (20, 8), random, 0.5) - ramps(80))[0, inner, inner]
    assert 5 < np.abs(moved[..., :2]).max() <= 10 + 1e-6
    assert np.allclose(moved[..., 2], moved[..., 0] + moved[..., 1])  # away from the edges
    assert np.abs(np.corrcoef(moved[..., 0].ravel(), moved[..., 1].ravel())[0, 1]) < 0.5
    rough = (imagenet_c.elastic_transform(ramps(80), (20, 2), random, 0.5) - ramps(80))[0, inner, inner]
    for axis in (0, 1):
        assert np.abs(np.diff(moved[..., 0], axis=axis)).mean() < 0.5 * np.abs(np.diff(rough[..., 0], axis=axis)).mean()


def test_the_largest_move_is_the_strength_in_every_picture(monkeypatch, random):
    monkeypatch.setattr(imagenet_c, "displaced", lambda x, down, right: np.stack([down, right]))
    fields = imagenet_c.elastic_transform(np.empty((3, 40, 40, 3)), (6, 12), random, 0.5)
    assert fields.shape == (2, 3, 40, 40) and np.allclose(np.abs(fields).max(axis=(2, 3)), 3)
    assert fields.min() < -0.5 and fields.max() > 0.5


def test_pixelate_averages_blocks(pictures, random):
    found = imagenet_c.pixelate(pictures, 0.25, random, 1)
    blocks = pictures.reshape(4, 6, 4, 6, 4, 3).mean(axis=(2, 4))  # 24 px in 6 blocks of 4
    assert np.allclose(found, blocks.repeat(4, axis=1).repeat(4, axis=2), atol=2 / 255)
    assert len(np.unique(imagenet_c.pixelate(pictures[:1], 0.01, random, 1).reshape(-1, 3), axis=0)) == 4  # 2 x 2


def test_jpeg_compression_is_pillow_s_at_that_quality(pictures, random):
    found = imagenet_c.jpeg_compression(pictures, 15, random, 1)
    for picture, result in zip(pictures, found, strict=True):
        buffer = io.BytesIO()
        Image.fromarray((picture * 255).round().astype(np.uint8)).save(buffer, "JPEG", quality=15)
        assert np.allclose(result * 255, np.asarray(Image.open(buffer)), atol=1e-3)


# --- all of them, and the store -------------------------------------------------------------------------------------


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_generated_corruptions_change_images_more_when_more_severe(corruption):
    y, x = np.mgrid[0:48, 0:48] / 48
    clean = np.stack([x, y, (np.sin(9 * x) > 0)], axis=2)[None].astype(np.float32) * 0.8
    made = [imagenet_c.corrupted(clean, corruption, severity, 0, 112, CORRUPTIONS) for severity in range(1, 6)]
    changes = [np.abs(found / 255 - clean).mean() for found in made]
    assert all(found.shape == clean.shape and found.dtype == np.uint8 for found in made) and min(changes) > 0
    if corruption not in ("saturate", "spatter", "elastic_transform", "glass_blur"):  # not ordered by design
        assert changes[4] > changes[0]
    again = imagenet_c.corrupted(clean, corruption, 5, 0, 112, CORRUPTIONS)
    assert np.array_equal(again, made[4])


def test_values_are_clipped_and_rounded():
    assert imagenet_c.eight_bit(np.array([-0.5, 0, 0.49 / 255, 0.51 / 255, 0.5, 1, 2])).tolist() == [
        0,
        0,
        0,
        1,
        128,
        255,
        255,
    ]


def test_draws_depend_on_seed_corruption_and_severity():
    clean = plain(0.5, 16)
    made = {
        (name, severity, seed): imagenet_c.corrupted(clean, name, severity, seed, 112, CORRUPTIONS).tobytes()
        for name in ("gaussian_noise", "speckle_noise") for severity in (1, 2) for seed in (1, 2)
    }  # fmt: skip
    assert len(set(made.values())) == 8
    draws = {imagenet_c.generator(*key).random() for key in [(1, "fog/1"), (2, "fog/1"), (1, "fog/2"), (1, "snow/1")]}
    assert len(draws) == 4
    assert imagenet_c.generator(1, "fog/1").integers(0, 1000, 4).tolist() == [946, 861, 670, 173]  # on every machine


def test_lengths_are_in_proportion_to_frames_of_twice_112_pixels():
    """At 56 px a blur of c has a deviation of c / 2."""
    picture = point(56)
    found = imagenet_c.corrupted(picture * 20, "gaussian_blur", 5, 0, 112, CORRUPTIONS)  # clipped only within the peak
    expected = imagenet_c.gaussian_blur(picture * 20, 6, np.random.default_rng(0), 0.5)
    assert np.array_equal(found, imagenet_c.eight_bit(expected))


def test_the_store_has_every_level_of_the_first_pictures_of_each_class(tmp_path):
    squares = torch.randint(0, 256, (6, 20, 20, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    source = {
        "seed": 0,
        "inputs": {},
        "data": "small",
        "image_size": 16,
        "settings": {"source": "digits", "train": 1, "stored": 20},
    }
    files.save(
        tmp_path / "images/small.safetensors",
        {"test/images": squares, "test/labels": torch.tensor([0, 0, 0, 1, 1, 1]), "train/images": squares.flip(0)},
        {"recipe": source, "recipe_hash": "of the source"},
    )
    recipe = Images.model_validate(
        {
            "seed": 4,
            "inputs": {"images/small": ""},
            "data": "smallc",
            "image_size": 16,
            "settings": {"source": "generated-imagenet-c", "classes_of": "small", "images_per_class": 2},
        }  # fmt: skip
    )
    tensors, facts = generated.make(recipe, Job("images/smallc", tmp_path, "", {"images/small": "of the source"}))
    assert facts == {"origin": "generated"} and tensors["labels"].tolist() == [0, 0, 1, 1]
    assert set(tensors) == {"labels"} | {f"{name}/{severity}" for name in IMAGENET_C for severity in range(1, 6)}
    clean = squares[[0, 1, 3, 4], 2:18, 2:18].numpy().astype(np.float32) / 255
    for corruption, severity in (("fog", 3), ("brightness", 5), ("gaussian_noise", 1)):
        found = tensors[f"{corruption}/{severity}"]
        assert np.array_equal(found.numpy(), imagenet_c.corrupted(clean, corruption, severity, 4, 112, CORRUPTIONS))


def test_a_motion_is_at_most_half_a_right_angle_from_level_and_blurs_along_it():
    """At an angle of 0 it is the mean of the pixels to the left and right, the last ones repeated."""

    class Level:
        def uniform(self, low, high):
            assert (low, high) == (-45, 45)
            return 0.0

    x = np.random.default_rng(0).random((1, 16, 16, 3))
    found = imagenet_c.motion_blur(x, 3, Level(), 1.0)
    middle = x[:, :, 4:12]  # away from the sides
    weights = np.bincount([round(3 + step) for step in np.linspace(-3, 3, 24)]) / 24
    shifted = sum(w * x[:, :, 4 + k : 12 + k] for w, k in zip(weights, range(-3, 4), strict=True))
    assert middle.shape == shifted.shape and np.allclose(found[:, :, 4:12], shifted, atol=1e-6)
