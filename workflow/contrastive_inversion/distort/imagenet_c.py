"""The 19 corruptions of ImageNet-C (Hendrycks & Dietterich, 2019), for images of any size.

Studies without the released JPEGs make their own: the same families and severities, with lengths in pixels scaled from
224 px, or for small characters from 112 px (their strokes are a few pixels wide). Fifteen have the released parameters;
motion blur, snow, elastic transform and spatter are of the same kind with parameters of their own. What is made here
is recorded as `generated`; it is not comparable with the released files.

Every corruption maps float32 (N, H, W, 3) in [0, 1] to the same shape, not yet clipped. It is given the severity's
parameters `c`, a NumPy generator, and the scale of its lengths, and takes of these what it needs.
"""

import hashlib
import io
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

Array = NDArray[Any]
Random = np.random.Generator
Corruption = Callable[[Array, Any, Random, float], Array]
Corruptions = dict[str, tuple[Corruption, tuple[Any, ...]]]  # by name, with the parameters of each severity


def corrupted(
    clean: Array, name: str, severity: int, seed: int, reference: float, corruptions: Corruptions
) -> NDArray[np.uint8]:
    """Images under a corruption at a severity of 1 to 5: float32 (N, S, S, 3) in [0, 1] -> uint8 (N, S, S, 3).

    reference: the side in pixels of frames that the corruptions' lengths are for; those released are for 224.
    """
    corruption, parameters = corruptions[name]
    random, scale = generator(seed, f"{name}/{severity}"), clean.shape[1] / reference
    return eight_bit(corruption(clean, parameters[severity - 1], random, scale))


def generator(seed: int, name: str) -> Random:
    """The random numbers of a corruption at a severity."""
    digest = hashlib.sha256(f"{seed}/imagenet-c/{name}".encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:8], "little")))


def eight_bit(x: Array) -> NDArray[np.uint8]:
    """Clipped to [0, 1] and rounded to 0 ... 255."""
    return (np.clip(x, 0, 1) * 255).round().astype(np.uint8)


def gaussian_noise(x: Array, c: float, random: Random, scale: float) -> Array:
    return x + random.normal(0, c, x.shape)


def shot_noise(x: Array, c: float, random: Random, scale: float) -> Array:
    return random.poisson(x * c) / c


def impulse_noise(x: Array, c: float, random: Random, scale: float) -> Array:
    draws = random.random(x.shape)
    return np.where(draws < c / 2, 0, np.where(draws < c, 1, x))


def speckle_noise(x: Array, c: float, random: Random, scale: float) -> Array:
    return x + x * random.normal(0, c, x.shape)


def convolved(x: Array, kernel: Array) -> Array:
    """Each image and channel convolved with one 2-D kernel, edges reflected."""
    return ndimage.convolve(x, kernel[None, :, :, None] / kernel.sum(), mode="reflect")


def defocus_blur(x: Array, c: float, random: Random, scale: float) -> Array:
    radius = max(c * scale, 0.7)
    reach = int(np.ceil(radius)) + 1
    y, z = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    return convolved(x, np.clip(radius + 0.5 - np.hypot(y, z), 0, 1))


def gaussian_blur(x: Array, c: float, random: Random, scale: float) -> Array:
    return ndimage.gaussian_filter(x, (0, c * scale, c * scale, 0))


def glass_blur(x: Array, c: tuple[float, int, int], random: Random, scale: float) -> Array:
    sigma, reach, passes = c
    x = ndimage.gaussian_filter(x, (0, sigma * scale, sigma * scale, 0))
    reach = max(1, round(reach * scale))
    for _ in range(passes):
        x = shuffled(x, random.integers(-reach, reach + 1, (2, *x.shape[:3])))
    return ndimage.gaussian_filter(x, (0, sigma * scale, sigma * scale, 0))


def shuffled(x: Array, shifts: NDArray[np.int64]) -> Array:
    """Every pixel taken from a neighbour: shifts int (2, N, H, W), down and right, clipped at the edges."""
    n, rows, columns = np.ogrid[0 : len(x), 0 : x.shape[1], 0 : x.shape[2]]
    rows = np.clip(rows + shifts[0], 0, x.shape[1] - 1)
    columns = np.clip(columns + shifts[1], 0, x.shape[2] - 1)
    return x[n, rows, columns]


def motion_blur(x: Array, c: float, random: Random, scale: float) -> Array:
    length = max(2, round(c * scale))
    kernel = np.zeros((2 * length + 1, 2 * length + 1))
    angle = np.radians(random.uniform(-45, 45))
    for step in np.linspace(-length, length, 8 * length):
        kernel[round(length + step * np.sin(angle)), round(length + step * np.cos(angle))] += 1
    return convolved(x, kernel)


def zoom_blur(x: Array, c: float, random: Random, scale: float) -> Array:
    zooms = np.arange(1, c, 0.02)
    return (x + sum(zoomed(x, zoom) for zoom in zooms)) / (len(zooms) + 1)


def zoomed(x: Array, zoom: float) -> Array:
    """Images enlarged about their centre, bilinear: one matrix (S, S) for rows and columns."""
    size = x.shape[1]
    source = (np.arange(size) - (size - 1) / 2) / zoom + (size - 1) / 2
    matrix = np.maximum(0, 1 - np.abs(source[:, None] - np.arange(size))).astype(np.float32)
    return np.einsum("ij,njkc,lk->nilc", matrix, x, matrix, optimize=True)


def brightness(x: Array, c: float, random: Random, scale: float) -> Array:
    """Raise the value of HSV: the largest channel of a pixel, the others in proportion."""
    value = x.max(axis=3, keepdims=True)
    return x * np.clip(value + c, 0, 1) / np.maximum(value, 1e-6) + np.where(value < 1e-6, c, 0)


def saturate(x: Array, c: tuple[float, float], random: Random, scale: float) -> Array:
    """Scale and shift the saturation of HSV at unchanged value."""
    value, low = x.max(axis=3, keepdims=True), x.min(axis=3, keepdims=True)
    saturation = (value - low) / np.maximum(value, 1e-6)
    wanted = np.clip(saturation * c[0] + c[1], 0, 1)
    return value - (value - x) * wanted / np.maximum(saturation, 1e-6)


def contrast(x: Array, c: float, random: Random, scale: float) -> Array:
    mean = x.mean(axis=(1, 2), keepdims=True)
    return (x - mean) * c + mean


def clouds(x: Array, roughness: float, random: Random) -> Array:
    """Smooth random texture in [0, 1]: noise of halving wavelength, its weight falling by `roughness`."""
    total = np.zeros(x.shape[:3])
    for octave in range(1, 6):
        grain = random.random((len(x), 2**octave + 1, 2**octave + 1))
        grid = np.linspace(0, 2**octave, x.shape[1])
        sampled = np.meshgrid(np.arange(len(x)), grid, grid, indexing="ij")
        total += ndimage.map_coordinates(grain, sampled, order=1) / roughness**octave
    low, high = total.min(axis=(1, 2), keepdims=True), total.max(axis=(1, 2), keepdims=True)
    return ((total - low) / (high - low))[..., None]


def fog(x: Array, c: tuple[float, float], random: Random, scale: float) -> Array:
    peak = x.max(axis=(1, 2, 3), keepdims=True)
    return (x + c[0] * clouds(x, c[1], random)) * peak / (peak + c[0])


def frost(x: Array, c: tuple[float, float], random: Random, scale: float) -> Array:
    crystals = np.abs(2 * clouds(x, 1.2, random) - 1) ** 0.5 * np.array([0.85, 0.93, 1.0])
    return c[0] * x + c[1] * crystals


def snow(x: Array, c: tuple[float, float, float], random: Random, scale: float) -> Array:
    amount, length, whitening = c
    fallen = (random.random(x.shape[:3]) < amount).astype(np.float32)[..., None].repeat(3, axis=3)
    flakes = motion_blur(fallen, length, random, scale) * max(2, length * scale)
    grey = np.maximum(x, x.mean(axis=3, keepdims=True) * 1.5 + 0.5)
    return whitening * x + (1 - whitening) * grey + np.clip(flakes, 0, 1)


def spatter(x: Array, c: tuple[float, float], random: Random, scale: float) -> Array:
    threshold, opacity = c
    drops = clouds(x, 1.1, random) > threshold
    colour = np.array([0.25, 0.16, 0.08]) if opacity > 0.7 else np.array([0.68, 0.93, 0.93])
    return np.where(drops, (1 - opacity) * x + opacity * colour, x)


def elastic_transform(x: Array, c: tuple[float, float], random: Random, scale: float) -> Array:
    strength, smoothness = c
    fields = random.uniform(-1, 1, (2, *x.shape[:3]))
    fields = ndimage.gaussian_filter(fields, (0, 0, smoothness * scale, smoothness * scale))
    fields *= strength * scale / np.abs(fields).max(axis=(2, 3), keepdims=True)
    return displaced(x, fields[0], fields[1])


def displaced(x: Array, down: Array, right: Array) -> Array:
    """Images resampled, bilinear, where `down` and `right`, each (N, H, W), point to."""
    rows, columns = np.mgrid[0 : x.shape[1], 0 : x.shape[2]]
    result = np.empty_like(x)
    for image, moved, d, r in zip(x, result, down, right, strict=True):
        for channel in range(3):
            source = (rows + d, columns + r)
            moved[..., channel] = ndimage.map_coordinates(image[..., channel], source, order=1, mode="reflect")
    return result


def through_pillow(x: Array, change: Callable[[Image.Image], Image.Image]) -> Array:
    """Each image as an 8-bit picture through a function on Pillow images."""
    return np.stack([np.asarray(change(Image.fromarray(image)), np.float32) / 255 for image in eight_bit(x)])


def pixelate(x: Array, c: float, random: Random, scale: float) -> Array:
    size = x.shape[1]
    small = max(2, round(size * c))
    box, nearest = Image.Resampling.BOX, Image.Resampling.NEAREST
    return through_pillow(x, lambda image: image.resize((small, small), box).resize((size, size), nearest))


def jpeg_compression(x: Array, c: int, random: Random, scale: float) -> Array:
    def compressed(image: Image.Image) -> Image.Image:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=c)
        return Image.open(buffer).convert("RGB")

    return through_pillow(x, compressed)


CORRUPTIONS: Corruptions = {
    "gaussian_noise": (gaussian_noise, (0.08, 0.12, 0.18, 0.26, 0.38)),
    "shot_noise": (shot_noise, (60, 25, 12, 5, 3)),
    "impulse_noise": (impulse_noise, (0.03, 0.06, 0.09, 0.17, 0.27)),
    "speckle_noise": (speckle_noise, (0.15, 0.2, 0.35, 0.45, 0.6)),
    "defocus_blur": (defocus_blur, (3, 4, 6, 8, 10)),
    "glass_blur": (glass_blur, ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2))),
    "motion_blur": (motion_blur, (3, 5, 7, 10, 13)),
    "zoom_blur": (zoom_blur, (1.11, 1.16, 1.21, 1.26, 1.31)),
    "gaussian_blur": (gaussian_blur, (1, 2, 3, 4, 6)),
    "snow": (snow, ((0.02, 4, 0.8), (0.05, 5, 0.7), (0.08, 6, 0.65), (0.1, 8, 0.6), (0.14, 10, 0.55))),
    "frost": (frost, ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75))),
    "fog": (fog, ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4))),
    "brightness": (brightness, (0.1, 0.2, 0.3, 0.4, 0.5)),
    "contrast": (contrast, (0.4, 0.3, 0.2, 0.1, 0.05)),
    "elastic_transform": (elastic_transform, ((6, 12), (8, 10), (10, 8), (12, 6), (14, 5))),
    "pixelate": (pixelate, (0.6, 0.5, 0.4, 0.3, 0.25)),
    "jpeg_compression": (jpeg_compression, (25, 18, 15, 10, 7)),
    "saturate": (saturate, ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2))),
    "spatter": (spatter, ((0.75, 0.5), (0.68, 0.6), (0.62, 0.7), (0.68, 0.85), (0.6, 0.9))),
}
