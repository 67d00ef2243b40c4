"""ImageNet-C as released, for frames of 224 px (Hendrycks & Dietterich, 2019; their `make_imagenet_c.py`).

For small pictures `imagenet_c` has formulas of its own for what follows here: defocus, glass, motion and zoom blur,
snow, fog, elastic transform and spatter. What ImageMagick and OpenCV did for them, NumPy, SciPy and scikit-image do:
with the same draws, pixels are the released code's to a rounding, but for the edges of spattered water. Frost alone
still has drawn crystals in place of the released photographs of ice.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import ndimage
from skimage import feature

from contrastive_inversion.distort.imagenet_c import CORRUPTIONS, Array, Corruption, Corruptions, Random, displaced

SIDE = 224
GREY = np.array([0.299, 0.587, 0.114])  # of red, green and blue, as OpenCV weighs them
WATER, MUD = np.array([175, 238, 238]) / 255, np.array([63, 42, 20]) / 255
EMBOSSED = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])


def of_each(change: Callable[[Array, Any, Random], Array]) -> Corruption:
    """A corruption of a picture (H, W, 3) as one of many, drawn one after another."""

    def corruption(x: Array, c: Any, random: Random, scale: float) -> Array:
        return np.stack([change(picture, c, random) for picture in x])

    return corruption


def streaked(picture: Array, radius: int, sigma: float, angle: float) -> Array:
    """A picture (H, W, C) blurred along a line, as ImageMagick does: one side of a Gaussian, 2 * radius + 1 px."""
    steps = np.arange(2 * radius + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    down, right = (np.ceil(steps * part(np.radians(angle)) - 0.5).astype(int) for part in (np.sin, np.cos))
    rows, columns = np.ogrid[0 : picture.shape[0], 0 : picture.shape[1]]
    moved = (
        picture[np.clip(rows + d, 0, len(picture) - 1), np.clip(columns + r, 0, picture.shape[1] - 1)]
        for d, r in zip(down, right, strict=True)
    )
    return sum(weight * each for weight, each in zip(weights / weights.sum(), moved, strict=True))


def defocus_blur(x: Array, c: tuple[int, float], random: Random, scale: float) -> Array:
    """A disk of a radius, its rim smoothed by a Gaussian of a few pixels; edges mirrored, as OpenCV does."""
    radius, sigma = c
    across = np.arange(-max(radius, 8), max(radius, 8) + 1)
    disk = (across[:, None] ** 2 + across**2 <= radius**2).astype(float)
    smoothed = ndimage.gaussian_filter(disk / disk.sum(), sigma, mode="mirror", radius=1 if radius <= 8 else 2)
    return ndimage.convolve(x, smoothed[None, :, :, None], mode="mirror")


def glass_blur(x: Array, c: tuple[float, int, int], random: Random, scale: float) -> Array:
    """Every pixel, from the last on, becomes one beside it, which may have moved before: no swap, as released."""
    sigma, reach, passes = c
    x, n = np.floor(255 * smooth(x, sigma)), np.arange(len(x))
    inner = range(SIDE - reach, reach, -1)
    for _ in range(passes):
        shifts = random.integers(-reach, reach, (len(inner), len(inner), 2, len(x)), np.int16)
        for i, row in enumerate(inner):
            for j, column in enumerate(inner):
                x[:, row, column] = x[n, row + shifts[i, j, 1], column + shifts[i, j, 0]]
    return smooth(x / 255, sigma)


def smooth(x: Array, sigma: float) -> Array:
    """Images (N, H, W, C) under a Gaussian, edges repeated."""
    return ndimage.gaussian_filter(x, (0, sigma, sigma, 0), mode="nearest")


@of_each
def motion_blur(picture: Array, c: tuple[int, float], random: Random) -> Array:
    return streaked(picture, *c, random.uniform(-45, 45))


def enlarged(layer: Array, zoom: float) -> Array:
    """The middle of a layer (S, S, C), enlarged to its size."""
    size = len(layer)
    kept = int(np.ceil(size / zoom))
    top = (size - kept) // 2
    layer = ndimage.zoom(layer[top : top + kept, top : top + kept], (zoom, zoom, 1), order=1)
    top = (len(layer) - size) // 2
    return layer[top : top + size, top : top + size]


@of_each
def zoom_blur(picture: Array, c: tuple[float, float], random: Random) -> Array:
    zooms = np.arange(1, *c)
    return (picture + sum(enlarged(picture, zoom) for zoom in zooms)) / (len(zooms) + 1)


@of_each
def fog(picture: Array, c: tuple[float, float], random: Random) -> Array:
    thickness, decay = c
    peak = picture.max()
    clouds = plasma(256, decay, random)[: len(picture), : len(picture), None]
    return (picture + thickness * clouds) * peak / (peak + thickness)


def plasma(size: int, decay: float, random: Random) -> Array:
    """Clouds (size, size) from 0 to 1 by the diamond-square algorithm, round a torus; size: a power of two."""
    heights, step, wobble = np.zeros((size, size)), size, 100.0
    while step >= 2:
        half = step // 2
        mean = functools.partial(wobbling, wobble, random)
        corners = heights[::step, ::step]
        beside = corners + np.roll(corners, -1, axis=0)
        heights[half::step, half::step] = mean(beside + np.roll(beside, -1, axis=1))
        middles = heights[half::step, half::step]
        heights[::step, half::step] = mean(
            middles + np.roll(middles, 1, axis=0) + corners + np.roll(corners, -1, axis=1)
        )
        heights[half::step, ::step] = mean(
            middles + np.roll(middles, 1, axis=1) + corners + np.roll(corners, -1, axis=0)
        )
        step, wobble = half, wobble / decay
    heights -= heights.min()
    return heights / heights.max()


def wobbling(wobble: float, random: Random, four: Array) -> Array:
    """The means of sums of four, moved at random."""
    return four / 4 + wobble * random.uniform(-wobble, wobble, four.shape)


@of_each
def snow(picture: Array, c: tuple[float, ...], random: Random) -> Array:
    mean, deviation, zoom, least, radius, sigma, kept = c
    layer = enlarged(random.normal(mean, deviation, picture.shape[:2])[..., None], zoom)
    layer = np.where(layer < least, 0, layer.clip(0, 1))
    flakes = streaked(layer, int(radius), sigma, random.uniform(-135, -45))
    whitened = np.maximum(picture, (picture @ GREY)[..., None] * 1.5 + 0.5)
    return kept * picture + (1 - kept) * whitened + flakes + np.rot90(flakes, k=2)


@of_each
def elastic_transform(picture: Array, c: tuple[float, float, float], random: Random) -> Array:
    strength, smoothness, jitter = c
    sheared = affine(picture, random.uniform(-jitter, jitter, (3, 2)))
    right, down = (
        ndimage.gaussian_filter(random.uniform(-1, 1, picture.shape[:2]), smoothness, truncate=3) * strength
        for _ in range(2)
    )
    return displaced(sheared[None], down[None], right[None])[0]


def affine(picture: Array, moves: Array) -> Array:
    """A picture whose three corners of an inner square are moved, (3, 2) pixels right and down; edges mirrored."""
    size = len(picture)
    middle, reach = size // 2, size // 3
    corners = np.array([[reach, reach], [reach, -reach], [-reach, -reach]]) + middle
    back = np.linalg.solve(np.column_stack([corners + moves, np.ones(3)]), corners)  # (3, 2), from moved to still
    down, right = np.mgrid[0:size, 0:size]
    from_right, from_down = np.moveaxis(np.stack([right, down, np.ones_like(down)], axis=2) @ back, 2, 0)
    channels = np.moveaxis(picture, 2, 0)
    places = (from_down, from_right)
    return np.stack([ndimage.map_coordinates(channel, places, order=1, mode="mirror") for channel in channels], axis=2)


@of_each
def spatter(picture: Array, c: tuple[float, ...], random: Random) -> Array:
    mean, deviation, smoothness, least, amount, mud = c
    liquid = ndimage.gaussian_filter(random.normal(mean, deviation, picture.shape[:2]), smoothness, mode="nearest")
    if mud:
        splashed = ndimage.gaussian_filter((liquid > least).astype(float), amount, mode="nearest")
        cover = np.where(splashed < 0.8, 0, splashed)[..., None]
        return picture * (1 - cover) + cover * MUD
    wet = drops(np.where(liquid < least, 0, np.floor(liquid * 255)))
    return picture + amount * (wet / wet.max())[..., None] * WATER


def drops(liquid: Array) -> Array:
    """How bright water shines: a layer (S, S) of 0 ... 255, more the farther from its edges, embossed."""
    edges = feature.canny(liquid, sigma=0, low_threshold=50 / 4, high_threshold=150 / 4)
    distance = ndimage.distance_transform_edt(~edges).clip(0, 20)
    distance = ndimage.uniform_filter(distance, 3, mode="mirror").astype(np.uint8)
    share = np.cumsum(np.bincount(distance.ravel())) / distance.size
    equal = np.rint(255 * (share - share[distance.min()]) / (1 - share[distance.min()]))[distance]
    embossed = ndimage.correlate(equal, EMBOSSED, mode="mirror").clip(0, 255)
    return liquid * ndimage.uniform_filter(embossed, 3, mode="mirror")


# Those of the same formula for pictures of any size, and in place of the others:
RELEASED: Corruptions = CORRUPTIONS | {
    "glass_blur": (glass_blur, ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2))),
    "defocus_blur": (defocus_blur, ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5))),
    "zoom_blur": (zoom_blur, ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03))),
    "fog": (fog, ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4))),
    "motion_blur": (motion_blur, ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))),
    "snow": (snow, (
        (0.1, 0.3, 3, 0.5, 10, 4, 0.8), (0.2, 0.3, 2, 0.5, 12, 4, 0.7), (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
        (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65), (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
    )),
    "elastic_transform": (elastic_transform, (  # of 244 px, as released
        (244 * 2, 244 * 0.7, 244 * 0.1), (244 * 2, 244 * 0.08, 244 * 0.2), (244 * 0.05, 244 * 0.01, 244 * 0.02),
        (244 * 0.07, 244 * 0.01, 244 * 0.02), (244 * 0.12, 244 * 0.01, 244 * 0.02),
    )),
    "spatter": (spatter, (
        (0.65, 0.3, 4, 0.69, 0.6, 0), (0.65, 0.3, 3, 0.68, 0.6, 0), (0.65, 0.3, 2, 0.68, 0.5, 0),
        (0.65, 0.3, 1, 0.65, 1.5, 1), (0.67, 0.4, 1, 0.65, 1.5, 1),
    )),
}  # fmt: skip
